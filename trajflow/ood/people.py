"""Bootstrap over people: how often each window counts when people are drawn with replacement."""

import numpy as np

from trajflow.types import Floats, Ints

LEVEL = 0.95
RESAMPLES = 500
"""Enough for a middle 95 % of scores that are compared to two digits."""


def weights(persons: tuple[Ints, ...], seed: int, resamples: int = RESAMPLES) -> tuple[Floats, ...]:
    """Times that each window counts, [S + 1, N] for each set of windows; the first row is all 1.

    A person drawn twice brings all their windows of every set twice, so a shifted window and the
    ordinary one it was made of stay together. Sets that share nobody are drawn apart.

    Args:
        persons: Who each window of each set is of, [N].
        seed: What the draws follow from.
        resamples: How often as many people are drawn, S.

    Source: Efron and Tibshirani 1993, "An introduction to the bootstrap", ch. 13, with clusters.
    """
    chance = np.random.default_rng(seed)
    known: Ints = np.zeros(0, np.int64)
    counts: Floats = np.zeros((resamples, 0))
    found = []
    for person in persons:
        new = np.setdiff1d(person, known)
        if len(new):
            drawn = chance.multinomial(len(new), np.full(len(new), 1 / len(new)), resamples)
            known, counts = np.concatenate([known, new]), np.concatenate([counts, drawn], 1)
        order = np.argsort(known)
        column = order[np.searchsorted(known, person, sorter=order)]
        found.append(np.concatenate([np.ones((1, len(person))), counts[:, column]]))
    return tuple(found)


def told(values: Floats) -> dict[str, float | list[float] | None]:
    """The first of values [S + 1] and the middle 95 % of the rest; what is no number is None."""
    drawn = values[1:][np.isfinite(values[1:])]
    tail = (1 - LEVEL) / 2
    ends = np.quantile(drawn, (tail, 1 - tail)).tolist() if len(drawn) else None
    return {"value": float(values[0]) if np.isfinite(values[0]) else None, "interval": ends}


def weighted_mean(values: Floats, times: Floats) -> Floats:
    """Means of what is finite in values [N], windows counted so often, [S, N] -> [S]."""
    known = np.isfinite(values)
    total = times[:, known].sum(1)
    sums = times[:, known] @ values[known]
    mean = np.divide(sums, total, out=np.full(len(times), np.nan), where=total > 0)
    return np.asarray(mean)
