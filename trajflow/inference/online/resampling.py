"""Resamples irregular observations at regular steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Share of a step that rounding may take: times of millions of seconds have ten digits left.
TOLERANCE = 1e-9


def resample(times: Floats, positions: Floats, steps: int, dt: float, max_gap: float) -> Floats:
    """Positions at the last T steps up to time 0, [A, T, D]; NaN where unknown.

    Positions between two observations are interpolated unless the gap exceeds `max_gap`. Other
    steps take the nearest observation within half a step, extrapolated at the velocity to the next
    observation at least half a step further away, or unchanged if there is none.

    Args:
        times: Times of observations relative to the present, ascending along K; -inf if there are
            fewer than K, [A, K].
        positions: Observed positions, [A, K, D].
        steps: Number of steps T.
        dt: Seconds per step.
        max_gap: Longest gap that is interpolated, in seconds.
    """
    grid = -dt * np.arange(steps)[::-1]
    agent, last = np.arange(len(times))[:, None], times.shape[1] - 1
    right = _count_before(times, np.broadcast_to(grid, (len(times), steps)))
    left = np.clip(right - 1, 0, last)
    right = np.minimum(right, last)
    start, end = times[agent, left], times[agent, right]
    enclosed = (left < right) & (end >= grid) & (end - start <= max_gap * (1 + TOLERANCE))
    nearest = np.where(np.abs(grid - start) < np.abs(grid - end), left, right)
    offset = grid - times[agent, nearest]
    close = np.abs(offset) <= dt * (0.5 + TOLERANCE)
    other = np.where(enclosed, left + right - nearest, _beyond(times, nearest, offset > 0, dt))
    span = times[agent, other] - times[agent, nearest]
    span_steps, longest = np.abs(span) / dt, max(max_gap / dt, 1.0)
    has_velocity = enclosed | (
        (span_steps >= 0.5 - TOLERANCE) & (span_steps <= longest * (1 + TOLERANCE))
    )
    origin = positions[agent, nearest]
    share = np.where(has_velocity, offset, 0) / np.where(has_velocity, span, 1)
    displacement = np.where(has_velocity[..., None], positions[agent, other] - origin, 0)
    resampled = origin + share[..., None] * displacement
    return np.where((enclosed | close)[..., None], resampled, np.nan)


def _count_before(times: Floats, grid: Floats) -> Ints:
    """Number of observations [A, K] before each time of a grid [A, T]."""
    return np.asarray((times[:, None] < grid[..., None]).sum(-1))


def _beyond(times: Floats, index: Ints, backward: NDArray[np.bool_], dt: float) -> Ints:
    """Index of the next observation at least half a step away from one, [A, T].

    Among earlier observations where `backward`, else among later ones.
    """
    last, distance = times.shape[1] - 1, dt * (0.5 - TOLERANCE)
    at = times[np.arange(len(times))[:, None], index]
    before = (times[:, None] <= (at - distance)[..., None]).sum(-1) - 1
    after = _count_before(times, at + distance)
    return np.asarray(np.where(backward, np.maximum(before, 0), np.minimum(after, last)))
