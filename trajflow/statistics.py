"""Sums of scores by person, and intervals by bootstrap over people, whose windows overlap."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.types import Floats, Ints

LEVEL = 0.95
BUDGET = 1 << 22
"""Weights of people that are held at once."""
MERGE_AFTER = 64
"""Batches of sums that a group collects before people are merged."""


def person_weights(person: Ints) -> Floats:
    """Weights of windows of people [N], [N]: those of one person sum to 1."""
    _, index, windows = np.unique(person, return_inverse=True, return_counts=True)
    return np.asarray(1 / windows[index])


@dataclass(frozen=True)
class People:
    """The A people of a group: how many windows each has, and the sums of their scores.

    Attributes:
        agent: Numbers of the people, [A].
        windows: Windows in which each was forecast, [A].
        sums: Sum of each score over these windows, [A, N] with N scores.
    """

    agent: Ints
    windows: Ints
    sums: Floats

    @property
    def means(self) -> Floats:
        """Means of the N scores over all windows, [N]."""
        return np.asarray(self.sums.sum(0) / self.windows.sum())

    @classmethod
    def merged(cls, parts: Sequence["People"]) -> "People":
        """All people of the parts, each once."""
        agent, row = np.unique(np.concatenate([one.agent for one in parts]), return_inverse=True)
        windows = np.zeros(len(agent), np.int64)
        sums = np.zeros((len(agent), parts[0].sums.shape[1]))
        np.add.at(windows, row, np.concatenate([one.windows for one in parts]))
        np.add.at(sums, row, np.concatenate([one.sums for one in parts]))
        return cls(agent, windows, sums)


class Tally:
    """Adds up scores, group by group and person by person; memory grows with the people only."""

    def __init__(self) -> None:
        self.parts: dict[str, list[People]] = {}

    def add_groups(self, groups: Iterable[str]) -> None:
        """Keep the order of groups that may get windows."""
        for name in groups:
            self.parts.setdefault(name, [])

    def add(self, group: NDArray[Any], agent: Ints, scores: Floats) -> None:
        """Add the scores [N, ...] of N windows of agents [N] in groups named by [N] strings."""
        for name in set(group.tolist()):
            members = group == name
            ones = np.ones(int(members.sum()), np.int64)
            parts = self.parts[name]
            parts.append(People.merged([People(agent[members], ones, scores[members])]))
            if len(parts) > MERGE_AFTER:
                self.parts[name] = [People.merged(parts)]

    def people(self) -> dict[str, People]:
        """The people of each group that has windows."""
        return {name: People.merged(parts) for name, parts in self.parts.items() if parts}


def _unchanged(means: Floats) -> Floats:
    return means


def resampled_means(people: People, resamples: int, rng: np.random.Generator) -> Floats:
    """Means of the N scores over people drawn with replacement, [*, N]; a row each draw.

    A person drawn twice brings all their windows twice.

    Args:
        people: Those to draw from.
        resamples: How often as many people are drawn, the first axis of the result.
        rng: Source of randomness.

    Source: Efron and Tibshirani 1993, "An introduction to the bootstrap", ch. 13, with clusters.
    """
    count = len(people.agent)
    result = []
    for first in range(0, resamples, rows := max(1, BUDGET // count)):
        share = np.full(count, 1 / count)
        times = rng.multinomial(count, share, min(rows, resamples - first))
        result.append(times @ people.sums / (times @ people.windows)[:, None])
    return np.concatenate(result)


def intervals(
    groups: Mapping[str, People],
    resamples: int,
    seed: int,
    derived: Callable[[Floats], Floats] = _unchanged,
) -> tuple[dict[str, Floats], Floats]:
    """95 % intervals of each group's means [2, ...], and of their mean over the groups, [2, ...].

    Groups stay and people inside them are drawn. Where a group is one person, whole groups are
    drawn for the mean; nothing is known (NaN) of the interval of one person or one such group.

    Args:
        groups: People of each group.
        resamples: How often people are drawn.
        seed: What decides.
        derived: Makes other scores [*, ...] of the means [*, N], such as a ratio of two.
    """
    rng = np.random.default_rng(seed)
    drawn = {name: derived(resampled_means(one, resamples, rng)) for name, one in groups.items()}
    each = {
        name: _bounds(drawn[name]) * (np.nan if len(one.agent) < 2 else 1.0)
        for name, one in groups.items()
    }
    if all(len(one.agent) > 1 for one in groups.values()):
        return each, _bounds(np.mean(list(drawn.values()), 0))
    means = derived(np.stack([one.means for one in groups.values()]))
    times = _drawn_groups(len(means), resamples, rng)
    return each, _bounds(times @ means) * (np.nan if len(means) < 2 else 1.0)


def paired_interval(
    one: Mapping[str, People], other: Mapping[str, People], resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the mean of one forecaster's score less that of another, of the same people.

    Both are scored on the same windows, so what makes a person hard for both cancels. Whoever is
    drawn is drawn for both. Means are over the windows of a group and then over the groups; where
    a group is one person, whole groups are drawn.

    Args:
        one: People of each group, with one score.
        other: The same people with the other's.
        resamples: How often people are drawn.
        seed: What decides.
    """
    rng = np.random.default_rng(seed)
    groups = [replace(a, sums=a.sums - other[name].sums) for name, a in one.items()]
    if all(len(group.agent) > 1 for group in groups):
        drawn = np.mean([resampled_means(group, resamples, rng) for group in groups], 0)
    else:
        means = np.stack([group.means for group in groups])
        drawn = _drawn_groups(len(means), resamples, rng) @ means
    low, high = _bounds(drawn)[:, 0]
    return float(low), float(high)


def seed_width(*seeds: Sequence[float]) -> float:
    """Half the 95 % interval that the choice of seeds alone gives a mean, or a difference of two.

    Args:
        seeds: Of each mean, its value under every seed. Of one seed nothing is known; it adds 0.

    Source: Welch 1947, "The generalization of Student's problem when several different population
    variances are involved": of one mean this is Student's interval.
    """
    from scipy.stats import t

    known = [
        (float(np.var(some, ddof=1)) / len(some), len(some) - 1) for some in seeds if len(some) > 1
    ]
    variance = sum(own for own, _ in known)
    if not variance > 0:
        return 0.0
    freedom = variance**2 / sum(own**2 / free for own, free in known)
    return float(t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance))


def widened(low: float, mean: float, high: float, width: float) -> tuple[float, float]:
    """An interval around a mean that also has an independent error of half-width `width`.

    Source: Zou and Donner 2008, "Construction of confidence limits about effect measures", eq. 2:
    the distances of the ends to the mean add up in squares.
    """
    return float(mean - np.hypot(mean - low, width)), float(mean + np.hypot(high - mean, width))


def _drawn_groups(count: int, resamples: int, rng: np.random.Generator) -> Floats:
    """Share of each of `count` groups in every resample, [*, N]."""
    return np.asarray(rng.multinomial(count, np.full(count, 1 / count), resamples) / count)


def _bounds(drawn: Floats) -> Floats:
    """Ends of the middle 95 % of the resamples, [2, N]; the resamples are the first axis."""
    tail = (1 - LEVEL) / 2
    return np.asarray(np.quantile(drawn, (tail, 1 - tail), axis=0))
