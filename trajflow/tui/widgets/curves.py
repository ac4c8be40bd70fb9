"""Curves on axes with round numbers, drawn in braille as the maps are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from textual.strip import Strip

from trajflow.batch import Floats
from trajflow.tui.widgets.axes import number
from trajflow.tui.widgets.cells import Cells
from trajflow.tui.widgets.look import Look, mixed
from trajflow.tui.widgets.looks import look_of
from trajflow.tui.widgets.painted import Painted
from trajflow.tui.widgets.painting import Painting
from trajflow.tui.widgets.raster import spots, trace
from trajflow.tui.widgets.viewport import nice

MARKS = "●■▲◆"
"""What tells curves apart without colours; each stands at the end of its curve."""


@dataclass(frozen=True)
class Curve:
    """One curve.

    Attributes:
        name: What it is.
        x: Where, [N].
        y: How much, [N]; what is not finite leaves a gap.
        faint: Whether it stands behind the others, without a name.
    """

    name: str
    x: Floats
    y: Floats
    faint: bool = False


class Curves(Painted):
    """Some curves over one axis."""

    DEFAULT_CSS = "Curves { width: 1fr; height: 1fr; }"

    def __init__(self, title: str, *, below: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self.title, self.below = title, below
        self._curves: tuple[Curve, ...] = ()
        self._strips: list[Strip] = []

    def show(self, curves: Sequence[Curve]) -> None:
        """Show other curves."""
        self._curves = tuple(curves)
        self._paint()

    def _paint(self) -> None:
        width, height = self.size
        self._strips = []
        if width >= 16 and height >= 4:
            look = look_of(self)
            cells = paint_curves(self._curves, self.title, self.below, (height, width), look)
            self._strips = cells.strips()
        self.refresh()


def paint_curves(
    curves: Sequence[Curve], title: str, below: str, size: tuple[int, int], look: Look
) -> Cells:
    """Curves as cells.

    Args:
        curves: What is drawn, the last ones on top.
        title: What the upper left corner says.
        below: What the lower left corner says, the name of x.
        size: Cells from top to bottom and from left to right.
        look: The colours.
    """
    rows, columns = size
    painting = Painting(rows, columns, look)
    painting.write(0, 0, title[:columns], look.ink, bold=True)
    named = [curve for curve in curves if not curve.faint]
    _legend(painting, named, len(title) + 1)
    x, y = (_all([getattr(curve, axis) for curve in curves]) for axis in "xy")
    if not len(x) or not len(y):
        painting.write(rows // 2, max(0, columns // 2 - 5), "nothing yet", look.faint)
        return painting.cells()
    plot = _Plot(painting, _bounds(x, 0.0), _bounds(y, 0.06))
    plot.axes(below)
    for curve in curves:
        if curve.faint:
            plot.draw(curve, 0)
    for order, curve in enumerate(named):
        plot.draw(curve, order)
    return painting.cells()


class _Plot:
    """World to cells: the left margin holds numbers, the last row too."""

    def __init__(self, painting: Painting, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.painting, self.x, self.y = painting, x, y
        self.step = nice((y[1] - y[0]) / 2.0)
        self.ticks = _round_between(*y, self.step)
        self.left = max((len(number(tick, self.step)) for tick in self.ticks), default=1) + 1
        self.high = painting.rows - 2
        self.wide = painting.columns - self.left - 1

    def dots(self, x: Floats, y: Floats) -> Floats:
        """Where points are, in dots right and down, [N, 2]."""
        right = (x - self.x[0]) / (self.x[1] - self.x[0]) * (2 * self.wide - 1)
        down = (self.y[1] - y) / (self.y[1] - self.y[0]) * (4 * self.high - 1)
        return np.stack([right + 2 * self.left, down + 4], -1)

    def axes(self, below: str) -> None:
        """Numbers at the left and below, and faint dots from left to right at round numbers."""
        painting, look = self.painting, self.painting.look
        thin = mixed(look.faint, look.ground, 0.45)
        for tick in self.ticks:
            line = np.arange(0, 2 * self.wide, 4) + 2.0 * self.left
            down = float(self.dots(np.array([self.x[0]]), np.array([tick]))[0, 1])
            points = np.stack([line, np.full(len(line), down)], -1)
            painting.strokes.draw(spots(points, *painting.dots), np.full(len(line), thin))
            text = number(tick, self.step).rjust(self.left - 1)
            painting.write(int(down) // 4, 0, text, look.faint)
        step = nice((self.x[1] - self.x[0]) / max(1.5, self.wide / 16))
        last = painting.rows - 1
        for tick in _round_between(*self.x, step):
            text = number(tick, step)
            middle = int(self.dots(np.array([tick]), np.array([self.y[0]]))[0, 0]) // 2
            column = min(middle - len(text) // 2, painting.columns - len(text))
            if column >= 0 and painting.free(last, column, len(text)):
                painting.write(last, column, text, look.faint)
        if painting.free(last, 0, len(below) + 1):
            painting.write(last, 0, below, look.faint)

    def draw(self, curve: Curve, order: int) -> None:
        """A curve, and its mark at its end."""
        painting, look = self.painting, self.painting.look
        hue = look.hue(order)
        ink = mixed(look.hue(0), look.ground, 0.6) if curve.faint else hue
        points = self.dots(curve.x, curve.y)
        found = trace(points[None], *painting.dots)
        painting.strokes.draw(found, np.array([ink]), alone=not curve.faint and order == 0)
        seen = np.flatnonzero(np.isfinite(points).all(1))
        if len(seen) and not curve.faint:
            right, down = points[seen[-1]]
            painting.write(int(down) // 4, int(right) // 2, MARKS[order % len(MARKS)], hue)


def _legend(painting: Painting, curves: Sequence[Curve], column: int) -> None:
    if len(curves) < 2:
        return
    blank = " " if column + sum(len(one.name) + 3 for one in curves) - 1 <= painting.columns else ""
    for order, curve in enumerate(curves):
        text = f"{MARKS[order % len(MARKS)]}{blank}{curve.name}"
        if column + len(text) <= painting.columns:
            painting.write(0, column, text, painting.look.hue(order))
        column += len(text) + 1


def _all(values: Sequence[Floats]) -> Floats:
    joined = np.concatenate([np.asarray(each, float) for each in values]) if values else np.zeros(0)
    return joined[np.isfinite(joined)]


def _bounds(values: Floats, margin: float) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    least = max(abs(low), abs(high), 1e-12) * 1e-3
    extra = max((high - low) * margin, 0.0 if high - low > least else least)
    return low - extra, high + extra


def _round_between(low: float, high: float, step: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, min(last, first + 30) + 1)]
