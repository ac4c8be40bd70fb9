"""Whether one position jumps out of an otherwise even track."""

import numpy as np

from trajflow.surprise.motion import Motion, spoken
from trajflow.surprise.scores import State
from trajflow.surprise.scores._sides import both, quantiles, rarity
from trajflow.surprise.sight import Sight
from trajflow.types import Floats, Ints


def fit(sight: Sight, weight: Floats) -> State:
    """What is usual of the largest jump of agents of weights [N]."""
    return quantiles(_jump(sight.motion), weight)


def values(state: State, sight: Sight) -> Floats:
    """How unusual the largest jump is, [N]; the lack of any is no matter of this score."""
    jump = _jump(sight.motion)
    higher = jump > state["quantiles"][len(state["quantiles"]) // 2]
    return np.asarray(np.where(higher, both(state, jump), 0))


def reasons(state: State, sight: Sight) -> list[str]:
    """Where it jumps and how far, [N]."""
    where, told = _where(sight.motion), rarity(state, _jump(sight.motion))
    size = np.exp(np.nan_to_num(_jump(sight.motion))) * sight.motion.usual
    return [
        f"it jumps by {spoken(sight.motion, far)} at step {step + 1}: {rare}"
        for far, step, rare in zip(size, where, told, strict=True)
    ]


def _jump(motion: Motion) -> Floats:
    """Logarithm of the largest change of displacement, less the median one, [N]."""
    bends = motion.bends
    known = np.isfinite(bends).any(1)
    if not bends.shape[1]:
        return np.full(len(bends), np.nan)
    plain = np.where(np.isfinite(bends), bends, 0)
    found = np.log((plain.max(1) - np.median(plain, 1)) / motion.usual + 1e-3)
    return np.asarray(np.where(known, found, np.nan))


def _where(motion: Motion) -> Ints:
    """The step at which the largest jump is, [N]: the end if it is next to it and moves most."""
    bends = np.where(np.isfinite(motion.bends), motion.bends, 0)
    if not bends.shape[1]:
        return np.zeros(len(bends), np.int64)
    inner = bends.argmax(1) + 1
    last = motion.seen.shape[1] - 1
    lengths = np.where(np.isfinite(motion.lengths), motion.lengths, 0)
    first_moves = (inner == 1) & (lengths.argmax(1) == 0) & (bends[:, 1:2].sum(1) < bends[:, 0] / 2)
    last_moves = (inner == last - 1) & (lengths.argmax(1) == last - 1)
    last_moves &= bends[:, -2:-1].sum(1) < bends[:, -1] / 2
    return np.asarray(np.where(first_moves, 0, np.where(last_moves, last, inner)))
