"""Regions that hold as often as they say: split conformal prediction over people."""

import hashlib
import json
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from trajflow.errors import ConfigError, DataError, RunError, TrajflowError, TrajflowWarning
from trajflow.io import JSON, parse_json
from trajflow.manifest import read_kept
from trajflow.metrics import radii_of_levels
from trajflow.statistics import person_weights
from trajflow.types import Batch, Bools, Floats, Forecaster, Ints

SLACK = 1e-9
"""Share of a person by which a sum of their windows may miss a whole one in rounding."""


def person_quantiles(scores: Floats, people: Ints, levels: ArrayLike) -> Floats:
    """Bounds that a window of another person stays below with at least the probabilities asked.

    The windows of one person overlap and are far from exchangeable, but people are: each of the
    P people weighs 1 / (P + 1), shared among their windows, and the newcomer's own 1 / (P + 1)
    lies at infinity. A bound is the lowest score at which a level is reached; it is infinite
    above P / (P + 1), where too few people are known. A score of a random window of a new person
    is at most the bound with a probability of at least the level and, unless scores tie, at most
    2 / (P + 1) more; 1 / (P + 1) more where everybody has one window.

    Args:
        scores: A score of each window, [N, ...].
        people: Who each window is of, [N].
        levels: Probabilities between 0 and 1, Q of them.

    Returns:
        The bounds, [Q, ...].

    Source: Lee, Barber and Willett 2023, "Distribution-free inference with hierarchical data"
    (hierarchical conformal prediction); without the newcomer's weight it is the CDF pooling,
    valid for many people, of Dunn, Wasserman and Ramdas 2022, "Distribution-free prediction sets
    for two-layer hierarchical models".
    """
    count, weight = len(np.unique(people)), person_weights(people)
    needed = np.atleast_1d(np.asarray(levels, float)) * (count + 1) - SLACK
    columns = scores.reshape(len(scores), -1).T
    bounds = [_lowest(column, weight, needed) for column in columns]
    return np.stack(bounds, -1).reshape(len(needed), *scores.shape[1:])


def person_means(values: Floats, people: Ints) -> Floats:
    """Mean over people of the mean over each one's windows, [...] of values [N, ...]."""
    count = len(np.unique(people))
    return np.asarray(np.tensordot(person_weights(people), values, 1) / count)


def _lowest(scores: Floats, mass: Floats, needed: Floats) -> Floats:
    """The lowest of the scores [N] up to which the masses [N] sum to what is needed, [Q]."""
    order = np.argsort(scores)
    reached = np.cumsum(mass[order])
    return np.append(scores[order], np.inf)[np.searchsorted(reached, needed)]


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


LEVELS = np.arange(5, 100, 5) / 100
"""Levels at which reliability is looked at."""


@dataclass(frozen=True)
class Evidence:
    """N windows of one split of the tracks.

    Attributes:
        away: Distance of what happened to the samples' mean at each step, [N, F].
        spread: Root mean square distance of the samples to their mean, [N, F].
        own: Radii by the samples' own quantiles at `LEVELS`, step by step, [Q, N, F].
        own_path: Radii that hold whole paths of the samples at `LEVELS`, [Q, N, F].
        person: Number of the agent of each window, [N].
    """

    away: Floats
    spread: Floats
    own: Floats
    own_path: Floats
    person: Ints

    @property
    def people(self) -> int:
        """Distinct agents."""
        return len(np.unique(self.person))

    def take(self, rows: Ints) -> "Evidence":
        """The chosen windows, any shape of index along N."""
        own, own_path = self.own[:, rows], self.own_path[:, rows]
        return Evidence(self.away[rows], self.spread[rows], own, own_path, self.person[rows])

    @classmethod
    def of(cls, samples: Floats, future: Floats, person: Ints) -> "Evidence":
        """Samples [S, N, F, D] of N windows against what happened, [N, F, D].

        Raises:
            TrajflowError: A number is not finite.
        """
        if not (np.isfinite(samples).all() and np.isfinite(future).all()):
            raise TrajflowError("a forecast or a future is not finite; nothing can be calibrated")
        centre, spread = centre_and_spread(samples)
        own, path = (own_radii(samples, LEVELS, steps) for steps in ("each", "path"))
        return cls(length(future - centre), spread, own, path, person)


