"""Walkers before a fork, who go left or right with a density in closed form.

The future depends only on the observed past, noise included: `conditional(past)` is exact.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.synthetic import SyntheticTracks
from trajflow.errors import DataError

Floats = NDArray[np.float64]

DT = 0.4
HISTORY = 8
HORIZON = 12


@dataclass(frozen=True)
class Motion:
    """Position, direction and speed at the last step of a past."""

    position: Floats  # last observed position, [*, 2], metres
    heading: Floats  # direction of motion, [*], radians
    speed: Floats  # [*], metres per second
    turn: Floats  # change of heading, [*], radians per second, to the left positive


def read_motion(past: Floats, dt: float) -> Motion:
    """Motion at the end of a past [*, T, 2], from the parabola of least squares through it."""
    seconds = dt * np.arange(1 - past.shape[-2], 1)
    fit = np.linalg.pinv(np.vander(seconds, 3, increasing=True))[1:]
    coefficients = fit @ past
    velocity, acceleration = coefficients[..., 0, :], 2 * coefficients[..., 1, :]
    speed = np.linalg.norm(velocity, axis=-1)
    cross = velocity[..., 0] * acceleration[..., 1] - velocity[..., 1] * acceleration[..., 0]
    heading = np.arctan2(velocity[..., 1], velocity[..., 0])
    return Motion(past[..., -1, :], heading, speed, cross / speed**2)


def unit(angle: Floats) -> Floats:
    """Unit vectors [*, 2] of the angles [*]."""
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def smooth(share: Floats) -> Floats:
    """Rises from 0 at 0 to 1 at 1, level at both ends and beyond; [*] to [*]."""
    x = np.clip(share, 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x))


@dataclass(frozen=True)
class Variation:
    """Gaussian deviation from a mean path, in the frame that turns with the path.

    With w rising from 0 to 1 over the horizon, the deviation along the path is a sum of w, w^2,
    ... with independent normal weights, and so is the one across it; each step adds white noise.

    Attributes:
        along: Standard deviations of the weights along the path, metres.
        across: Standard deviations of the weights across the path, metres.
        noise: Standard deviation of an observed coordinate, metres.
    """

    along: tuple[float, ...]
    across: tuple[float, ...]
    noise: float

    def sample(self, mean: Floats, heading: Floats, rng: np.random.Generator) -> Floats:
        """One path [*, F, 2] about each mean [*, F, 2] that heads [*, F]."""
        factors = self._factors(mean.shape[-2])
        normal = rng.standard_normal((2, *mean.shape[:-1]))
        along, across = (z @ factor.T for z, factor in zip(normal, factors, strict=True))
        forward = unit(heading)
        left = unit(heading + np.pi / 2)
        return np.asarray(mean + along[..., None] * forward + across[..., None] * left)

    def log_density(self, path: Floats, mean: Floats, heading: Floats) -> Floats:
        """Log density [*] of paths [*, F, 2] under each mean [*, F, 2] that heads [*, F]."""
        horizon = path.shape[-2]
        offset = path - mean
        parts = ((offset * unit(heading + angle)).sum(-1) for angle in (0.0, np.pi / 2))
        total = -horizon * np.log(2 * np.pi)
        for part, factor in zip(parts, self._factors(horizon), strict=True):
            whitened = part @ np.linalg.inv(factor).T
            total = total - 0.5 * (whitened**2).sum(-1) - np.log(np.diag(factor)).sum()
        return np.asarray(total)

    def _factors(self, horizon: int) -> list[Floats]:
        """Cholesky factors [F, F] of the covariance along and across the path."""
        rise = np.linspace(1 / horizon, 1, horizon)
        result: list[Floats] = []
        for weights in (self.along, self.across):
            basis = np.stack([s * rise ** (k + 1) for k, s in enumerate(weights)], -1)
            covariance = basis @ basis.T + self.noise**2 * np.eye(horizon)
            result.append(np.linalg.cholesky(covariance).astype(np.float64))
        return result


def one_scene(name: str, paths: Floats, split: str, dt: float) -> TrackBlock:
    """A scene of pedestrians [A, N, 2] who are all observed at the same N steps."""
    agents, steps = paths.shape[:2]
    return TrackBlock(
        scene=name,
        labels=list(range(agents)),
        types=["pedestrian"] * agents,
        rowsize=np.full(agents, steps, np.int64),
        time=dt * np.tile(np.arange(steps, dtype=np.float64), agents),
        position=paths.reshape(-1, 2),
        split=split,
    )


VARIATION = Variation(along=(0.4, 0.25), across=(0.2, 0.2), noise=0.01)


@dataclass(frozen=True)
class Fork:
    """Distribution of the futures of pasts: one of two branches, Gaussian about its mean path."""

    probability: Floats  # of the left branch, [*]
    mean: Floats  # mean path of the left and of the right branch, [2, *, F, 2], metres
    heading: Floats  # direction of these paths, [2, *, F], radians

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
        log_share = (np.log(self.probability), np.log1p(-self.probability))
        left, right = (
            share + VARIATION.log_density(future, mean, heading)
            for share, mean, heading in zip(log_share, self.mean, self.heading, strict=True)
        )
        return left, right


def conditional(past: Floats) -> Fork:
    """The distribution of the futures of pasts [*, 8, 2] of this generator, metres.

    Walkers who bend to the left or are fast go left more often; slow ones turn by a wider angle.

    Raises:
        DataError: If a past does not have 8 steps of 2 coordinates.
    """
    if past.shape[-2:] != (HISTORY, 2):
        raise DataError(f"past must be [*, {HISTORY}, 2], got {list(past.shape)}")
    motion = read_motion(past, DT)
    probability = 1 / (1 + np.exp(-6.0 * motion.turn - 1.5 * (motion.speed - 1.3)))
    angle = 0.45 + 0.6 / (1 + np.exp(4.0 * (motion.speed - 1.3)))
    sign = np.array([1.0, -1.0]).reshape(2, *[1] * (motion.speed.ndim + 1))

    def direction(seconds: Floats) -> Floats:
        bend = motion.turn[..., None] * (1 - np.exp(-seconds))
        fork = sign * angle[..., None] * smooth(seconds / (HORIZON * DT))
        return np.asarray(motion.heading[..., None] + bend + fork)

    ends = np.linspace(DT, HORIZON * DT, HORIZON)
    stride = motion.speed[..., None, None] * DT * unit(direction(ends - DT / 2))
    mean = motion.position[..., None, :] + stride.cumsum(-2)
    return Fork(probability, mean, direction(ends))


def draw_pasts(scenes: int, rng: np.random.Generator) -> Floats:
    """Observed pasts [B, 8, 2]: arcs of random position, direction, speed and curvature, metres."""
    speed = rng.uniform(0.8, 1.8, (scenes, 1))
    turn = rng.normal(0.0, 0.15, (scenes, 1))
    heading = rng.uniform(-np.pi, np.pi, (scenes, 1)) + turn * DT * (
        np.arange(1 - HISTORY, 1) - 0.5
    )
    stride = speed[..., None] * DT * unit(heading)
    start = rng.normal(0.0, 5.0, (scenes, 1, 2))
    return np.asarray(start + stride.cumsum(1) + rng.normal(0.0, VARIATION.noise, stride.shape))


def generate(seed: int, *, train: int = 4000, val: int = 500, test: int = 1000) -> SyntheticTracks:
    """Scenes of 20 steps with one walker each, by split, in metres."""

    def draw(scenes: int, rng: np.random.Generator) -> Floats:
        past = draw_pasts(scenes, rng)
        return np.concatenate([past, conditional(past).sample(1, rng)[0]], 1)[:, None]

    sizes = {"train": train, "val": val, "test": test}
    return walks("fork", f"synthetic fork, seed {seed}", sizes, draw, np.random.default_rng(seed))


def walks(
    fold: str,
    source: str,
    sizes: dict[str, int],
    draw: Callable[[int, np.random.Generator], Floats],
    rng: np.random.Generator,
) -> SyntheticTracks:
    """Scenes by split; `draw` gives paths [B, A, N, 2] of A walkers in B scenes, metres."""
    names = {split: [f"{split}-{k:05d}" for k in range(n)] for split, n in sizes.items()}
    blocks = (
        one_scene(name, paths, split, DT)
        for split, scenes in names.items()
        if scenes
        for name, paths in zip(scenes, draw(len(scenes), rng), strict=True)
    )
    return SyntheticTracks(blocks, 2, DT, "m", source, {fold: names["test"]})
