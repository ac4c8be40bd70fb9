"""Home: what lies below a folder, and a look at what is chosen."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer

from trajflow.tui.jobs.found import Run, Tracks
from trajflow.tui.jobs.inventory import Found, Inventory, Look
from trajflow.tui.keys import bound
from trajflow.tui.messages import (
    Complain,
    NewTraining,
    OpenData,
    OpenForecast,
    OpenOod,
    OpenTraining,
)
from trajflow.tui.widgets.entries import Entries
from trajflow.tui.widgets.listing import entry_of
from trajflow.tui.widgets.title import Title, told

if TYPE_CHECKING:
    from trajflow.tui.widgets.glance import Glance

EVERY = 2.0
"""Seconds between two looks at the folder; more where a look takes long."""


class HomeScreen(Screen[None]):
    """Runs and stores below a folder, newest first; a demo where there are none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bound("home.training", "w", "training", "Training"),
        bound("home.data", "d", "data", "Data"),
        bound("home.ood", "o", "ood", "Strange"),
        bound("home.train", "n", "train", "Train"),
        bound("home.again", "r", "again", "Look again", show=False),
        bound("home.quit", "q", "app.quit", "Quit"),
    ]

    class Looked(Message):
        """A look at the folder is over."""

        def __init__(self, look: Look) -> None:
            super().__init__()
            self.look = look

    def __init__(self, folder: Path, opened: Path | None = None) -> None:
        super().__init__()
        self.folder, self.opened = folder, opened
        self.found = Found()
        self._inventory = Inventory(folder)
        self._looking = False
        self.glance: Glance | None = None

    def compose(self) -> ComposeResult:
        """Title, list, preview, footer."""
        yield Title(told(self.folder), "looking for runs and stores ...")
        with Horizontal():
            yield Entries(id="found")
            yield Vertical(id="side")
        yield Footer()

    def on_mount(self) -> None:
        """First be seen; what needs numpy comes after."""
        self.call_after_refresh(self._begin)

    async def _begin(self) -> None:
        from trajflow.tui.widgets.glance import Glance

        glance = Glance()
        await self.query_one("#side").mount(glance)
        self.glance = glance
        self.action_again()

    def on_screen_resume(self) -> None:
        """What has changed meanwhile is seen at once."""
        self.action_again()

    def action_again(self) -> None:
        """Look at the folder."""
        if not self._looking and self.glance is not None:
            self._looking = True
            self.run_worker(self._look, thread=True, exit_on_error=False)

    def on_home_screen_looked(self, message: Looked) -> None:
        """Show what was found, and look again later."""
        self._looking = False
        found, demo = message.look.found, message.look.demo
        self.found = found
        if message.look.problem:
            self.post_message(Complain(message.look.problem))
        if demo is not None and self.glance is not None:
            self.glance.know_demo(demo)
        now = time.time()
        things: list[Run | Tracks] = [*found.runs, *found.stores]
        things.sort(key=lambda one: -one.changed)
        self.query_one(Entries).show([entry_of(one, now) for one in things])
        title = self.query_one(Title)
        title.place = "a demo on generated tracks" if demo else told(self.folder)
        many = f"{_so_many(found.runs, 'run')}, {_so_many(found.stores, 'store')}"
        title.state = many if found.complete else f"{many}; there are more folders"
        self._open_at_once()
        if self.is_current:
            self.set_timer(max(EVERY, 20 * message.look.seconds), self.action_again)

    def on_entries_chosen(self, message: Entries.Chosen) -> None:
        """Have a look at it."""
        thing = self._thing(message.entry.key)
        if thing is not None:
            data = self.found.tracks_of(thing) if isinstance(thing, Run) else None
            if self.glance is not None:
                self.glance.show(thing, data)

    def on_entries_opened(self, message: Entries.Opened) -> None:
        """Open forecasts of a run, or the tracks of a store."""
        self._open(message.entry.key)

    def action_training(self) -> None:
        """Watch the training of the chosen run."""
        if run := self._run():
            data = self.found.tracks_of(run)
            self.post_message(OpenTraining(run.path, data.path if data else None))

    def action_data(self) -> None:
        """Show the chosen store, or the one of the chosen run."""
        if data := self._data():
            self.post_message(OpenData(data.path))

    def action_ood(self) -> None:
        """Show what the chosen run finds strange."""
        if (run := self._run()) and (data := self._data()):
            self.post_message(OpenOod(run.path, data.path))

    def action_train(self) -> None:
        """Train on the chosen store, or on the one of the chosen run."""
        if data := self._data():
            self.post_message(NewTraining(data.path))

    def _look(self) -> None:
        self.post_message(self.Looked(self._inventory.look_or_demo()))

    def _open_at_once(self) -> None:
        """What was named on the command line."""
        opened, self.opened = self.opened, None
        if opened is not None:
            self.call_after_refresh(partial(self._open, opened))

    def _open(self, path: Path) -> None:
        thing = self._thing(path)
        if isinstance(thing, Tracks):
            self.post_message(OpenData(thing.path))
        elif thing is not None:
            if thing.state == "training" and not thing.history.judged:
                self.post_message(OpenTraining(thing.path))
            elif data := self.found.tracks_of(thing):
                self.post_message(OpenForecast(thing.path, data.path, thing.part))
            else:
                self._complain_of_tracks(thing)

    def _thing(self, path: Path) -> Run | Tracks | None:
        things: list[Run | Tracks] = [*self.found.runs, *self.found.stores]
        return next((one for one in things if one.path == path), None)

    def _run(self) -> Run | None:
        entry = self.query_one(Entries).entry
        thing = self._thing(entry.key) if entry else None
        if isinstance(thing, Run):
            return thing
        self.post_message(Complain("choose a run for that; this is a store of tracks"))
        return None

    def _data(self) -> Tracks | None:
        entry = self.query_one(Entries).entry
        thing = self._thing(entry.key) if entry else None
        if not isinstance(thing, Run):
            return thing
        found = self.found.tracks_of(thing)
        if found is None:
            self._complain_of_tracks(thing)
        return found

    def _complain_of_tracks(self, run: Run) -> None:
        said = f"the tracks of {run.name} are not below {self.folder}; start `trajflow tui` where"
        self.post_message(Complain(f"{said} both are, or move the store there"))


def _so_many(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
