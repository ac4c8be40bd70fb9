"""Whether positions tremble: noise on them makes every displacement undo part of the last."""

import numpy as np

from trajflow.surprise.motion import Motion, mean, spoken
from trajflow.surprise.scores import State
from trajflow.surprise.scores._sides import both, quantiles, rarity
from trajflow.surprise.sight import Sight
from trajflow.types import Floats


def fit(sight: Sight, weight: Floats) -> State:
    """What is usual of the roughness of agents of weights [N]."""
    return quantiles(_roughness(sight.motion), weight)


def values(state: State, sight: Sight) -> Floats:
    """How unusually rough the pasts are, [N]; smooth ones are no matter of this score."""
    rough = _roughness(sight.motion)
    higher = rough > state["quantiles"][len(state["quantiles"]) // 2]
    return np.asarray(np.where(higher, both(state, rough), 0))


def reasons(state: State, sight: Sight) -> list[str]:
    """How rough it is, [N]."""
    rough = _roughness(sight.motion)
    told = rarity(state, rough)
    return [
        f"positions tremble by {spoken(sight.motion, np.exp(size) * sight.motion.usual)}: {rare}"
        for size, rare in zip(np.nan_to_num(rough), told, strict=True)
    ]


def _roughness(motion: Motion) -> Floats:
    """Logarithm of the deviation of positions that would make third differences as large, [N].

    The median, so that one jump is none.
    """
    third = np.linalg.norm(np.diff(motion.turns, axis=1), axis=-1)
    known = np.isfinite(third).any(1)
    dims = motion.moves.shape[-1]
    third = np.where(np.isfinite(third), third, mean(third)[:, None])
    size = np.median(third, 1) if third.shape[1] else np.zeros(len(third))
    # The third difference of independent noise has 20 times its variance.
    found = np.log(size / np.sqrt(20 * dims) / motion.usual + 1e-4)
    return np.asarray(np.where(known, found, np.nan))
