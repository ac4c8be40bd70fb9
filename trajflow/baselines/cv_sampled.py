"""Constant velocity in a direction that is off by a random angle, the same for a whole path."""

from collections.abc import Iterable

import numpy as np

from trajflow.baselines._floor import Floor, horizon_of
from trajflow.baselines._motion import last_step, turned
from trajflow.types import Batch, Floats

DEVIATION = np.deg2rad(25)
"""Standard deviation of the angle, of the paper."""


def fit(batches: Iterable[Batch], samples: int = 20, seed: int = 0) -> Floor:
    """The floor that repeats the last step, turned by an angle drawn from N(0, 25 degrees).

    Someone who stands stays, in every sample; height, where there is one, keeps its velocity.
    Source: Schöller et al. 2020, "What the constant velocity model can teach us about pedestrian
    motion prediction", OUR-S.
    """
    horizon = horizon_of(batches)
    ahead = np.arange(1, horizon + 1)[:, None]

    def draw(past: Floats, samples: int, chance: np.random.Generator) -> Floats:
        angles = chance.normal(0.0, DEVIATION, (samples, len(past)))
        return turned(last_step(past), angles)[:, :, None] * ahead

    return Floor("cv-sampled", horizon, draw)
