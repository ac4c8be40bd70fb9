"""Evaluates a run out of distribution: how well it detects corruptions, and what they cost."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from trajflow import metrics
from trajflow.calibration import Calibration, person_quantiles
from trajflow.config import Config
from trajflow.datasets.store import Store
from trajflow.errors import DataError, RunError
from trajflow.ood.corruptions import GradedCorruption, select
from trajflow.ood.detector import THRESHOLD, OODScores
from trajflow.ood.report import (
    BASELINES,
    DISTANCE,
    EXPECTED,
    OOD_SCORE,
    TYPICAL,
    OODTerms,
    Reference,
    ScoredWindows,
    SelfExpectation,
    Stage,
    Values,
    examples,
    finite,
)
from trajflow.ood.statistics import RESAMPLES
from trajflow.ood.windows import OrdinaryWindows
from trajflow.regions import region_of
from trajflow.types import Batch, Bools, Floats

# Validation windows that thresholds are computed from.
CHECKED = 1000
# Added to agents of other tracks, so that their numbers differ from those of the store.
OTHER_TRACKS = 1 << 40
# Offset between the seeds of draws that are scored and of draws for the self-expected error.
OTHER_DRAWS = 1 << 20
NEAREST = 10
RIDGE = 1e-6


@dataclass(frozen=True)
class BaselineDetectors:
    """Scores from steps of training tracks, without a network; a detector must beat them.

    Attributes:
        steps: Rotated steps of training windows, flat, [N, H] with H = (T - 1) D.
        mean: Their mean, [H].
        root: Whitens them, [H, H].
        speed: Mean and standard deviation of the mean step length.
    """

    steps: Floats
    mean: Floats
    root: Floats
    speed: tuple[float, float]

    @classmethod
    def fit(cls, past: Floats) -> "BaselineDetectors":
        """Fit to pasts of training windows, [N, T, D]."""
        steps, speed = turned_steps(past), _speed(past)
        values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(steps, rowvar=False)))
        least = RIDGE * max(float(values.mean()), np.finfo(float).tiny)
        root = vectors / np.sqrt(np.maximum(values, 0) + least)
        return cls(steps, steps.mean(0), root, (float(speed.mean()), float(speed.std())))

    def scores(self, past: Floats) -> Mapping[str, Floats]:
        """Scores of pasts [N, T, D], [N] by name; larger is more unusual.

        They are the deviation of the speed from its mean, the Mahalanobis distance of the rotated
        steps, and the distance of these to the tenth nearest training window.
        """
        from sklearn.neighbors import NearestNeighbors

        steps = turned_steps(past)
        mean, deviation = self.speed
        away_in_speed = np.abs(_speed(past) - mean) / (deviation or 1.0)
        away = np.linalg.norm((steps - self.mean) @ self.root, axis=1)
        count = min(NEAREST, len(self.steps))
        near = NearestNeighbors(n_neighbors=count).fit(self.steps).kneighbors(steps)[0][:, -1]
        return dict(zip(BASELINES, (away_in_speed, away, near), strict=True))


def turned_steps(past: Floats) -> Floats:
    """Steps of pasts [N, T, D], rotated so that everybody moves in the same direction, [N, H].

    The rotation is in the plane of the first two coordinates. Gaps are filled by straight lines,
    and the first and last observed positions are repeated at the ends. Agents that stand are not
    rotated.
    """
    path = _filled(past)
    steps = np.diff(path, axis=1)
    if past.shape[-1] > 1:
        x, y = (path[:, -1, axis] - path[:, 0, axis] for axis in (0, 1))
        turn = np.where((x == 0) & (y == 0), 1, x - 1j * y)
        turn = turn / np.abs(turn)
        flat = (steps[..., 0] + 1j * steps[..., 1]) * turn[:, None]
        steps = np.concatenate([flat.real[..., None], flat.imag[..., None], steps[..., 2:]], -1)
    else:
        steps = steps * np.where(path[:, -1:] < path[:, :1], -1, 1)
    return np.asarray(steps.reshape(len(past), -1))


def _speed(past: Floats) -> Floats:
    return np.asarray(np.linalg.norm(np.diff(_filled(past), axis=1), axis=-1).mean(1))


def _filled(past: Floats) -> Floats:
    """Pasts without gaps; each agent is observed at least once."""
    seen: Bools = np.asarray(np.isfinite(past).all(-1))
    if seen.all():
        return past
    full, steps = past.copy(), np.arange(past.shape[1])
    for row in np.flatnonzero(~seen.all(1) & seen.any(1)):
        for axis in range(past.shape[-1]):
            observed = seen[row]
            full[row, :, axis] = np.interp(steps, steps[observed], past[row, observed, axis])
    return full


class OODPredictor(Protocol):
    """A predictor with an OOD detector."""

    calibration: Calibration | None

    def forecast(self, batch: Batch, samples: int, seed: int) -> Floats:
        """Futures of the batch's targets, [S, B, A, F, D]; NaN for the other agents."""

    def ood(self, batch: Batch) -> OODScores:
        """OOD scores of the batch's targets."""


