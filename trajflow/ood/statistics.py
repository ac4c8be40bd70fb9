"""Detection rates, retention curves, and a bootstrap over people for both."""

from dataclasses import dataclass

import numpy as np

from trajflow.types import Floats, Ints

LEVEL = 0.95
# Enough for 95 % intervals of scores that are compared to two digits.
RESAMPLES = 500
# Shares of windows kept, the x axis of a retention curve.
KEPT_SHARES = np.arange(1, 41) / 40
# Index of 80 % in `KEPT_SHARES`.
INDEX_80 = 31
# Tolerance for the rounding of cumulative sums.
SLACK = 1e-12


def bootstrap_weights(
    persons: tuple[Ints, ...], seed: int, resamples: int = RESAMPLES
) -> tuple[Floats, ...]:
    """Bootstrap weights of the windows of each set, [S + 1, N]; the first row is all 1.

    People are drawn with replacement, with all their windows of every set. A corrupted window and
    the ordinary window it was made from are thus drawn together.

    Source: Efron and Tibshirani 1993, "An introduction to the bootstrap", ch. 13, with clusters.

    Args:
        persons: Person of each window of each set, [N].
        seed: Seed of the draws.
        resamples: Number of resamples, S.
    """
    rng = np.random.default_rng(seed)
    people: Ints = np.zeros(0, np.int64)
    counts: Floats = np.zeros((resamples, 0))
    weights = []
    for person in persons:
        new = np.setdiff1d(person, people)
        if len(new):
            drawn = rng.multinomial(len(new), np.full(len(new), 1 / len(new)), resamples)
            people, counts = np.concatenate([people, new]), np.concatenate([counts, drawn], 1)
        order = np.argsort(people)
        column = order[np.searchsorted(people, person, sorter=order)]
        weights.append(np.concatenate([np.ones((1, len(person))), counts[:, column]]))
    return tuple(weights)


def interval(values: Floats) -> dict[str, float | list[float] | None]:
    """The first of values [S + 1] and the 95 % interval of the others; None if not finite."""
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
    """True and false positive rates at each threshold, the highest threshold first.

    Attributes:
        true: Share of corrupted windows at or above the threshold, [S, W].
        false: Share of ordinary windows at or above the threshold, [S, W].
    """

    true: Floats
    false: Floats

    @classmethod
    def of(cls, ordinary: Floats, corrupted: Floats, weights: tuple[Floats, Floats]) -> "Rates":
        """Rates for scores [N] of both kinds, with weights [S, N]; larger is more unusual."""
        both = -np.concatenate([ordinary, corrupted])
        threshold, place = np.unique(both, return_inverse=True)
        places = (place[: len(ordinary)], place[len(ordinary) :])
        false, true = (
            _shares_up_to(where, count, len(threshold))
            for where, count in zip(places, weights, strict=True)
        )
        return cls(true, false)

    @property
    def auroc(self) -> Floats:
        """Area under the ROC curve, [S]; a tie counts half."""
        middle = self.true - np.diff(self.true, axis=1, prepend=0) / 2
        return np.asarray((middle * np.diff(self.false, axis=1, prepend=0)).sum(1))

    @property
    def fpr95(self) -> Floats:
        """False positive rate where the true positive rate reaches 95 %, [S]."""
        at = (self.true >= 0.95 - 1e-9).argmax(1)
        return np.asarray(self.false[np.arange(len(at)), at])


def _shares_up_to(place: Ints, weights: Floats, count: int) -> Floats:
    """Cumulative share of the weight up to each threshold, [S, W]."""
    order = np.argsort(place, kind="stable")
    reached = np.cumsum(weights[:, order], axis=1)
    before = np.searchsorted(place[order], np.arange(count), side="right")
    padded = np.concatenate([np.zeros((len(weights), 1)), reached], 1)
    return np.asarray(padded[:, before] / reached[:, -1:])


def drop80(curve: Floats) -> Floats:
    """Relative fall of the mean error if 80 % are kept, [S], of curves of `retained`, [S, Q]."""
    whole, kept = curve[:, -1], curve[:, INDEX_80]
    drop = np.divide(whole - kept, whole, out=np.full_like(whole, np.nan), where=whole > 0)
    return np.asarray(drop)


def retained(score: Floats, error: Floats, weights: Floats) -> Floats:
    """Mean error of the shares `KEPT_SHARES` with the lowest score, [S, Q]; ties are kept evenly.

    Source: Malinin et al. 2021, "Shifts: a dataset of real distributional shift across multiple
    large-scale tasks", sec. 3; here the mean over those retained.

    Args:
        score: Score that windows are sorted by, [N].
        error: Error, [N], finite.
        weights: Weights of the windows, [S, N].
    """
    order = np.argsort(score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) > 0, True))
    counted = weights[:, order]
    weight = np.cumsum(counted, axis=1)[:, last]
    summed = np.cumsum(counted * error[order], axis=1)[:, last]
    wanted = KEPT_SHARES * weight[:, -1:]
    zero = np.zeros((len(weight), 1))
    x, y = np.concatenate([zero, weight], 1), np.concatenate([zero, summed], 1)
    return np.asarray(_interpolated(wanted, x, y) / wanted)


def _interpolated(wanted: Floats, x: Floats, y: Floats) -> Floats:
    """Linear interpolation of points (x, y) [S, N] at `wanted` [S, Q]; x rises from 0."""
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
