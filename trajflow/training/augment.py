"""Random changes of whole scenes under which a forecast stays valid."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from trajflow.config import Config
from trajflow.types import Batch, Bools, Floats, Ints


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a scene before the model is trained on it.

    There is no rotation: models see every agent in its own frame, so it would change nothing.

    Attributes:
        mirror: Whether half of the scenes have the sign of y flipped.
        scale_jitter: Scenes are scaled by up to this share, up or down.
        time_stretch: Range of the seconds per step, over those of the tracks. Below 1 scenes are
            played slower, with interpolated positions; above 1 faster, if batches have enough
            steps. An agent that is not observed for that long is no target; a scene that loses all
            its targets keeps its speed.
        time_stretch_share: Share of the scenes that are played slower or faster.
        reverse_prob: Share of the scenes that are played backwards.
        agent_dropout: Share of the agents that are removed.
        history_dropout: Share of the agents that keep only their last steps, at least two.
        memory_dropout: Share of the agents that get no memory; half of the others get a random
            part of it.
        type_dropout: Share of the agents whose type is hidden.
        position_noise: Largest deviation of noise on past positions, in the unit of the tracks.
            Half of the scenes stay clean and each of the others has its own level, so that the
            model still learns how much a clean past is worth.
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

    @classmethod
    def of(cls, config: Config, displacement_scale: float, types: bool) -> "Augmentation":
        """The augmentation that the settings describe.

        Args:
            config: All settings.
            displacement_scale: Unit of `train.position_noise`, in the unit of the tracks.
            types: Whether the model reads agent types.
        """
        names = {field.name for field in fields(cls)}
        values = {name: value for name, value in config.train if name in names}
        values["position_noise"] *= displacement_scale
        values["type_dropout"] *= types
        return cls(**values, time_stretch_share=1.0 if config.model.condition_on_dt else 0.5)

    def __call__(self, batch: Batch, rng: np.random.Generator) -> tuple[Batch, Floats]:
        """A changed batch, and seconds per step of each scene over what they were, [B]."""
        batch, scenes = self._mirror_and_scale(batch, rng), len(batch.scene)
        reverse, dt_ratio = np.zeros(scenes, bool), np.ones(scenes)
        stretched = self.time_stretch != (1.0, 1.0)
        if self.reverse_prob:
            reverse = rng.random(scenes) < self.reverse_prob
        if stretched:
            least, most = np.log(self.time_stretch)
            dt_ratio = np.exp(least + (1 - rng.random(scenes)) * (most - least))
            dt_ratio = np.where(rng.random(scenes) < self.time_stretch_share, dt_ratio, 1.0)
        if self.reverse_prob or stretched:
            batch, dt_ratio = _replay(batch, reverse, dt_ratio)
        if self.agent_dropout:
            batch = _drop_agents(batch, rng.random(batch.target.shape) < self.agent_dropout)
        if self.history_dropout:
            batch = _drop_history(batch, rng, self.history_dropout)
        if self.position_noise:
            batch = _add_noise(batch, rng, self.position_noise)
        if batch.memory is not None:
            batch = self._drop_memory(batch, rng)
        if batch.types is not None and self.type_dropout:
            unknown = rng.random(batch.types.shape) < self.type_dropout
            batch = replace(batch, types=np.where(unknown, "", batch.types))
        return batch, dt_ratio

    def _drop_memory(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The batch with agents without memory, and half of the others with a random part of it."""
        assert batch.memory is not None
        level, memory = rng.random(batch.target.shape), batch.memory.copy()
        partial = (level < (1 + self.memory_dropout) / 2) & (self.memory_dropout > 0)
        share = np.where(partial, rng.random(level.shape), self.agent_dropout)
        share = np.where(level < self.memory_dropout, 1.0, share)
        memory[rng.random(batch.memory.shape[:3]) < share[..., None]] = np.nan
        return replace(batch, memory=memory)

    def _mirror_and_scale(self, batch: Batch, rng: np.random.Generator) -> Batch:
        scenes, dims = len(batch.scene), batch.past.shape[-1]
        factor = np.ones((scenes, 1, 1, dims))
        if self.mirror:
            factor[rng.random(scenes) < 0.5, ..., 1] = -1
        factor *= np.exp(rng.uniform(-1, 1, (scenes, 1, 1, 1)) * np.log1p(self.scale_jitter))
        wide = None if batch.around is None else batch.around * factor
        past, future = batch.past * factor, batch.future * factor
        times = np.concatenate([factor, np.ones((scenes, 1, 1, 1))], -1)
        memory = _change_memory(batch, lambda paths, scene: paths * times[scene])
        return replace(batch, past=past, future=future, around=wide, memory=memory)


