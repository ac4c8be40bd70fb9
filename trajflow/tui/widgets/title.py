"""The first line of every screen: where one is, and a word about what goes on."""

from pathlib import Path

from rich.table import Table
from textual.reactive import reactive
from textual.widget import Widget

from trajflow.text import safe

LONGEST = 120


class Title(Widget):
    """One line: the application, the place, and at the right what goes on.

    Attributes:
        place: Where one is; words from data are shown as they are.
        state: What goes on.
    """

    place: reactive[str] = reactive("")
    state: reactive[str] = reactive("")

    def __init__(self, place: str, state: str = "") -> None:
        super().__init__()
        self.place, self.state = place, state

    def render(self) -> Table:
        """The line."""
        from rich.text import Text

        line = Table.grid(expand=True)
        line.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        line.add_column(justify="right", no_wrap=True)
        left = Text(" trajflow ", "bold")
        left.append(" ")
        left.append(safe(self.place, LONGEST))
        line.add_row(left, Text(safe(self.state, LONGEST) + " "))
        return line


def told(folder: Path) -> str:
    """A folder as its user calls it: from home, if it lies there."""
    home = Path.home()
    if home != Path("/") and folder.is_relative_to(home):
        return str(Path("~") / folder.relative_to(home))
    return str(folder)
