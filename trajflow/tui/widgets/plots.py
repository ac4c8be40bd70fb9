"""Plots: curves over an axis, costs of corruptions, a map of tracks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from trajflow.browse.view import Floats
from trajflow.history import TrainingHistory
from trajflow.library import RUN_SCORES, RunEntry
from trajflow.text import safe
from trajflow.tui.format import HEADS
from trajflow.tui.render.canvas import Canvas, Cells
from trajflow.tui.render.colors import Palette, blend, palette_of
from trajflow.tui.render.raster import spots, trace
from trajflow.tui.render.tracks import paint_tracks
from trajflow.tui.render.viewport import nice_step, tick_label, ticks

if TYPE_CHECKING:
    from trajflow.tui.tasks import SceneTracks

Painter = Callable[[tuple[int, int], Palette], Cells]
"""Paints so many rows and columns in some colours."""
MARKS = "●■▲◆"
"""What tells curves apart without colours; each stands at the end of its curve."""
DANGER_HUE = 6
MAX_COST = 16.0
"""Multiple of the energy score at the upper edge of the map of costs."""
SMOOTH = 0.04
"""Share of the steps over which the loss is averaged."""


@dataclass(frozen=True)
class Curve:
    """One curve; values that are not finite leave a gap.

    Attributes:
        name: Shown in the legend.
        x: Where, [N].
        y: How much, [N].
        faint: Whether it stands behind the others, without a name.
    """

    name: str
    x: Floats
    y: Floats
    faint: bool = False


@dataclass(frozen=True)
class CostPoint:
    """A corruption: share of windows flagged, multiple of the energy score, if it is hidden."""

    name: str
    flagged: float
    cost: float
    hidden: bool
    label: str


class Picture(Widget):
    """A widget that fills its place with one picture, painted for each size and theme when seen.

    Attributes:
        least: Rows and columns below which nothing is painted.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = "Picture { width: 1fr; height: 1fr; }"
    least: ClassVar[tuple[int, int]] = (3, 4)
    painter: reactive[Painter | None] = reactive[Painter | None](None)
    _strips: list[Strip] | None = None

    def watch_painter(self) -> None:
        self.invalidate()

    def paint(self) -> list[Strip]:
        """The lines of the picture; none where there is nothing or no room."""
        width, height = self.size
        if self.painter is None or height < self.least[0] or width < self.least[1]:
            return []
        return self.painter((height, width), palette_of(self)).strips()

    @property
    def strips(self) -> list[Strip]:
        if self._strips is None:
            self._strips = self.paint()
        return self._strips

    def invalidate(self) -> None:
        """Paint anew when there is time."""
        self._strips = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        if y < len(self.strips):
            return self.strips[y]
        return Strip.blank(self.size.width, self.rich_style)

    def on_resize(self) -> None:
        self.invalidate()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.invalidate()


class CurvePlot(Picture):
    """Curves over the epochs of trainings."""

    least = (4, 16)

    def __init__(self, title: str, id: str) -> None:
        super().__init__(id=id)
        self.title = title
        self.show(())

    def show(self, curves: Sequence[Curve]) -> None:
        self.painter = partial(paint_curves, tuple(curves), self.title)


class CostPlot(Picture):
    """Corruptions by how often they are flagged and what they cost; see `paint_costs`."""

    least = (5, 20)

    def show(self, points: Sequence[CostPoint], chosen: str) -> None:
        self.painter = partial(paint_costs, tuple(points), chosen)


class TrackMap(Picture):
    """Where agents go; a row of arrows tells which colour leads where."""

    def show(self, tracks: SceneTracks | None) -> None:
        self.painter = None
        if tracks is not None and len(tracks.steps):
            self.painter = partial(paint_tracks, tracks.steps, tracks.track, tracks.unit)


