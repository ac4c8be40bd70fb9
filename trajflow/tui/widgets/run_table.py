"""Tables of runs, stores and scenes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from trajflow.text import safe, width
from trajflow.tui.format import ago, count, number, spark
from trajflow.tui.library import Entry, StoreEntry
from trajflow.tui.widgets.text import rich_color

CURVE = 12
"""Columns of the validation scores beside a run."""
MARKS = {
    "training": ("◐", "accent"),
    "done": ("●", "success"),
    "stopped": ("○", "muted"),
    "damaged": ("!", "error"),
    "store": ("▤", "muted"),
}


@dataclass(frozen=True)
class Row:
    """A row of a `KeyTable`.

    Attributes:
        key: What tells it from others.
        mark: A key of `MARKS`; empty for none.
        name: Its name; words from data are shown as they are.
        right: A word at the end of the first line.
        below: The second line; empty for rows of one line.
        curve: Values drawn at the end of the second line.
    """

    key: str
    mark: str
    name: str
    right: str = ""
    below: str = ""
    curve: tuple[float, ...] = ()


class KeyTable(DataTable[Text]):
    """A table whose cursor chooses a row; it stays on its row while the rows change.

    Attributes:
        lines: Lines of a row.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Cursor down", show=False, id="table.down"),
        Binding("k", "cursor_up", "Cursor up", show=False, id="table.up"),
        Binding("space", "page_down", "Page down", show=False, id="table.page_down"),
        Binding("b", "page_up", "Page up", show=False, id="table.page_up"),
        Binding("g,home", "scroll_top", "Top", show=False, id="table.first"),
        Binding("G,end", "scroll_bottom", "Bottom", show=False, id="table.last"),
        Binding("enter,l,right", "select_cursor", "Open", key_display="enter", id="table.open"),
    ]

    def __init__(self, *, lines: int = 1, id: str | None = None) -> None:
        super().__init__(
            cursor_type="row",
            cursor_foreground_priority="renderable",
            show_header=False,
            cell_padding=0,
            id=id,
        )
        self.lines = lines
        self._rows: tuple[Row, ...] = ()

    @property
    def chosen(self) -> str | None:
        """The key of the row under the cursor; None in an empty table."""
        return self._rows[self.cursor_row].key if self.cursor_row < len(self._rows) else None

    def show(self, rows: Sequence[Row]) -> None:
        """Show other rows."""
        before, self._rows = self._rows, tuple(rows)
        if [row.key for row in before] != [row.key for row in rows]:
            self._fill(before[self.cursor_row].key if self.cursor_row < len(before) else None)
            return
        for number_, (old, new) in enumerate(zip(before, rows, strict=True)):
            if old != new:
                for column, cell in enumerate(self._cells(new)):
                    self.update_cell_at((number_, column), cell)  # type: ignore[arg-type]

    def on_resize(self) -> None:
        self._fill(self.chosen)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        if self.is_attached:
            self._fill(self.chosen)

    def action_scroll_top(self) -> None:
        self.move_cursor(row=0)

    def action_scroll_bottom(self) -> None:
        self.move_cursor(row=self.row_count - 1)

    def _fill(self, chosen: str | None) -> None:
        self.clear(columns=True)
        room = self.size.width - self.scrollbar_size_vertical
        if room < 4:
            return
        keys = [row.key for row in self._rows]
        self.add_column("", width=room)
        for row in self._rows:
            self.add_row(*self._cells(row), key=row.key, height=self.lines)
        if chosen in keys:
            self.move_cursor(row=keys.index(chosen), animate=False)

    def _cells(self, row: Row) -> list[Text]:
        room = self.size.width - self.scrollbar_size_vertical
        muted = rich_color(self, "muted")
        mark, tone = MARKS.get(row.mark, (" ", "muted"))
        text = Text(no_wrap=True, end="")
        text.append(f" {mark} ", rich_color(self, tone))
        right = safe(row.right, 16)
        self._line(text, row.name, right, room, ("bold", muted))
        if self.lines > 1:
            text.append("\n   ")
            curve = spark(row.curve, min(CURVE, max(0, room // 4)))
            self._line(text, row.below, curve, room, (muted, rich_color(self, "primary")))
        return [text]

    @staticmethod
    def _line(text: Text, left: str, right: str, room: int, styles: tuple[str, str]) -> None:
        """The rest of a line after three columns: something left, something right."""
        left = _cut(left, max(1, room - len(right) - 5))
        text.append(left, styles[0])
        text.append(" " * max(1, room - 4 - width(left) - len(right)))
        text.append(right + " ", styles[1])


def entry_row(entry: Entry) -> Row:
    """A run or a store as a row."""
    when = ago(max(0.0, time.time() - entry.modified))
    key = str(entry.path)
    if isinstance(entry, StoreEntry):
        about = entry.about or {}
        if entry.problem:
            return Row(key, "damaged", entry.name, when, entry.problem)
        size = f"{count(about['trajectories'])} tracks · {about['scenes']} scenes"
        return Row(key, "store", entry.name, when, f"{size} · {entry.dt:g} s")
    energy = number(entry.history.best("energy_score"))
    score = f"energy {energy}" if energy != "-" else "not evaluated yet"
    return Row(
        key,
        entry.state,
        entry.name,
        when if entry.state == "done" else entry.state,
        entry.problem or f"{entry.encoder} · {entry.preset} · {score}",
        tuple(entry.history.scores("energy_score")),
    )


def _cut(text: str, room: int) -> str:
    """As much of a text as has room; wide letters count twice."""
    shown = safe(text, room)
    while width(shown) > room:
        shown = shown[:-2] + "…"
    return shown
