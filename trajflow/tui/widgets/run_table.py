"""The table of runs and stores below a folder."""

import math
import time
from functools import partial
from typing import ClassVar

from textual.binding import Binding, BindingType

from trajflow.library import RUN_SCORES, Entry, Library, RunEntry
from trajflow.tui.format import ago, count
from trajflow.tui.widgets.tables import Cell, RecordTable, TableColumn, score_column, word_column

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
                _of_runs(TableColumn("epoch", 7, _epochs, lambda run: run.history.epoch)),
                *(_of_runs(score_column(key, partial(_best, key))) for key in RUN_SCORES),
                word_column("data", 13, self._store_name),
                _of_runs(
                    word_column("split", 11, lambda run: f"{run.split} {run.fold or ''}".rstrip())
                ),
                TableColumn(
                    "age", 9, lambda entry: ago(time.time() - entry.modified), lambda e: e.modified
                ),
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


def _of_runs(column: TableColumn[RunEntry]) -> TableColumn[Entry]:
    """The column of runs in a table where stores leave it empty."""

    def cell(entry: Entry) -> Cell:
        return column.cell(entry) if isinstance(entry, RunEntry) else ""

    def value(entry: Entry) -> object:
        return column.value(entry) if isinstance(entry, RunEntry) else None

    return TableColumn(column.name, column.width, cell, value, column.down)


def _best(key: str, run: RunEntry) -> float:
    return run.history.best(key)


def _state_word(entry: Entry) -> str:
    if isinstance(entry, RunEntry):
        return entry.state
    return "damaged" if entry.problem else "store"


def _state(entry: Entry) -> Cell:
    sign, tone = MARKS[_state_word(entry)]
    return f"{sign} {_state_word(entry)}", tone


def _epochs(run: RunEntry) -> str:
    done, total = run.history.epoch, run.history.epochs
    return f"{done:.0f}/{total:.0f}" if math.isfinite(done + total) else "-"
