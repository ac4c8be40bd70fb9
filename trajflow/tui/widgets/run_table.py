"""The table of runs and stores below a folder."""

import math
import time
from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType

from trajflow.library import Entry, Library, RunEntry
from trajflow.tui.format import ago, count, number, percent
from trajflow.tui.widgets.tables import Cell, RecordTable, TableColumn

MARKS = {
    "training": ("◐", "accent"),
    "done": ("●", "success"),
    "stopped": ("○", "muted"),
    "damaged": ("!", "error"),
    "store": ("▤", "muted"),
}


class RunTable(RecordTable[Entry]):
    """Runs and stores, newest first; runs can be marked.

    Attributes:
        library: What is shown.
        marked: Paths of the marked runs.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,l,right", "select_cursor", "Open", key_display="enter", id="runs.open"),
        Binding("space", "mark", "Mark", id="runs.mark"),
    ]

    def __init__(self) -> None:
        self.library, self.marked = Library(), set[str]()
        columns: list[TableColumn[Entry]] = [
            TableColumn("name", 20, self._entry_name, lambda entry: entry.name.lower(), down=False),
            TableColumn("state", 10, _state, _state_word, down=False),
            _run_column("epoch", 7, _epochs, lambda run: run.history.epoch),
            _score_column("energy", "energy_score"),
            _score_column("minADE", "min_ade"),
            _score_column("minFDE", "min_fde"),
            _score_column("cov@90", "coverage_90", percent),
            TableColumn("data", 13, self._store_name, self._store_name, down=False),
            TableColumn("split", 11, _split, lambda entry: _split(entry) or None, down=False),
            TableColumn("age", 9, _age, lambda entry: entry.modified),
        ]
        super().__init__(columns, lambda entry: str(entry.path), order="age")

    def show_library(self, library: Library) -> None:
        """Show what lies below a folder now."""
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


def _run_column(
    name: str, width: int, cell: Callable[[RunEntry], str], value: Callable[[RunEntry], float]
) -> TableColumn[Entry]:
    """A column that stores leave empty."""
    return TableColumn(
        name,
        width,
        lambda entry: cell(entry) if isinstance(entry, RunEntry) else "",
        lambda entry: value(entry) if isinstance(entry, RunEntry) else math.nan,
    )


def _score_column(
    name: str, key: str, write: Callable[[float], str] = number, width: int = 7
) -> TableColumn[Entry]:
    return _run_column(
        name, width, lambda run: write(run.history.best(key)), lambda run: run.history.best(key)
    )


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


def _split(entry: Entry) -> str:
    if not isinstance(entry, RunEntry):
        return ""
    return f"{entry.split} {entry.fold}" if entry.fold else entry.split


def _age(entry: Entry) -> str:
    return ago(max(0.0, time.time() - entry.modified))
