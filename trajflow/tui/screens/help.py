"""Every key of the screen below, and the name by which it is given another."""

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.keys import format_key
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from trajflow.tui.keys import bound

BELOW = "names at the right are for a file of keys: trajflow tui --keys FILE.toml"
Row = tuple[str, str, str]


class HelpScreen(ModalScreen[None]):
    """The keys that do something on another screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bound("help.close", "escape,q,question_mark,f1", "app.back", "Close", shown="q"),
        bound("help.down", "j,down", "scroll(1)", "Down", show=False),
        bound("help.up", "k,up", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, about: Screen[object]) -> None:
        super().__init__()
        self.about = about

    def compose(self) -> ComposeResult:
        """A table that scrolls."""
        with VerticalScroll(id="help") as scroll:
            scroll.border_title = "keys"
            scroll.border_subtitle = "q closes"
            yield Static(self._table())

    def action_scroll(self, by: int) -> None:
        """Scroll by so many lines."""
        self.query_one("#help").scroll_relative(y=by, animate=False)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        calm = self.app.theme_variables["calm"].removeprefix("ansi_")
        key = self.app.theme_variables["footer-key-foreground"].removeprefix("ansi_")
        room = ""
        for keys, told, name in rows_of(self.about):
            if name.split(".")[0] != room:
                room = name.split(".")[0]
                table.add_row("", Text(room, f"bold {calm}"))
            table.add_row(Text(keys, f"bold {key}"), Text(told), Text(name, calm))
        table.add_row("", Text(""))
        table.add_row("", Text(BELOW, calm))
        return table


def rows_of(about: Screen[object]) -> list[Row]:
    """Keys, what they do, and the name of the action, room by room."""
    keys: dict[tuple[str, str], list[str]] = {}
    for key, each in about.active_bindings.items():
        if each.binding.description and each.binding.id:
            told = (each.binding.description, each.binding.id)
            keys.setdefault(told, []).append(format_key(key))
    rows = [(" ".join(found), *told) for told, found in keys.items()]
    rooms = list(dict.fromkeys(row[2].split(".")[0] for row in rows))
    return sorted(rows, key=lambda row: rooms.index(row[2].split(".")[0]))
