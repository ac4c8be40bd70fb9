"""Two histograms over one axis, one standing on the other: shifted windows above ordinary ones."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text
from textual.widgets import Static

from trajflow.tui.widgets.look import Look
from trajflow.tui.widgets.looks import look_of

BLOCKS = " ▁▂▃▄▅▆▇█"
ROWS = ("shifted", "ordinary")
"""Above and below; words tell them apart, colours only help."""


class Histogram(Static):
    """Scores in and out of distribution."""

    DEFAULT_CSS = "Histogram { width: 1fr; height: 1fr; }"

    def __init__(self, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)
        self._told: tuple[str, Mapping[str, Any] | None, float | None] = ("", None, None)

    def show(
        self, title: str, histogram: Mapping[str, Any] | None, threshold: float | None = None
    ) -> None:
        """Show other scores.

        Args:
            title: What the scores are.
            histogram: "edges", and shares of "ordinary" and "shifted" windows; None: nothing.
            threshold: Where 95 % of the validation people are below.
        """
        self._told = (title, histogram, threshold)
        self._write()

    def on_resize(self) -> None:
        """The bars fill what there is."""
        self._write()

    def notify_style_update(self) -> None:
        """Another theme has other colours."""
        super().notify_style_update()
        if self.is_attached:
            self._write()

    def _write(self) -> None:
        title, histogram, threshold = self._told
        width, height = self.size
        if histogram is None or width < 12 or height < 5:
            self.update(Text(title if histogram is None else "", "dim"))
            return
        self.update(drawn(title, histogram, threshold, (height, width), look_of(self)))


def drawn(
    title: str,
    histogram: Mapping[str, Any],
    threshold: float | None,
    size: tuple[int, int],
    look: Look,
) -> Text:
    """Both histograms as text.

    Args:
        title: The first line.
        histogram: "edges", "ordinary" and "shifted".
        threshold: A place on the axis.
        size: Lines and columns.
        look: The colours.
    """
    height, width = size
    edges, faint = histogram["edges"], f"#{look.faint:06x}"
    columns = max(width, len(edges) - 1)
    lines = [Text(title[:width], f"bold #{look.ink:06x}", no_wrap=True)]
    each = (height - 2) // 2
    most = max(*histogram["shifted"], *histogram["ordinary"], 1e-9)
    for order, name in enumerate(ROWS):
        hue = f"#{look.hue(1 - order):06x}"
        bars = _bars([share / most for share in histogram[name]], max(1, each), columns)
        for number, bar in enumerate(bars):
            line = Text(no_wrap=True).append(bar[:width], hue)
            if number == 0:
                top = f"{name}, top {100 * max(histogram[name]):.0f} %"
                line = _labelled(_labelled(line, top, faint), name, faint)
            lines.append(line)
    lines.append(_axis(edges, threshold, columns, width, faint))
    return Text("\n").join(lines)


def _bars(shares: Sequence[float], rows: int, columns: int) -> list[str]:
    """Rows of bars that together are so many columns wide."""
    eighths = [max(1, round(share * 8 * rows)) if share > 0 else 0 for share in shares]
    spread = [eighths[column * len(eighths) // columns] for column in range(columns)]
    return [
        "".join(BLOCKS[min(8, max(0, high - 8 * (rows - 1 - row)))] for high in spread)
        for row in range(rows)
    ]


def _labelled(line: Text, label: str, style: str) -> Text:
    """The line with a label in the first blanks that are long enough; one that has one keeps it."""
    at = line.plain.find(" " * (len(label) + 1))
    if at < 0 or any(one.isalpha() for one in line.plain):
        return line
    return line[:at].append(label, style).append_text(line[at + len(label) :])


def _axis(
    edges: Sequence[float], threshold: float | None, columns: int, width: int, style: str
) -> Text:
    low, high = edges[0], edges[-1]
    left, right = f"{low:.2g}", f"{high:.2g}"
    letters = list(left + " " * max(0, columns - len(left) - len(right)) + right)
    if threshold is not None and low < threshold < high:
        at = min(columns - 1, int((threshold - low) / (high - low) * columns))
        word = f"alarm {threshold:.2g}▲"
        first = max(len(left) + 1, at - len(word) + 1)
        letters[first : first + len(word)] = list(word)
        if first + len(word) >= columns - len(right):
            letters[first + len(word) :] = " " * (columns - first - len(word))
    return Text("".join(letters)[:width], style, no_wrap=True)
