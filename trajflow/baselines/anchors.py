"""Anchors: a fixed set of paths, learned once, turned and scaled to how everyone moves."""

from collections.abc import Iterable

import numpy as np
from sklearn.cluster import KMeans

from trajflow.baselines._bank import Bank, remember
from trajflow.baselines._floor import Floor
from trajflow.baselines._motion import headings, last_step, turned
from trajflow.errors import ConfigError
from trajflow.types import Batch, Floats

LIMIT = 200_000
"""Training windows that are remembered."""
CHOSEN = 10_000
"""Of these, how many anchors are learned from."""
SLOW = 0.5
"""Least scale of a path, as a share of the root mean square step of the training windows."""
ROUNDS = 10


def fit(batches: Iterable[Batch], samples: int = 20, seed: int = 0) -> Floor:
    """The floor of as many anchors as there are samples: no chance, one set of paths for all.

    Futures of training windows, as many of each recording, are turned so that the last step that
    moved points along x and divided by `hypot(last step, least scale)`, so that standing is no
    division by zero; each is there twice, once mirrored. K-means begins; then, as an error is a
    displacement and no square, each path joins the anchor of the least displacement error, and
    each anchor moves to the geometric median of its paths, step by step. Paths weigh as much as
    they are scaled, so errors count in the unit of the world.
    Someone who never moved has the anchors in the directions of the world.

    Anchors are a set, not draws: they flatter the best of 20 and nothing else.
    """
    chance = np.random.default_rng(seed)
    bank = _evenly(remember(batches, LIMIT, chance), CHOSEN, chance).mirrored()
    least = SLOW * np.sqrt(np.square(last_step(bank.past)).sum(-1).mean()) or 1.0
    scale = _scale(bank.past, least)
    along = turned(bank.future, -np.nan_to_num(headings(bank.past))[:, None])
    anchors = _medians(along / scale[:, None, None], scale, samples, seed)

    def draw(past: Floats, samples: int, chance: np.random.Generator) -> Floats:
        if samples != len(anchors):
            raise ConfigError(
                f"there are {len(anchors)} anchors, {samples} samples were asked for; "
                f"fit the anchors with samples={samples}"
            )
        wide = anchors[:, None] * _scale(past, least)[:, None, None]
        return turned(wide, np.nan_to_num(headings(past))[:, None])

    return Floor("anchors", bank.future.shape[1], draw)


def _evenly(bank: Bank, most: int, chance: np.random.Generator) -> Bank:
    """At most so many windows, each recording with the same chance."""
    if len(bank) <= most:
        return bank
    share = 1 / np.bincount(bank.scene)[bank.scene]
    return bank.take(chance.choice(len(bank), most, replace=False, p=share / share.sum()))


def _scale(past: Floats, least: float) -> Floats:
    return np.asarray(np.hypot(np.sqrt(np.square(last_step(past)).sum(-1)), least))


def _medians(paths: Floats, scale: Floats, count: int, seed: int) -> Floats:
    """Paths [S, F, D] near which the paths [N, F, D] are, weighed by their scale [N]."""
    flat = paths.reshape(len(paths), -1)
    distinct = min(count, len(np.unique(flat, axis=0)))
    means = KMeans(distinct, n_init=3, max_iter=20, random_state=seed)
    means.fit(flat, sample_weight=np.square(scale))
    anchors = means.cluster_centers_.reshape(-1, *paths.shape[1:])
    for _ in range(ROUNDS):
        apart = [np.sqrt(np.square(paths - anchor).sum(-1)) for anchor in anchors]
        nearest = np.argmin([steps.mean(-1) for steps in apart], 0)
        for k, steps in enumerate(apart):
            mine = nearest == k
            if mine.any():
                weight = scale[mine, None] / np.maximum(steps[mine], 1e-3)
                total = np.einsum("nf,nfd->fd", weight, paths[mine])
                anchors[k] = total / weight.sum(0)[:, None]
    return np.resize(anchors, (count, *paths.shape[1:]))
