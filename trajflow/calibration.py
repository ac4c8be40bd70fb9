"""Prediction regions calibrated for new people, by split conformal prediction."""

import hashlib
import json
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trajflow.errors import ConfigError, DataError, RunError, TrajflowError, TrajflowWarning
from trajflow.io import JSON, parse_json
from trajflow.manifest import read_kept
from trajflow.regions import Steps, centre_and_spread, length, over, own_radii
from trajflow.statistics import person_weights
from trajflow.types import Batch, Floats, Forecaster, Ints

# Tolerance for the rounding of cumulative sums, as a share of a person.
SLACK = 1e-9


def person_quantiles(scores: Floats, people: Ints, levels: ArrayLike) -> Floats:
    """Bounds that a window of a new person stays below with at least the given probabilities.

    Windows of one person overlap, but people are exchangeable. Each of the P people weighs
    1 / (P + 1), shared among their windows; the weight 1 / (P + 1) of the new person lies at
    infinity. A bound is the lowest score at which the cumulative weight reaches the level; it is
    infinite for levels above P / (P + 1). The coverage exceeds the level by at most 2 / (P + 1) if
    scores do not tie, and by at most 1 / (P + 1) if every person has one window.

    Args:
        scores: Score of each window, [N, ...].
        people: Person of each window, [N].
        levels: Probabilities between 0 and 1, Q of them.

    Returns:
        The bounds, [Q, ...].

    Source: Lee, Barber and Willett 2023, "Distribution-free inference with hierarchical data"
    (hierarchical conformal prediction). Without the weight of the new person it is the CDF pooling
    of Dunn, Wasserman and Ramdas 2022, "Distribution-free prediction sets for two-layer
    hierarchical models", which holds for many people.
    """
    count, weight = len(np.unique(people)), person_weights(people)
    needed = np.atleast_1d(np.asarray(levels, float)) * (count + 1) - SLACK
    columns = scores.reshape(len(scores), -1).T
    bounds = [_lowest(column, weight, needed) for column in columns]
    return np.stack(bounds, -1).reshape(len(needed), *scores.shape[1:])


def person_means(values: Floats, people: Ints) -> Floats:
    """Mean over people of the mean over their windows, of values [N, ...]."""
    count = len(np.unique(people))
    return np.asarray(np.tensordot(person_weights(people), values, 1) / count)


def _lowest(scores: Floats, mass: Floats, needed: Floats) -> Floats:
    """The lowest scores at which the cumulative mass of scores [N] reaches `needed` [Q]."""
    order = np.argsort(scores)
    reached = np.cumsum(mass[order])
    return np.append(scores[order], np.inf)[np.searchsorted(reached, needed)]


LEVELS = np.arange(5, 100, 5) / 100
"""Levels at which reliability is measured."""


@dataclass(frozen=True)
class Evidence:
    """Errors and spreads of forecasts of N windows, which a calibration is fitted on.

    Attributes:
        away: Distance of the truth to the samples' mean at each step, [N, F].
        spread: Root mean square distance of the samples to their mean, [N, F].
        own: Radii of the samples alone at `LEVELS`, for each step, [Q, N, F].
        own_path: Radii of the samples alone at `LEVELS`, for whole paths, [Q, N, F].
        person: Agent of each window, [N].
    """

    away: Floats
    spread: Floats
    own: Floats
    own_path: Floats
    person: Ints

    @property
    def people(self) -> int:
        """Number of agents."""
        return len(np.unique(self.person))

    def take(self, rows: Ints) -> "Evidence":
        """The windows at some rows."""
        own, own_path = self.own[:, rows], self.own_path[:, rows]
        return Evidence(self.away[rows], self.spread[rows], own, own_path, self.person[rows])

    @classmethod
    def of(cls, samples: Floats, future: Floats, person: Ints) -> "Evidence":
        """Compare samples [S, N, F, D] of N windows with the truth [N, F, D].

        Raises:
            TrajflowError: A number is not finite.
        """
        if not (np.isfinite(samples).all() and np.isfinite(future).all()):
            raise TrajflowError("a forecast or a future is not finite; nothing can be calibrated")
        centre, spread = centre_and_spread(samples)
        own, path = (own_radii(samples, LEVELS, steps) for steps in ("each", "path"))
        return cls(length(future - centre), spread, own, path, person)


