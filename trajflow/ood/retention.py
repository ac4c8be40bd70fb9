"""Whether a score predicts error: the mean error of the windows that are kept, least first."""

from dataclasses import dataclass

import numpy as np

from trajflow.types import Floats

KEPT = np.arange(1, 41) / 40
"""Shares of the windows that are kept."""
FOUR_FIFTHS = 31
"""Where in `KEPT` 80 % are."""
SLACK = 1e-12
"""Share of the windows by which a sum may miss a whole one in rounding."""


@dataclass(frozen=True)
class Retention:
    """Mean errors of those kept by a score, and by the errors themselves.

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
        """Share of what the errors themselves would win over chance, [S]: 1 perfect, 0 chance."""
        flat, best = self.curve[:, -1], self.oracle.mean(1)
        room = flat - best
        won = flat - self.area
        return np.asarray(np.divide(won, room, out=np.full_like(room, np.nan), where=room > 0))

    @property
    def drop80(self) -> Floats:
        """Share by which the mean error falls if the 80 % with the least score are kept, [S]."""
        flat = self.curve[:, -1]
        kept = self.curve[:, FOUR_FIFTHS]
        lost = np.divide(flat - kept, flat, out=np.full_like(flat, np.nan), where=flat > 0)
        return np.asarray(lost)


def retained(score: Floats, error: Floats, times: Floats) -> Floats:
    """Mean error of the shares `KEPT` with the least score, [S, Q].

    Windows are kept from the least score on; of those that tie an equal share of each.

    Args:
        score: What they are kept by, [N].
        error: What is averaged, [N], finite.
        times: How often each window counts, [S, N].

    Source: Malinin et al. 2021, "Shifts: a dataset of real distributional shift across multiple
    large-scale tasks", sec. 3 (error-retention curves), here of the mean of those retained.
    """
    order = np.argsort(score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) > 0, True))
    counted = times[:, order]
    weight = np.cumsum(counted, axis=1)[:, last]
    summed = np.cumsum(counted * error[order], axis=1)[:, last]
    wanted = KEPT * weight[:, -1:]
    return np.asarray(_between(wanted, _from_zero(weight), _from_zero(summed)) / wanted)


def _between(wanted: Floats, x: Floats, y: Floats) -> Floats:
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


def _from_zero(rising: Floats) -> Floats:
    return np.concatenate([np.zeros((len(rising), 1)), rising], 1)
