"""Discs around a forecast's mean: how wide they are by the samples' own word, and calibrated."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from trajflow.errors import ConfigError
from trajflow.metrics import radii_of_levels
from trajflow.types import Bools, Floats

if TYPE_CHECKING:
    from trajflow.calibration.factors import Calibration

Steps = Literal["each", "path"]


@dataclass(frozen=True)
class Region:
    """A disc (a ball in three dimensions) at each step of each agent's future.

    Attributes:
        centre: Mean position of the samples, [*, A, F, D].
        radius: Radius in the unit of the past, [*, A, F]; infinite where a calibration has seen
            too few people to promise the level, or the samples are too few for it.
        level: Share of the futures that shall be inside.
        steps: "each": a step is inside its disc with this probability; "path": all steps of a
            future are inside theirs at once.
        calibrated: Whether the radius was fitted on people the samples were not drawn for. If
            not, the samples alone say it, and it holds about as far as they are right.
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
    """Radii around the samples' mean within which one more draw lies, [Q, *, A, F].

    Each sample is measured from the mean of the others, as a draw that the mean does not lean on;
    see `radii_of_levels` for the rank that is taken. The result is scaled by how much nearer a new
    draw is to the mean of S than one of them to that of the other S - 1, sqrt(1 - 1 / S^2) in root
    mean square; together that is sqrt((S + 1) / (S - 1)) on the distances to the samples' own mean.
    So a region holds a level about, not exactly, if the samples are right, and is infinite where S
    are too few for the level: below 9 for 0.9, below 19 for 0.95.

    For "path" all radii of an agent are one multiple of the spread at their steps, and each
    sample's distances are taken over the spread of the others.

    Args:
        samples: Positions, [S, *, A, F, D].
        levels: Probabilities, [Q].
        steps: Whether a step or the whole path shall be inside.
        weights: Weight of each sample, [S, *, A]; None for equal ones. Weighted samples are a
            chosen set, the whole forecast: radii hold at least the level of their weight.
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
