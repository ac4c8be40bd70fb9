"""Where agents were at even steps, read off observations at any times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SLACK = 1e-9
"""Share of a step that rounding may take: times of millions of seconds end at the 10th digit."""


def resampled(times: Floats, points: Floats, steps: int, dt: float, gap: float) -> Floats:
    """Where agents were at the last T steps up to time 0, [A, T, D]; NaN where that is not known.

    Between two observations they moved evenly, unless these are farther apart than `gap`. Where
    no two observations hold a step between them, the nearest one within half a step does: the
    agent went on from it, or had come to it, at its pace over the next half a step or more, and
    stood still where that is not known.

    Args:
        times: Observations of each agent in seconds, the present being 0, ascending, -inf where
            there are fewer, [A, ...].
        points: Where it was, [A, ..., D].
        steps: How many steps T.
        dt: Seconds per step.
        gap: Longest time between two observations that is bridged.
    """
    moments = -dt * np.arange(steps)[::-1]
    who, end = np.arange(len(times))[:, None], times.shape[1] - 1
    right = _earlier(times, np.broadcast_to(moments, (len(times), steps)))
    left = np.clip(right - 1, 0, end)
    right = np.minimum(right, end)
    begin, finish = times[who, left], times[who, right]
    bridged = (left < right) & (finish >= moments) & (finish - begin <= gap * (1 + SLACK))
    nearest = np.where(np.abs(moments - begin) < np.abs(moments - finish), left, right)
    ago = moments - times[who, nearest]
    close = np.abs(ago) <= dt * (0.5 + SLACK)
    other = np.where(bridged, left + right - nearest, _beside(times, nearest, ago > 0, dt))
    span = times[who, other] - times[who, nearest]
    apart, bound = np.abs(span) / dt, max(gap / dt, 1.0)
    moving = bridged | ((apart >= 0.5 - SLACK) & (apart <= bound * (1 + SLACK)))
    start = points[who, nearest]
    away = np.where(moving, ago, 0) / np.where(moving, span, 1)
    pace = np.where(moving[..., None], points[who, other] - start, 0)
    found = start + away[..., None] * pace
    return np.where((bridged | close)[..., None], found, np.nan)


def _earlier(times: Floats, moments: Floats) -> Ints:
    """How many observations [A, ...] lie before each moment [A, T]."""
    return np.asarray((times[:, None] < moments[..., None]).sum(-1))


def _beside(times: Floats, which: Ints, before: NDArray[np.bool_], dt: float) -> Ints:
    """The observation that tells the pace at one [A, T]: the next one half a step away.

    Looked for on the side away from the step asked for: earlier ones where `before` says so.
    """
    end, apart = times.shape[1] - 1, dt * (0.5 - SLACK)
    at = times[np.arange(len(times))[:, None], which]
    back = (times[:, None] <= (at - apart)[..., None]).sum(-1) - 1
    on = _earlier(times, at + apart)
    return np.asarray(np.where(before, np.maximum(back, 0), np.minimum(on, end)))