def gather(forecaster: Forecaster, batches: Iterable[Batch], samples: int, seed: int) -> Evidence:
    """Forecast all targets of the batches and compare the forecasts with the truth.

    Args:
        forecaster: The forecaster; the future is hidden from it.
        batches: The windows.
        samples: Futures S of each target.
        seed: Seed of the draws.

    Raises:
        DataError: There are no windows.
        TrajflowError: A forecast is not finite.
    """
    result = []
    for count, batch in enumerate(batches):
        if not batch.targets:
            continue
        rng = int(np.random.SeedSequence([seed, count]).generate_state(1)[0])
        drawn = forecaster.forecast(batch.without_future(), samples, rng)[:, batch.target]
        result.append(Evidence.of(drawn, batch.future[batch.target], batch.agent[batch.target]))
    if not result:
        raise DataError("nothing to calibrate on: the split has no windows")
    return Evidence(
        away=np.concatenate([part.away for part in result]),
        spread=np.concatenate([part.spread for part in result]),
        own=np.concatenate([part.own for part in result], 1),
        own_path=np.concatenate([part.own_path for part in result], 1),
        person=np.concatenate([part.person for part in result]),
    )


GRID = np.arange(1, 100) / 100
"""Levels that factors are stored for; a level between two of them uses the higher one."""
# Least spread, as a share of the typical one: a spread of almost 0 would make factors explode.
FLOOR = 0.05


