"""Where agents get to if they go on as they went."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def straight_on(past: Floats, horizon: int) -> Floats:
    """Positions of the next F steps, [A, F, D], at the pace between the last two steps seen.

    Who was seen at one step stands still.

    Args:
        past: Positions, each seen at one step at least, not finite where unseen, [A, T, D].
        horizon: How many steps F.
    """
    step, seen = np.arange(past.shape[1]), np.isfinite(past).all(-1)
    last = np.where(seen, step, -1).max(1, initial=-1)
    before = np.where(seen & (step < last[:, None]), step, -1).max(1, initial=-1)
    who, known = np.arange(len(past)), before >= 0
    gap = np.where(known, last - before, 1)[:, None]
    pace = np.where(known[:, None], past[who, last] - past[who, before], 0) / gap
    ahead = np.arange(1, horizon + 1) + (len(step) - 1 - last)[:, None]
    return np.asarray(past[who, last][:, None] + ahead[..., None] * pace[:, None])


def together(past: Floats, far: float) -> NDArray[np.bool_]:
    """Who is near the middle of all agents, [A]: single precision cannot hold one far away.

    Args:
        past: Positions, each seen at one step at least, not finite where unseen, [A, T, D].
        far: Largest distance from the median position, along any coordinate.
    """
    seen = np.asarray(np.isfinite(past).all(-1))
    last = past.shape[1] - 1 - np.flip(seen, 1).argmax(1)
    middle = np.median(past[np.arange(len(past)), last], 0)
    near = np.abs(past - middle).max(-1) <= far
    return np.asarray((near | ~seen).all(1))
