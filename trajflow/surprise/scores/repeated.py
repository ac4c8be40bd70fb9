"""Whether an agent that moves stays put for some steps: padding, or a frozen tracker."""

import numpy as np

from trajflow.surprise.motion import EXACT, FINE, Motion
from trajflow.surprise.scores import State
from trajflow.surprise.sight import Sight
from trajflow.types import Bools, Floats


def fit(sight: Sight, weight: Floats) -> State:
    """How many positions are repeated as a rule, for agents of weights [N]."""
    return {"usual": np.array([np.average(_count(sight.motion), weights=weight)])}


def values(state: State, sight: Sight) -> Floats:
    """Positions repeated exactly by one who moves, [N], more so the faster they move."""
    return _count(sight.motion)


def reasons(state: State, sight: Sight) -> list[str]:
    """Which they are, [N]."""
    return [_told(row) for row in _repeated(sight.motion)]


def _repeated(motion: Motion) -> Bools:
    return np.asarray(motion.lengths < EXACT * motion.usual)


def _count(motion: Motion) -> Floats:
    repeated, lengths = _repeated(motion), motion.lengths
    fastest = np.where(np.isfinite(lengths), lengths, 0).max(1, initial=0) / motion.usual
    return np.asarray(np.where(fastest > FINE, repeated.sum(1) * np.minimum(fastest, 1), 0.0))


def _told(repeated: Bools) -> str:
    where = np.flatnonzero(repeated) + 2
    if not len(where):
        return "no position is repeated"
    listed = ", ".join(map(str, where))
    return f"step {listed} repeats" if len(where) == 1 else f"steps {listed} repeat others"
