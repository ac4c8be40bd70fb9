"""Walking paths with Gaussian variation: read from a past, drawn about a mean, and how dense."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajflow.datasets.tracks import TrackBlock

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """What a past shows at its last step: where [*, 2], which way and how fast.

    Attributes:
        position: Last observed position, [*, 2], metres.
        heading: Direction of motion, [*], radians.
        speed: [*], metres per second.
        turn: Change of heading, [*], radians per second, to the left positive.
    """

    position: Floats
    heading: Floats
    speed: Floats
    turn: Floats


def read_motion(past: Floats, dt: float) -> Motion:
    """Motion at the end of a past [*, T, 2], from the parabola of least squares through it."""
    seconds = dt * np.arange(1 - past.shape[-2], 1)
    fit = np.linalg.pinv(np.vander(seconds, 3, increasing=True))[1:]
    rate = fit @ past
    velocity, acceleration = rate[..., 0, :], 2 * rate[..., 1, :]
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
            white = part @ np.linalg.inv(factor).T
            total = total - 0.5 * (white**2).sum(-1) - np.log(np.diag(factor)).sum()
        return np.asarray(total)

    def _factors(self, horizon: int) -> list[Floats]:
        """Cholesky factors [F, F] of the covariance along and across the path."""
        rise = np.linspace(1 / horizon, 1, horizon)
        found: list[Floats] = []
        for weights in (self.along, self.across):
            basis = np.stack([s * rise ** (k + 1) for k, s in enumerate(weights)], -1)
            covariance = basis @ basis.T + self.noise**2 * np.eye(horizon)
            found.append(np.linalg.cholesky(covariance).astype(np.float64))
        return found


def one_scene(name: str, paths: Floats, split: str, dt: float) -> TrackBlock:
    """A scene of pedestrians [A, N, 2] who are all seen at the same N steps."""
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
