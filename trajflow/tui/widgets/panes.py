"""One map, or two of the same place side by side, and what lies under a cell of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trajflow.batch import Bools, Floats
from trajflow.browsing.view import View
from trajflow.tui.widgets.cells import BLANK, Cells
from trajflow.tui.widgets.layers import Layers, Pointing
from trajflow.tui.widgets.look import Look
from trajflow.tui.widgets.scene_picture import paint
from trajflow.tui.widgets.viewport import Viewport

BAR, ACROSS = 0x2502, 0x2500
BETTER = 1.15
"""How much larger two maps must be below each other to stand so."""
REACH = 8.0
"""Dots within which a sample or an agent is under the mouse."""


@dataclass(frozen=True)
class Panes:
    """How a widget of `columns` by `rows` cells is shared by one map or two.

    Attributes:
        columns: Cells from left to right.
        rows: Cells from top to bottom.
        two: Whether there are two maps.
        below: Whether the second one is below the first one, not beside it.
    """

    columns: int
    rows: int
    two: bool = False
    below: bool = False

    @property
    def width(self) -> int:
        """Columns of one map."""
        return (self.columns - 1) // 2 if self.two and not self.below else self.columns

    @property
    def height(self) -> int:
        """Rows of one map."""
        return (self.rows - 1) // 2 if self.two and self.below else self.rows

    @property
    def dots(self) -> tuple[int, int]:
        """Size of one map in dots, right and down."""
        return 2 * self.width, 4 * self.height

    def under(self, column: int, row: int) -> tuple[bool, float, float]:
        """Whether a cell is on the second map, and the dots of its middle there."""
        second = self.two and (row > self.height if self.below else column > self.width)
        if second and self.below:
            row -= self.rows - self.height
        elif second:
            column -= self.columns - self.width
        return second, 2 * column + 1.0, 4 * row + 2.0

    def painted(
        self,
        views: tuple[View, View | None],
        port: Viewport,
        look: Look,
        layers: Layers,
        at: tuple[Pointing, Pointing],
    ) -> Cells:
        """The maps."""
        first, second = views
        if not self.two or second is None:
            return paint(first, port, look, layers, at[0])
        left = paint(first, port, look, layers, at[0], first.by)
        right = paint(second, port, look, layers, at[1], second.by)
        if self.below:
            between = _bars(self.rows - 2 * self.height, self.columns, look, ACROSS)
            return left.above(between).above(right)
        between = _bars(self.rows, self.columns - 2 * self.width, look, BAR)
        return left.beside(between).beside(right)


def better_below(view: View, columns: int, rows: int) -> bool:
    """Whether two maps of a window are larger below each other than side by side."""
    points = points_of(view)
    beside, below = (Panes(columns, rows, True, each).dots for each in (False, True))
    return Viewport.fit(points, *beside).scale > BETTER * Viewport.fit(points, *below).scale


def points_of(view: View) -> Floats:
    """Everything that should be on the map, [N, D]: pasts, futures of the targets, most samples."""
    drawn = view.samples[:200, view.target]
    parts = [view.past[view.target], drawn, view.past[:, -1:]]
    if view.future is not None:
        parts.append(view.future[view.target])
    return np.concatenate([part.reshape(-1, view.past.shape[-1]) for part in parts])


def fitted(view: View, port: Viewport, panes: Panes) -> Viewport:
    """Where to look at a window: as before while all of it is there and large enough, else anew."""
    points = points_of(view)
    best = Viewport.fit(points, *panes.dots)
    same = (port.columns, port.rows) == panes.dots
    if not same or not 0.6 * port.scale < best.scale < 1.6 * port.scale:
        return best
    dots = port.dots(points[np.isfinite(points).all(1)])
    on = (dots >= 0) & (dots < panes.dots)
    return port if on.all(-1).mean() > 0.98 else best


def nearest_sample(view: View, port: Viewport, right: float, down: float) -> tuple[int, int] | None:
    """Agent and number of the sample that passes nearest to a dot, if one is near."""
    if not len(view.samples):
        return None
    targets = np.flatnonzero(view.target)
    dots = port.dots(view.samples[:, targets])
    finer = np.concatenate([dots, (dots[..., 1:, :] + dots[..., :-1, :]) / 2], -2)
    away = np.hypot(finer[..., 0] - right, finer[..., 1] - down).min(-1)
    if not np.isfinite(away).any() or np.nanmin(away) > REACH:
        return None
    sample, agent = np.unravel_index(np.nanargmin(away), away.shape)
    return int(targets[agent]), int(sample)


def nearest_agent(view: View, port: Viewport, right: float, down: float) -> int | None:
    """The target whose present is nearest to a dot, if it is near."""
    return _nearest(port.dots(view.present), view.target, right, down)


def nearest_step(view: View, port: Viewport, agent: int, right: float, down: float) -> int | None:
    """The past step of an agent that is nearest to a dot, if it is near."""
    dots = port.dots(view.past[agent])
    return _nearest(dots, np.asarray(np.isfinite(dots).all(-1)), right, down)


def _nearest(dots: Floats, known: Bools, right: float, down: float) -> int | None:
    away = np.where(known, np.hypot(dots[:, 0] - right, dots[:, 1] - down), np.inf)
    away = np.where(np.isfinite(away), away, np.inf)
    return int(away.argmin()) if len(away) and away.min() <= REACH else None


def _bars(rows: int, columns: int, look: Look, bar: int) -> Cells:
    size = (rows, columns)
    code = np.full(size, BLANK)
    if bar == BAR:
        code[:, 0] = bar
    else:
        code[0] = bar
    ground = np.full(size, look.ground)
    clear = look.ground if look.clear else None
    return Cells(code, np.full(size, look.faint), ground, np.zeros(size, bool), clear)
