"""Widgets of words: the title line, facts, findings, progress."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from trajflow.text import safe

Line = Sequence[tuple[str, str]]
MAX_TITLE, MAX_FACT, MAX_FINDING = 120, 120, 600
LEVELS = {
    "error": ("✕", "error"),
    "warning": ("!", "warning"),
    "note": ("i", "primary"),
    "ok": ("✓", "success"),
}
PARTIAL = " ▏▎▍▌▋▊▉█"


def rich_color(widget: Widget, name: str) -> str:
    """A colour of the theme as Rich writes it."""
    return widget.app.theme_variables[name].removeprefix("ansi_")


class TitleBar(Widget):
    """The first line of every screen; words from data are shown as they are.

    Attributes:
        place: What the screen shows.
        state: What happens now, at the right.
    """

    place: reactive[str] = reactive("")
    state: reactive[str] = reactive("")

    def __init__(self, place: str, state: str = "") -> None:
        super().__init__()
        self.place, self.state = place, state

    def render(self) -> Table:
        """The line."""
        line = Table.grid(expand=True)
        line.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        line.add_column(justify="right", no_wrap=True)
        left = Text(" trajflow ", "bold")
        left.append(f" {safe(self.place, MAX_TITLE)}")
        line.add_row(left, Text(safe(self.state, MAX_TITLE) + " "))
        return line


class FactList(Static):
    """Lines of names in a muted colour and values in a strong one, shown as they are."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: tuple[Line, ...] = ()

    def show(self, lines: Sequence[Line]) -> None:
        """Show lines of (name, value) pairs; a pair without a name is a sentence."""
        self._lines = tuple(lines)
        self._write()

    def notify_style_update(self) -> None:
        """Write with the colours of another theme."""
        super().notify_style_update()
        if self.is_attached and self._lines:
            self._write()

    def _write(self) -> None:
        muted = rich_color(self, "muted")
        text = Text(no_wrap=True, overflow="ellipsis")
        for number, line in enumerate(self._lines):
            text.append("\n" if number else "")
            for order, (name, value) in enumerate(line):
                text.append("   " if order else "")
                if name:
                    text.append(f"{safe(name, MAX_FACT)} ", muted)
                text.append(safe(value, MAX_FACT), "bold" if name else "")
        self.update(text)


class FindingList(VerticalScroll):
    """What was found in a store: a sign and a word for the level, what was examined, what it is."""

    def __init__(self) -> None:
        super().__init__()
        self._findings: tuple[tuple[str, str, str], ...] = ()

    def compose(self) -> ComposeResult:
        """One text that scrolls."""
        yield Static("")

    def show(self, findings: Sequence[tuple[str, str, str]], note: str = "") -> None:
        """Show findings (level, what was examined, what was found), or a note instead."""
        self._findings = tuple(findings)
        self._write()
        if note:
            self.query_one(Static).update(Text(safe(note, MAX_FINDING)))

    def notify_style_update(self) -> None:
        """Write with the colours of another theme."""
        super().notify_style_update()
        if self.is_attached and self._findings:
            self._write()

    def _write(self) -> None:
        text = Text()
        for level, code, message in self._findings:
            sign, tone = LEVELS.get(level, ("?", "primary"))
            text.append(f"{sign} {safe(level)}", f"bold {rich_color(self, tone)}")
            text.append(f"  {safe(code)}  ", "bold")
            text.append(f"{safe(message, MAX_FINDING)}\n")
        self.query_one(Static).update(text)


class ProgressLine(Widget):
    """One line: a bar, percent, steps, time left."""

    DEFAULT_CSS = "ProgressLine { height: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._share, self._done, self._words = 0.0, False, ""

    def show(self, share: float, words: str, done: bool = False) -> None:
        """Show a share from 0 to 1, and words beside the bar."""
        self._share, self._words, self._done = share, words, done
        self.refresh()

    def render(self) -> Text:
        """The line."""
        words = f" {100 * self._share:3.0f} %  {self._words} "
        room = max(4, self.size.width - len(words) - 1)
        full, rest = divmod(round(self._share * room * 8), 8)
        bar = "█" * full + (PARTIAL[rest] if rest else "")
        tone = rich_color(self, "success" if self._done else "primary")
        line = Text(" ").append(bar + "╌" * (room - len(bar)), tone)
        return line.append(words)
