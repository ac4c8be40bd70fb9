"""Chance changes of whole scenes that keep a forecast right."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from trajflow.types import Batch, Bools, Floats, Ints


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a scene before it is learned from.

    Turning a scene would change nothing: models see every agent in its own frame.

    Attributes:
        mirror: Whether y changes its sign half of the time.
        scale_jitter: Scaled by up to this share, up or down.
        time_stretch: Least and most time between two positions, over what it was: below 1 scenes
            are played slower and positions interpolated, above 1 faster, where batches reach that
            far; who is not seen for so long is not learned from, and a scene in which nobody is
            stays as it was.
        time_stretch_share: Share of the scenes that are played slower or faster.
        reverse_prob: Share of the scenes that are played backwards.
        agent_dropout: Share of the agents that are left out.
        history_dropout: Share of the agents of which only the last steps, two at least, are seen.
        memory_dropout: Share of the agents that are shown nothing of what others did earlier; half
            of the others are shown a random part.
        type_dropout: Share of the agents whose type is not told.
        position_noise: Largest deviation of noise on seen positions, in the unit of the tracks.
            Half of the scenes stay clean, each of the others has a level of its own: a model that
            knew one level only would forget what a clean past is worth.
    """

    mirror: bool = True
    scale_jitter: float = 0.1
    time_stretch: tuple[float, float] = (1.0, 1.0)
    time_stretch_share: float = 0.5
    reverse_prob: float = 0.0
    agent_dropout: float = 0.0
    history_dropout: float = 0.0
    position_noise: float = 0.0
    memory_dropout: float = 0.0
    type_dropout: float = 0.0

    def __call__(self, batch: Batch, rng: np.random.Generator) -> tuple[Batch, Floats]:
        """A changed batch, and seconds per step of each scene over what they were, [B]."""
        batch, scenes = self._sized(batch, rng), len(batch.scene)
        back, pace = np.zeros(scenes, bool), np.ones(scenes)
        stretched = self.time_stretch != (1.0, 1.0)
        if self.reverse_prob:
            back = rng.random(scenes) < self.reverse_prob
        if stretched:
            least, most = np.log(self.time_stretch)
            pace = np.exp(least + (1 - rng.random(scenes)) * (most - least))
            pace = np.where(rng.random(scenes) < self.time_stretch_share, pace, 1.0)
        if self.reverse_prob or stretched:
            batch, pace = _replayed(batch, back, pace)
        if self.agent_dropout:
            batch = _without(batch, rng.random(batch.target.shape) < self.agent_dropout)
        if self.history_dropout:
            batch = _late(batch, rng, self.history_dropout)
        if self.position_noise:
            batch = _noisy(batch, rng, self.position_noise)
        if batch.memory is not None:
            batch = self._forgetful(batch, rng)
        if batch.types is not None and self.type_dropout:
            unknown = rng.random(batch.types.shape) < self.type_dropout
            batch = replace(batch, types=np.where(unknown, "", batch.types))
        return batch, pace

    def _forgetful(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The batch with agents that remember nothing, and half of the others a random part."""
        assert batch.memory is not None
        kind, memory = rng.random(batch.target.shape), batch.memory.copy()
        partly = (kind < (1 + self.memory_dropout) / 2) & (self.memory_dropout > 0)
        part = np.where(partly, rng.random(kind.shape), self.agent_dropout)
        share = np.where(kind < self.memory_dropout, 1.0, part)
        memory[rng.random(batch.memory.shape[:3]) < share[..., None]] = np.nan
        return replace(batch, memory=memory)

    def _sized(self, batch: Batch, rng: np.random.Generator) -> Batch:
        scenes, dims = len(batch.scene), batch.past.shape[-1]
        factor = np.ones((scenes, 1, 1, dims))
        if self.mirror:
            factor[rng.random(scenes) < 0.5, ..., 1] = -1
        factor *= np.exp(rng.uniform(-1, 1, (scenes, 1, 1, 1)) * np.log1p(self.scale_jitter))
        around = None if batch.around is None else batch.around * factor
        past, future = batch.past * factor, batch.future * factor
        times = np.concatenate([factor, np.ones((scenes, 1, 1, 1))], -1)
        memory = _remembering(batch, lambda paths, scene: paths * times[scene])
        return replace(batch, past=past, future=future, around=around, memory=memory)


def _replayed(batch: Batch, back: Bools, pace: Floats) -> tuple[Batch, Floats]:
    """Scenes played backwards where `back` [B], at their pace [B], and the pace that was taken."""
    length, horizon = batch.past.shape[2], batch.future.shape[2]
    path, present = np.concatenate([batch.past, batch.future], 2), length - 1
    if batch.around is not None:
        path, present = batch.around, length * batch.around.shape[2] // (length + horizon) - 1
    centre = present + np.where(back, horizon - length + 1, 0)
    steps = np.where(back, -1, 1)[:, None] * np.arange(1 - length, horizon + 1)

    def played(pace: Floats) -> tuple[Floats, Bools]:
        result = _at(path, centre[:, None] + pace[:, None] * steps)
        return result, batch.target & np.isfinite(result).all((2, 3))

    result, target = played(pace)
    empty = ~target.any(1)
    if empty.any():
        pace = np.where(empty, 1.0, pace)
        result, target = played(pace)
    past, future = np.split(result, [length], 2)
    memory = _replayed_memory(batch, back, pace)
    changed = replace(batch, past=past, future=future, target=target, memory=memory)
    return replace(changed, around=None), pace


def _remembering(batch: Batch, change: Callable[[Floats, Ints], Floats]) -> Floats | None:
    """Memory of which what the targets remember is changed; None where there is none.

    Args:
        batch: The scenes.
        change: Makes new paths of the paths of the N targets [N, K, W, D + 1] and their scenes [N].
    """
    if batch.memory is None:
        return None
    changed = change(batch.memory[batch.target], np.nonzero(batch.target)[0])
    memory = np.full((*batch.target.shape, *changed.shape[1:]), np.nan)
    memory[batch.target] = changed
    return memory


def _replayed_memory(batch: Batch, back: Bools, pace: Floats) -> Floats | None:
    """What is remembered, at the pace of its scenes; nothing in those played backwards.

    What came before in a scene that is played backwards is its future.
    """
    length, horizon = batch.past.shape[2], batch.future.shape[2]
    steps = np.arange(1 - length, horizon + 1)

    def played(paths: Floats, scene: Ints) -> Floats:
        present = length * paths.shape[2] // (length + horizon) - 1
        result = _at(paths, present + pace[scene, None] * steps)
        result[..., -1] /= pace[scene, None, None]
        result[back[scene]] = np.nan
        return result

    return _remembering(batch, played)


def _at(path: Floats, when: Floats) -> Floats:
    """Positions of paths [B, A, W, D] at moments between their steps, [B, N] -> [B, A, N, D]."""
    last = path.shape[2] - 1
    before = np.clip(np.floor(when).astype(int), 0, last - 1)
    share = (when - before)[:, None, :, None]
    row = np.arange(len(path))[:, None, None]
    agent = np.arange(path.shape[1])[:, None]
    left, right = (path[row, agent, step[:, None]] for step in (before, before + 1))
    between = np.where(share == 0, left, (1 - share) * left + share * right)
    inside = (share >= 0) & (share <= 1)
    return np.where(share == 1, right, np.where(inside, between, np.nan))


def _without(batch: Batch, gone: Bools) -> Batch:
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

    def noisy(paths: Floats, scene: Ints) -> Floats:
        some = level[scene] > 0
        points = paths[some][..., :-1]
        sway = rng.normal(size=points.shape) * level[scene[some], None, None, None]
        paths[some, ..., :-1] = points + sway
        return paths

    return replace(batch, past=batch.past + noise, memory=_remembering(batch, noisy))
