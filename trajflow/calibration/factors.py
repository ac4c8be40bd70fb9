"""Factors that turn a forecast's spread into radii that hold, fitted over people."""

from dataclasses import dataclass

import numpy as np

from trajflow.calibration.evidence import Evidence
from trajflow.calibration.quantiles import person_quantiles
from trajflow.calibration.regions import Steps, over
from trajflow.errors import ConfigError
from trajflow.types import Floats

GRID = np.arange(1, 100) / 100
"""Levels that factors are kept for; one in between takes the next higher."""
FLOOR = 0.05
"""Least spread that counts, as a share of the usual one at the same step."""


@dataclass(frozen=True)
class Origin:
    """What a calibration was fitted with.

    Attributes:
        part: Part of the tracks.
        people: Distinct agents it was fitted on.
        left_out: People of the part that it was not fitted on because the run has trained on them.
        independent: Whether none of the people had a part in choosing weights, temperature or
            learned samples. Only then do regions hold as often as they say.
        windows: Forecasts: an agent at a moment each.
        samples: Draws of each.
        evaluations: Network evaluations per draw.
        seed: Seed of the draws.
        store: Fingerprint of the tracks.
        weights: SHA-256 of the weights file.
    """

    part: str = "val"
    people: int = 0
    left_out: int = 0
    independent: bool = False
    windows: int = 0
    samples: int = 20
    evaluations: int = 1
    seed: int = 0
    store: str = ""
    weights: str = ""


@dataclass(frozen=True)
class Calibration:
    """Radii as multiples of the spread of forecasts like those it was fitted on.

    Attributes:
        each: Factor of each step by its own, at the levels of `GRID`, [Q, F].
        path: Factor of all steps at once, [Q].
        floor: Least spread that counts at each step, in the unit of the tracks, [F].
        origin: What it was fitted with.
    """

    each: Floats
    path: Floats
    floor: Floats
    origin: Origin

    def serves(self, samples: int) -> bool:
        """Whether it holds for forecasts of so many draws: as many as it was fitted with, or more.

        A mean of more draws is nearer the truth, so regions then hold a little more often.
        """
        return samples >= self.origin.samples

    def factor(self, level: float, steps: Steps = "each") -> Floats:
        """Factors of the steps at a level, [F]; infinite with too few people for the level.

        Raises:
            ConfigError: The level is beyond the grid.
        """
        place = int(np.searchsorted(GRID, level - 1e-9))
        if not 0 < level <= 1 or place == len(GRID):
            raise ConfigError(
                f"calibrated levels lie above 0 and go up to {GRID[-1]:g}, got {level:g}"
            )
        if steps == "each":
            return np.asarray(self.each[place])
        return np.full(len(self.floor), self.path[place])

    def radius(self, spread: Floats, level: float, steps: Steps = "each") -> Floats:
        """Radii [..., F] of forecasts that have spread so far, [..., F]."""
        return np.asarray(np.maximum(spread, self.floor) * self.factor(level, steps))

    @property
    def highest(self) -> float:
        """The highest level of the grid that so many people can promise: at most P / (P + 1)."""
        promised = GRID * (self.origin.people + 1) < self.origin.people + 1e-6
        return float(GRID[promised].max(initial=0))


def usual_spread(evidence: Evidence) -> Floats:
    """Median spread of forecasts at each step, [F].

    The floor of a calibration is a share of it. It comes from people of the training part: what a
    score is measured in must not depend on those it is calibrated on.
    """
    return np.asarray(np.median(evidence.spread, 0))


def fit(evidence: Evidence, usual: Floats, origin: Origin | None = None) -> Calibration:
    """The factors that hold for a window of a new person, at every level of `GRID`.

    The score of a window is its distance over its spread, step by step, and the largest of these
    for the path.

    Args:
        evidence: Windows that nothing was learned from, N of them.
        usual: Median spread of training forecasts at each step, [F].
        origin: What the evidence is of; people and windows are counted here.

    Source: Lei et al. 2018, "Distribution-free predictive inference for regression", sec. 5.2
    (locally weighted scores); Diquigiovanni, Fontana and Vantini 2022, "Conformal prediction
    bands for multivariate functional data" (their maximum over the path).
    """
    floor = FLOOR * usual
    scores = over(evidence.away, np.maximum(evidence.spread, floor))
    given = vars(origin or Origin()) | {"people": evidence.people, "windows": len(scores)}
    return Calibration(
        each=person_quantiles(scores, evidence.person, GRID),
        path=person_quantiles(scores.max(1), evidence.person, GRID),
        floor=floor,
        origin=Origin(**given),
    )
