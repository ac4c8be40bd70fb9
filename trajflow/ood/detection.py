"""How well a score tells shifted windows from ordinary ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from trajflow.types import Floats, Ints

POINTS = 51
"""Points of a curve that are kept to be drawn."""


@dataclass(frozen=True)
class Rates:
    """Shares of the windows that are flagged at each threshold, the highest threshold first.

    Windows that tie share a threshold, so they are flagged together or not at all.

    Attributes:
        threshold: Distinct scores, falling, [W].
        true: Share of the shifted windows with this score or a higher one, [S, W].
        false: The same of the ordinary windows, [S, W].
        odds: Shifted windows over ordinary ones, [S].
    """

    threshold: Floats
    true: Floats
    false: Floats
    odds: Floats

    @property
    def auroc(self) -> Floats:
        """Probability that a shifted window has a higher score than an ordinary one, [S].

        A tie counts half, so a score that says nothing has 0.5.
        """
        middle = self.true - np.diff(self.true, axis=1, prepend=0) / 2
        return np.asarray((middle * np.diff(self.false, axis=1, prepend=0)).sum(1))

    @property
    def aupr(self) -> Floats:
        """Average precision, shifted windows being what is looked for, [S]."""
        hits = self.odds[:, None] * self.true
        flagged = hits + self.false
        precision = np.divide(hits, flagged, out=np.ones_like(hits), where=flagged > 0)
        return np.asarray((precision * np.diff(self.true, axis=1, prepend=0)).sum(1))

    @property
    def fpr95(self) -> Floats:
        """Share of ordinary windows flagged where 95 % of the shifted are found, [S]."""
        at = (self.true >= 0.95 - 1e-9).argmax(1)
        return np.asarray(self.false[np.arange(len(at)), at])

    def curve(self) -> Any:
        """Points (false, true) of the first row's ROC curve as lists, from (0, 0) to (1, 1)."""
        false, true = (np.concatenate([[0.0], rate[0]]) for rate in (self.false, self.true))
        steps = np.linspace(0, len(false) - 1, POINTS).astype(int)
        turn = np.flatnonzero(np.diff(false) > 0)[:1]
        kept = np.union1d(steps, turn)
        return np.stack([false[kept], true[kept]], 1).round(4).tolist()


def rates(ordinary: Floats, shifted: Floats, times: tuple[Floats, Floats]) -> Rates:
    """The shares flagged at all thresholds.

    Args:
        ordinary: Scores of N ordinary windows, larger is stranger, [N].
        shifted: Scores of the shifted windows, any number of them, [N].
        times: How often each ordinary and each shifted window counts, [S, N] each.
    """
    threshold, place = np.unique(-np.concatenate([ordinary, shifted]), return_inverse=True)
    false, true = (
        _shares(where, count, len(threshold))
        for where, count in zip(
            (place[: len(ordinary)], place[len(ordinary) :]), times, strict=True
        )
    )
    return Rates(-threshold, true, false, times[1].sum(1) / times[0].sum(1))


def _shares(place: Ints, times: Floats, count: int) -> Floats:
    """Share of the weight at the first places and up to each, [S, ...]."""
    order = np.argsort(place, kind="stable")
    reached = np.cumsum(times[:, order], axis=1)
    before = np.searchsorted(place[order], np.arange(count), side="right")
    padded = np.concatenate([np.zeros((len(times), 1)), reached], 1)
    return np.asarray(padded[:, before] / reached[:, -1:])
