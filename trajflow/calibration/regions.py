"""Discs around a forecast's mean: how wide they are by the samples' own word, and calibrated."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from trajflow.batch import Bools, Floats
from trajflow.errors import ConfigError

if TYPE_CHECKING:
    from trajflow.calibration.factors import Calibration

Steps = Literal["each", "path"]


@dataclass(frozen=True)
class Region:
    """A disc (a ball in three dimensions) at each step of each agent's future.

    Attributes:
        centre: Mean position of the samples, [*, A, F, D].
        radius: Radius in the unit of the past, [*, A, F]; infinite where a calibration has seen
            too few people to promise the level.
        level: Share of the futures that shall be inside.
        steps: "each": a step is inside its disc with this probability; "path": all steps of a
            future are inside theirs at once.
        calibrated: Whether the radius was fitted on people the samples were not drawn for. If
            not, it is the samples' own quantile, which holds as far as they are right.
    """

    centre: Floats
    radius: Floats
    level: float
    steps: Steps
    calibrated: bool

    def contains(self, points: Floats) -> Bools:
        """Whether positions [..., A, F, D] are inside the discs of their steps, [..., A, F]."""
        return np.asarray(length(points - self.centre) <= self.radius)


def region_of(
    samples: Floats,
    level: float,
    steps: Steps = "each",
    calibration: "Calibration | None" = None,
    weights: Floats | None = None,
) -> Region:
    """The region of a level around samples of the future.

    Args:
        samples: Positions, [S, *, A, F, D].
        level: Share of the futures that shall be inside, above 0 and below 1.
        steps: "each" for every step on its own, "path" for all steps at once.
        calibration: Factors to widen or narrow the spread by. They are of plain draws: with
            weights, or of fewer samples than they were fitted with, they are not used.
        weights: Weight of each sample, [S, *, A], of sum 1 over S; None for equal ones.

    Raises:
        ConfigError: The level is out of bounds, or there are no such steps.
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

    Samples that are all the same have exactly no spread.
    """
    share = _share(samples, weights)
    centre = samples[0] + (share[..., None] * (samples - samples[0])).sum(0)
    square = np.square(samples - centre).sum(-1)
    return centre, np.sqrt((share * square).sum(0))


def own_radii(
    samples: Floats, levels: Floats, steps: Steps, weights: Floats | None = None
) -> Floats:
    """Radii around the samples' mean that hold shares of the samples themselves, [Q, *, A, F].

    For "path" all radii of an agent are one multiple of the spread at their steps.

    Args:
        samples: Positions, [S, *, A, F, D].
        levels: The shares, [Q].
        steps: Whether a share of the steps or of the whole paths is inside.
        weights: Weight of each sample, [S, *, A]; None for equal ones.
    """
    centre, spread = centre_and_spread(samples, weights)
    away = length(samples - centre)
    if steps == "each":
        return _quantiles(away, levels, weights)
    most = over(away, spread).max(-1, keepdims=True)
    return np.asarray(_quantiles(most, levels, weights) * spread)


def over(away: Floats, spread: Floats) -> Floats:
    """Distances over spreads, any shape; without any spread 0 at no distance, else infinite."""
    none = np.where(away > 0, np.inf, 0.0)
    return np.divide(away, spread, out=none, where=np.broadcast_to(spread > 0, none.shape))


def length(vectors: Floats) -> Floats:
    """Length of vectors [..., D], [...]."""
    return np.asarray(np.sqrt(np.square(vectors).sum(-1)))


def _share(samples: Floats, weights: Floats | None) -> Floats:
    """Share of each sample of each agent, to be broadcast over steps, [S, *, A, 1]."""
    if weights is None:
        return np.full((*samples.shape[:-2], 1), 1 / len(samples))
    return np.asarray((weights / weights.sum(0))[..., None])


def _quantiles(values: Floats, levels: Floats, weights: Floats | None) -> Floats:
    if weights is None:
        return np.asarray(np.quantile(values, levels, axis=0))
    wide = np.broadcast_to(weights[..., None], values.shape)
    found = np.quantile(values, levels, axis=0, weights=wide, method="inverted_cdf")
    return np.asarray(found)
