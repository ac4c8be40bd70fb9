"""What the command palette offers beside the actions of a screen: what to open of which run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

from rich.text import Text
from textual.command import DiscoveryHit, Hit, Hits, Provider

from trajflow.text import safe
from trajflow.tui.app import TrajflowApp
from trajflow.tui.screens.home import HomeScreen

FIRST = 6
"""Commands that are listed before anything is typed."""


class LibraryCommands(Provider):
    """Opens runs and stores from every screen, found by a few letters of what is wanted."""

    async def discover(self) -> Hits:
        """Commands for what is newest."""
        for number, (words, run) in enumerate(self._commands()):
            if number < FIRST:
                yield DiscoveryHit(Text(words), run, words)

    async def search(self, query: str) -> Hits:
        """Commands whose words have the letters of the query in their order."""
        matcher = self.matcher(query)
        for words, run in self._commands():
            score = matcher.match(words)
            if score > 0:
                yield Hit(score, Text(words), run, words)

    def _commands(self) -> Iterator[tuple[str, Callable[[], object]]]:
        app = cast(TrajflowApp, self.app)
        home = next((one for one in app.screen_stack if isinstance(one, HomeScreen)), None)
        if home is None:
            return
        for run in home.library.runs:
            name, store = safe(run.name, 60), home.library.store_of(run)
            if store is not None and run.weights:
                yield (
                    f"Forecasts of {name}",
                    partial(app.open_forecasts, run.path, store.path, run.split),
                )
                yield f"OOD detection of {name}", partial(app.open_ood, run.path, store.path)
            yield (
                f"Training of {name}",
                partial(app.open_training, run.path, store.path if store else None),
            )
        for entry in home.library.stores:
            name = safe(entry.name, 60)
            yield f"Tracks of {name}", partial(app.open_dataset, entry.path)
            yield f"Train on {name}", partial(app.open_new_training, entry.path)
