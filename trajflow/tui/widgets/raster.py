"""Lines and density on a grid of dots, eight to a terminal's cell; nothing but numpy.

A cell is two dots wide and four high, as in braille, and a dot is square. Density is kept in
pixels of 2 by 2 dots, two to a cell, as in half blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Bools, Floats, Ints

Singles = NDArray[np.float32]

BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint8)
"""Bit of each dot of a cell, by its row and column, as Unicode orders braille."""
BRAILLE = 0x2800
LONGEST = 1 << 20
"""Dots of one tracing."""


@dataclass(frozen=True)
class Trace:
    """N dots that lines pass through.

    Attributes:
        column: From the left, [N].
        row: From the top, [N].
        line: Which line each dot belongs to, [N].
        along: Dots from the beginning of its line, [N].
    """

    column: Ints
    row: Ints
    line: Ints
    along: Floats

    def only(self, chosen: Bools) -> Trace:
        """The chosen dots, [N]."""
        return Trace(self.column[chosen], self.row[chosen], self.line[chosen], self.along[chosen])

    def dashed(self, on: int, off: int) -> Trace:
        """Lines that are drawn for `on` dots and left out for `off`, again and again."""
        return self.only(self.along % (on + off) < on)


def trace(lines: Floats, columns: int, rows: int) -> Trace:
    """The dots of polylines, clipped to a picture.

    A piece with an end that is not finite is left out; what is outside costs nothing.

    Args:
        lines: Positions in dots, right and down, [..., N, 2] with N corners each.
        columns: Dots of the picture from left to right.
        rows: Dots from top to bottom.
    """
    corners = lines.shape[-2]
    flat = np.asarray(lines, np.float32).reshape(-1, corners, 2)
    if corners < 2 or not flat.size or columns < 1 or rows < 1:
        return _nothing()
    begin = flat[:, :-1].reshape(-1, 2)
    way = np.diff(flat, axis=1).reshape(-1, 2)
    line = np.repeat(np.arange(len(flat)), corners - 1)
    enter, leave = _clip(begin, way, columns, rows)
    inside = np.flatnonzero(enter < leave)
    if not len(inside):
        return _nothing()
    length = np.abs(way).max(1)
    before = _before(length.reshape(-1, corners - 1)).ravel()
    begin, way, line = begin[inside], way[inside], line[inside]
    enter, leave = enter[inside], leave[inside]
    length, before = length[inside], before[inside]
    count = np.maximum(1, np.ceil(length * (leave - enter)).astype(np.int64))
    if count.sum() > LONGEST:
        count = np.maximum(1, count * LONGEST // count.sum())
    piece = np.repeat(np.arange(len(count)), count)
    step = np.arange(len(piece)) - (np.cumsum(count) - count)[piece]
    part = (step + np.float32(0.5)) * ((leave - enter) / count).astype(np.float32)[piece]
    part += enter[piece]
    column = np.floor(begin[piece, 0] + way[piece, 0] * part).astype(np.int64)
    row = np.floor(begin[piece, 1] + way[piece, 1] * part).astype(np.int64)
    found = Trace(column, row, line[piece], before[piece] + length[piece] * part)
    hit = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    return found if hit.all() else found.only(hit)


def spots(points: Floats, columns: int, rows: int) -> Trace:
    """The dots of lone points [..., 2] in dots, right and down; those outside are left out."""
    flat = np.asarray(points, np.float32).reshape(-1, 2)
    size = np.array([columns, rows], np.float32)
    with np.errstate(invalid="ignore"):
        kept = np.flatnonzero(((flat >= 0) & (flat < size)).all(1))
    where = flat[kept].astype(np.int64)
    return Trace(where[:, 0], where[:, 1], kept, np.zeros(len(kept)))


def circles(centres: Floats, radii: Floats, corners: int = 48) -> Floats:
    """Circles as closed lines, [N, K + 1, 2] with K corners.

    Args:
        centres: Middles, [N, 2].
        radii: Radii, [N]; one that is infinite gives a line of NaN.
        corners: Corners K.
    """
    turn = np.linspace(0, 2 * np.pi, corners + 1)
    rim = np.stack([np.cos(turn), np.sin(turn)], -1)
    finite = np.where(np.isfinite(radii), radii, np.nan)
    return np.asarray(centres[:, None] + finite[:, None, None] * rim)


def density(
    found: Trace, plane: Ints, weight: Floats, planes: int, size: tuple[int, int]
) -> Floats:
    """How much lies on each pixel, [planes, rows, columns]; the sum is that of the weights.

    Args:
        found: The dots.
        plane: Plane of each line, [N].
        weight: Weight of a dot of each line, [N].
        planes: How many planes there are.
        size: Cells from top to bottom and from left to right.
    """
    rows, columns = 2 * size[0], size[1]
    pixel = (found.row >> 1) * columns + (found.column >> 1)
    place = plane[found.line] * (rows * columns) + pixel
    counts = np.bincount(place, weight[found.line], minlength=planes * rows * columns)
    return np.asarray(counts.reshape(planes, rows, columns))


def smooth(planes: Floats, times: int = 1) -> Floats:
    """Every pixel's share of its neighbours, 1 2 1 each way, [..., rows, columns]; mass is kept."""
    for _ in range(times):
        planes = _spread(_spread(planes).swapaxes(-1, -2)).swapaxes(-1, -2)
    return planes


