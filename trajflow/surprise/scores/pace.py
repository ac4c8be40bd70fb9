"""Whether an agent is faster or slower than those learned from: another clock, unit or kind."""

import numpy as np

from trajflow.surprise.motion import Motion, spoken
from trajflow.surprise.scores import State
from trajflow.surprise.scores._sides import both, quantiles, rarity
from trajflow.surprise.sight import Sight
from trajflow.types import Floats


def fit(sight: Sight, weight: Floats) -> State:
    """What is usual of the pace of agents of weights [N]."""
    return quantiles(_log_pace(sight.motion), weight)


def values(state: State, sight: Sight) -> Floats:
    """How unusual the pace is, [N]."""
    return both(state, _log_pace(sight.motion))


def reasons(state: State, sight: Sight) -> list[str]:
    """The pace and where it lies, [N]."""
    told = rarity(state, _log_pace(sight.motion))
    return [
        f"{_said(sight.motion, pace)}: {rare}"
        for pace, rare in zip(sight.motion.pace, told, strict=True)
    ]


def _said(motion: Motion, pace: float) -> str:
    if not motion.dt:
        return f"pace {spoken(motion, pace)} per step"
    return f"pace {spoken(motion, pace / motion.dt)}/s"


def _log_pace(motion: Motion) -> Floats:
    """Standing still is one pace, however still."""
    found = np.log(motion.pace + 0.02 * motion.usual)
    moved = np.isfinite(motion.lengths).any(1)
    return np.asarray(np.where(moved, found, np.nan))
