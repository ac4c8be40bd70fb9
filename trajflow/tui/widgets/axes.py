"""What tells a map's size: marks of round coordinates at its edges, and a bar of a round length."""

import math

import numpy as np

from trajflow.text import safe
from trajflow.tui.widgets.look import mixed
from trajflow.tui.widgets.painting import Painting
from trajflow.tui.widgets.raster import spots
from trajflow.tui.widgets.viewport import Viewport, nice


def paint_axes(painting: Painting, port: Viewport) -> None:
    """Numbers along the lower and the left edge, and a dot where two round coordinates meet."""
    faint = mixed(painting.look.faint, painting.look.ground, 0.25)
    step = nice(max(port.columns, port.rows) * port.scale / 4)
    x = _round_between(port.world(0, 0)[0], port.world(port.columns, 0)[0], step)
    y = _round_between(port.world(0, port.rows)[1], port.world(0, 0)[1], step)
    crossing = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    found = spots(port.dots(crossing), *painting.dots)
    painting.strokes.draw(found, np.full(len(crossing), faint))
    for value in x:
        text = number(value, step)
        column = int(port.dots(np.array([value, port.y]))[0]) // 2 - len(text) // 2
        if painting.free(painting.rows - 1, column, len(text)):
            painting.write(painting.rows - 1, column, text, faint)
    for value in y:
        row = int(port.dots(np.array([port.x, value]))[1]) // 4
        if 0 < row < painting.rows - 1:
            painting.write(row, 0, number(value, step), faint)


def paint_scale(painting: Painting, port: Viewport, unit: str) -> None:
    """A bar of a round length and its number, in the upper right corner."""
    length = nice(port.columns * port.scale / 5)
    wide = max(2, round(length / port.scale / 2))
    text = f"{length:g} {safe(unit, 12)} "
    bar = "├" + "─" * (wide - 2) + "┤"
    begin = painting.columns - len(text) - len(bar) - 1
    if begin > 0 and painting.rows > 2:
        painting.write(0, begin, text + bar, painting.look.faint)


def number(value: float, step: float) -> str:
    """A coordinate with as many decimals as its round step needs."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    text = f"{value:.{decimals}f}" if abs(value) < 1e6 else f"{value:g}"
    return "0" if float(text) == 0 else text


def _round_between(low: float, high: float, step: float) -> list[float]:
    first, last = math.ceil(low / step), math.floor(high / step)
    return [k * step for k in range(first, min(last, first + 60) + 1)]
