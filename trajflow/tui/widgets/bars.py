"""A histogram in blocks, with its median."""

from rich.text import Text
from textual.widget import Widget

from trajflow.tui.jobs.tracks import Histogram
from trajflow.tui.widgets.words import number

BLOCKS = " ▁▂▃▄▅▆▇█"


class Bars(Widget):
    """How often values occur.

    Args:
        title: What is counted.
    """

    DEFAULT_CSS = "Bars { height: 5; }"

    def __init__(self, title: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.title, self._unit = title, ""
        self._counted: Histogram | None = None

    def show(self, counted: Histogram, unit: str) -> None:
        """Show other values, in a unit."""
        self._counted, self._unit = counted, unit
        self.refresh()

    def render(self) -> Text:
        """Title, bars, bounds."""
        colours, counted = self.app.theme_variables, self._counted
        text = Text(self.title, "bold", no_wrap=True)
        if counted is None:
            return text
        text.append(f"  median {number(counted.middle)} {self._unit}", "not bold")
        room, high = max(1, self.size.width - 1), max(1, self.size.height - 2)
        tone = colours["primary"].removeprefix("ansi_")
        for line in bars([int(n) for n in counted.counts], room, high):
            text.append("\n")
            text.append(line, f"not bold {tone}")
        low, top = number(float(counted.edges[0]), 2), number(float(counted.edges[-1]), 2)
        last = f"{low}{top.rjust(room - len(low))}"
        text.append(f"\n{last}", "not bold dim")
        return text


def bars(counts: list[int], columns: int, rows: int) -> list[str]:
    """Counts as bars over so many columns and rows, the first line on top.

    Every count above zero shows at least an eighth of a row, so nothing rare is hidden.
    """
    most = max([*counts, 1])
    eighths = [max(1, round(n / most * rows * 8)) if n else 0 for n in counts]
    lines = []
    for row in range(rows - 1, -1, -1):
        parts = [BLOCKS[max(0, min(8, high - 8 * row))] for high in eighths]
        lines.append("".join(parts[column * len(parts) // columns] for column in range(columns)))
    return lines
