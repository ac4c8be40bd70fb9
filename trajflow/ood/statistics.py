"""Detection rates, retention curves, and the bootstrap over people that both are counted with."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from trajflow.batch import Floats, Ints

LEVEL = 0.95
RESAMPLES = 500
"""Enough for a middle 95 % of scores that are compared to two digits."""
CURVE_POINTS = 51
KEPT = np.arange(1, 41) / 40
"""Shares of the windows that are kept in a retention curve."""
AT_80 = 31
"""Index of 80 % in `KEPT`."""
SLACK = 1e-12
"""Share of the windows by which a sum may miss a whole one in rounding."""


def bootstrap_weights(
    persons: tuple[Ints, ...], seed: int, resamples: int = RESAMPLES
) -> tuple[Floats, ...]:
    """How often each window counts, [S + 1, N] for each set of windows; the first row is all 1.

    People are drawn with replacement. A person drawn twice brings all their windows of every set
    twice, so a corrupted window and the ordinary one it was made of stay together. Sets that share
    nobody are drawn apart.

    Source: Efron and Tibshirani 1993, "An introduction to the bootstrap", ch. 13, with clusters.

    Args:
        persons: Person of each window of each set, [N].
        seed: Seed of the draws.
        resamples: How often as many people are drawn, S.
    """
    rng = np.random.default_rng(seed)
    known: Ints = np.zeros(0, np.int64)
    counts: Floats = np.zeros((resamples, 0))
    weights = []
    for person in persons:
        new = np.setdiff1d(person, known)
        if len(new):
            drawn = rng.multinomial(len(new), np.full(len(new), 1 / len(new)), resamples)
            known, counts = np.concatenate([known, new]), np.concatenate([counts, drawn], 1)
        order = np.argsort(known)
        column = order[np.searchsorted(known, person, sorter=order)]
        weights.append(np.concatenate([np.ones((1, len(person))), counts[:, column]]))
    return tuple(weights)


def interval(values: Floats) -> dict[str, float | list[float] | None]:
    """The first of values [S + 1] and the middle 95 % of the rest; None for what is not finite."""
    drawn = values[1:][np.isfinite(values[1:])]
    tail = (1 - LEVEL) / 2
    ends = np.quantile(drawn, (tail, 1 - tail)).tolist() if len(drawn) else None
    return {"value": float(values[0]) if np.isfinite(values[0]) else None, "interval": ends}


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Means of the finite values [N] under weights [S, N], [S]."""
    finite = np.isfinite(values)
    total = weights[:, finite].sum(1)
    sums = weights[:, finite] @ values[finite]
    mean = np.divide(sums, total, out=np.full(len(weights), np.nan), where=total > 0)
    return np.asarray(mean)


@dataclass(frozen=True)
class Rates:
    """Shares of windows flagged at each threshold, the highest first; ties share a threshold.

    Attributes:
        true: Share of the corrupted windows with this score or a higher one, [S, W].
        false: The same of the ordinary windows, [S, W].
        odds: Corrupted windows over ordinary ones, [S].
    """

    true: Floats
    false: Floats
    odds: Floats

    @classmethod
    def of(cls, ordinary: Floats, corrupted: Floats, weights: tuple[Floats, Floats]) -> "Rates":
        """Rates of scores [N] of both, larger being more out of distribution, weights [S, N]."""
        both = -np.concatenate([ordinary, corrupted])
        threshold, place = np.unique(both, return_inverse=True)
        places = (place[: len(ordinary)], place[len(ordinary) :])
        false, true = (
            _shares_up_to(where, count, len(threshold))
            for where, count in zip(places, weights, strict=True)
        )
        return cls(true, false, weights[1].sum(1) / weights[0].sum(1))

    @property
    def auroc(self) -> Floats:
        """Probability that a corrupted window has the higher score, [S]; a tie counts half."""
        middle = self.true - np.diff(self.true, axis=1, prepend=0) / 2
        return np.asarray((middle * np.diff(self.false, axis=1, prepend=0)).sum(1))

    @property
    def aupr(self) -> Floats:
        """Average precision, corrupted windows being what is looked for, [S]."""
        hits = self.odds[:, None] * self.true
        flagged = hits + self.false
        precision = np.divide(hits, flagged, out=np.ones_like(hits), where=flagged > 0)
        return np.asarray((precision * np.diff(self.true, axis=1, prepend=0)).sum(1))

    @property
    def fpr95(self) -> Floats:
        """Share of ordinary windows flagged where 95 % of the corrupted are found, [S]."""
        at = (self.true >= 0.95 - 1e-9).argmax(1)
        return np.asarray(self.false[np.arange(len(at)), at])

    def curve(self) -> Any:
        """Points (false, true) of the ROC curve of the first row as lists."""
        false, true = (np.concatenate([[0.0], rate[0]]) for rate in (self.false, self.true))
        steps = np.linspace(0, len(false) - 1, CURVE_POINTS).astype(int)
        kept = np.union1d(steps, np.flatnonzero(np.diff(false) > 0)[:1])
        return np.stack([false[kept], true[kept]], 1).round(4).tolist()


