"""Whether positions were computed from others: they lie too exactly between their neighbours."""

import numpy as np

from trajflow.surprise.motion import FINE, Motion
from trajflow.surprise.scores import State
from trajflow.surprise.sight import Sight
from trajflow.types import Bools, Floats, Ints


def fit(sight: Sight, weight: Floats) -> State:
    """How many inner positions are exactly between others as a rule, for agents of weights [N]."""
    share = np.average(sight.motion.computed.mean(1), weights=weight) if len(weight) else 0.0
    return {"usual": np.array([share])}


def values(state: State, sight: Sight) -> Floats:
    """Positions exactly halfway between their neighbours, then nearly so, [N]."""
    m = sight.motion
    near = _straight(m)
    exact = m.computed.sum(1) + 0.5 * _regular(m.computed)
    return np.asarray(exact + 0.2 * near.sum(1) + 0.1 * _regular(near))


def reasons(state: State, sight: Sight) -> list[str]:
    """Which steps they are, [N]."""
    m = sight.motion
    exact = m.computed.any(axis=1, keepdims=True)
    near = np.asarray(np.where(exact, m.computed, _straight(m)))
    return [_told(row, m.seen.shape[1]) for row in near]


def _straight(motion: Motion) -> Bools:
    """Whether an inner position lies nearly halfway between its neighbours, [N, T - 2]."""
    shorter = np.minimum(motion.lengths[:, 1:], motion.lengths[:, :-1])
    return np.asarray(motion.moving & (motion.bends < FINE * shorter))


def _regular(straight: Bools) -> Ints:
    """By how many straight positions every other one leads, [N]: halved steps alternate."""
    return np.asarray(np.abs(straight[:, ::2].sum(1) - straight[:, 1::2].sum(1)))


def _told(straight: Bools, steps: int) -> str:
    where = np.flatnonzero(straight) + 1
    if not len(where):
        return "its steps are too regular to have been observed"
    if len(where) > 1 and (np.diff(where) == 2).all():
        return f"every other position, {_listed(where)}, lies halfway between its neighbours"
    runs = np.split(where, np.flatnonzero(np.diff(where) > 1) + 1)
    said = [f"{run[0]}-{run[-1] + 2}" for run in runs]
    return f"steps {', '.join(said)} lie on a straight line at equal distances"


def _listed(where: Ints) -> str:
    return ", ".join(str(step + 1) for step in where)
