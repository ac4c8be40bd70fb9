"""Home: runs and stores below a folder, and a preview of the one under the cursor."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import getters, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.screen import Screen

from trajflow.errors import RunError
from trajflow.library import (
    ABOVE,
    Entry,
    Library,
    LibraryScanner,
    RunEntry,
    StoreEntry,
    read_entry,
    store_of_run,
)
from trajflow.tui.app import TrajflowApp
from trajflow.tui.format import count, duration, epochs, number, short_path
from trajflow.tui.widgets.run_table import RunTable
from trajflow.tui.widgets.text import FactList, KeyFooter, Line, TitleBar

if TYPE_CHECKING:
    from trajflow.browse.view import View
    from trajflow.tui.tasks import SceneTracks
    from trajflow.tui.widgets.plots import TrackMap
    from trajflow.tui.widgets.scene_view import SceneView

EVERY = 2.0
"""Seconds between two scans of the folder; more where a scan takes long."""
PREVIEW_AFTER = 0.3
"""Seconds that the cursor must rest before a preview is computed."""


class HomeScreen(Screen[None]):
    """Runs and stores below a folder, newest first; a demo where there are none."""

    app = getters.app(TrajflowApp)
    table = getters.query_one(RunTable)
    scene: SceneView
    tracks: TrackMap
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "training", "Training", id="home.training"),
        Binding("d", "dataset", "Data", id="home.data"),
        Binding("o", "ood", "OOD", id="home.ood"),
        Binding("n", "new_training", "Train", id="home.train"),
        Binding("c", "compare", "Compare", id="home.compare"),
        Binding("r", "refresh", "Refresh", show=False, id="home.refresh"),
        Binding("q", "app.quit", "Quit", id="home.quit"),
    ]

    def __init__(self, folder: Path, opened: Path | None = None) -> None:
        super().__init__()
        self.folder, self.opened = folder, opened
        self.library = Library()
        self._scanner = LibraryScanner(folder)
        self._previews: dict[Path, View | SceneTracks | None] = {}
        self._previewed: Path | None = None
        self._scanning = False

    def compose(self) -> ComposeResult:
        yield TitleBar(short_path(self.folder), "looking for runs and stores ...")
        with Container(id="home"):
            with Vertical(id="entries"):
                yield RunTable()
            yield Vertical(id="side")
        yield KeyFooter()

    def on_mount(self) -> None:
        self.table.focus()
        self.call_after_refresh(self._mount_preview)

    async def _mount_preview(self) -> None:
        side = self.query_one("#side")
        if not side.is_attached:  # it was quit before the first picture
            return
        from trajflow.tui.widgets.plots import TrackMap
        from trajflow.tui.widgets.scene_view import SceneView

        self.scene, self.tracks = SceneView(interactive=False), TrackMap()
        await side.mount(self.scene, self.tracks, FactList())
        self.action_refresh()

    def on_screen_resume(self) -> None:
        self.action_refresh()

    def action_refresh(self) -> None:
        if not self._scanning and self.query(FactList):
            self._scan()

    @work(group="scan")
    async def _scan(self) -> None:
        self._scanning = True
        try:
            from trajflow.tui.demo import scan_or_demo

            library = await asyncio.to_thread(scan_or_demo, self._scanner)
        finally:
            self._scanning = False
        self.call_later(self.show, library)  # not if the screen is closing

    def show(self, library: Library) -> None:
        self.library = library
        if self.is_current:
            self.set_timer(max(EVERY, 20 * library.seconds), self.action_refresh)
        if library.problem:
            self.app.show_error(library.problem)
        if library.demo is not None and library.demo not in self._previews:
            from trajflow.tui.demo import load_preview

            self._previews[library.demo] = load_preview()
        self.table.show_library(library)
        self._preview()
        title = self.query_one(TitleBar)
        title.place = "a demo on generated tracks" if library.demo else short_path(self.folder)
        many = f"{_plural(library.runs, 'run')}, {_plural(library.stores, 'store')}"
        title.state = many if library.complete else f"{many}; there are more folders"
        opened, self.opened = self.opened, None
        if opened is not None:
            self.call_after_refresh(self._open, opened)

    @property
    def entry(self) -> Entry | None:
        return self.table.record

    def on_data_table_row_highlighted(self) -> None:
        self._preview()

    def on_data_table_row_selected(self) -> None:
        if self.entry is not None:
            self._open(self.entry.path)

    def action_training(self) -> None:
        if run := self._run():
            store = self.library.store_of(run)
            self.app.open_training(run.path, store.path if store else None)

    def action_dataset(self) -> None:
        if store := self._store():
            self.app.open_dataset(store.path)

    def action_ood(self) -> None:
        if (run := self._run()) and (store := self._store()):
            self.app.open_ood(run.path, store.path)

    def action_new_training(self) -> None:
        if store := self._store():
            self.app.open_new_training(store.path)

    def action_compare(self) -> None:
        from trajflow.tui.screens.compare import CompareScreen

        marked = [one.path for one in self.table.records if str(one.path) in self.table.marked]
        if len(marked) > 1:
            self.app.push_screen(CompareScreen(marked))
        else:
            self.app.show_error("mark two runs or more with space, then press c to compare them")

    @work(exclusive=True, group="open")
    async def _open(self, path: Path) -> None:
        """Open a store, or a run with the store it was trained on, which may lie further up."""
        entry = self.library.entry(path)
        if entry is None:
            entry = await asyncio.to_thread(read_entry, path)
        if isinstance(entry, StoreEntry):
            self.app.open_dataset(entry.path)
        elif entry.state == "training" and not entry.history.validations:
            self.app.open_training(entry.path)
        elif store := await self._store_for(entry):
            self.app.call_later(self.app.open_forecasts, entry.path, store, entry.split)
        else:
            self._store_is_missing(entry)

    async def _store_for(self, run: RunEntry) -> Path | None:
        """The store that a run was trained on, or one that fits it; None if there is none."""
        near = self.library.store_of(run)
        if near is not None and near.fingerprint == run.fingerprint:
            return near.path
        try:
            store = await asyncio.to_thread(store_of_run, run.path)
        except RunError:
            return None if near is None else near.path
        above = Path(os.path.commonpath([self.folder, store]))
        if above in list(self.folder.parents)[:ABOVE]:  # from now on, show both
            self.folder, self._scanner = above, LibraryScanner(above)
        return store

    def _run(self) -> RunEntry | None:
        if isinstance(entry := self.entry, RunEntry):
            return entry
        self.app.show_error("choose a run for that; this is a store of tracks")
        return None

    def _store(self) -> StoreEntry | None:
        entry = self.entry
        if not isinstance(entry, RunEntry):
            return entry
        store = self.library.store_of(entry)
        if store is None:
            self._store_is_missing(entry)
        return store

    def _store_is_missing(self, run: RunEntry) -> None:
        self.app.show_error(
            f"{run.path} is damaged: {run.problem}; restore it from a copy, or make it again"
            if run.problem
            else f"the store of {run.name} is not below {self.folder}; start `trajflow tui` in a "
            "folder above both, or move the store there"
        )

    # The preview

    def _preview(self) -> None:
        """Show the entry under the cursor; a picture that is not known yet comes later."""
        entry = self.entry
        if entry is None or not self.query(FactList):
            return
        if isinstance(entry, RunEntry):
            store = self.library.store_of(entry)
            facts = run_facts(entry, store)
        else:
            store, facts = entry, store_facts(entry)
        self.query_one(FactList).lines = facts
        self.scene.display = isinstance(entry, RunEntry)
        self.tracks.display = not self.scene.display
        if self._previewed != entry.path:
            self._previewed = entry.path
            self._show_picture(entry, store)
            self._load_preview(entry, store)

    @work(exclusive=True, group="preview", description="preview")
    async def _load_preview(self, entry: Entry, store: StoreEntry | None) -> None:
        from trajflow.tui import tasks
        from trajflow.tui.engine import TaskFailed

        if entry.path in self._previews or entry.problem or store is None:
            return
        if isinstance(entry, RunEntry) and not entry.weights:
            return
        await asyncio.sleep(PREVIEW_AFTER)
        picture: Any
        try:
            if isinstance(entry, StoreEntry):
                picture = await self.app.engine.call(tasks.read_tracks, entry.path)
            else:
                place = (entry.path, store.path, entry.split)
                picture = await self.app.engine.call(tasks.preview_run, place)
        except TaskFailed as error:
            self.call_later(self.scene.show_note, str(error))
        else:
            self._previews[entry.path] = picture
            self.call_later(self._show_picture, entry, store)

    def _show_picture(self, entry: Entry, store: StoreEntry | None) -> None:
        picture: Any = self._previews.get(entry.path)
        if isinstance(entry, StoreEntry):
            self.tracks.show(picture)
        elif picture is not None:
            self.scene.show(picture)
        elif entry.problem:
            self.scene.show_note("this run is damaged")
        elif store is None:
            self.scene.show_note("its store is not here")
        else:
            self.scene.show_note("loading the model ..." if entry.weights else "no weights yet")


def run_facts(run: RunEntry, store: StoreEntry | None) -> list[Line]:
    """Lines below the preview of a run."""
    if run.problem:
        return [[("damaged", run.problem)], [("folder", str(run.path))]]
    history, begun = run.history, math.isfinite(run.history.epochs)
    done = f"{epochs(history.epoch)} of {epochs(history.epochs)} epochs" if begun else "not begun"
    return [
        [("energy score", number(history.best("energy_score")))],
        [(run.state, done), *([("fold", run.fold)] if run.fold else [])],
        [("in", duration(history.seconds)), ("store", store.name if store else "not here")],
    ]


def store_facts(store: StoreEntry) -> list[Line]:
    """Lines below the preview of a store."""
    if store.problem or store.about is None:
        return [[("damaged", store.problem)], [("folder", str(store.path))]]
    about = store.about
    agents = ", ".join(f"{count(n)} {kind}" for kind, n in about["agents"].items())
    return [
        [("rows", count(about["rows"])), ("tracks", count(about["trajectories"]))],
        [("scenes", str(about["scenes"])), ("agents", agents)],
        [("step", f"{store.dt:g} s"), ("recorded", duration(about["duration"]))],
        [("source", str(about["source"] or "unknown"))],
    ]


def _plural(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
