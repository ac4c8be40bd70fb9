"""A store of tracks: its scenes, and where agents go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from textual import getters, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen

from trajflow.library import read_store
from trajflow.tui import tasks
from trajflow.tui.app import TrajflowApp
from trajflow.tui.format import count
from trajflow.tui.screens.home import store_facts
from trajflow.tui.widgets.plots import TrackMap
from trajflow.tui.widgets.tables import RecordTable, TableColumn
from trajflow.tui.widgets.text import FactList, KeyFooter, TitleBar

READ_AFTER = 0.15
"""Seconds that the cursor must rest on a scene before its tracks are read."""
ALL = "\0"
"""Key of the row for all scenes; no scene has this name."""
Scene = tuple[str, int]
"""Name of a recording and its rows; 0 while these are not known."""


class DatasetScreen(Screen[None]):
    """Scenes at the left, the tracks of the chosen one at the right."""

    app = getters.app(TrajflowApp)
    table = getters.query_one(RecordTable)
    title_bar = getters.query_one(TitleBar)
    BINDINGS: ClassVar[list[BindingType]] = [Binding("n", "train", "Train", id="data.train")]

    def __init__(self, store: Path) -> None:
        super().__init__()
        self.store, self.entry = store, read_store(store)

    def compose(self) -> ComposeResult:
        yield TitleBar(f"{self.store.name} · data")
        with Horizontal():
            with Vertical(id="scenes"):
                yield RecordTable[Scene](
                    [
                        TableColumn("scene", 12, _scene_name, _scene_name, down=False),
                        TableColumn("size", 12, _scene_size, lambda one: one[1]),
                    ],
                    lambda one: one[0],
                )
            with Vertical(id="side"):
                yield TrackMap()
                yield FactList()
        yield KeyFooter()

    def on_mount(self) -> None:
        self.table.focus()
        self._show_scenes(dict.fromkeys((self.entry.about or {}).get("scene_names", []), 0))
        self.query_one(FactList).lines = store_facts(self.entry)
        if self.entry.problem:
            self.app.show_error(self.entry.problem)
        else:
            self._read_scenes()

    def on_data_table_row_highlighted(self) -> None:
        self._read_tracks(READ_AFTER)

    def on_data_table_row_selected(self) -> None:
        self._read_tracks()

    def action_train(self) -> None:
        self.app.open_new_training(self.store)

    @work(group="scenes")
    async def _read_scenes(self) -> None:
        if (scenes := await self.app.ask(tasks.list_scenes, self.store)) is not None:
            self.call_later(self._show_scenes, scenes)  # not if the screen is closing

    @work(exclusive=True, group="tracks")
    async def _read_tracks(self, after: float = 0.0) -> None:
        chosen = self.table.chosen  # read before the pause, in which the screen may close
        await asyncio.sleep(after)
        if chosen is None or self.entry.problem:
            return
        scene = None if chosen == ALL else chosen
        if (tracks := await self.app.ask(tasks.read_tracks, self.store, scene)) is not None:
            self.call_later(self._show_tracks, tracks)

    def _show_scenes(self, scenes: Mapping[str, int]) -> None:
        everything = (ALL, sum(scenes.values()))
        several = len(scenes) != 1
        self.table.show([everything] * several + list(scenes.items()), pinned=int(several))

    def _show_tracks(self, tracks: tasks.SceneTracks) -> None:
        self.query_one(TrackMap).show(tracks)
        drawn = f", {count(tracks.drawn)} drawn" if tracks.drawn < tracks.tracks else ""
        scene = tracks.scene or "all scenes"
        self.title_bar.state = f"{scene}: {count(tracks.tracks)} tracks{drawn}"


def _scene_name(scene: Scene) -> str:
    return "all scenes" if scene[0] == ALL else scene[0]


def _scene_size(scene: Scene) -> str:
    return f"{count(scene[1])} rows" if scene[1] else ""
