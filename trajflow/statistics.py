"""Sums of scores by person, and bootstrap intervals over people.

Windows of a person overlap and are dependent, so people are resampled, not windows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.types import Floats, Ints

LEVEL = 0.95
# Most weights of people in memory at once.
BUDGET = 1 << 22
# Batches after which the sums of a group are merged by person.
MERGE_AFTER = 64


def person_weights(person: Ints) -> Floats:
    """Weights of windows of people [N], [N]: those of one person sum to 1."""
    _, index, windows = np.unique(person, return_inverse=True, return_counts=True)
    return np.asarray(1 / windows[index])


@dataclass(frozen=True)
class People:
    """The A people of a group, with the number and summed scores of their windows.

    Attributes:
        agent: Agents, [A].
        windows: Number of windows of each, [A].
        sums: Sum of each of N scores over these windows, [A, N].
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
        """Add up several records, person by person."""
        agent, row = np.unique(np.concatenate([part.agent for part in parts]), return_inverse=True)
        windows = np.zeros(len(agent), np.int64)
        sums = np.zeros((len(agent), parts[0].sums.shape[1]))
        np.add.at(windows, row, np.concatenate([part.windows for part in parts]))
        np.add.at(sums, row, np.concatenate([part.sums for part in parts]))
        return cls(agent, windows, sums)


class Tally:
    """Adds up scores by group and person; memory grows with the number of people only."""

    def __init__(self) -> None:
        self.parts: dict[str, list[People]] = {}

    def add_groups(self, groups: Iterable[str]) -> None:
        """Add groups, in the order in which they are reported."""
        for name in groups:
            self.parts.setdefault(name, [])

    def add(self, group: NDArray[Any], agent: Ints, scores: Floats) -> None:
        """Add scores [N, ...] of windows of agents [N] in groups [N], given by name."""
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


def resampled_means(people: People, resamples: int, rng: np.random.Generator) -> Floats:
    """Bootstrap means of the N scores, [*, N]: each row draws people with replacement.

    Args:
        people: People to draw from; each brings all their windows.
        resamples: Number of resamples, the first axis of the result.
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
    derived: Callable[[Floats], Floats] = lambda means: means,
) -> tuple[dict[str, Floats], Floats]:
    """95 % intervals of each group's means [2, ...], and of the mean over the groups, [2, ...].

    People are drawn within their groups. If a group is a single person, whole groups are drawn for
    the mean. The interval of one person, or of one such group, is NaN.

    Args:
        groups: People of each group.
        resamples: Number of resamples.
        seed: Seed of the resamples.
        derived: Computes further scores [*, ...] from means [*, N], such as a ratio.
    """
    rng = np.random.default_rng(seed)
    means = {
        name: derived(resampled_means(group, resamples, rng)) for name, group in groups.items()
    }
    each = {
        name: _bounds(means[name]) * (np.nan if len(group.agent) < 2 else 1.0)
        for name, group in groups.items()
    }
    if all(len(group.agent) > 1 for group in groups.values()):
        return each, _bounds(np.mean(list(means.values()), 0))
    of_groups = derived(np.stack([group.means for group in groups.values()]))
    overall = _group_shares(len(of_groups), resamples, rng) @ of_groups
    return each, _bounds(overall) * (np.nan if len(of_groups) < 2 else 1.0)


def paired_interval(
    first: Mapping[str, People], second: Mapping[str, People], resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the mean score of one forecaster minus that of another, on the same people.

    People are drawn for both forecasters at once, so what makes a person hard for both cancels.
    Means are over the windows of a group and then over the groups. If a group is a single person,
    whole groups are drawn.
    """
    rng = np.random.default_rng(seed)
    groups = [replace(a, sums=a.sums - second[name].sums) for name, a in first.items()]
    if all(len(group.agent) > 1 for group in groups):
        resampled = np.mean([resampled_means(group, resamples, rng) for group in groups], 0)
    else:
        means = np.stack([group.means for group in groups])
        resampled = _group_shares(len(means), resamples, rng) @ means
    low, high = _bounds(resampled)[:, 0]
    return float(low), float(high)


def seed_width(*seeds: Sequence[float]) -> float:
    """Half the 95 % interval of a mean over seeds, or of the difference of two such means.

    Args:
        seeds: Values of each mean under every seed. A single seed adds 0.

    Source: Welch 1947, "The generalization of Student's problem when several different population
    variances are involved"; for one mean it is Student's interval.
    """
    from scipy.stats import t

    estimates = [
        (float(np.var(values, ddof=1)) / len(values), len(values) - 1)
        for values in seeds
        if len(values) > 1
    ]
    variance = sum(part for part, _ in estimates)
    if not variance > 0:
        return 0.0
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in estimates)
    return float(t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance))


def widened(low: float, mean: float, high: float, width: float) -> tuple[float, float]:
    """Widen an interval around a mean by an independent error of half-width `width`.

    Source: Zou and Donner 2008, "Construction of confidence limits about effect measures", eq. 2:
    the squared distances of the ends to the mean add up.
    """
    return float(mean - np.hypot(mean - low, width)), float(mean + np.hypot(high - mean, width))


def _group_shares(count: int, resamples: int, rng: np.random.Generator) -> Floats:
    """Share of each of `count` groups in every resample, [*, N]."""
    return np.asarray(rng.multinomial(count, np.full(count, 1 / count), resamples) / count)


def _bounds(resampled: Floats) -> Floats:
    """Ends of the 95 % interval of the resamples, [2, N]; resamples are the first axis."""
    tail = (1 - LEVEL) / 2
    return np.asarray(np.quantile(resampled, (tail, 1 - tail), axis=0))
