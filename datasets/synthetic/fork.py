"""Walkers before a fork, who go left or right with a density that is known in closed form.

The future depends only on what the past, noise included, shows: `conditional(past)` is exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajflow.datasets.synthetic import Made
from trajflow.datasets.synthetic._paths import Variation, one_scene, read_motion, smooth, unit
from trajflow.datasets.tracks import TrackBlock
from trajflow.errors import DataError

Floats = NDArray[np.float64]

DT = 0.4
HISTORY = 8
HORIZON = 12
VARIATION = Variation(along=(0.4, 0.25), across=(0.2, 0.2), noise=0.01)


@dataclass(frozen=True)
class Fork:
    """Law of the future after given pasts: one of two branches, Gaussian about its mean path.

    Attributes:
        probability: Of the left branch, [*].
        mean: Mean path of the left and of the right branch, [2, *, F, 2], metres.
        heading: Direction of these paths, [2, *, F], radians.
    """

    probability: Floats
    mean: Floats
    heading: Floats

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """Draw S = n futures of each past, [S, *, F, 2], metres."""
        right = (rng.random((1, n, *self.probability.shape)) >= self.probability).astype(np.int64)
        mean = np.take_along_axis(self.mean[:, None], right[..., None, None], 0)[0]
        heading = np.take_along_axis(self.heading[:, None], right[..., None], 0)[0]
        return VARIATION.sample(mean, heading, rng)

    def log_density(self, future: Floats) -> Floats:
        """Log density [*] of futures [*, F, 2], per metre to the power 2 F."""
        return np.asarray(np.logaddexp(*self._branches(future)))

    def branch(self, future: Floats) -> Floats:
        """Probability [*] that futures [*, F, 2] took the left branch."""
        left, right = self._branches(future)
        return np.asarray(np.exp(left - np.logaddexp(left, right)))

    def _branches(self, future: Floats) -> tuple[Floats, Floats]:
        chance = (np.log(self.probability), np.log1p(-self.probability))
        left, right = (
            chance[k] + VARIATION.log_density(future, self.mean[k], self.heading[k]) for k in (0, 1)
        )
        return left, right


def conditional(past: Floats) -> Fork:
    """The law of the future that follows pasts [*, 8, 2] of this generator, metres.

    Who bends to the left or hurries goes left more often; who is slow turns by a wider angle.

    Raises:
        DataError: If a past does not have 8 steps of 2 coordinates.
    """
    if past.shape[-2:] != (HISTORY, 2):
        raise DataError(f"past must be [*, {HISTORY}, 2], got {list(past.shape)}")
    seen = read_motion(past, DT)
    probability = 1 / (1 + np.exp(-6.0 * seen.turn - 1.5 * (seen.speed - 1.3)))
    angle = 0.45 + 0.6 / (1 + np.exp(4.0 * (seen.speed - 1.3)))
    sign = np.array([1.0, -1.0]).reshape(2, *[1] * (seen.speed.ndim + 1))

    def direction(seconds: Floats) -> Floats:
        bend = seen.turn[..., None] * (1 - np.exp(-seconds))
        fork = sign * angle[..., None] * smooth(seconds / (HORIZON * DT))
        return np.asarray(seen.heading[..., None] + bend + fork)

    ends = np.linspace(DT, HORIZON * DT, HORIZON)
    stride = seen.speed[..., None, None] * DT * unit(direction(ends - DT / 2))
    mean = seen.position[..., None, :] + stride.cumsum(-2)
    return Fork(probability, mean, direction(ends))


def draw_pasts(scenes: int, rng: np.random.Generator) -> Floats:
    """Observed pasts [B, 8, 2]: arcs of any place, direction, speed and bend, metres."""
    speed = rng.uniform(0.8, 1.8, (scenes, 1))
    turn = rng.normal(0.0, 0.15, (scenes, 1))
    heading = rng.uniform(-np.pi, np.pi, (scenes, 1)) + turn * DT * (
        np.arange(1 - HISTORY, 1) - 0.5
    )
    stride = speed[..., None] * DT * unit(heading)
    start = rng.normal(0.0, 5.0, (scenes, 1, 2))
    return np.asarray(start + stride.cumsum(1) + rng.normal(0.0, VARIATION.noise, stride.shape))


def generate(seed: int, *, train: int = 4000, val: int = 500, test: int = 1000) -> Made:
    """Scenes of 20 steps with one walker each: so many for each part, metres."""
    sizes = {"train": train, "val": val, "test": test}
    names = {part: [f"{part}-{k:05d}" for k in range(n)] for part, n in sizes.items()}
    return Made(
        blocks=_scenes(names, np.random.default_rng(seed)),
        dims=2,
        dt=DT,
        unit="m",
        source=f"synthetic fork, seed {seed}",
        folds={"fork": names["test"]},
    )


def _scenes(names: dict[str, list[str]], rng: np.random.Generator) -> Iterator[TrackBlock]:
    for part, scenes in names.items():
        past = draw_pasts(len(scenes), rng)
        future = conditional(past).sample(1, rng)[0]
        for name, path in zip(scenes, np.concatenate([past, future], 1), strict=True):
            yield one_scene(name, path[None], part, DT)
