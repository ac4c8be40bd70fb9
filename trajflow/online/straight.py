"""Where agents get to if they go on as they went."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trajflow.quarantine import scene_center

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def straight_on(past: Floats, horizon: int, still: Bools | None = None) -> Floats:
    """Positions of the next F steps, [A, F, D], at the pace between the last two steps seen.

    Who was seen at one step stands still.

    Args:
        past: Positions, each seen at one step at least, not finite where unseen, [A, T, D].
        horizon: How many steps F.
        still: Whose steps say nothing of their pace, [A]: they stay where they were last.
    """
    step, seen = np.arange(past.shape[1]), np.isfinite(past).all(-1)
    last = np.where(seen, step, -1).max(1, initial=-1)
    before = np.where(seen & (step < last[:, None]), step, -1).max(1, initial=-1)
    who, known = np.arange(len(past)), before >= 0
    if still is not None:
        known = known & ~still
    gap = np.where(known, last - before, 1)[:, None]
    pace = np.where(known[:, None], past[who, last] - past[who, before], 0) / gap
    ahead = np.arange(1, horizon + 1) + (len(step) - 1 - last)[:, None]
    return np.asarray(past[who, last][:, None] + ahead[..., None] * pace[:, None])


def near_others(past: Floats, seen: Bools, far: float) -> Bools:
    """Which positions were seen near those of the others, [A, T].

    Args:
        past: Positions, [A, T, D].
        seen: Where they are finite, for each agent at one step at least, [A, T].
        far: Distance along any coordinate beyond which single precision cannot hold a position.
    """
    points = past[seen]
    if (points.max(0) - points.min(0) <= far).all():
        return seen
    return np.asarray(seen & (np.abs(past - scene_center(past, far)).max(-1) <= far))
