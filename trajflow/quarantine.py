"""Which pasts a predictor can make nothing of, and why, agent by agent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STEP = 1e4
"""Most displacement per step, over the usual one."""
FAR = 1e6
"""Most distance from the others of a scene, over the usual displacement: single precision's end."""
MOST = 10_000
"""Most agents and neighbours of a scene: what they ask of memory grows with their square."""


def faults_of(points: Floats, usual: float, ids: Sequence[object] = ()) -> NDArray[np.object_]:
    """What is wrong with each past, in words, [B, A]; None where nothing is.

    Args:
        points: World positions, [B, A, T, D]; NaN where a step is missing.
        usual: Displacement per step that is usual in these units.
        ids: Of the A agents.
    """
    found = np.full(points.shape[:2], None, dtype=object)
    if not plain(points, usual):
        _name(found, points, usual)
    for place, name in enumerate(ids):
        if name in ids[:place]:
            found[:, place] = "has the id of an agent before it"
    return found


def plain(points: Floats, usual: float) -> bool:
    """Whether nobody of pasts [B, A, T, D] can be at fault: all was seen, and nothing is far."""
    if not points.size or not np.isfinite(points).all():
        return not points.size
    across = points.max((1, 2)) - points.min((1, 2))
    return bool(across.max() <= min(FAR, STEP) * usual)


def _name(found: NDArray[np.object_], points: Floats, usual: float) -> None:
    """Write what is wrong with each past beside it."""
    seen = np.asarray(np.isfinite(points).all(-1))
    known = np.where(seen[..., None], points, np.nan)
    with np.errstate(all="ignore"):
        low, high = (np.where(seen[..., None], points, end) for end in (np.inf, -np.inf))
        moved = (high.max(-2, initial=-np.inf) - low.min(-2, initial=np.inf)).max(-1, initial=0)
        away = np.abs(_last(known) - _middle(known)).max(-1, initial=0)
    steps = max(1, points.shape[2] - 1)
    found[away > FAR * usual] = f"is more than {FAR:g} usual steps from the others"
    found[moved > STEP * steps * usual] = f"moves more than {STEP:g} times the usual step"
    found[~seen.any(-1)] = f"was not seen at any of the {points.shape[2]} steps"
    found[np.isinf(points).any((-1, -2))] = "has an infinite coordinate"


def _last(known: Floats) -> Floats:
    """The last seen position, [B, A, D]; NaN where there is none."""
    seen = np.asarray(np.isfinite(known).all(-1))
    last = seen.shape[-1] - 1 - seen[..., ::-1].argmax(-1)
    return np.asarray(np.take_along_axis(known, last[..., None, None], 2)[:, :, 0])


def _middle(known: Floats) -> Floats:
    """The median of each scene's last positions, [B, 1, D]."""
    place = np.sort(_last(known), axis=1)
    count = np.isfinite(place).all(-1).sum(1)
    return np.stack([row[[max(0, n - 1) // 2]] for row, n in zip(place, count, strict=True)])