def evaluate_ood(
    name: str,
    predictor: OODPredictor,
    store: Store,
    config: Config,
    terms: OODTerms,
    against: Store | None = None,
    progress: Callable[[Stage], object] = lambda stage: None,
) -> Values:
    """Evaluate a run out of distribution.

    Args:
        name: Name of the run.
        predictor: Its predictor.
        store: The tracks; the run must not have seen the split that is evaluated.
        config: Its settings.
        terms: Options of the evaluation.
        against: Other tracks, evaluated as one more corruption.
        progress: Called before each corruption.

    Returns:
        The report, as values that JSON can hold.

    Raises:
        ConfigError: There is no such corruption.
        DataError: The split is empty.
        RunError: The run has no OOD detector, or the other tracks do not fit it.
    """
    report: Values = {}
    for step in evaluation_stages(name, predictor, store, config, terms, against):
        if isinstance(step, Stage):
            progress(step)
        else:
            report = step
    return report


def evaluation_stages(
    name: str,
    predictor: OODPredictor,
    store: Store,
    config: Config,
    terms: OODTerms,
    against: Store | None = None,
) -> Iterator[Stage | Values]:
    """As `evaluate_ood`, as an iterator: the progress, and at the end the report."""
    start = time.perf_counter()
    ordinary = OrdinaryWindows.of(store, config, terms, against)
    graded = select(ordinary.world, terms.names)
    yield Stage(0, len(graded) + 1, "ordinary windows")
    past = np.concatenate([batch.past[batch.target] for batch in ordinary.spread()])
    scorer = _Scorer(predictor, BaselineDetectors.fit(past), terms)
    windows = scorer.score(ordinary.batches)
    expectation = _self_expectations(ordinary.batches, predictor, terms)
    reference = Reference(windows, _thresholds(scorer, ordinary, windows), terms.seed, expectation)
    notes = list(ordinary.notes)
    if predictor.calibration is None:
        notes.append(
            "the run has no calibrated regions; `trajflow fit RUN DATA calibration` fits them"
        )
    rows: list[Values] = []
    report = {
        "kind": "ood",
        "name": name,
        "protocol": _protocol(store, config, terms, ordinary, against),
        "ordinary": reference.report() | {"examples": _named(examples(windows), store)},
        "corruptions": rows,
        "scores": list(windows.scores),
        "notes": notes,
        "metre": ordinary.world.metre,
        "seconds": 0.0,
    }
    for done, corruption in enumerate(graded, 1):
        so_far = finite(report) if rows else None
        yield Stage(
            done, len(graded) + 1, f"{corruption.corruption.name} {corruption.level}", so_far
        )
        other = against if corruption.corruption.name == "against" else None
        rows.append(_row(corruption, ordinary, scorer, reference, other or store))
    if rows and not any(row["windows"] for row in rows):
        raise RunError("no window is left under any of these corruptions; take more with --windows")
    yield finite(report | {"seconds": time.perf_counter() - start})


def report_bytes(report: Values) -> bytes:
    """A report as JSON."""
    return json.dumps(report, allow_nan=False).encode()


@dataclass(frozen=True)
class _Scorer:
    """Scores windows and evaluates their forecasts; the future is hidden from the predictor."""

    predictor: OODPredictor
    baselines: BaselineDetectors
    terms: OODTerms

    def score(self, batches: Iterable[Batch], forecasts: bool = True) -> ScoredWindows:
        """Score all targets of the batches.

        Raises:
            DataError: There are none.
        """
        parts = [
            self._batch(replace(batch, around=None), number, forecasts)
            for number, batch in enumerate(batches)
            if batch.targets
        ]
        if not parts:
            raise DataError("no window is left under the corruption")
        return _joined(parts)

    def _batch(self, batch: Batch, number: int, forecasts: bool) -> ScoredWindows:
        hidden = batch.without_future()
        ood = self.predictor.ood(hidden)
        scores = {
            OOD_SCORE: ood.ood_score,
            TYPICAL: ood.typical_score,
            "forest": ood.forest,
            DISTANCE: ood.distance,
            EXPECTED: ood.expected_error,
            **self.baselines.scores(batch.past[batch.target]),
        }
        errors = self._errors(batch, hidden, self.terms.seed + number) if forecasts else {}
        row, column = np.nonzero(batch.target)
        return ScoredWindows(
            scores,
            errors,
            batch.agent[row, column],
            batch.scene[row],
            batch.start[row],
            np.stack([np.full_like(row, number), row, column], 1),
            tuple(ood.reasons),
        )

    def _errors(self, batch: Batch, hidden: Batch, seed: int) -> dict[str, Floats]:
        samples = self.predictor.forecast(hidden, self.terms.samples, seed)[:, batch.target]
        future = batch.future[batch.target]
        complete = np.isfinite(future).all((1, 2))
        conformal = np.full(len(future), np.nan)
        if self.predictor.calibration is not None:
            region = region_of(samples, 0.9, "each", self.predictor.calibration)
            conformal = np.where(complete, region.contains(future).mean(1), np.nan)
        return {
            "min_ade": metrics.min_ade(samples, future),
            "energy_score": metrics.energy_score(samples, future),
            "coverage_90": metrics.coverage(samples, future, 0.9),
            "conformal_90": conformal,
        }


