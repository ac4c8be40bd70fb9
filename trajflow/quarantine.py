"""Which pasts a predictor can make nothing of, and why, agent by agent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import TrajflowError

Floats = NDArray[np.float64]
STEP = 1e4
"""Most displacement per step, over the usual one."""
FAR = 1e6
"""Most distance from the others of a scene, over the usual displacement: single precision's end."""
CANDIDATES = 32
"""Places of a scene that are tried for its center, so that scattered agents take little time."""
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
    if len(ids):
        found[:, _repeated(ids)] = "has the id of an agent before it"
    return found


def _repeated(ids: Sequence[object]) -> list[int]:
    """Places of ids that stand at an earlier place too.

    Raises:
        TrajflowError: An id cannot be hashed, and so not be found again.
    """
    before: set[object] = set()
    repeated = []
    for place, name in enumerate(ids):
        try:
            if name in before:
                repeated.append(place)
            before.add(name)
        except TypeError:
            raise TrajflowError(
                f"agent id {place} is a {type(name).__name__}, which cannot be hashed; "
                "give a number, a string or a tuple"
            ) from None
    return repeated


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
        away = _away(known, FAR * usual)
    steps = max(1, points.shape[2] - 1)
    found[away > FAR * usual] = f"is more than {FAR:g} usual steps from the others"
    found[moved > STEP * steps * usual] = f"moves more than {STEP:g} times the usual step"
    found[~seen.any(-1)] = f"was not seen at any of the {points.shape[2]} steps"
    found[np.isinf(points).any((-1, -2))] = "has an infinite coordinate"


def _away(known: Floats, far: float) -> Floats:
    """Distance of each last position from its scene's center, [B, A]; 0 where all are near."""
    last = _last(known)
    away = np.zeros(last.shape[:2])
    low, high = (np.where(np.isfinite(last), last, end) for end in (np.inf, -np.inf))
    span = (high.max(1, initial=-np.inf) - low.min(1, initial=np.inf)).max(-1, initial=0)
    for scene in np.flatnonzero(span > far):
        away[scene] = np.abs(last[scene] - scene_center(known[scene], far)).max(-1)
    return away


def _last(known: Floats) -> Floats:
    """The last seen position, [B, A, D]; NaN where there is none."""
    seen = np.asarray(np.isfinite(known).all(-1))
    last = seen.shape[-1] - 1 - seen[..., ::-1].argmax(-1)
    return np.asarray(np.take_along_axis(known, last[..., None, None], 2)[:, :, 0])


def scene_center(past: Floats, far: float) -> Floats:
    """A point [D] that most seen positions of a scene lie within `far` of.

    The median of the last positions, or, where outliers outvote it (of two agents one is half of
    all), the last position of an agent. Of equals the first agent's.

    Args:
        past: World positions, [A, T, D]; not finite where a step is missing.
        far: Distance along any coordinate.
    """
    seen = np.asarray(np.isfinite(past).all(-1))
    last = _last(past[None])[0][seen.any(1)]
    if not len(last):
        return np.zeros(past.shape[-1])
    with np.errstate(all="ignore"):
        cells = np.floor(last / far)
        _, first, count = np.unique(cells, axis=0, return_index=True, return_counts=True)
        fullest = first[np.lexsort((first, -count))[:CANDIDATES]]
        candidates = np.concatenate([np.median(last, 0)[None], last[fullest]])
        near = [(np.abs(past - one).max(-1) <= far) & seen for one in candidates]
    return np.asarray(candidates[np.argmax([one.sum() for one in near])])
