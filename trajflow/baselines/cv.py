"""Constant velocity: everyone goes on as in the last step; all samples are this one path."""

from collections.abc import Iterable

import numpy as np

from trajflow.baselines._floor import Floor, horizon_of
from trajflow.baselines._motion import last_step
from trajflow.types import Batch, Floats


def fit(batches: Iterable[Batch], samples: int = 20, seed: int = 0) -> Floor:
    """The floor that repeats the last step; nothing but the horizon is learned.

    Someone who stands stays. Source: Schöller et al. 2020, "What the constant velocity model can
    teach us about pedestrian motion prediction".
    """
    horizon = horizon_of(batches)
    ahead = np.arange(1, horizon + 1)[:, None]

    def draw(past: Floats, samples: int, chance: np.random.Generator) -> Floats:
        path = last_step(past)[:, None] * ahead
        return np.broadcast_to(path, (samples, *path.shape))

    return Floor("cv", horizon, draw)
