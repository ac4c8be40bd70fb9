"""Analog forecast: what others did next who had moved like this before."""

from collections.abc import Iterable

import numpy as np
from sklearn.neighbors import NearestNeighbors

from trajflow.baselines._bank import remember
from trajflow.baselines._floor import Floor
from trajflow.baselines._motion import headings, turned
from trajflow.types import Batch, Floats, Ints

NEAREST = 200
"""Training windows that are drawn from."""
LIMIT = 200_000
"""Training windows that are remembered, each with its mirror image."""


def fit(batches: Iterable[Batch], samples: int = 20, seed: int = 0) -> Floor:
    """The floor that draws from the futures of the 200 training windows with the nearest pasts.

    Pasts are compared relative to the present position, turned so that the last step that moved
    points along x, each window twice, once mirrored; the distance is Euclidean over all steps.
    Samples are drawn without replacement as long as there are enough, and turned back. Someone
    who never moved has no direction: a drawn future is turned at random, so that no direction of
    the world is special.
    """
    chance = np.random.default_rng(seed)
    bank = remember(batches, LIMIT, chance).mirrored()
    futures = turned(bank.future, -_or_any(headings(bank.past), chance, len(bank))[:, None])
    index = NearestNeighbors(n_neighbors=min(NEAREST, len(bank))).fit(_features(bank.past))

    def draw(past: Floats, samples: int, chance: np.random.Generator) -> Floats:
        near = index.kneighbors(_features(past), return_distance=False)
        chosen = np.take_along_axis(near, _lots(near.shape, samples, chance), 1).T
        back = _or_any(headings(past), chance, samples, len(past))
        return turned(futures[chosen], back[..., None])

    return Floor("analog", bank.future.shape[1], draw)


def _features(past: Floats) -> Floats:
    """Pasts relative to the present, turned along their heading, as rows, [N, ...]."""
    along = turned(past, -np.nan_to_num(headings(past))[:, None])
    return along.reshape(len(past), -1)


def _or_any(angles: Floats, chance: np.random.Generator, *shape: int) -> Floats:
    """The angles [N], and any direction where there is none; of a shape that ends in N."""
    return np.where(np.isnan(angles), chance.uniform(-np.pi, np.pi, shape), angles)


def _lots(shape: tuple[int, int], samples: int, chance: np.random.Generator) -> Ints:
    """For each of N rows, as many of the choices as there are samples, [N, S]."""
    rows, choices = shape
    if samples > choices:
        return chance.integers(choices, size=(rows, samples))
    return chance.random(shape).argsort(1)[:, :samples]
