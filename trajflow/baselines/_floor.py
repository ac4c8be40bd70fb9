"""A floor: a forecaster without a network, made of how it draws futures for lone pasts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from trajflow.errors import DataError
from trajflow.types import Batch, Floats

Draw = Callable[[Floats, int, np.random.Generator], Floats]
"""Futures [S, N, F, D] of pasts [N, T, D], both relative to the present position."""


@dataclass(frozen=True)
class Floor:
    """Forecasts each target from its own past.

    Attributes:
        name: Which floor.
        horizon: Future steps, F.
        draw: How futures are drawn.
    """

    name: str
    horizon: int
    draw: Draw

    def forecast(self, batch: Batch, samples: int, seed: int) -> Floats:
        """Samples of the batch's targets, [S, B, A, F, D]; NaN for the other agents."""
        past = batch.past[batch.target]
        now = past[:, -1:]
        drawn = self.draw(past - now, samples, np.random.default_rng(seed)) + now
        full = np.full((samples, *batch.target.shape, self.horizon, now.shape[-1]), np.nan)
        full[:, batch.target] = drawn
        return full


def horizon_of(batches: Iterable[Batch]) -> int:
    """Future steps F of the batches, of which one is looked at.

    Raises:
        DataError: There are none.
    """
    for batch in batches:
        return int(batch.future.shape[2])
    raise DataError("there are no training windows; choose another split or fold")
