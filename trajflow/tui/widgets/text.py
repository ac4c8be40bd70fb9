"""Widgets of words: the title line, facts, progress."""

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer

from trajflow.text import safe
from trajflow.tui.format import bar

Line = Sequence[tuple[str, str]]
MAX_TITLE, MAX_FACT = 120, 120
ALWAYS = ("app.back", "back", "app.quit", "app.help", "help")
"""Actions whose keys come first in the footer."""


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
        line = Table.grid(expand=True)
        line.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        line.add_column(justify="right", no_wrap=True)
        left = Text(" trajflow ", "bold")
        left.append(f" {safe(self.place, MAX_TITLE)}")
        line.add_row(left, Text(safe(self.state, MAX_TITLE) + " "))
        return line


class KeyFooter(Footer):
    """The keys of the screen for which there is room, the way back and the help first.

    They are composed again only when they changed: each is a widget with styles of its own.
    """

    _shown: Sequence[tuple[Binding, bool]] = ()

    def __init__(self) -> None:
        super().__init__(show_command_palette=False)

    def compose(self) -> ComposeResult:
        room, keys = self.size.width or self.app.size.width, list[Any](super().compose())
        for key in sorted(keys, key=lambda key: key.action not in ALWAYS):
            room -= cell_len(key.key_display + key.description) + 3
            if room >= 0:
                key.set_reactive(Footer.compact, False)  # the default would style each key twice
                yield key

    def on_resize(self) -> None:
        self.refresh(recompose=True)

    def bindings_changed(self, screen: Screen[Any]) -> None:
        active = screen.active_bindings.values()
        keys = [(key.binding, key.enabled) for key in active if key.binding.show]
        if keys != self._shown and screen.app.app_focus:
            self._shown = keys
            super().bindings_changed(screen)


class FactList(Widget):
    """Lines of names in a muted colour and values in a strong one, shown as they are."""

    lines: reactive[Sequence[Line]] = reactive((), layout=True)

    def render(self) -> Text:
        muted = rich_color(self, "muted")
        text = Text(no_wrap=True, overflow="ellipsis")
        for number, line in enumerate(self.lines):
            text.append("\n" if number else "")
            for order, (name, value) in enumerate(line):
                text.append("   " if order else "")
                if name:
                    text.append(f"{safe(name, MAX_FACT)} ", muted)
                text.append(safe(value, MAX_FACT), "bold" if name else "")
        return text


class ProgressLine(Widget):
    """One line: a bar, percent, steps, time left."""

    DEFAULT_CSS = "ProgressLine { height: 1; }"
    share: reactive[float] = reactive(0.0)
    words: reactive[str] = reactive("")
    done: reactive[bool] = reactive(False)

    def render(self) -> Text:
        words = f" {100 * self.share:3.0f} %  {self.words} "
        room = max(4, self.size.width - len(words) - 1)
        tone = rich_color(self, "success" if self.done else "primary")
        return Text(" ").append(bar(self.share, room), tone).append(words)
