"""Every key of the screen below, and the name by which it is given another."""

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Static

from trajflow.tui.keys import bound


class HelpScreen(ModalScreen[None]):
    """The keys that do something on another screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bound("help.close", "escape,q,question_mark,f1", "app.back", "Close", shown="q")
    ]

    def __init__(self, about: Screen[object]) -> None:
        super().__init__()
        self.about = about

    def compose(self) -> ComposeResult:
        """A table that scrolls."""
        with VerticalScroll():
            yield Static(self._table())
        yield Footer()

    def _table(self) -> Table:
        rows: dict[tuple[str, str], list[str]] = {}
        for each in self.about.active_bindings.values():
            if each.binding.description and each.binding.id:
                row = (each.binding.description, each.binding.id)
                rows.setdefault(row, []).append(self.app.get_key_display(each.binding))
        table = Table.grid(padding=(0, 2))
        for (told, name), keys in rows.items():
            table.add_row(Text(" ".join(keys), "bold"), Text(told), Text(name, "dim"))
        return table