def _joined(parts: list[ScoredWindows]) -> ScoredWindows:
    def named(mappings: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
        return {name: np.concatenate([m[name] for m in mappings]) for name in mappings[0]}

    return ScoredWindows(
        named([part.scores for part in parts]),
        named([part.errors for part in parts]),
        np.concatenate([part.person for part in parts]),
        np.concatenate([part.scene for part in parts]),
        np.concatenate([part.start for part in parts]),
        np.concatenate([part.place for part in parts]),
        tuple(reason for part in parts for reason in part.reasons),
    )


def _row(
    graded: GradedCorruption,
    ordinary: OrdinaryWindows,
    scorer: _Scorer,
    reference: Reference,
    store: Store,
) -> Values:
    corruption = graded.corruption
    pool = corruption.name if graded.level == "all" else f"{corruption.name} {graded.level}"
    row: Values = {
        "key": graded.key,
        "name": corruption.name,
        "severity": graded.severity,
        "level": graded.level,
        "what": corruption.what,
        "trained_on": corruption.pool and ordinary.trained_on(pool),
    }
    batches = ordinary.corrupted(graded)
    if not any(batch.targets for batch in batches):
        return row | {"windows": 0, "people": 0}
    windows = scorer.score(batches)
    if corruption.name == "against":
        windows = replace(windows, person=windows.person + OTHER_TRACKS)
    shown = _named(examples(windows), store)
    return row | reference.compare(windows) | {"examples": shown}


def _self_expectations(
    batches: Iterable[Batch], predictor: OODPredictor, terms: OODTerms
) -> SelfExpectation:
    """The energy scores that forecasts predict for themselves.

    If forecasts were exactly right, the truth would be like one more draw, and no score could
    predict the error better than half the mean distance between the draws.

    Source: Gneiting and Raftery 2007, "Strictly proper scoring rules, prediction, and estimation",
    eq. 22.
    """
    own, drawn, samples = [], [], terms.samples
    for number, batch in enumerate(batches):
        if batch.targets:
            hidden = replace(batch.without_future(), around=None)
            seed = OTHER_DRAWS + terms.seed + number
            draws = predictor.forecast(hidden, 2 * samples + 1, seed)[:, batch.target]
            drawn.append(metrics.energy_score(draws[:samples], draws[samples]))
            own.append(_half_mean_distance(draws[samples + 1 :]))
    return SelfExpectation(np.concatenate(own), np.concatenate(drawn))


def _half_mean_distance(draws: Floats) -> Floats:
    """Half the mean distance between pairs of draws [S, N, F, D], per root of the steps, [N]."""
    count = len(draws)
    total = sum(
        np.sqrt(np.square(draws[k:] - draws[:-k]).sum((-1, -2))).sum(0) for k in range(1, count)
    )
    return np.asarray(total / (count * (count - 1)) / np.sqrt(draws.shape[2]))


def _thresholds(
    scorer: _Scorer, ordinary: OrdinaryWindows, windows: ScoredWindows
) -> dict[str, float]:
    """95 % quantile of each score among validation people; ranks have it at `THRESHOLD` already."""
    limits = {name: THRESHOLD for name in windows.scores if name not in (EXPECTED, *BASELINES)}
    try:
        people = scorer.score(ordinary.spread(CHECKED, "val"), forecasts=False)
    except DataError:
        return limits
    for name in (EXPECTED, *BASELINES):
        limit = float(person_quantiles(people.scores[name], people.person, THRESHOLD)[0])
        if np.isfinite(limit):
            limits[name] = limit
    return limits


def _protocol(
    store: Store,
    config: Config,
    terms: OODTerms,
    ordinary: OrdinaryWindows,
    against: Store | None,
) -> Values:
    return {
        "data": str(store.path),
        "fingerprint": store.fingerprint(),
        "hash": ordinary.data.describe()["hash"],
        "split": terms.split,
        "fold": config.data.fold,
        "history": config.data.history,
        "horizon": config.data.horizon,
        "stride": config.data.stride,
        "unit": store.unit,
        "dt": store.dt,
        "windows": terms.windows,
        "samples": terms.samples,
        "steps": terms.steps,
        "seed": terms.seed,
        "only": list(terms.names),
        "against": None if against is None else str(against.path),
        "against_fingerprint": None if against is None else against.fingerprint(),
        "resamples": RESAMPLES,
    }


def _named(shown: dict[str, list[Values]], store: Store) -> dict[str, list[Values]]:
    """Add the names of recordings and agents."""
    for windows in shown.values():
        labels = store.labels([window["agent"] % OTHER_TRACKS for window in windows])
        for window, label in zip(windows, labels, strict=True):
            window |= {"scene": store.scenes[window["scene"]], "label": label}
            window["agent"] %= OTHER_TRACKS
    return shown
