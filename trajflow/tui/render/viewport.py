"""Where a picture looks: a part of the world on a grid of square dots, and its axes and scale."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from trajflow.browse.view import Floats, View
from trajflow.text import safe, width
from trajflow.tui.render.canvas import Canvas
from trajflow.tui.render.colors import blend
from trajflow.tui.render.raster import spots

FROM_ABOVE, FROM_SIDE = (0, 1), (0, 2)
"""Coordinates that a map shows, to the right and up."""
MIN_SCALE, MAX_SCALE = 1e-6, 1e9
"""Bounds of the world's units per dot."""
REACH = 8.0
"""Dots within which an agent is under the mouse."""


@dataclass(frozen=True)
class Viewport:
    """A part of the world on a picture of `columns` by `rows` dots, x to the right and y up.

    A dot is an eighth of a terminal cell, which is twice as high as wide: four dots high, two
    wide. So dots are square and a right angle stays one.

    Attributes:
        x, y: World coordinates of the centre, in the unit of the tracks.
        scale: Units of the world per dot.
        columns, rows: Dots from left to right and from top to bottom.
        axes: Coordinates that are shown to the right and up.
    """

    x: float
    y: float
    scale: float
    columns: int
    rows: int
    axes: tuple[int, int] = FROM_ABOVE

    @classmethod
    def fit(
        cls,
        points: Floats,
        columns: int,
        rows: int,
        margin: float = 0.08,
        least: float = 4.0,
        axes: tuple[int, int] = FROM_ABOVE,
    ) -> Viewport:
        """All points [..., D] that are finite, in the middle.

        A share of the picture is left free on each side, and at least so many units of the world
        are shown in the narrower direction.
        """
        flat = np.reshape(points, (-1, points.shape[-1]))[:, axes]
        flat = flat[np.isfinite(flat).all(1)]
        narrow = least / max(1, min(columns, rows))
        if not len(flat):
            return cls(0.0, 0.0, narrow, columns, rows, axes)
        low, high = flat.min(0), flat.max(0)
        x, y = (low + high) / 2
        width, height = (high - low) / (1 - 2 * margin)
        scale = max(width / max(1, columns), height / max(1, rows), narrow)
        return cls(float(x), float(y), _bounded(float(scale)), columns, rows, axes)

    def dots(self, points: Floats) -> Floats:
        """Where world positions [..., D] are on the picture, [..., 2]: dots right and down."""
        right, up = (points[..., axis] for axis in self.axes)
        return self.plane_dots(right, up)

    def plane_dots(self, right: Floats | float, up: Floats | float) -> Floats:
        """Where the two coordinates that are shown, [...] each, are on the picture, [..., 2]."""
        column = (right - self.x) / self.scale + self.columns / 2
        row = (self.y - up) / self.scale + self.rows / 2
        return np.stack([column, row], -1)

    def world(self, right: float, down: float) -> tuple[float, float]:
        x = self.x + (right - self.columns / 2) * self.scale
        y = self.y - (down - self.rows / 2) * self.scale
        return x, y

    def matrix(self, dots: int) -> Floats:
        """Homography [3, 3] from pixels [N, 2] of so many dots a side to the world."""
        step = dots * self.scale
        left, top = self.world(0.0, 0.0)
        return np.array([[step, 0.0, left], [0.0, -step, top], [0.0, 0.0, 1.0]])

    def zoom(self, factor: float, at: tuple[float, float] | None = None) -> Viewport:
        """Closer by a factor above one; the dot `at`, or the middle, stays where it is."""
        if at is None:
            at = (self.columns / 2, self.rows / 2)
        scale = _bounded(self.scale / factor)
        x, y = self.world(*at)
        x -= (at[0] - self.columns / 2) * scale
        y += (at[1] - self.rows / 2) * scale
        return replace(self, x=x, y=y, scale=scale)

    def pan(self, right: float, down: float) -> Viewport:
        """The part of the world that lies this many dots to the right and down."""
        return replace(self, x=self.x + right * self.scale, y=self.y - down * self.scale)

    def centred(self, x: float, y: float) -> Viewport:
        """The same scale around another place; one that is not finite changes nothing."""
        if not (math.isfinite(x) and math.isfinite(y)):
            return self
        return replace(self, x=x, y=y)

    def resized(self, columns: int, rows: int) -> Viewport:
        """The same centre, and as much of the world in the narrower direction."""
        before, after = min(self.columns, self.rows), min(columns, rows)
        ratio = max(1, before) / max(1, after)
        return replace(self, scale=_bounded(self.scale * ratio), columns=columns, rows=rows)


@dataclass(frozen=True)
class Panes:
    """How a widget of so many cells is shared by one map, or two side by side."""

    columns: int
    rows: int
    two: bool = False

    @property
    def width(self) -> int:
        """Columns of one map."""
        return (self.columns - 1) // 2 if self.two else self.columns

    @property
    def dots(self) -> tuple[int, int]:
        """Size of one map in dots, right and down."""
        return 2 * self.width, 4 * self.rows

    def under(self, column: int, row: int) -> tuple[float, float]:
        """The dots of the middle of a cell on its map."""
        if self.two and column > self.width:
            column -= self.columns - self.width
        return 2 * column + 1.0, 4 * row + 2.0


