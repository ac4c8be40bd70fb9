"""Lines and density on a grid of dots, eight to a terminal cell.

A cell is two dots wide and four high, as in braille, and a dot is square. Density is kept in
pixels of 2 by 2 dots, two to a cell, as in half blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajflow.browse.view import Bools, Floats, Ints

Singles = NDArray[np.float32]
MAX_DOTS = 1 << 20
"""Dots of one tracing at most."""


@dataclass(frozen=True)
class Trace:
    """N dots that lines pass through, [N] each; `along` counts dots from the start of a line."""

    column: Ints
    row: Ints
    line: Ints
    along: Floats

    def only(self, chosen: Bools) -> Trace:
        return Trace(self.column[chosen], self.row[chosen], self.line[chosen], self.along[chosen])

    def dashed(self, on: int, off: int) -> Trace:
        return self.only(self.along % (on + off) < on)


def trace(lines: Floats, columns: int, rows: int) -> Trace:
    """The dots of polylines [..., N, 2], clipped to a picture of so many dots right and down.

    A segment with an end that is not finite is left out; what is outside costs nothing.
    """
    corners = lines.shape[-2]
    flat = np.asarray(lines, np.float32).reshape(-1, corners, 2)
    if corners < 2 or not flat.size or columns < 1 or rows < 1:
        return _empty()
    begin = flat[:, :-1].reshape(-1, 2)
    way = np.diff(flat, axis=1).reshape(-1, 2)
    line = np.repeat(np.arange(len(flat)), corners - 1)
    enter, leave = _clip(begin, way, columns, rows)
    inside = np.flatnonzero(enter < leave)
    if not len(inside):
        return _empty()
    length = np.abs(way).max(1)
    before = _length_before(length.reshape(-1, corners - 1)).ravel()
    begin, way, line = begin[inside], way[inside], line[inside]
    enter, leave = enter[inside], leave[inside]
    length, before = length[inside], before[inside]
    count = np.maximum(1, np.ceil(length * (leave - enter)).astype(np.int64))
    if count.sum() > MAX_DOTS:
        count = np.maximum(1, count * MAX_DOTS // count.sum())
    segment = np.repeat(np.arange(len(count)), count)
    step = np.arange(len(segment)) - (np.cumsum(count) - count)[segment]
    part = (step + np.float32(0.5)) * ((leave - enter) / count).astype(np.float32)[segment]
    part += enter[segment]
    column = np.floor(begin[segment, 0] + way[segment, 0] * part).astype(np.int64)
    row = np.floor(begin[segment, 1] + way[segment, 1] * part).astype(np.int64)
    traced = Trace(column, row, line[segment], before[segment] + length[segment] * part)
    hit = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    return traced if hit.all() else traced.only(hit)


def spots(points: Floats, columns: int, rows: int) -> Trace:
    """The dots of single points [..., 2] in dots, right and down; those outside are left out."""
    flat = np.asarray(points, np.float32).reshape(-1, 2)
    size = np.array([columns, rows], np.float32)
    with np.errstate(invalid="ignore"):
        kept = np.flatnonzero(((flat >= 0) & (flat < size)).all(1))
    where = flat[kept].astype(np.int64)
    return Trace(where[:, 0], where[:, 1], kept, np.zeros(len(kept)))


def density(
    traced: Trace, plane: Ints, weight: Floats, planes: int, size: tuple[int, int]
) -> Floats:
    """How much lies on each pixel, [planes, rows, columns]; the sum is that of the weights.

    Each line has a plane, [N], and a weight of its dots, [N]; `size` is in rows and columns of
    cells.
    """
    rows, columns = 2 * size[0], size[1]
    pixel = (traced.row >> 1) * columns + (traced.column >> 1)
    place = plane[traced.line] * (rows * columns) + pixel
    counts = np.bincount(place, weight[traced.line], minlength=planes * rows * columns)
    return np.asarray(counts.reshape(planes, rows, columns))


def smooth(planes: Floats, times: int = 1) -> Floats:
    """Each pixel of planes [..., N, N] mixed with its neighbors, 1 2 1 each way; mass is kept."""
    for _ in range(times):
        planes = _spread(_spread(planes).swapaxes(-1, -2)).swapaxes(-1, -2)
    return planes


def circles(centres: Floats, radii: Floats, corners: int = 48) -> Floats:
    """Circles, centres [N, 2] and radii [N], as lines [N, K + 1, 2]; NaN for an infinite radius."""
    turn = np.linspace(0, 2 * np.pi, corners + 1)
    rim = np.stack([np.cos(turn), np.sin(turn)], -1)
    finite = np.where(np.isfinite(radii), radii, np.nan)
    return np.asarray(centres[:, None] + finite[:, None, None] * rim)


def _clip(begin: Singles, way: Singles, columns: int, rows: int) -> tuple[Singles, Singles]:
    """Where segments enter and leave the picture, as shares of their length; enter < leave if so.

    NaN is never smaller, so segments with an unknown end are outside.

    Source: Liang and Barsky 1984, "A new concept and method for line clipping".
    """
    size = np.array([columns, rows], np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = -begin / way, (size - begin) / way
    level = way == 0
    within = (begin >= 0) & (begin < size)
    low = np.where(level, np.where(within, -np.inf, np.inf), np.minimum(one, other))
    high = np.where(level, np.inf, np.maximum(one, other))
    enter, leave = np.maximum(low.max(1), 0), np.minimum(high.min(1), 1)
    return enter, leave


def _length_before(length: Floats) -> Floats:
    """Length of a line before each of its segments, [N, N]; a missing segment counts nothing."""
    finite = np.where(np.isfinite(length), length, 0)
    return np.asarray(np.cumsum(finite, 1) - finite)


def _spread(planes: Floats) -> Floats:
    """Half of each number stays and a quarter goes to each side; at an edge it stays as well."""
    spread = planes * planes.dtype.type(0.5)
    part = planes * planes.dtype.type(0.25)
    spread[..., 1:] += part[..., :-1]
    spread[..., :-1] += part[..., 1:]
    spread[..., 0] += part[..., 0]
    spread[..., -1] += part[..., -1]
    return spread


def _empty() -> Trace:
    none = np.zeros(0, np.int64)
    return Trace(none, none, none, np.zeros(0))
