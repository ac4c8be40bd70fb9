"""Baseline detectors: scores that need no network, which a detector must beat."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trajflow.batch import Bools, Floats

NEAREST = 10
RIDGE = 1e-6
"""Share of the mean variance that is added to every direction, so that none is without."""
BASELINES = ("baseline speed", "baseline steps", "baseline nearest")
"""Names of the scores."""


@dataclass(frozen=True)
class BaselineDetectors:
    """Steps of training tracks, turned so that everybody goes one way.

    Attributes:
        steps: Turned steps of training windows, flat, [N, H] with H = (T - 1) D.
        mean: Their mean, [H].
        root: Whitens them, [H, H].
        speed: Mean and deviation of the mean step length.
    """

    steps: Floats
    mean: Floats
    root: Floats
    speed: tuple[float, float]

    @classmethod
    def fit(cls, past: Floats) -> "BaselineDetectors":
        """Learn from pasts of training windows, [N, T, D]."""
        steps, speed = turned_steps(past), _speed(past)
        values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(steps, rowvar=False)))
        least = RIDGE * max(float(values.mean()), np.finfo(float).tiny)
        root = vectors / np.sqrt(np.maximum(values, 0) + least)
        return cls(steps, steps.mean(0), root, (float(speed.mean()), float(speed.std())))

    def scores(self, past: Floats) -> Mapping[str, Floats]:
        """Three scores of pasts [N, T, D], larger is further out, [N] by name.

        The speed's distance from the mean in deviations, the Mahalanobis distance of the turned
        steps, and the distance of these to the tenth nearest of the training windows.
        """
        from sklearn.neighbors import NearestNeighbors

        steps = turned_steps(past)
        mean, deviation = self.speed
        away_in_speed = np.abs(_speed(past) - mean) / (deviation or 1.0)
        away = np.linalg.norm((steps - self.mean) @ self.root, axis=1)
        count = min(NEAREST, len(self.steps))
        near = NearestNeighbors(n_neighbors=count).fit(self.steps).kneighbors(steps)[0][:, -1]
        return dict(zip(BASELINES, (away_in_speed, away, near), strict=True))


def turned_steps(past: Floats) -> Floats:
    """Steps of pasts [N, T, D], turned so that everybody ends ahead of where they began, [N, H].

    Turned in the plane of the first two coordinates. Gaps are filled on straight lines, and what
    was seen first or last is repeated beyond; who stands is not turned.
    """
    path = _filled(past)
    steps = np.diff(path, axis=1)
    if past.shape[-1] > 1:
        x, y = (path[:, -1, axis] - path[:, 0, axis] for axis in (0, 1))
        turn = np.where((x == 0) & (y == 0), 1, x - 1j * y)
        turn = turn / np.abs(turn)
        flat = (steps[..., 0] + 1j * steps[..., 1]) * turn[:, None]
        steps = np.concatenate([flat.real[..., None], flat.imag[..., None], steps[..., 2:]], -1)
    else:
        steps = steps * np.where(path[:, -1:] < path[:, :1], -1, 1)
    return np.asarray(steps.reshape(len(past), -1))


def _speed(past: Floats) -> Floats:
    return np.asarray(np.linalg.norm(np.diff(_filled(past), axis=1), axis=-1).mean(1))


def _filled(past: Floats) -> Floats:
    """Pasts without gaps; each has been seen at least once."""
    seen: Bools = np.asarray(np.isfinite(past).all(-1))
    if seen.all():
        return past
    full, steps = past.copy(), np.arange(past.shape[1])
    for row in np.flatnonzero(~seen.all(1) & seen.any(1)):
        for axis in range(past.shape[-1]):
            known = seen[row]
            full[row, :, axis] = np.interp(steps, steps[known], past[row, known, axis])
    return full