def scene_points(view: View, agent: int | None = None) -> Floats:
    """World positions [N, D] of an agent's past, future and most samples.

    None: of all targets, and the present of all agents.
    """
    chosen = view.target if agent is None else np.arange(view.agents) == agent
    parts = [view.past[chosen], view.samples[:200, chosen]]
    if agent is None:
        parts.append(view.past[:, -1:])
    if view.future is not None:
        parts.append(view.future[chosen])
    return np.concatenate([part.reshape(-1, view.past.shape[-1]) for part in parts])


def fit_scene(
    view: View, port: Viewport | None, panes: Panes, axes: tuple[int, int] = FROM_ABOVE
) -> Viewport:
    """Where to look at a window: as before while all of it is visible and large enough, or anew."""
    points = scene_points(view)
    best = Viewport.fit(points, *panes.dots, axes=axes)
    if port is None or (port.columns, port.rows, port.axes) != (*panes.dots, axes):
        return best
    if not 0.6 * port.scale < best.scale < 1.6 * port.scale:
        return best
    dots = port.dots(points[np.isfinite(points).all(1)])
    on = (dots >= 0) & (dots < panes.dots)
    return port if on.all(-1).mean() > 0.98 else best


def nearest(dots: Floats, place: tuple[float, float]) -> int | None:
    """Which of the dots [N, 2], NaN where there is none, is nearest to a place, if it is near."""
    away = np.nan_to_num(np.hypot(*(dots - place).T), nan=np.inf)
    return int(away.argmin()) if len(away) and away.min() <= REACH else None


def nice_step(length: float) -> float:
    """The largest of 1, 2, 5, 10, ... times a power of ten that is at most `length`."""
    if not (math.isfinite(length) and length > 0):
        return 1.0
    power = 10.0 ** math.floor(math.log10(length))
    return max(step * power for step in (1, 2, 5) if step * power <= length * (1 + 1e-9))


def ticks(low: float, high: float, step: float) -> list[float]:
    """Multiples of a step between two numbers, 60 at most."""
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, min(last, first + 60) + 1)]


def tick_label(value: float, step: float) -> str:
    """A number with as many decimals as its step needs."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    text = f"{value:.{decimals}f}" if abs(value) < 1e6 else f"{value:g}"
    return "0" if float(text) == 0 else text


def paint_axes(canvas: Canvas, port: Viewport, unit: str = "") -> None:
    """Names of the axes, numbers along the edges, and dots where two round coordinates meet."""
    faint = blend(canvas.palette.muted, canvas.palette.background, 0.25)
    step = nice_step(max(port.columns, port.rows) * port.scale / 4)
    right = ticks(port.world(0, 0)[0], port.world(port.columns, 0)[0], step)
    up = ticks(port.world(0, port.rows)[1], port.world(0, 0)[1], step)
    crossings = port.plane_dots(*np.meshgrid(right, up)).reshape(-1, 2)
    canvas.stroke(spots(crossings, *canvas.size), np.full(len(crossings), faint))
    for name, row, column in _axis_names(canvas, port, unit):
        canvas.write(row, column, name, canvas.palette.muted)
    for value in right:
        text = tick_label(value, step)
        column = int(port.plane_dots(value, 0.0)[0]) // 2 - len(text) // 2
        if canvas.free(canvas.rows - 1, column, len(text) + 1):  # and a gap before the next word
            canvas.write(canvas.rows - 1, column, text, canvas.palette.muted)
    for value in up:
        row = int(port.plane_dots(0.0, value)[1]) // 4
        if 1 < row < canvas.rows - 1:
            canvas.write(row, 0, tick_label(value, step), canvas.palette.muted)


def _axis_names(canvas: Canvas, port: Viewport, unit: str) -> list[tuple[str, int, int]]:
    """The names of the axes with their row and column: x at the right end, the other one on top."""
    across, upward = ("xyz"[axis] for axis in port.axes)
    of = f" [{single_width(unit, 12)}]" if unit else ""
    right = f"{across}{of} →"
    names = [(right, canvas.rows - 1, canvas.columns - len(right)), (f"{upward}{of} ↑", 1, 0)]
    return [one for one in names if canvas.rows > 4 and canvas.columns > 3 * len(right)]


def paint_scale(canvas: Canvas, port: Viewport, unit: str) -> None:
    """A bar of a round length and its number, in the upper right corner."""
    length = nice_step(port.columns * port.scale / 5)
    wide = max(2, round(length / port.scale / 2))
    text = f"{length:g} {single_width(unit, 12)} " if unit else f"{length:g} "
    bar = "├" + "─" * (wide - 2) + "┤"
    begin = canvas.columns - len(text) - len(bar) - 1
    if begin > 0 and canvas.rows > 2:
        canvas.write(0, begin, text + bar, canvas.palette.muted)


def single_width(text: str, limit: int = 40) -> str:
    """A string of one-column letters that a terminal only shows; others become ?."""
    return "".join(one if width(one) == 1 else "?" for one in safe(text, limit))


def _bounded(scale: float) -> float:
    return min(MAX_SCALE, max(MIN_SCALE, scale)) if math.isfinite(scale) else 1.0