class Strokes:
    """Crisp lines as braille: of each cell its dots, and the ink of whoever drew there last.

    Attributes:
        dots: Braille bits of each cell, [N].
        ink: Number of a colour of each cell, [N].
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.dots = np.zeros(rows * columns, np.uint8)
        self.ink = np.zeros(rows * columns, np.int64)

    def draw(self, found: Trace, ink: Ints, alone: bool = False) -> None:
        """Put dots on the cells.

        Args:
            found: The dots.
            ink: Colour of each line, [N].
            alone: Whether what was in the cells before is wiped out.
        """
        cell = (found.row >> 2) * self.columns + (found.column >> 1)
        if alone:
            self.dots[cell] = 0
        np.bitwise_or.at(self.dots, cell, BITS[found.row & 3, found.column & 1])
        self.ink[cell] = ink[found.line]

    def wipe(self, row: int, column: int) -> None:
        """Empty a cell."""
        self.dots[row * self.columns + column] = 0


def dither(strength: Floats) -> NDArray[np.uint8]:
    """Braille bits whose number grows with the strength of each cell's two pixels, [N].

    Args:
        strength: Between 0 and 1 for each pixel, [..., ...] with two rows for each row of cells.

    Source: Bayer 1973, "An optimum method for two-level rendition of continuous-tone pictures".
    """
    fine = strength.repeat(2, 0).repeat(2, 1)
    rows, columns = fine.shape
    order = np.tile(_BAYER, (-(-rows // 4), -(-columns // 4)))[:rows, :columns]
    lit = fine > order
    cells = lit.reshape(rows // 4, 4, columns // 2, 2).transpose(0, 2, 1, 3)
    return np.asarray((cells * BITS).sum((2, 3)).astype(np.uint8).ravel())


_BAYER = (
    np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float64) + 0.5
) / 16


def _clip(begin: Singles, way: Singles, columns: int, rows: int) -> tuple[Singles, Singles]:
    """Where pieces enter and leave the picture, as shares of their length; enter < leave if so.

    Source: Liang and Barsky 1984, "A new concept and method for line clipping".
    """
    size = np.array([columns, rows], np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = -begin / way, (size - begin) / way
    still = way == 0
    within = (begin >= 0) & (begin < size)
    low = np.where(still, np.where(within, -np.inf, np.inf), np.minimum(one, other))
    high = np.where(still, np.inf, np.maximum(one, other))
    enter, leave = np.maximum(low.max(1), 0), np.minimum(high.min(1), 1)
    broken = ~np.isfinite(begin + way).all(1)
    enter[broken], leave[broken] = 1, 0
    return enter, leave


def _before(length: Floats) -> Floats:
    """Length of a line before each of its pieces, all [N, N]; a missing piece counts nothing."""
    known = np.where(np.isfinite(length), length, 0)
    return np.asarray(np.cumsum(known, 1) - known)


def _spread(planes: Floats) -> Floats:
    """Half of each number stays and a quarter goes to each side; at an edge it stays as well."""
    found = planes * planes.dtype.type(0.5)
    part = planes * planes.dtype.type(0.25)
    found[..., 1:] += part[..., :-1]
    found[..., :-1] += part[..., 1:]
    found[..., 0] += part[..., 0]
    found[..., -1] += part[..., -1]
    return found


def _nothing() -> Trace:
    none = np.zeros(0, np.int64)
    return Trace(none, none, none, np.zeros(0))
