"""A store of tracks: what it holds, where people go, how fast and how long, and what is wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Footer

from trajflow.tui.jobs.found import Tracks, read_tracks
from trajflow.tui.jobs.tracks import Examine, Examined, Paths, ReadPaths, ReadScenes, Scenes
from trajflow.tui.keys import bound
from trajflow.tui.messages import Complain, NewTraining
from trajflow.tui.shared_worker import worker_of
from trajflow.tui.widgets.bars import Bars
from trajflow.tui.widgets.entries import Entries, Entry
from trajflow.tui.widgets.facts import Facts
from trajflow.tui.widgets.findings import Findings
from trajflow.tui.widgets.listing import told_of_tracks
from trajflow.tui.widgets.title import Title
from trajflow.tui.widgets.track_map import TrackMap
from trajflow.tui.widgets.words import count
from trajflow.tui.worker_messages import Answered, Failed, Finished

PATIENCE = 0.15
"""Seconds that a scene must stay chosen before its tracks are read."""


class DataScreen(Screen[None]):
    """Scenes at the left, the tracks of the chosen one at the right."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bound("data.kind", "y", "kind", "Agent type"),
        bound("data.examine", "e", "examine", "Examine"),
        bound("data.train", "n", "train", "Train"),
    ]

    def __init__(self, store: Path) -> None:
        super().__init__()
        self.store = store
        self.tracks: Tracks = read_tracks(store)
        self.kind = ""
        self._asked: int | None = None
        self._examining: int | None = None
        self._found: list[tuple[str, str, str]] = []

    @property
    def kinds(self) -> list[str]:
        """Types of agents, after the word for all."""
        return ["", *((self.tracks.about or {}).get("agents", {}))]

    def compose(self) -> ComposeResult:
        """Scenes and histograms; map, facts or findings."""
        yield Title(f"{self.store.name} · data")
        with Horizontal():
            with Vertical(id="scenes"):
                yield Entries(id="list")
                yield Bars("speed", id="speeds")
                yield Bars("length", id="lengths")
            with Vertical(id="side"):
                yield TrackMap()
                yield Facts()
                yield Findings()
        yield Footer()

    def on_mount(self) -> None:
        """Ask for the recordings; their names are known already."""
        names = (self.tracks.about or {}).get("scene_names", [])
        self._list([(name, None) for name in names])
        self.query_one(Facts).tell(told_of_tracks(self.tracks))
        self.query_one(Findings).display = False
        if self.tracks.problem:
            self.post_message(Complain(self.tracks.problem))
        else:
            worker_of(self.app).ask(ReadScenes(self.store), self)

    def on_entries_chosen(self) -> None:
        """Read the chosen scene, once it stays chosen."""
        self.set_timer(PATIENCE, self._read)

    def on_entries_opened(self) -> None:
        """Enter looks at the map as well."""
        self._read()

    def on_answered(self, message: Answered) -> None:
        """Show what the worker has read."""
        value = message.value
        if isinstance(value, Scenes):
            self._list(value.rows)
        elif isinstance(value, Paths) and message.number == self._asked:
            self._draw(value)
        elif isinstance(value, Examined) and message.number == self._examining:
            self._found += value.findings
            self.query_one(Findings).show(self._found)

    def on_failed(self, message: Failed) -> None:
        """Say what is wrong with the store."""
        if message.number == self._examining:
            self._examining = None
            self.query_one(Findings).show([*self._found, ("error", "store", message.text)])
        else:
            self.post_message(Complain(message.text))

    def on_finished(self, message: Finished) -> None:
        """The examination is over."""
        if message.number == self._examining:
            self._examining = None
            self.query_one(Title).state = f"examined: {len(self._found)} findings"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Types can be chosen where there are several."""
        return action != "kind" or len(self.kinds) > 2

    def action_kind(self) -> None:
        """Show the next type of agents, or all."""
        self.kind = self.kinds[(self.kinds.index(self.kind) + 1) % len(self.kinds)]
        self._read()

    def action_examine(self) -> None:
        """Look for what is wrong with the tracks, or back to the facts."""
        findings, facts = self.query_one(Findings), self.query_one(Facts)
        findings.display = not findings.display
        facts.display = not findings.display
        if findings.display and self._examining is None and not self._found:
            findings.say("examining every byte, then the tracks ...")
            self._examining = worker_of(self.app).ask(Examine(self.store), self)

    def action_train(self) -> None:
        """Train on this store."""
        self.post_message(NewTraining(self.store))

    def _list(self, rows: Sequence[tuple[str, int | None]]) -> None:
        total = sum(number or 0 for _, number in rows)
        every = Entry(None, "▤", "calm", "all scenes", "", f"{count(total)} rows" if total else "")
        entries = [
            Entry(name, " ", "calm", name, "", f"{count(n)} rows" if n is not None else "")
            for name, n in rows
        ]
        self.query_one(Entries).show([every, *entries] if len(entries) != 1 else entries)

    def _read(self) -> None:
        entry = self.query_one(Entries).entry
        if entry is not None and not self.tracks.problem:
            request = ReadPaths(self.store, entry.key, self.kind)
            self._asked = worker_of(self.app).ask(request, self)

    def _draw(self, paths: Paths) -> None:
        self.query_one(TrackMap).show(paths)
        self.query_one("#speeds", Bars).show(paths.speeds, f"{paths.unit}/s")
        self.query_one("#lengths", Bars).show(paths.lengths, "s")
        drawn = f", {count(paths.drawn)} drawn" if paths.drawn < paths.tracks else ""
        kind = f" of type {paths.kind}" if paths.kind else ""
        told = f"{paths.scene or 'all scenes'}: {count(paths.tracks)} tracks{kind}{drawn}"
        self.query_one(Title).state = told