def gather(forecaster: Forecaster, batches: Iterable[Batch], samples: int, seed: int) -> Evidence:
    """Draw futures for all targets of the batches, and hold them against what happened.

    Args:
        forecaster: Who draws; what happened is hidden from it.
        batches: The windows.
        samples: Futures S of each target.
        seed: What the draws follow from.

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
        away=np.concatenate([one.away for one in result]),
        spread=np.concatenate([one.spread for one in result]),
        own=np.concatenate([one.own for one in result], 1),
        own_path=np.concatenate([one.own_path for one in result], 1),
        person=np.concatenate([one.person for one in result]),
    )


GRID = np.arange(1, 100) / 100
"""Levels that factors are kept for; one in between takes the next higher."""
FLOOR = 0.05
"""Least spread that counts, as a share of the typical one at the same step."""


@dataclass(frozen=True)
class CalibrationOrigin:
    """What a calibration was fitted with.

    Attributes:
        split: Split of the tracks.
        people: Distinct agents it was fitted on.
        left_out: People of the split that it was not fitted on because the run has trained on them.
        independent: Whether none of the people had a part in choosing weights, temperature or
            learned samples. Only then do regions hold as often as they say.
        windows: Forecasts: an agent at a moment each.
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
    origin: CalibrationOrigin

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


def median_spread(evidence: Evidence) -> Floats:
    """Median spread of forecasts at each step, [F].

    The floor of a calibration is a share of it. It comes from people of the training split: what a
    score is measured in must not depend on those it is calibrated on.
    """
    return np.asarray(np.median(evidence.spread, 0))


def fit(
    evidence: Evidence, typical_spread: Floats, origin: CalibrationOrigin | None = None
) -> Calibration:
    """The factors that hold for a window of a new person, at every level of `GRID`.

    The score of a window is its distance over its spread, step by step, and the largest of these
    for the path.

    Args:
        evidence: Windows that nothing was learned from, N of them.
        typical_spread: Median spread of training forecasts at each step, [F].
        origin: What the evidence is of; people and windows are counted here.

    Source: Lei et al. 2018, "Distribution-free predictive inference for regression", sec. 5.2
    (locally weighted scores); Diquigiovanni, Fontana and Vantini 2022, "Conformal prediction
    bands for multivariate functional data" (their maximum over the path).
    """
    floor = FLOOR * typical_spread
    scores = over(evidence.away, np.maximum(evidence.spread, floor))
    given = vars(origin or CalibrationOrigin()) | {
        "people": evidence.people,
        "windows": len(scores),
    }
    return Calibration(
        each=person_quantiles(scores, evidence.person, GRID),
        path=person_quantiles(scores.max(1), evidence.person, GRID),
        floor=floor,
        origin=CalibrationOrigin(**given),
    )


FILE = "calibration.json"
FORMAT = 1


def calibration_bytes(calibration: Calibration) -> bytes:
    """A calibration as the JSON of `FILE`; an infinite factor is null."""
    said = {
        "format": FORMAT,
        **asdict(calibration.origin),
        "levels": GRID.tolist(),
        "floor": calibration.floor.tolist(),
        "each": _plain(calibration.each),
        "path": _plain(calibration.path),
    }
    return json.dumps(said, indent=1, allow_nan=False).encode()


def read_calibration(folder: Path, weights: bytes, evaluations: int = 1) -> Calibration | None:
    """The calibration of a run folder; None if there is none for such forecasts.

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


def parse_calibration(said: dict[str, Any]) -> Calibration:
    """The calibration in the JSON value of `calibration_bytes`.

    Raises:
        KeyError, TypeError, ValueError: It is none.
    """
    if said["format"] != FORMAT:
        raise ValueError(f"format {said['format']!r} is not {FORMAT}")
    counts = ("people", "left_out", "windows", "samples", "evaluations", "seed")
    types: dict[str, type] = dict.fromkeys(counts, int) | {"independent": bool}
    later = {name: getattr(CalibrationOrigin, name) for name in ("left_out", "independent")}
    said = {"split": said.get("part"), **said}  # its name in version 0.1.0
    origin = {field.name: (later | said)[field.name] for field in fields(CalibrationOrigin)}
    wrong = [name for name, one in origin.items() if not isinstance(one, types.get(name, str))]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} are of the wrong kind")
    floor = _numbers(said["floor"])
    each, path, levels = _numbers(said["each"]), _numbers(said["path"]), _numbers(said["levels"])
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


def _plain(factors: Floats) -> Any:
    values = factors.astype(object)
    values[~np.isfinite(factors)] = None
    return values.tolist()


def _damaged(path: Path, error: Exception) -> str:
    if isinstance(error, RunError):
        return f"{error}, by `trajflow fit RUN DATA calibration`"
    reason = f"no {error}" if isinstance(error, KeyError) else str(error)
    return f"{path} is damaged: {reason}; make it again by `trajflow fit RUN DATA calibration`"
