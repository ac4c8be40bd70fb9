"""The table of runs and stores below a folder."""

import math
import time
from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType

from trajflow.library import Entry, Library, RunEntry
from trajflow.tui.format import ago, count, number, percent
from trajflow.tui.widgets.tables import Cell, RecordTable, TableColumn, word_column

MARKS = {
    "training": ("◐", "accent"),
    "done": ("●", "success"),
    "stopped": ("○", "muted"),
    "damaged": ("!", "error"),
    "store": ("▤", "muted"),
}


class RunTable(RecordTable[Entry]):
    """Runs and stores, newest first; `marked` are the paths of marked runs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,l,right", "select_cursor", "Open", key_display="enter", id="runs.open"),
        Binding("space", "mark", "Mark", id="runs.mark"),
    ]

    def __init__(self) -> None:
        self.library, self.marked = Library(), set[str]()
        super().__init__(
            [
                TableColumn(
                    "name", 20, self._entry_name, lambda entry: entry.name.lower(), down=False
                ),
                TableColumn("state", 10, _state, _state_word, down=False),
                TableColumn("epoch", 7, _epochs, _epoch),
                _score_column("energy", "energy_score"),
                _score_column("minADE", "min_ade"),
                _score_column("minFDE", "min_fde"),
                _score_column("cov@90", "coverage_90", percent),
                word_column("data", 13, self._store_name),
                word_column("split", 11, _split),
                TableColumn("age", 9, _age, lambda entry: entry.modified),
            ],
            lambda entry: str(entry.path),
            order="age",
        )

    def show_library(self, library: Library) -> None:
        self.library = library
        self.marked &= {str(run.path) for run in library.runs}
        self.show(library.entries)

    def action_mark(self) -> None:
        if isinstance(self.record, RunEntry):
            self.marked ^= {str(self.record.path)}
            self.show(self.library.entries)
            self.action_cursor_down()

    def _entry_name(self, entry: Entry) -> Cell:
        marked = str(entry.path) in self.marked
        return (f"✓ {entry.name}", "accent") if marked else (entry.name, "bold")

    def _store_name(self, entry: Entry) -> str:
        if isinstance(entry, RunEntry):
            store = self.library.store_of(entry)
            return store.name if store else "not here"
        return f"{count(entry.about['trajectories'])} tracks" if entry.about else "-"


def _score_column(
    name: str, key: str, write: Callable[[float], str] = number
) -> TableColumn[Entry]:
    """A column that stores leave empty."""

    def score(entry: Entry) -> float:
        return entry.history.best(key) if isinstance(entry, RunEntry) else math.nan

    def cell(entry: Entry) -> str:
        return write(score(entry)) if isinstance(entry, RunEntry) else ""

    return TableColumn(name, 7, cell, score)


def _state_word(entry: Entry) -> str:
    if isinstance(entry, RunEntry):
        return entry.state
    return "damaged" if entry.problem else "store"


def _state(entry: Entry) -> Cell:
    sign, tone = MARKS[_state_word(entry)]
    return f"{sign} {_state_word(entry)}", tone


def _epoch(entry: Entry) -> float:
    return entry.history.epoch if isinstance(entry, RunEntry) else math.nan


def _epochs(entry: Entry) -> str:
    if not isinstance(entry, RunEntry):
        return ""
    done, total = entry.history.epoch, entry.history.epochs
    return f"{done:.0f}/{total:.0f}" if math.isfinite(done + total) else "-"


def _split(entry: Entry) -> str:
    if not isinstance(entry, RunEntry):
        return ""
    return f"{entry.split} {entry.fold}" if entry.fold else entry.split


def _age(entry: Entry) -> str:
    return ago(max(0.0, time.time() - entry.modified))
