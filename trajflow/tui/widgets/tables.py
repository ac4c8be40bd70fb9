"""A table of records: sorted by any column, filtered by words, its cursor stays on its record."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any, ClassVar, Generic, TypeVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.widget import Widget
from textual.widgets import DataTable, Input

from trajflow.text import safe
from trajflow.tui.format import HEADS, count, number, score
from trajflow.tui.widgets.text import rich_color

Record = TypeVar("Record")
Cell = str | tuple[str, str]
"""What is written, and the name of its colour in the theme or "bold"."""
MAX_ROWS = 1000
"""Rows that are shown at most: the first ones in their order, of those that the filter leaves.

The header of the first column then says of how many."""
MAX_CELL = 80


@dataclass(frozen=True)
class TableColumn(Generic[Record]):
    """A column of a `RecordTable`.

    Attributes:
        name: Its header.
        width: Columns of the terminal; the first column gets what the others leave.
        cell: What is written of a record.
        value: What records are sorted by; None and NaN come last.
        down: Whether the largest come first when it is chosen; such columns are aligned right,
            and the first column is none of them.
    """

    name: str
    width: int
    cell: Callable[[Record], Cell]
    value: Callable[[Record], Any]
    down: bool = True


@dataclass(frozen=True)
class DrawnCell:
    """A cell that becomes a text when it is drawn: most rows of a long table never are."""

    table: Widget = field(compare=False)
    cell: Cell
    right: bool

    @property
    def text(self) -> Text:
        words, tone = (self.cell, "") if isinstance(self.cell, str) else self.cell
        style = tone if tone in ("", "bold", "dim") else rich_color(self.table, tone)
        text = Text(safe(words, MAX_CELL), style, no_wrap=True, overflow="ellipsis")
        if self.right:
            text.justify = "right"
        else:
            text.pad_left(1)
        return text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        text, room = self.text, options.max_width
        if not self.right and len(text) > room > 8:  # names often differ at their ends only
            text = text[: room - room // 2 - 1] + "…" + text[-(room // 2) :]
        yield text


def number_column(
    name: str,
    width: int,
    value: Callable[[Record], float],
    write: Callable[[float], str] = number,
    empty: str = "-",
) -> TableColumn[Record]:
    """A column of numbers, the largest first; NaN is written as `empty`."""

    def cell(record: Record) -> str:
        shown = value(record)
        return empty if math.isnan(shown) else write(shown)

    return TableColumn(name, width, cell, value)


def score_column(
    key: str, value: Callable[[Record], float], empty: str = "-"
) -> TableColumn[Record]:
    """A column of a score, with the same name and digits in all tables."""
    return number_column(HEADS[key], 7, value, partial(score, key), empty)


def word_column(name: str, width: int, word: Callable[[Record], str]) -> TableColumn[Record]:
    """A column of words in alphabetical order, empty ones last."""
    return TableColumn(name, width, word, lambda record: word(record) or None, down=False)


class RecordTable(DataTable[DrawnCell], Generic[Record], inherit_bindings=False):
    """Shows records in rows; columns for which there is no room are left out, the last ones first.

    Args:
        columns: The columns, the most important ones first.
        key: What tells a record from others.
        order: Name of the column to sort by; empty: in the order of the records.

    Attributes:
        reverse: Whether the order is against that which the column begins with.
        records: The records that are shown, in their order.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Open", show=False, id="table.open"),
        Binding("down,j", "cursor_down", "Cursor down", show=False, id="table.down"),
        Binding("up,k", "cursor_up", "Cursor up", show=False, id="table.up"),
        Binding("pagedown", "page_down", "Page down", show=False, id="table.page_down"),
        Binding("pageup", "page_up", "Page up", show=False, id="table.page_up"),
        Binding("g,home", "scroll_top", "Top", show=False, id="table.first"),
        Binding("G,end", "scroll_bottom", "Bottom", show=False, id="table.last"),
        Binding("slash", "filter", "Filter", key_display="/", id="table.filter"),
        Binding("greater_than_sign", "sort(1)", "Sort", key_display="< >", id="table.sort"),
        Binding("less_than_sign", "sort(-1)", "Sort by previous", False, id="table.sort2"),
        Binding("R", "reverse", "Reverse the order", show=False, id="table.reverse"),
    ]

    def __init__(
        self,
        columns: Sequence[TableColumn[Record]],
        key: Callable[[Record], str],
        order: str = "",
        id: str | None = None,
    ) -> None:
        super().__init__(
            cursor_type="row", cursor_foreground_priority="renderable", cell_padding=0, id=id
        )
        self._all_columns, self._key = tuple(columns), key
        self.order, self.reverse, self.filter_text = order, False, ""
        self.records: list[Record] = []
        self._all: tuple[Record, ...] = ()
        self._pinned = 0
        self._wanted: str | None = None
        self._kept: Sequence[Record] = ()
        self._room = 0
        self._shown_heads: list[tuple[DrawnCell, int, str]] = []

    @property
    def record(self) -> Record | None:
        """None in an empty table."""
        row = self.cursor_row
        return self.records[row] if 0 <= row < len(self.records) else None

    @property
    def chosen(self) -> str | None:
        """The key of the record under the cursor; None in an empty table."""
        return None if self.record is None else self._key(self.record)

    def show(self, records: Sequence[Record], pinned: int = 0) -> None:
        """Show other records, the first `pinned` of them always on top."""
        self._all, self._pinned = tuple(records), pinned
        self.keep(self.filter_text)

    def choose(self, key: str) -> None:
        """Move the cursor to a record, now or once it is shown."""
        self._wanted = key
        self._move_to(key)

    def sort_by(self, name: str) -> None:
        """Sort by a column, or the other way round if it is sorted by that already."""
        self.reverse = name == self.order and not self.reverse
        self.order = name
        self._arrange()

    def keep(self, words: str) -> None:
        """Show only records in which all of these words are written."""
        self.filter_text, self._kept = words, self._all[self._pinned :]
        for word in words.lower().split():
            self._kept = [one for one in self._kept if self._has(one, word)]
        self._arrange()

    @property
    def room(self) -> int:
        """Columns of the terminal beside a gap and the scroll bar, whether it is there or not."""
        return self.outer_size.width - 1 - self.styles.scrollbar_size_vertical

    def on_mount(self) -> None:
        if self.app.has_class("-few-colors"):  # no colour of 16 is legible on the cursor and beside
            self.cursor_foreground_priority = "css"

    def on_resize(self) -> None:
        if self.room != self._room:  # a filter below changes only the height
            self._room = self.room
            self._arrange()

    def on_data_table_header_selected(self, message: DataTable.HeaderSelected) -> None:
        message.stop()
        self.sort_by(str(message.column_key.value))

    def action_sort(self, way: int) -> None:
        names = [str(key.value) for key in self.columns]
        at = names.index(self.order) + way if self.order in names else 0
        self.sort_by(names[at % len(names)])

    def action_reverse(self) -> None:
        if self.order:
            self.sort_by(self.order)

    async def action_filter(self) -> None:
        if shown := self.screen.query(FilterInput):
            shown.first().focus()
        elif isinstance(self.parent, Widget):
            await self.parent.mount(FilterInput(self), after=self)

    def _arrange(self) -> None:
        """Filter, sort and write the records; only cells that changed, if the rows are the same."""
        if self.room < 4:
            self.records = list(self._all)
            return
        chosen, left = self.chosen, (*self._all[: self._pinned], *self._sorted(self._kept))
        self.records = list(left[:MAX_ROWS])
        columns = self._fitting_columns()
        heads = self._heads(columns, len(left))
        rows = {
            self._key(one): [DrawnCell(self, each.cell(one), each.down) for each in columns]
            for one in self.records
        }
        if heads != self._shown_heads or list(rows) != list(self.rows):
            self._shown_heads = heads
            self.clear(columns=True)
            for head, width, name in heads:
                self.add_column(head.text, width=width, key=name)
            for key, cells in rows.items():
                self.add_row(*cells, key=key)
            self._move_to(self._wanted or chosen)
            return
        for row, cells in enumerate(rows.values()):
            for place, (old, new) in enumerate(zip(self.get_row_at(row), cells, strict=True)):
                if old != new:
                    self.update_cell_at(Coordinate(row, place), new)

    def _heads(
        self, columns: Sequence[TableColumn[Record]], left: int
    ) -> list[tuple[DrawnCell, int, str]]:
        """The header of each column, its width, and its name."""
        heads, spare = [], self.room - sum(column.width + 1 for column in columns)
        first = f"{count(MAX_ROWS)} of {count(left)}" if left > MAX_ROWS else columns[0].name
        for words, column in zip([first, *(c.name for c in columns[1:])], columns, strict=True):
            arrow = "▼" if column.down != self.reverse else "▲"
            head = words + arrow if column.name == self.order else words
            cell = DrawnCell(self, (head, "bold"), column.down)
            heads.append((cell, column.width + 1 + spare, column.name))
            spare = 0
        return heads

    def _sorted(self, records: Sequence[Record]) -> Sequence[Record]:
        column = next((each for each in self._all_columns if each.name == self.order), None)
        if column is None:
            return records
        values = [column.value(one) for one in records]
        known = [k for k, value in enumerate(values) if value is not None and value == value]
        known.sort(key=values.__getitem__, reverse=column.down != self.reverse)
        unknown = set(range(len(values))).difference(known)
        return [records[k] for k in (*known, *sorted(unknown))]

    def _fitting_columns(self) -> Sequence[TableColumn[Record]]:
        """The first columns that there is room for, and at least one."""
        ends = accumulate(column.width + 1 for column in self._all_columns)
        return self._all_columns[: max(1, sum(end <= self.room for end in ends))]

    def _move_to(self, key: str | None) -> None:
        if key is not None and key in self.rows:
            self._wanted = None
            self.move_cursor(row=self.get_row_index(key))

    def _has(self, record: Record, word: str) -> bool:
        """Whether a word is written in any column, also in one that there is no room for."""
        cells = (column.cell(record) for column in self._all_columns)
        return any(word in (cell if isinstance(cell, str) else cell[0]).lower() for cell in cells)


class FilterInput(Input):
    """A line below a table whose words its rows must have; escape shows all rows again."""

    DEFAULT_CSS = "FilterInput, FilterInput:focus { height: 1; border: none; padding: 0 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Show all", id="filter.close"),
        Binding("down", "table", "To the table", show=False, id="filter.table"),
    ]

    def __init__(self, table: RecordTable[Any]) -> None:
        super().__init__(table.filter_text, placeholder="words to filter by")
        self._table = table

    def on_mount(self) -> None:
        self.focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        message.stop()
        if self.value != self._table.filter_text:
            self._table.keep(self.value)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        message.stop()
        self.action_table()

    def action_table(self) -> None:
        self._table.focus()
        if not self.value:
            self.remove()

    def action_close(self) -> None:
        self._table.keep("")
        self._table.focus()
        self.remove()