def paint_curves(
    curves: Sequence[Curve], title: str, size: tuple[int, int], palette: Palette
) -> Cells:
    """Curves over epochs as cells, the last ones on top, with a title above."""
    rows, columns = size
    canvas = Canvas(rows, columns, palette)
    canvas.write(0, 0, title[:columns], palette.foreground, bold=True)
    named = [curve for curve in curves if not curve.faint]
    _legend(canvas, named, len(title) + 1)
    x, y = (_finite([getattr(curve, axis) for curve in curves]) for axis in "xy")
    if not len(x) or not len(y):
        canvas.write(rows // 2, max(0, columns // 2 - 5), "nothing yet", palette.muted)
        return canvas.cells()
    plot = CurvePainter(canvas, _bounds(x, 0.0), _bounds(y, 0.06))
    plot.axes()
    for curve in curves:
        if curve.faint:
            plot.draw(curve, 0)
    for order, curve in enumerate(named):
        plot.draw(curve, order)
    return canvas.cells()


def paint_costs(
    points: Sequence[CostPoint], chosen: str, size: tuple[int, int], palette: Palette
) -> Cells:
    """Cost, on a logarithmic axis, over the share flagged; the corner of hidden costs is shaded.

    Corruptions of more than `MAX_COST` stand at the upper edge, and the chosen one is inverted.
    """
    rows, columns = size
    canvas, red = Canvas(rows, columns, palette), palette.hue(DANGER_HUE)
    left, last = 5, rows - 2
    logs = [math.log2(max(one.cost, 1e-3)) for one in points]
    top = min(math.log2(MAX_COST), max([1.0, *logs]))
    low = max(-2.0, min([0.0, *logs]))

    def row_of(height: float) -> int:
        share = (min(top, max(low, height)) - low) / (top - low)
        return last - round(share * (last - 1))

    def column_of(flagged: float) -> int:
        return left + round(flagged * (columns - left - 2))

    tint = blend(red, palette.background, 0.8) if palette.depth != "16" else None

    def back_of(row: int, column: int) -> int | None:
        """What is behind a cell: the corner of hidden costs stands out."""
        return tint if row <= row_of(0) and left <= column < column_of(0.5) else None

    canvas.write(0, 0, "cost", palette.foreground, bold=True)
    canvas.write(0, left, "hurts, not flagged", red)
    for power in range(math.ceil(low), math.floor(top) + 1):
        label = f"×{2.0**power:g}".rjust(left - 1)
        if canvas.free(row_of(power), 0, len(label)):
            canvas.write(row_of(power), 0, label, palette.muted)
    for share, label in ((0.0, "0 flagged"), (0.5, "50"), (1.0, "100 %")):
        column = min(column_of(share), columns - len(label))
        if canvas.free(rows - 1, column, len(label)):
            canvas.write(rows - 1, column, label, palette.muted)
    for k in sorted(range(len(points)), key=lambda k: points[k].name == chosen):
        one, row, column = points[k], row_of(logs[k]), column_of(points[k].flagged)
        ink, back = red if one.hidden else palette.muted, back_of(row, column)
        if one.name == chosen:
            ink, back = palette.background, palette.foreground
        canvas.write(row, column, "●" if one.hidden else "○", ink, back)
    for k in (k for k, one in enumerate(points) if one.hidden):
        name, row = points[k].label, row_of(logs[k])
        column = column_of(points[k].flagged)
        if canvas.free(row, column + 1, len(name) + 1):
            for place, letter in enumerate(name, column + 2):
                canvas.write(row, place, letter, red, back_of(row, place))
    for row in range(1, row_of(0) + 1):
        for column in range(left, column_of(0.5)):
            if canvas.free(row, column):
                canvas.write(row, column, " ", red, tint)
    return canvas.cells()


class CurvePainter:
    """Values to dots: the left margin and the last row hold numbers."""

    def __init__(self, canvas: Canvas, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.canvas, self.x, self.y = canvas, x, y
        self.step = nice_step((y[1] - y[0]) / 2.0)
        self.ticks = ticks(*y, self.step)
        labels = [len(tick_label(tick, self.step)) for tick in self.ticks]
        self.left = max(labels, default=1) + 1
        self.high, self.wide = canvas.rows - 2, canvas.columns - self.left - 1

    def dots(self, x: Floats, y: Floats) -> Floats:
        """Points in dots right and down, [N, 2]."""
        right = (x - self.x[0]) / (self.x[1] - self.x[0]) * (2 * self.wide - 1)
        down = (self.y[1] - y) / (self.y[1] - self.y[0]) * (4 * self.high - 1)
        return np.stack([right + 2 * self.left, down + 4], -1)

    def axes(self) -> None:
        """Numbers at the left and below, and faint dots from left to right at round numbers."""
        canvas, muted = self.canvas, self.canvas.palette.muted
        thin = blend(muted, canvas.palette.background, 0.45)
        for tick in self.ticks:
            line = np.arange(0, 2 * self.wide, 4) + 2.0 * self.left
            down = float(self.dots(np.array([self.x[0]]), np.array([tick]))[0, 1])
            points = np.stack([line, np.full(len(line), down)], -1)
            canvas.stroke(spots(points, *canvas.size), np.full(len(line), thin))
            text = tick_label(tick, self.step).rjust(self.left - 1)
            canvas.write(int(down) // 4, 0, text, muted)
        step, last = nice_step((self.x[1] - self.x[0]) / max(1.5, self.wide / 16)), canvas.rows - 1
        for tick in ticks(*self.x, step):
            text = tick_label(tick, step)
            middle = int(self.dots(np.array([tick]), np.array([self.y[0]]))[0, 0]) // 2
            column = min(middle - len(text) // 2, canvas.columns - len(text))
            if canvas.free(last, column, len(text)):
                canvas.write(last, column, text, muted)
        free = (k for k in range(canvas.columns) if canvas.free(last, k, len(" epoch ")))
        if (gap := next(free, None)) is not None:
            canvas.write(last, gap + 1, "epoch", muted)

    def draw(self, curve: Curve, order: int) -> None:
        canvas, palette = self.canvas, self.canvas.palette
        hue = palette.hue(order)
        ink = blend(palette.hue(0), palette.background, 0.6) if curve.faint else hue
        points = self.dots(curve.x, curve.y)
        alone = not curve.faint and order == 0
        canvas.stroke(trace(points[None], *canvas.size), np.array([ink]), alone=alone)
        finite = np.flatnonzero(np.isfinite(points).all(1))
        if len(finite) and not curve.faint:
            right, down = points[finite[-1]]
            canvas.write(int(down) // 4, int(right) // 2, MARKS[order % len(MARKS)], hue)


def loss_curves(history: TrainingHistory) -> list[Curve]:
    """The training loss as reported, and its moving average."""
    epoch = _epochs([point.step for point in history.points], history)
    loss = np.array([point.loss for point in history.points])
    average = _moving_average(loss, max(1, round(SMOOTH * len(loss))))
    return [Curve("loss", epoch, loss, faint=True), Curve("mean", epoch, average)]


def score_curves(history: TrainingHistory) -> list[Curve]:
    """Scores on the validation split."""
    return [_score_curve(history, key, HEADS[key]) for key in RUN_SCORES[:3]]


def run_curves(runs: Sequence[RunEntry], key: str) -> list[Curve]:
    """A validation score of several runs, over their epochs."""
    return [_score_curve(run.history, key, safe(run.name, 16)) for run in runs]


def _score_curve(history: TrainingHistory, key: str, name: str) -> Curve:
    points = history.validations
    values = np.array([one.metrics.get(key, np.nan) for one in points])
    return Curve(name, _epochs([one.step for one in points], history), values)


def _legend(canvas: Canvas, curves: Sequence[Curve], column: int) -> None:
    if len(curves) < 2:
        return
    fits = column + sum(len(one.name) + 3 for one in curves) - 1 <= canvas.columns
    for order, curve in enumerate(curves):
        text = f"{MARKS[order % len(MARKS)]}{' ' if fits else ''}{curve.name}"
        if column + len(text) <= canvas.columns:
            canvas.write(0, column, text, canvas.palette.hue(order))
        column += len(text) + 1


def _finite(values: Sequence[Floats]) -> Floats:
    joined = np.concatenate([np.asarray(each, float) for each in values]) if values else np.zeros(0)
    return joined[np.isfinite(joined)]


def _bounds(values: Floats, margin: float) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    least = max(abs(low), abs(high), 1e-12) * 1e-3
    extra = max((high - low) * margin, 0.0 if high - low > least else least)
    return low - extra, high + extra


def _epochs(steps: Sequence[int], history: TrainingHistory) -> Floats:
    return np.array(steps, float) / (history.steps_per_epoch or 1)


def _moving_average(values: Floats, width: int) -> Floats:
    """Mean of each value and those before it, `width` in all."""
    total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(values))])
    end = np.arange(1, len(values) + 1)
    begin = np.maximum(0, end - width)
    return np.asarray((total[end] - total[begin]) / (end - begin))
