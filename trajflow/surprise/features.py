"""What forests look at: a track as a whole and step by step, and what the scores say of it."""

from collections.abc import Mapping

import numpy as np

from trajflow.surprise.motion import FINE, Motion, mean, most
from trajflow.surprise.sight import Sight
from trajflow.types import Bools, Floats, Ints

LEAST = 1e-5
"""Shares of an agent's own pace that count as none."""


def track_features(motion: Motion) -> Floats:
    """All that tells an ordinary track from a faulty one, [N, ...]; NaN where not known."""
    return np.concatenate([_whole(motion), _stepwise(motion)], 1)


def risk_features(values: Mapping[str, Floats], axes: Floats, sight: Sight) -> Floats:
    """What tells how well agents can be forecast, [N, ...].

    Args:
        values: What each score says of them, [N] by name.
        axes: Their contexts in principal components, [N, ...].
        sight: What there is to see of them.
    """
    made = [values[name] for name in sorted(values)]
    wide = sight.spread + np.log(sight.motion.unit / sight.motion.usual)
    told = [wide, sight.spread, sight.agreement, sight.foretold]
    return np.concatenate([np.stack(made + told, 1), _whole(sight.motion), axes], 1)


def _whole(motion: Motion) -> Floats:
    """What a past is like as a whole, [N, ...]."""
    bends = motion.bends / motion.unit[:, None]
    lengths = np.where(np.isfinite(motion.lengths), motion.lengths, 0)
    net = np.linalg.norm(np.where(np.isfinite(motion.moves), motion.moves, 0).sum(1), axis=-1)
    inner = _inner(motion)
    columns = [
        np.log(motion.pace / motion.usual + 0.02),
        net / np.maximum(lengths.sum(1), LEAST * motion.usual),
        motion.computed.sum(1),
        _run(motion.computed),
        _run(bends < FINE),
        motion.computed[:, ::2].sum(1) - motion.computed[:, 1::2].sum(1),
        (~motion.moving).sum(1),
        _log(mean(bends)),
        _log(most(bends)),
        _log(_middle(bends)),
        (bends < FINE).sum(1),
        _log(_middle(motion.bends) / motion.usual),
        _log((most(motion.bends) - _middle(motion.bends)) / motion.usual),
        _alternation(bends),
        _log(mean(np.linalg.norm(np.diff(motion.turns, axis=1), axis=-1)) / motion.unit),
        mean(inner) / (mean(bends**2) + LEAST),
    ]
    return np.stack(columns, 1)


def _stepwise(motion: Motion) -> Floats:
    """Each step of each past, [N, ...]."""
    unit = motion.unit[:, None]
    ahead = np.where(np.isfinite(motion.moves), motion.moves, 0).sum(1)
    ahead = ahead / np.maximum(np.linalg.norm(ahead, axis=-1, keepdims=True), LEAST * motion.usual)
    along = (motion.turns * ahead[:, None]).sum(-1) / unit
    side = np.sqrt(np.maximum((motion.bends / unit) ** 2 - along**2, 0))
    exact = np.where(np.isfinite(motion.bends), motion.computed, np.nan)
    parts = [exact, motion.lengths / unit, along, side, _log(motion.bends / unit), _inner(motion)]
    return np.concatenate(parts, 1)


def _inner(motion: Motion) -> Floats:
    """Products of successive changes of displacement, [N, T - 3]: negative where they undo."""
    found = (motion.turns[:, 1:] * motion.turns[:, :-1]).sum(-1)
    return np.asarray(found / motion.unit[:, None] ** 2)


def _run(straight: Bools) -> Ints:
    """The most of them in a row, [N]."""
    longest = run = np.zeros(len(straight), np.int64)
    for column in straight.T:
        run = np.where(column, run + 1, 0)
        longest = np.maximum(longest, run)
    return longest


def _middle(values: Floats) -> Floats:
    if not values.shape[1]:
        return np.zeros(len(values))
    filled = np.where(np.isfinite(values), values, mean(values)[:, None])
    return np.asarray(np.median(filled, 1))


def _alternation(bends: Floats) -> Floats:
    even, odd = (mean(_log(bends[:, first::2])) for first in (0, 1))
    return np.asarray(np.abs(even - odd))


def _log(values: Floats) -> Floats:
    return np.asarray(np.log(values + LEAST))
