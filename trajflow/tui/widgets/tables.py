"""A table of records: sorted by any column, filtered by words, its cursor stays on its record."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import DataTable, Input

from trajflow.text import safe
from trajflow.tui.format import number
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
        down: Whether the largest come first when it is chosen; such columns are aligned right.
    """

    name: str
    width: int
    cell: Callable[[Record], Cell]
    value: Callable[[Record], Any]
    down: bool = True


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


def word_column(name: str, width: int, word: Callable[[Record], str]) -> TableColumn[Record]:
    """A column of words in alphabetical order, empty ones last."""
    return TableColumn(name, width, word, lambda record: word(record) or None, down=False)


class RecordTable(DataTable[Text], Generic[Record], inherit_bindings=False):
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
        self._pinned, self._fitting = 0, tuple[TableColumn[Record], ...]()
        self._cells: list[list[Cell]] = []
        self._wanted: str | None = None
        self._left, self._width = 0, 0
        self._texts: list[str] = []

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
        self._all, self._pinned, self._texts = tuple(records), pinned, []
        self._arrange()

    def choose(self, key: str) -> None:
        """Move the cursor to a record, now or once it is shown."""
        self._wanted = key
        self._move_to(key)

    def sort_by(self, name: str) -> None:
        """Sort by a column, or the other way round if it is sorted by that already."""
        self.reverse = name == self.order and not self.reverse
        self.order = name
        self._arrange(anew=True)

    def keep(self, words: str) -> None:
        self.filter_text = words
        self._arrange()

    def on_resize(self) -> None:
        if self.size.width != self._width:  # a filter below changes only the height
            self._width = self.size.width
            self._arrange(anew=True)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        if self.is_attached:
            self._arrange(anew=True)

    def on_data_table_header_selected(self, message: DataTable.HeaderSelected) -> None:
        message.stop()
        self.sort_by(str(message.column_key.value))

    def action_scroll_top(self) -> None:
        self.move_cursor(row=0)

    def action_scroll_bottom(self) -> None:
        self.move_cursor(row=self.row_count - 1)

    def action_sort(self, way: int) -> None:
        names = [column.name for column in self._fitting]
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

    def _arrange(self, anew: bool = False) -> None:
        """Filter, sort and write the records; only cells that changed, if the rows are the same."""
        chosen, before = self.chosen, [self._key(one) for one in self.records]
        room = self.size.width - self.styles.scrollbar_size_vertical
        if room < 4:
            self.records = list(self._all)
            return
        fitting = self._columns_within(room)
        words = self.filter_text.lower().split()
        rest = list(self._all[self._pinned :])
        if words:
            self._texts = self._texts or [self._words_of(one) for one in rest]
            pairs = zip(rest, self._texts, strict=True)
            rest = [one for one, text in pairs if all(word in text for word in words)]
        column = next((each for each in self._all_columns if each.name == self.order), None)
        if column is not None:
            values = [column.value(one) for one in rest]
            present = [k for k, value in enumerate(values) if not _missing(value)]
            missing = [one for one, value in zip(rest, values, strict=True) if _missing(value)]
            present.sort(key=values.__getitem__, reverse=column.down != self.reverse)
            rest = [*(rest[k] for k in present), *missing]
        self._left = self._pinned + len(rest)
        self.records = [*self._all[: self._pinned], *rest][:MAX_ROWS]
        old, self._cells = self._cells, [[c.cell(one) for c in fitting] for one in self.records]
        keys = [self._key(one) for one in self.records]
        if anew or keys != before or fitting != self._fitting or len(old) != len(self._cells):
            self._fitting = fitting
            self._fill(room, keys, chosen)
            return
        for row, (was, now) in enumerate(zip(old, self._cells, strict=True)):
            for place, (former, cell) in enumerate(zip(was, now, strict=True)):
                if former != cell:
                    text = self._text(cell, fitting[place], place)
                    self.update_cell_at((row, place), text)  # type: ignore[arg-type]

    def _columns_within(self, room: int) -> tuple[TableColumn[Record], ...]:
        fitting: list[TableColumn[Record]] = []
        for column in self._all_columns:
            room -= column.width + 1
            if room < 0:
                break
            fitting.append(column)
        return tuple(fitting or self._all_columns[:1])

    def _fill(self, room: int, keys: Sequence[str], chosen: str | None) -> None:
        self.clear(columns=True)
        spare = room - sum(column.width + 1 for column in self._fitting)
        for place, column in enumerate(self._fitting):
            down = column.down != self.reverse
            arrow = ("▼" if down else "▲") if column.name == self.order else ""
            cut = place == 0 and self._left > MAX_ROWS
            name = f"{MAX_ROWS} of {self._left}" if cut else column.name
            label = self._text((name + arrow, "bold"), column, place)
            width = column.width + 1 + (spare if place == 0 else 0)
            self.add_column(label, width=width, key=column.name)
        for key, cells in zip(keys, self._cells, strict=True):
            texts = (self._text(c, self._fitting[n], n) for n, c in enumerate(cells))
            self.add_row(*texts, key=key)
        self._move_to(self._wanted or chosen)

    def _move_to(self, key: str | None) -> None:
        keys = [self._key(one) for one in self.records]
        if key in keys and self.row_count == len(keys):
            self._wanted = None
            self.move_cursor(row=keys.index(key), animate=False)

    def _text(self, cell: Cell, column: TableColumn[Record], place: int) -> Text:
        words, tone = (cell, "") if isinstance(cell, str) else cell
        style = tone if tone in ("", "bold", "dim") else rich_color(self, tone)
        right = column.down and place > 0
        text = safe(words, MAX_CELL)
        return Text(
            text if right else f" {text}",
            style,
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if right else "left",
        )

    def _words_of(self, record: Record) -> str:
        cells = (column.cell(record) for column in self._all_columns)
        return " ".join(cell if isinstance(cell, str) else cell[0] for cell in cells).lower()


class FilterInput(Input):
    """A line below a table whose words its rows must have; escape shows all rows again."""

    DEFAULT_CSS = "FilterInput { height: 1; border: none; padding: 0 1; }"
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


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
