"""The command palette: what to open of which run, and the actions of the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from typing import cast

from rich.text import Text
from textual.command import DiscoveryHit, Hit, Hits, Provider

from trajflow.text import safe
from trajflow.tui.app import TrajflowApp
from trajflow.tui.screens.home import HomeScreen

FIRST = 6
"""Runs and stores to open that are listed before anything is typed."""
Command = tuple[str, str, Callable[[], object]]
"""Its words, a note, and what it does."""


class Commands(Provider):
    """Opens runs and stores from every screen, and does what the screen can do."""

    async def discover(self) -> Hits:
        """Commands for what is newest, then the actions of the screen."""
        for words, note, run in [*islice(self._library(), FIRST), *self._actions()]:
            yield DiscoveryHit(Text(words), run, words, note)

    async def search(self, query: str) -> Hits:
        """Commands whose words have the letters of the query in their order."""
        matcher = self.matcher(query)
        for words, note, run in chain(self._library(), self._actions()):
            if (score := matcher.match(words)) > 0:
                yield Hit(score, Text(words), run, words, note)

    def _actions(self) -> Iterator[Command]:
        for title, note, run, *_ in self.app.get_system_commands(self.screen):
            yield title, note, run

    def _library(self) -> Iterator[Command]:
        app = cast(TrajflowApp, self.app)
        home = next((one for one in app.screen_stack if isinstance(one, HomeScreen)), None)
        if home is None:
            return
        for run in home.library.runs:
            name, store = safe(run.name, 60), home.library.store_of(run)
            if store is not None and run.weights:
                forecasts = partial(app.open_forecasts, run.path, store.path, run.split)
                yield f"Forecasts of {name}", "", forecasts
                yield f"OOD detection of {name}", "", partial(app.open_ood, run.path, store.path)
            training = partial(app.open_training, run.path, store.path if store else None)
            yield f"Training of {name}", "", training
        for entry in home.library.stores:
            name = safe(entry.name, 60)
            yield f"Tracks of {name}", "", partial(app.open_dataset, entry.path)
            yield f"Train on {name}", "", partial(app.open_new_training, entry.path)
