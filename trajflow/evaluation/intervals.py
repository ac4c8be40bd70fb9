"""Intervals by bootstrap over people: windows overlap, so all of a person's are one observation."""

from collections.abc import Mapping

import numpy as np

from trajflow.batch import Floats
from trajflow.evaluation.scores import with_ratio
from trajflow.evaluation.tally import People

LEVEL = 0.95
BUDGET = 1 << 22
"""Weights of people that are held at once."""


def resampled_means(people: People, resamples: int, chance: np.random.Generator) -> Floats:
    """Means of the N scores and their ratio over people drawn with replacement, [..., N + 1].

    A person drawn twice brings all their windows twice.

    Args:
        people: Those to draw from.
        resamples: How often as many people are drawn, the first axis of the result.
        chance: What decides.

    Source: Efron and Tibshirani 1993, "An introduction to the bootstrap", ch. 13, with clusters.
    """
    count = len(people.agent)
    found = []
    for first in range(0, resamples, rows := max(1, BUDGET // count)):
        share = np.full(count, 1 / count)
        times = chance.multinomial(count, share, min(rows, resamples - first))
        found.append(times @ people.sums / (times @ people.windows)[:, None])
    return with_ratio(np.concatenate(found))


def intervals(
    groups: Mapping[str, People], resamples: int, seed: int
) -> tuple[dict[str, Floats], Floats]:
    """95 % intervals of each group's means [2, N + 1], and of their mean over the groups.

    Groups stay and people inside them are drawn. Where a group is one person, whole groups are
    drawn for the mean; nothing is known (NaN) of the interval of one person or one such group.
    """
    chance = np.random.default_rng(seed)
    drawn = {name: resampled_means(one, resamples, chance) for name, one in groups.items()}
    each = {
        name: _bounds(drawn[name]) * (np.nan if len(one.agent) < 2 else 1.0)
        for name, one in groups.items()
    }
    if all(len(one.agent) > 1 for one in groups.values()):
        return each, _bounds(np.mean(list(drawn.values()), 0))
    means = with_ratio(np.stack([one.means for one in groups.values()]))
    count = len(means)
    times = chance.multinomial(count, np.full(count, 1 / count), resamples) / count
    return each, _bounds(times @ means) * (np.nan if count < 2 else 1.0)


def _bounds(drawn: Floats) -> Floats:
    """Ends of the middle 95 % of the resamples, [2, N]; the resamples are the first axis."""
    tail = (1 - LEVEL) / 2
    return np.asarray(np.quantile(drawn, (tail, 1 - tail), axis=0))