def _replay(batch: Batch, reverse: Bools, dt_ratio: Floats) -> tuple[Batch, Floats]:
    """Scenes played backwards where `reverse` [B], at dt_ratio [B]; and the dt_ratio applied."""
    length, horizon = batch.past.shape[2], batch.future.shape[2]
    path, present = np.concatenate([batch.past, batch.future], 2), length - 1
    if batch.around is not None:
        path, present = batch.around, length * batch.around.shape[2] // (length + horizon) - 1
    centre = present + np.where(reverse, horizon - length + 1, 0)
    steps = np.where(reverse, -1, 1)[:, None] * np.arange(1 - length, horizon + 1)

    def resample(dt_ratio: Floats) -> tuple[Floats, Bools]:
        result = _interpolate(path, centre[:, None] + dt_ratio[:, None] * steps)
        return result, batch.target & np.isfinite(result).all((2, 3))

    result, target = resample(dt_ratio)
    empty = ~target.any(1)
    if empty.any():
        dt_ratio = np.where(empty, 1.0, dt_ratio)
        result, target = resample(dt_ratio)
    past, future = np.split(result, [length], 2)
    memory = _replay_memory(batch, reverse, dt_ratio)
    changed = replace(batch, past=past, future=future, target=target, memory=memory)
    return replace(changed, around=None), dt_ratio


def _change_memory(batch: Batch, change: Callable[[Floats, Ints], Floats]) -> Floats | None:
    """The memory of a batch with a change to that of its targets; None without memory.

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


def _replay_memory(batch: Batch, reverse: Bools, dt_ratio: Floats) -> Floats | None:
    """The memory at the dt_ratio of its scenes; empty in those played backwards.

    In these, memory would show the future.
    """
    length, horizon = batch.past.shape[2], batch.future.shape[2]
    steps = np.arange(1 - length, horizon + 1)

    def resample(paths: Floats, scene: Ints) -> Floats:
        present = length * paths.shape[2] // (length + horizon) - 1
        result = _interpolate(paths, present + dt_ratio[scene, None] * steps)
        result[..., -1] /= dt_ratio[scene, None, None]
        result[reverse[scene]] = np.nan
        return result

    return _change_memory(batch, resample)


def _interpolate(path: Floats, time: Floats) -> Floats:
    """Positions of paths [B, A, W, D] at fractional steps, [B, N] -> [B, A, N, D]."""
    last = path.shape[2] - 1
    before = np.clip(np.floor(time).astype(int), 0, last - 1)
    share = (time - before)[:, None, :, None]
    row = np.arange(len(path))[:, None, None]
    agent = np.arange(path.shape[1])[:, None]
    first, second = (path[row, agent, step[:, None]] for step in (before, before + 1))
    # At a step itself the other end counts nothing, also if it is NaN.
    between = np.where(share == 0, first, (1 - share) * first + share * second)
    inside = (share >= 0) & (share <= 1)
    return np.where(share == 1, second, np.where(inside, between, np.nan))


def _drop_agents(batch: Batch, dropped: Bools) -> Batch:
    """The batch without some agents; unchanged if no target would remain."""
    target = batch.target & ~dropped
    if not target.any():
        return batch
    past = np.where(dropped[..., None, None], np.nan, batch.past)
    return replace(batch, past=past, target=target)


def _drop_history(batch: Batch, rng: np.random.Generator, share: float) -> Batch:
    length = batch.past.shape[2]
    if length < 3:
        return batch
    first = rng.integers(1, length - 1, batch.target.shape)
    first = np.where(rng.random(batch.target.shape) < share, first, 0)
    unseen = np.arange(length) < first[..., None]
    return replace(batch, past=np.where(unseen[..., None], np.nan, batch.past))


def _add_noise(batch: Batch, rng: np.random.Generator, max_deviation: float) -> Batch:
    level = max_deviation * rng.random(len(batch.scene)) * (rng.random(len(batch.scene)) < 0.5)
    noise = rng.normal(size=batch.past.shape) * level[:, None, None, None]

    def with_noise(paths: Floats, scene: Ints) -> Floats:
        noisy = level[scene] > 0
        points = paths[noisy][..., :-1]
        deviation = level[scene[noisy], None, None, None]
        paths[noisy, ..., :-1] = points + rng.normal(size=points.shape) * deviation
        return paths

    return replace(batch, past=batch.past + noise, memory=_change_memory(batch, with_noise))