def _shares_up_to(place: Ints, weights: Floats, count: int) -> Floats:
    """Share of the weight at the first places and up to each, [S, W]."""
    order = np.argsort(place, kind="stable")
    reached = np.cumsum(weights[:, order], axis=1)
    before = np.searchsorted(place[order], np.arange(count), side="right")
    padded = np.concatenate([np.zeros((len(weights), 1)), reached], 1)
    return np.asarray(padded[:, before] / reached[:, -1:])


@dataclass(frozen=True)
class Retention:
    """Mean errors of the windows kept by a score, and by the errors themselves.

    Attributes:
        curve: Mean error of the shares `KEPT` with the least score, [S, Q].
        oracle: The same where the score is the error, [S, Q].
    """

    curve: Floats
    oracle: Floats

    @property
    def area(self) -> Floats:
        """Area under the curve, in the unit of the error, [S]."""
        return np.asarray(self.curve.mean(1))

    @property
    def gain(self) -> Floats:
        """Share of what the errors themselves would win over chance, [S]."""
        room, won = self.curve[:, -1] - self.oracle.mean(1), self.curve[:, -1] - self.area
        return np.asarray(np.divide(won, room, out=np.full_like(room, np.nan), where=room > 0))

    @property
    def drop80(self) -> Floats:
        """Share by which the mean error falls if the 80 % with the least score are kept, [S]."""
        whole, kept = self.curve[:, -1], self.curve[:, AT_80]
        drop = np.divide(whole - kept, whole, out=np.full_like(whole, np.nan), where=whole > 0)
        return np.asarray(drop)


def retained(score: Floats, error: Floats, weights: Floats) -> Floats:
    """Mean error of the shares `KEPT` with the least score, [S, Q]; ties are kept evenly.

    Source: Malinin et al. 2021, "Shifts: a dataset of real distributional shift across multiple
    large-scale tasks", sec. 3, here of the mean of those retained.

    Args:
        score: What windows are kept by, [N].
        error: What is averaged, [N], finite.
        weights: How often each window counts, [S, N].
    """
    order = np.argsort(score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) > 0, True))
    counted = weights[:, order]
    weight = np.cumsum(counted, axis=1)[:, last]
    summed = np.cumsum(counted * error[order], axis=1)[:, last]
    wanted = KEPT * weight[:, -1:]
    zero = np.zeros((len(weight), 1))
    x, y = np.concatenate([zero, weight], 1), np.concatenate([zero, summed], 1)
    return np.asarray(_interpolated(wanted, x, y) / wanted)


def _interpolated(wanted: Floats, x: Floats, y: Floats) -> Floats:
    """Values at `wanted` [S, Q] of the lines through points (x, y) [S, N], x rising from 0."""
    rows, top = np.arange(len(x))[:, None], x[:, -1:]
    # one search over all rows: each is scaled to its own unit interval
    flat = (x / top + 2 * rows).ravel()
    after = np.searchsorted(flat, (wanted / top + 2 * rows - SLACK).ravel())
    after = np.clip(after.reshape(wanted.shape) - rows * x.shape[1], 1, x.shape[1] - 1)
    left, right = (np.take_along_axis(x, at, 1) for at in (after - 1, after))
    low, high = (np.take_along_axis(y, at, 1) for at in (after - 1, after))
    gap = right - left
    share = np.divide(wanted - left, gap, out=np.zeros_like(gap), where=gap > 0)
    return np.asarray(low + share * (high - low))
