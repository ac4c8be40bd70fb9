"""A list of things, two lines each, drawn line by line so that a thousand are as quick as ten."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from trajflow.text import safe
from trajflow.text import width as _columns
from trajflow.tui.keys import bound
from trajflow.tui.widgets.spark import spark

HIGH = 2
"""Lines of an entry."""
CURVE = 12
"""Columns of its curve."""


@dataclass(frozen=True)
class Entry:
    """One thing of the list; words from data are shown as they are.

    Attributes:
        key: What tells it from others.
        mark: One letter before its name.
        tone: How it stands: "good", "busy", "bad" or "calm".
        name: Its name.
        right: A word at the end of the first line.
        below: The second line.
        curve: Values drawn at the end of the second line.
    """

    key: Any
    mark: str
    tone: str
    name: str
    right: str = ""
    below: str = ""
    curve: tuple[float, ...] = ()


class Entries(ScrollView, can_focus=True):
    """The list; one entry is chosen, and can be opened.

    Attributes:
        chosen: Number of the chosen entry.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"entries--{part}"
        for part in ("name", "below", "curve", "good", "busy", "bad", "calm", "cursor", "blurred")
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        bound("list.down", "j,down", "move(1)", "Next", show=False),
        bound("list.up", "k,up", "move(-1)", "Previous", show=False),
        bound("list.page_down", "pagedown,space", "move(8)", "Further down", show=False),
        bound("list.page_up", "pageup,b", "move(-8)", "Further up", show=False),
        bound("list.first", "g,home", "move(-1000000)", "First", show=False),
        bound("list.last", "G,end", "move(1000000)", "Last", show=False),
        bound("list.open", "enter,l,right", "open", "Open", shown="enter"),
    ]

    chosen: reactive[int] = reactive(0)

    @dataclass
    class Chosen(Message):
        """Another entry is chosen."""

        entry: Entry

    @dataclass
    class Opened(Message):
        """An entry is to be opened."""

        entry: Entry

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.entries: tuple[Entry, ...] = ()

    @property
    def entry(self) -> Entry | None:
        """The chosen entry."""
        return self.entries[self.chosen] if self.chosen < len(self.entries) else None

    def show(self, entries: Sequence[Entry]) -> None:
        """Show other entries; the chosen one stays chosen wherever it has gone."""
        before = self.entry
        self.entries = tuple(entries)
        keys = [entry.key for entry in entries]
        if before and before.key in keys:
            self.set_reactive(Entries.chosen, keys.index(before.key))
        else:
            self.set_reactive(Entries.chosen, min(self.chosen, max(0, len(keys) - 1)))
        self._fit()
        self.refresh()
        now = self.entry
        if now and (before is None or before.key != now.key):
            self.post_message(self.Chosen(now))

    def render_line(self, y: int) -> Strip:
        """One line of the list."""
        row = y + self.scroll_offset.y
        index, part = divmod(row, HIGH)
        width = self.size.width
        if index >= len(self.entries):
            return Strip.blank(width, self.rich_style)
        entry, ground = self.entries[index], self._ground(index)
        parts = self._first(entry, width) if part == 0 else self._second(entry, width)
        line = Strip([Segment(text, self._style(name) + ground) for text, name in parts])
        return line.adjust_cell_length(width, self._style("below") + ground)

    def validate_chosen(self, chosen: int) -> int:
        """Stay inside the list."""
        return max(0, min(chosen, len(self.entries) - 1))

    def watch_chosen(self) -> None:
        """Scroll to it and say so."""
        self.scroll_to_region(Region(0, self.chosen * HIGH, 1, HIGH), animate=False)
        self.refresh()
        if self.entry:
            self.post_message(self.Chosen(self.entry))

    def on_resize(self, event: Resize) -> None:
        """The chosen entry stays in sight."""
        self._fit()
        self.scroll_to_region(Region(0, self.chosen * HIGH, 1, HIGH), animate=False)

    def on_click(self, event: Click) -> None:
        """Choose what is clicked; open it if it was chosen."""
        index = (event.y + self.scroll_offset.y) // HIGH
        if index >= len(self.entries):
            return
        if index == self.chosen:
            self.action_open()
        self.chosen = index

    def action_move(self, by: int) -> None:
        """Choose another entry."""
        self.chosen += by

    def action_open(self) -> None:
        """Open the chosen entry."""
        if self.entry:
            self.post_message(self.Opened(self.entry))

    def _fit(self) -> None:
        self.virtual_size = Size(self.size.width, HIGH * len(self.entries))

    def _style(self, name: str) -> Style:
        style = self.get_component_rich_style(f"entries--{name}", partial=True)
        return self.rich_style + style

    def _ground(self, index: int) -> Style:
        if index != self.chosen:
            return Style()
        name = "cursor" if self.has_focus else "blurred"
        return Style(bgcolor=self.get_component_rich_style(f"entries--{name}").bgcolor)

    def _first(self, entry: Entry, width: int) -> list[tuple[str, str]]:
        right = safe(entry.right, 16)
        room = max(1, width - len(right) - 5)
        name = _cut(entry.name, room)
        gap = " " * max(1, width - 4 - _columns(name) - len(right))
        bar = "▌" if self.entry is entry else " "
        return [(f"{bar}{entry.mark} ", entry.tone), (name, "name"), (gap + right + " ", "below")]

    def _second(self, entry: Entry, width: int) -> list[tuple[str, str]]:
        curve = spark(entry.curve, min(CURVE, max(0, width // 4)))
        room = max(1, width - len(curve) - 5)
        below = _cut(entry.below, room)
        gap = " " * max(1, width - 4 - _columns(below) - len(curve))
        bar = "▌" if self.entry is entry else " "
        return [(f"{bar}  ", entry.tone), (below, "below"), (gap, "below"), (curve + " ", "curve")]


def _cut(text: str, room: int) -> str:
    """As much of a text as has room, its wide letters counted twice."""
    shown = safe(text, room)
    while _columns(shown) > room:
        shown = shown[:-2] + "…"
    return shown
