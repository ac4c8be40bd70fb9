"""How many steps of the past were not seen."""

import numpy as np

from trajflow.surprise.scores import State
from trajflow.surprise.sight import Sight
from trajflow.types import Floats


def fit(sight: Sight, weight: Floats) -> State:
    """How many are missing as a rule, for agents of weights [N]."""
    return {"usual": np.array([np.average((~sight.motion.seen).sum(1), weights=weight)])}


def values(state: State, sight: Sight) -> Floats:
    """Steps not seen, [N]."""
    return np.asarray((~sight.motion.seen).sum(1).astype(float))


def reasons(state: State, sight: Sight) -> list[str]:
    """Which they are, [N]."""
    return [_told(row) for row in sight.motion.seen]


def _told(seen: Floats) -> str:
    lost, steps = np.flatnonzero(~seen.astype(bool)), len(seen)
    if not len(lost):
        return "no step is missing"
    if len(lost) == lost[-1] + 1:
        return f"it was first seen at step {lost[-1] + 2} of {steps}"
    return f"{len(lost)} of {steps} steps are missing: {', '.join(str(s + 1) for s in lost)}"
