"""Chance changes of whole scenes that keep a forecast right: mirror and stretch."""

from dataclasses import replace

import numpy as np

from trajflow.batch import Batch


def augment(batch: Batch, rng: np.random.Generator, mirror: bool, stretch: float) -> Batch:
    """The batch with each scene mirrored in y half of the time, and scaled by up to `stretch`.

    Turning a scene would change nothing: models see every agent in its own frame.
    """
    scenes, dims = len(batch.scene), batch.past.shape[-1]
    factor = np.ones((scenes, 1, 1, dims))
    if mirror:
        factor[rng.random(scenes) < 0.5, ..., 1] = -1
    factor *= np.exp(rng.uniform(-1, 1, (scenes, 1, 1, 1)) * np.log1p(stretch))
    return replace(batch, past=batch.past * factor, future=batch.future * factor)
