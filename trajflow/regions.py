"""Prediction regions: discs around the mean of samples that hold the future with a probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from trajflow.errors import ConfigError
from trajflow.metrics import radii_of_levels
from trajflow.types import Bools, Floats

if TYPE_CHECKING:
    from trajflow.calibration import Calibration

Steps = Literal["each", "path"]


@dataclass(frozen=True)
class Region:
    """A disc (a ball in three dimensions) around each step of each agent's future.

    Attributes:
        centre: Mean position of the samples, [*, A, F, D].
        radius: Radius in the unit of the past, [*, A, F]; infinite if the calibration has too few
            people, or the forecast too few samples, for the level.
        level: Probability that the future is inside.
        steps: "each": the level holds for each step; "path": for all steps of a future at once.
        calibrated: Whether the radius was fitted on new people. If not, it comes from the samples
            alone and is as accurate as they are.
    """

    centre: Floats
    radius: Floats
    level: float
    steps: Steps
    calibrated: bool

    def contains(self, points: Floats) -> Bools:
        """Whether positions [..., A, F, D] are inside, [..., A, F]."""
        return np.asarray(length(points - self.centre) <= self.radius)


def region_of(
    samples: Floats,
    level: float,
    steps: Steps = "each",
    calibration: Calibration | None = None,
    weights: Floats | None = None,
) -> Region:
    """The prediction region of a level from samples of the future.

    Args:
        samples: Positions, [S, *, A, F, D].
        level: Probability that the future is inside, above 0 and below 1.
        steps: "each" for every step on its own, "path" for all steps at once.
        calibration: Widens or narrows the region. It applies to plain draws, at least as many as it
            was fitted with; otherwise it is ignored.
        weights: Weights of selected samples, [S, *, A], summing to 1 over S; None: plain draws.

    Raises:
        ConfigError: `level` or `steps` is invalid.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, got {level}")
    if steps not in ("each", "path"):
        raise ConfigError(f"steps must be 'each' or 'path', got {steps!r}")
    centre, spread = centre_and_spread(samples, weights)
    if calibration is None or weights is not None or not calibration.serves(len(samples)):
        radius = own_radii(samples, np.array([level]), steps, weights)[0]
        return Region(centre, radius, level, steps, calibrated=False)
    radius = calibration.radius(spread, level, steps)
    return Region(centre, radius, level, steps, calibrated=True)


def centre_and_spread(samples: Floats, weights: Floats | None = None) -> tuple[Floats, Floats]:
    """Mean [*, A, F, D] of samples [S, *, A, F, D], and their root mean square distance to it.

    The spread of equal samples is exactly 0.
    """
    share = _share(samples, weights)
    centre = samples[0] + (share[..., None] * (samples - samples[0])).sum(0)
    square = np.square(samples - centre).sum(-1)
    return centre, np.sqrt((share * square).sum(0))


def own_radii(
    samples: Floats, levels: Floats, steps: Steps, weights: Floats | None = None
) -> Floats:
    """Radii around the samples' mean that contain one more draw at given levels, [Q, *, A, F].

    The distance of a sample is taken to the mean of the others, since its own mean leans on it; see
    `radii_of_levels` for the rank. It is then scaled by sqrt(1 - 1 / S^2), because a new draw is
    that much nearer to the mean of S samples than a sample to the mean of S - 1 others; together,
    distances to the samples' own mean are multiplied by sqrt((S + 1) / (S - 1)). The level thus
    holds approximately, if the samples are right. Radii are infinite where S is too small for the
    level: below 9 for 0.9, below 19 for 0.95.

    For "path" all radii of an agent are the same multiple of the spread at their steps, and the
    distances of each sample are divided by the spread of the others.

    Args:
        samples: Positions, [S, *, A, F, D].
        levels: Probabilities, [Q].
        steps: "each" or "path".
        weights: Weights of selected samples, [S, *, A], which are then the whole distribution;
            None: plain draws.
    """
    centre, spread = centre_and_spread(samples, weights)
    away = length(samples - centre)
    count = len(samples)
    if weights is None:
        if count < (2 if steps == "each" else 3):
            return np.full((len(levels), *away.shape[1:]), np.inf)
        others = np.square(spread) - np.square(away) / (count - 1)
        rest = np.sqrt(np.maximum(others, 0) * count / (count - 1))
        away = away * (count / (count - 1) * np.sqrt(1 - 1 / count**2))
    else:
        rest, weights = spread, np.broadcast_to(weights[..., None], away.shape)
    if steps == "each":
        return radii_of_levels(away, levels, weights)
    most = over(away, rest).max(-1, keepdims=True)
    if weights is None:
        most = most * np.sqrt(1 - 1 / (count - 1) ** 2)
    factor = radii_of_levels(most, levels, None if weights is None else weights[..., :1])
    return np.where(spread > 0, factor * np.where(spread > 0, spread, 1), 0)


def over(away: Floats, spread: Floats) -> Floats:
    """Distances over spreads, any shape; a spread of 0 gives 0 for no distance, else infinity."""
    none = np.where(away > 0, np.inf, 0.0)
    return np.divide(away, spread, out=none, where=np.broadcast_to(spread > 0, none.shape))


def length(vectors: Floats) -> Floats:
    """Length of vectors [..., D], [...]."""
    return np.asarray(np.sqrt(np.square(vectors).sum(-1)))


def _share(samples: Floats, weights: Floats | None) -> Floats:
    """Share of each sample, broadcastable over steps, [S, *, A, 1]."""
    if weights is None:
        return np.full((*samples.shape[:-2], 1), 1 / len(samples))
    return np.asarray((weights / weights.sum(0))[..., None])
