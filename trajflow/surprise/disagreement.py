"""How far the forecasts of several runs are apart: where none has learned, each guesses its own."""

from collections.abc import Sequence
from itertools import combinations
from typing import Protocol

import numpy as np

from trajflow.errors import ConfigError
from trajflow.types import Batch, Floats


class Forecaster(Protocol):
    """What draws futures for the targets of a batch, as a predictor does."""

    def forecast(self, batch: Batch, samples: int, seed: int) -> Floats:
        """Futures of the batch's targets, [S, B, A, F, D]."""


def disagreement(
    forecasters: Sequence[Forecaster], batch: Batch, samples: int = 20, seed: int = 0
) -> Floats:
    """Mean energy distance between the samples of every two runs, per step, [N].

    In the unit of the tracks, without bias: about 0, also below, for runs that agree. It is no
    part of a run's own surprise, which one run alone must be able to tell.

    Args:
        forecasters: Two predictors or more, of the same kind of tracks.
        batch: The windows; N targets, in the order of `np.nonzero(batch.target)`.
        samples: Futures S that each draws, 2 at least.
        seed: What the draws follow from; each run has its own.

    Raises:
        ConfigError: There are fewer than two runs or samples.

    Source: Lakshminarayanan, Pritzel, Blundell, Simple and Scalable Predictive Uncertainty
    Estimation using Deep Ensembles, 2017; Szekely and Rizzo 2013 for the distance.
    """
    if len(forecasters) < 2 or samples < 2:
        raise ConfigError(
            f"disagreement needs 2 runs and 2 samples of each at least, got {len(forecasters)} "
            f"and {samples}"
        )
    drawn = [
        one.forecast(batch, samples, seed + number)[:, batch.target]
        for number, one in enumerate(forecasters)
    ]
    paths = [one.swapaxes(0, 1).reshape(one.shape[1], samples, -1) for one in drawn]
    steps = drawn[0].shape[2]
    within = [_apart(x, x).sum((1, 2)) / (samples * (samples - 1)) for x in paths]
    found = [
        2 * _apart(x, y).mean((1, 2)) - inner - other
        for (x, inner), (y, other) in combinations(zip(paths, within, strict=True), 2)
    ]
    return np.asarray(np.mean(found, axis=0) / np.sqrt(steps))


def _apart(x: Floats, y: Floats) -> Floats:
    """Distances of all pairs of paths, [N, S, S] of [N, S, ...]."""
    return np.asarray(np.linalg.norm(x[:, :, None] - y[:, None], axis=-1))
