"""Chance changes of whole scenes that keep a forecast right."""

from dataclasses import dataclass, replace

import numpy as np

from trajflow.batch import Batch, Floats


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a scene before it is learned from.

    Turning a scene would change nothing: models see every agent in its own frame.

    Attributes:
        mirror: Whether y changes its sign half of the time.
        stretch: Scaled by up to this share, up or down.
        tempo: Played slower by up to this share; positions are interpolated.
        reverse: Share of the scenes that are played backwards.
        drop: Share of the agents that are left out.
        shorten: Share of the agents of which only the last steps, two at least, are seen.
        jitter: Largest deviation of noise on seen positions, in the unit of the tracks. Half of
            the scenes stay clean, each of the others has a level of its own: a model that knew
            one level only would forget what a clean past is worth.
    """

    mirror: bool = True
    stretch: float = 0.1
    tempo: float = 0.0
    reverse: float = 0.0
    drop: float = 0.0
    shorten: float = 0.0
    jitter: float = 0.0

    def __call__(self, batch: Batch, rng: np.random.Generator) -> tuple[Batch, Floats]:
        """A changed batch, and seconds per step of each scene over what they were, [B]."""
        batch = self._sized(batch, rng)
        if self.reverse:
            batch = _backwards(batch, rng.random(len(batch.scene)) < self.reverse)
        pace = np.ones(len(batch.scene))
        if self.tempo:
            pace = np.exp(-rng.random(len(batch.scene)) * np.log1p(self.tempo))
            batch = _slower(batch, pace)
        if self.drop:
            batch = _without(batch, rng.random(batch.target.shape) < self.drop)
        if self.shorten:
            batch = _late(batch, rng, self.shorten)
        if self.jitter:
            batch = _noisy(batch, rng, self.jitter)
        return batch, pace

    def _sized(self, batch: Batch, rng: np.random.Generator) -> Batch:
        scenes, dims = len(batch.scene), batch.past.shape[-1]
        factor = np.ones((scenes, 1, 1, dims))
        if self.mirror:
            factor[rng.random(scenes) < 0.5, ..., 1] = -1
        factor *= np.exp(rng.uniform(-1, 1, (scenes, 1, 1, 1)) * np.log1p(self.stretch))
        return replace(batch, past=batch.past * factor, future=batch.future * factor)


def _backwards(batch: Batch, chosen: np.ndarray) -> Batch:
    path = np.concatenate([batch.past, batch.future], 2)
    path = np.where(chosen[:, None, None, None], path[:, :, ::-1], path)
    return _cut(batch, path)


def _slower(batch: Batch, pace: Floats) -> Batch:
    """Every path sampled at intervals `pace` [B] <= 1 around its present, by interpolation."""
    path = np.concatenate([batch.past, batch.future], 2)
    present = batch.past.shape[2] - 1
    when = present + pace[:, None] * (np.arange(path.shape[2]) - present)
    before = np.clip(np.floor(when).astype(int), 0, path.shape[2] - 2)
    share = (when - before)[:, None, :, None]
    row = np.arange(len(path))[:, None, None]
    agent = np.arange(path.shape[1])[:, None]
    left, right = (path[row, agent, step[:, None]] for step in (before, before + 1))
    between = (1 - share) * left + share * right
    return _cut(batch, np.where(share == 0, left, np.where(share == 1, right, between)))


def _cut(batch: Batch, path: Floats) -> Batch:
    past, future = np.split(path, [batch.past.shape[2]], 2)
    return replace(batch, past=past, future=future)


def _without(batch: Batch, gone: np.ndarray) -> Batch:
    """The batch without some agents, unless nobody would be left to learn from."""
    target = batch.target & ~gone
    if not target.any():
        return batch
    past = np.where(gone[..., None, None], np.nan, batch.past)
    return replace(batch, past=past, target=target)


def _late(batch: Batch, rng: np.random.Generator, share: float) -> Batch:
    length = batch.past.shape[2]
    if length < 3:
        return batch
    first = rng.integers(1, length - 1, batch.target.shape)
    first = np.where(rng.random(batch.target.shape) < share, first, 0)
    unseen = np.arange(length) < first[..., None]
    return replace(batch, past=np.where(unseen[..., None], np.nan, batch.past))


def _noisy(batch: Batch, rng: np.random.Generator, most: float) -> Batch:
    level = most * rng.random(len(batch.scene)) * (rng.random(len(batch.scene)) < 0.5)
    noise = rng.normal(size=batch.past.shape) * level[:, None, None, None]
    return replace(batch, past=batch.past + noise)
