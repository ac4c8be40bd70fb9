"""Axes and scale of a map: numbers, names and units along the edges of a picture."""

from __future__ import annotations

import numpy as np

from trajflow.text import safe, width
from trajflow.tui.render.canvas import Canvas
from trajflow.tui.render.colors import blend
from trajflow.tui.render.raster import spots
from trajflow.tui.render.viewport import Viewport, nice_step, tick_label, ticks


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
        column = int((value - port.x) / port.scale + port.columns / 2) // 2 - len(text) // 2
        if canvas.free(canvas.rows - 1, column, len(text)):
            canvas.write(canvas.rows - 1, column, text, faint)
    for value in up:
        row = int((port.y - value) / port.scale + port.rows / 2) // 4
        if 1 < row < canvas.rows - 1:
            canvas.write(row, 0, tick_label(value, step), faint)


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
