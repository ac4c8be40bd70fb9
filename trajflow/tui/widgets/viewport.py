"""Where a picture looks: a part of the world, equal in both directions, on a grid of dots."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from trajflow.batch import Floats

NEAREST, FARTHEST = 1e-6, 1e9
"""Bounds of the world's units per dot."""


@dataclass(frozen=True)
class Viewport:
    """A part of the world on a picture of `columns` by `rows` dots, x to the right and y up.

    A dot is an eighth of a terminal's cell, which is twice as high as wide: four dots high, two
    wide. So dots are square and a right angle stays one.

    Attributes:
        x: World coordinate of the centre, in the unit of the tracks.
        y: The other one.
        scale: Units of the world per dot.
        columns: Dots from left to right.
        rows: Dots from top to bottom.
    """

    x: float
    y: float
    scale: float
    columns: int
    rows: int

    @classmethod
    def fit(
        cls, points: Floats, columns: int, rows: int, margin: float = 0.08, least: float = 4.0
    ) -> Viewport:
        """All of the points, in the middle.

        Args:
            points: World positions, [..., D]; those that are not finite are left out.
            columns: Dots from left to right.
            rows: Dots from top to bottom.
            margin: Share of the picture left free on each side.
            least: Units of the world that are shown at least in the narrower direction.
        """
        flat = np.reshape(points, (-1, points.shape[-1]))[:, :2]
        flat = flat[np.isfinite(flat).all(1)]
        if not len(flat):
            return cls(0.0, 0.0, least / max(1, min(columns, rows)), columns, rows)
        low, high = flat.min(0), flat.max(0)
        x, y = (low + high) / 2
        width, height = (high - low) / (1 - 2 * margin)
        narrow = least / max(1, min(columns, rows))
        scale = max(width / max(1, columns), height / max(1, rows), narrow)
        return cls(float(x), float(y), _bounded(float(scale)), columns, rows)

    def dots(self, points: Floats) -> Floats:
        """Where world positions [..., D] are on the picture, [..., 2]: dots right and down."""
        right = (points[..., 0] - self.x) / self.scale + self.columns / 2
        down = (self.y - points[..., 1]) / self.scale + self.rows / 2
        return np.stack([right, down], -1)

    def world(self, right: float, down: float) -> tuple[float, float]:
        """The position under a dot, x and y."""
        x = self.x + (right - self.columns / 2) * self.scale
        y = self.y - (down - self.rows / 2) * self.scale
        return x, y

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
        return Viewport(self.x, self.y, _bounded(self.scale * ratio), columns, rows)


def _bounded(scale: float) -> float:
    return min(FARTHEST, max(NEAREST, scale)) if math.isfinite(scale) else 1.0


def nice(length: float) -> float:
    """The largest of 1, 2, 5, 10, ... times a power of ten that is at most `length`."""
    if not (math.isfinite(length) and length > 0):
        return 1.0
    power = 10.0 ** math.floor(math.log10(length))
    return max(step * power for step in (1, 2, 5) if step * power <= length * (1 + 1e-9))