@dataclass(frozen=True)
class CalibrationOrigin:
    """What a calibration was fitted on.

    Attributes:
        split: Split of the tracks.
        people: Number of agents.
        left_out: People of the split that are not used because the run was trained on them.
        independent: Whether none of the people was used to choose weights, temperature or learned
            samples. Only then is the level guaranteed.
        windows: Number of forecasts.
        samples: Draws of each.
        evaluations: Network evaluations per draw.
        seed: Seed of the draws.
        store: Fingerprint of the tracks.
        weights: SHA-256 of the weights file.
    """

    split: str = "val"
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
    """Radii of prediction regions, as multiples of the spread of the samples.

    Attributes:
        each: Factors for each step, at the levels of `GRID`, [Q, F].
        path: Factors for whole paths, [Q].
        floor: Least spread at each step, in the unit of the tracks, [F].
        origin: What it was fitted on.
    """

    each: Floats
    path: Floats
    floor: Floats
    origin: CalibrationOrigin

    def serves(self, samples: int) -> bool:
        """Whether it applies to forecasts of this many draws: no fewer than it was fitted with.

        The mean of more draws is nearer to the truth, so coverage is then slightly higher.
        """
        return samples >= self.origin.samples

    def factor(self, level: float, steps: Steps = "each") -> Floats:
        """Factors of the steps at a level, [F]; infinite if there are too few people for the level.

        Raises:
            ConfigError: The level is outside the grid.
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
        """Radii [..., F] for the spread [..., F] of a forecast."""
        return np.asarray(np.maximum(spread, self.floor) * self.factor(level, steps))

    @property
    def highest(self) -> float:
        """The highest level of the grid that P people allow: at most P / (P + 1)."""
        promised = GRID * (self.origin.people + 1) < self.origin.people + 1e-6
        return float(GRID[promised].max(initial=0))


def median_spread(evidence: Evidence) -> Floats:
    """Median spread of forecasts at each step, [F].

    It sets the floor of a calibration and comes from training people: the scale of a score must not
    depend on the people it is calibrated on.
    """
    return np.asarray(np.median(evidence.spread, 0))


def fit(
    evidence: Evidence, typical_spread: Floats, origin: CalibrationOrigin | None = None
) -> Calibration:
    """Fit the factors that hold for a window of a new person, at every level of `GRID`.

    The score of a window is its distance over its spread at each step; for the path, the largest.

    Args:
        evidence: N windows that nothing was trained on.
        typical_spread: Median spread of training forecasts at each step, [F].
        origin: Facts to store; people and windows are counted here.

    Source: Lei et al. 2018, "Distribution-free predictive inference for regression", sec. 5.2
    (locally weighted scores); Diquigiovanni, Fontana and Vantini 2022, "Conformal prediction bands
    for multivariate functional data" (the maximum over the path).
    """
    floor = FLOOR * typical_spread
    scores = over(evidence.away, np.maximum(evidence.spread, floor))
    facts = vars(origin or CalibrationOrigin()) | {
        "people": evidence.people,
        "windows": len(scores),
    }
    return Calibration(
        each=person_quantiles(scores, evidence.person, GRID),
        path=person_quantiles(scores.max(1), evidence.person, GRID),
        floor=floor,
        origin=CalibrationOrigin(**facts),
    )


FILE = "calibration.json"
FORMAT = 1


def calibration_bytes(calibration: Calibration) -> bytes:
    """A calibration as the JSON content of `FILE`; infinite factors are null."""
    values = {
        "format": FORMAT,
        **asdict(calibration.origin),
        "levels": GRID.tolist(),
        "floor": calibration.floor.tolist(),
        "each": _json_values(calibration.each),
        "path": _json_values(calibration.path),
    }
    return json.dumps(values, indent=1, allow_nan=False).encode()


def read_calibration(folder: Path, weights: bytes, evaluations: int = 1) -> Calibration | None:
    """Read the calibration of a run folder; None if there is none for such forecasts.

    Args:
        folder: The run folder; another path has no calibration.
        weights: Content of the weights file. A calibration of other weights is ignored with a
            warning.
        evaluations: Network evaluations per draw; a calibration for another number is ignored.

    Raises:
        RunError: The file is damaged.
    """
    path = folder / FILE
    try:
        calibration = parse_calibration(parse_json(read_kept(path, JSON), path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise RunError(_damaged(path, error)) from None
    if calibration.origin.weights != digest(weights):
        warnings.warn(
            f"{path} belongs to other weights and is ignored; `trajflow fit RUN DATA calibration` "
            "calibrates these",
            TrajflowWarning,
            stacklevel=3,
        )
        return None
    return calibration if calibration.origin.evaluations == evaluations else None


def digest(weights: bytes) -> str:
    """SHA-256 of a weights file, in hexadecimal."""
    return hashlib.sha256(weights).hexdigest()


def parse_calibration(values: dict[str, Any]) -> Calibration:
    """Parse the JSON value of `calibration_bytes`.

    Raises:
        KeyError, TypeError, ValueError: It is not a calibration.
    """
    if values["format"] != FORMAT:
        raise ValueError(f"format {values['format']!r} is not {FORMAT}")
    counts = ("people", "left_out", "windows", "samples", "evaluations", "seed")
    types: dict[str, type] = dict.fromkeys(counts, int) | {"independent": bool}
    later = {name: getattr(CalibrationOrigin, name) for name in ("left_out", "independent")}
    values = {"split": values.get("part"), **values}  # its name in version 0.1.0
    origin = {field.name: (later | values)[field.name] for field in fields(CalibrationOrigin)}
    wrong = [name for name, value in origin.items() if not isinstance(value, types.get(name, str))]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} are of the wrong kind")
    names = ("floor", "each", "path", "levels")
    floor, each, path, levels = (_numbers(values[name]) for name in names)
    if not np.array_equal(levels, GRID):
        raise ValueError("the levels are others")
    if each.shape != (len(GRID), len(floor)) or path.shape != (len(GRID),) or floor.ndim != 1:
        raise ValueError("floor, each and path do not fit together")
    if (each < 0).any() or (floor < 0).any() or (path[1:] < path[:-1]).any():
        raise ValueError("factors must be positive and grow with the level")
    if (each[1:] < each[:-1]).any() or not np.isfinite(floor).all():
        raise ValueError("factors must be positive and grow with the level")
    return Calibration(each, path, floor, CalibrationOrigin(**origin))


def _numbers(values: Any) -> Floats:
    array = np.asarray(values, dtype=float)
    return np.where(np.isnan(array), np.inf, array)


def _json_values(factors: Floats) -> Any:
    values = factors.astype(object)
    values[~np.isfinite(factors)] = None
    return values.tolist()


def _damaged(path: Path, error: Exception) -> str:
    if isinstance(error, RunError):
        return f"{error}, by `trajflow fit RUN DATA calibration`"
    reason = f"no {error}" if isinstance(error, KeyError) else str(error)
    return f"{path} is damaged: {reason}; make it again by `trajflow fit RUN DATA calibration`"
