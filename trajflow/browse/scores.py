"""Forecasts of windows, and their scores and prediction regions by agent and by window."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trajflow.baselines import load
from trajflow.browse.view import SamplingOptions, View
from trajflow.calibration import Calibration
from trajflow.datasets.store import Store
from trajflow.errors import RunError
from trajflow.evaluation.scores import NAMES, EvaluationOptions, target_scores
from trajflow.inference.choosing import draws_of
from trajflow.inference.predictor import TorchPredictor
from trajflow.ood.detector import OODScores
from trajflow.regions import region_of
from trajflow.types import Batch, Bools, Floats, Ints

LEVELS = (0.5, 0.9)
SCORES = ("energy_score", "min_ade", "min_fde", "mean_ade", "miss_rate", "coverage_90", "spread")
CHUNK = 192
"""Targets scored at once; a key press that waits for a chunk must not feel slow."""
OOD_SCORE = "ood_score"
RANKINGS = ("energy_score", "min_ade", "min_fde", "miss_rate", "spread", "coverage_90", OOD_SCORE)


@dataclass(frozen=True)
class BatchForecast:
    """Futures of a batch, [S, B, A, F, D], and the probability of selected ones, [S, B, A]."""

    samples: Floats
    weights: Floats | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True)
class WindowForecaster:
    """A run, or the baseline that repeats the last displacement.

    Attributes:
        name: Its name.
        predictor: The predictor for a number of network evaluations; None for the baseline.
    """

    name: str = "cv"
    predictor: Callable[[int], TorchPredictor] | None = None

    def forecast(self, batch: Batch, options: SamplingOptions) -> BatchForecast:
        """Forecast a batch; the samples of the baseline are all equal.

        Raises:
            ConfigError: The run has no such selection rule.
        """
        samples, seed = options.samples, options.seed
        if self.predictor is None:
            return BatchForecast(load("cv")([batch], samples, seed).forecast(batch, samples, seed))
        run = self.predictor(options.steps)
        if options.select is None:
            return BatchForecast(run.forecast(batch, samples, seed), None, run.calibration)
        draws = draws_of(options.select, samples)
        chosen = run.choose(batch, samples, draws, options.select, seed)
        return BatchForecast(*chosen, run.calibration)

    def ood(self, batch: Batch, steps: int = 1) -> OODScores | None:
        """OOD scores of the targets' pasts; None if there is no detector."""
        run = self.predictor(steps) if self.predictor else None
        return run.ood(batch) if run and run.detector else None


def make_view(
    batch: Batch,
    forecast: BatchForecast,
    detected: OODScores | None,
    store: Store,
    miss: float | None = None,
    **facts: Any,
) -> View:
    """One window with its forecast, scores and regions; other fields of `View` are `facts`."""
    target, weights = batch.target[0], forecast.weights
    metrics = {name: values[0] for name, values in scores(forecast, batch, miss).items()}
    if detected is not None:
        metrics["expected_error"] = scatter(target, detected.expected_error)
        reasons = iter(detected.reasons)
        facts["ood_score"] = scatter(target, detected.ood_score)
        facts["ood_reasons"] = tuple(next(reasons) if is_target else "" for is_target in target)
    return View(
        past=batch.past[0],
        future=batch.future[0],
        target=target,
        samples=forecast.samples[:, 0],
        labels=tuple(store.labels(batch.agent[0])),
        scene=store.scenes[int(batch.scene[0])],
        start=int(batch.start[0]),
        dt=store.dt,
        unit="" if store.unit == "unknown" else store.unit,
        regions={k: (c[0], r[0]) for k, (c, r) in regions(forecast, batch.target).items()},
        metrics=metrics,
        miss=miss,
        weights=None if weights is None else weights[:, 0],
        **facts,
    )


def scores(
    forecast: BatchForecast, batch: Batch, miss: float | None = None
) -> Mapping[str, Floats]:
    """Scores of all agents by name, [B, A], as `trajflow evaluate` computes them.

    They are NaN where nothing is forecast or the future is unknown; without the distance of a miss
    there is no miss rate.
    """
    options = EvaluationOptions(samples=len(forecast.samples), miss=miss)
    values = target_scores(forecast.samples, batch, options, forecast.weights)
    shown = [name for name in SCORES if miss is not None or name != "miss_rate"]
    return {name: scatter(batch.target, values[:, NAMES.index(name)]) for name in shown}


def regions(forecast: BatchForecast, target: Bools) -> dict[float, tuple[Floats, Floats]]:
    """Centres [B, A, F, D] and radii [B, A, F] of the regions of each level, of targets [B, A]."""
    shares = None if forecast.weights is None else forecast.weights[:, target]
    samples, calibration = forecast.samples[:, target], forecast.calibration
    discs = {level: region_of(samples, level, "each", calibration, shares) for level in LEVELS}
    return {
        level: (scatter(target, disc.centre), scatter(target, disc.radius))
        for level, disc in discs.items()
    }


def scatter(target: Bools, rows: Floats) -> Floats:
    """Rows [N, ...] of N targets at their place among all agents, [B, A, ...]; NaN elsewhere."""
    full = np.full((*target.shape, *rows.shape[1:]), np.nan)
    full[target] = rows
    return full


def window_scores(
    forecaster: WindowForecaster, batch: Batch, by: str, miss: float | None = None
) -> dict[str, Floats]:
    """Scores of each window by name, [B]: means over its targets, or the highest OOD score.

    Any of `RANKINGS` but the OOD score stands for all of them. `miss` is in the unit of the tracks.

    Raises:
        RunError: A baseline has no OOD score.
        ConfigError: The run has no OOD detector.
    """
    if by == OOD_SCORE:
        if forecaster.predictor is None:
            raise RunError(f"{forecaster.name} is a baseline and has no OOD score")
        detected = forecaster.predictor(1).ood(batch)
        return {by: np.asarray(np.nanmax(scatter(batch.target, detected.ood_score), 1))}
    forecast = forecaster.forecast(batch, SamplingOptions())
    values = scores(forecast, batch, miss)
    return {name: np.nanmean(values[name], 1) for name in RANKINGS if name in values}


def chunks(targets: Ints) -> Iterator[Ints]:
    """Consecutive windows in groups of about `CHUNK` targets, from the targets of each, [N]."""
    group = (np.cumsum(targets) - 1) // CHUNK
    yield from np.split(np.arange(len(targets)), np.flatnonzero(np.diff(group)) + 1)
