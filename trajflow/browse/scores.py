"""Scores and prediction regions of a forecast, for each agent and for whole windows."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from trajflow.baselines import load
from trajflow.calibration import Calibration
from trajflow.errors import RunError
from trajflow.evaluation.scores import NAMES, EvaluationOptions, target_scores
from trajflow.inference.choosing import draws_of
from trajflow.inference.predictor import TorchPredictor
from trajflow.regions import region_of
from trajflow.types import Batch, Bools, Floats, Ints

LEVELS = (0.5, 0.9)
SCORES = ("energy_score", "min_ade", "min_fde", "mean_ade", "miss_rate", "coverage_90", "spread")
CHUNK = 192
"""Targets scored at once; a key press that waits for a chunk must not feel slow."""
OOD_SCORE = "ood_score"
RANKINGS = ("energy_score", "min_ade", "min_fde", "miss_rate", "spread", OOD_SCORE)


@dataclass(frozen=True)
class BatchForecast:
    """A forecast of one batch.

    Attributes:
        samples: Futures, [S, B, A, F, D]; NaN for agents that are not forecast.
        weights: Probability of each selected sample, [S, B, A]; None for plain samples.
        calibration: Calibration of the run, if there is one.
    """

    samples: Floats
    weights: Floats | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True)
class WindowForecaster:
    """A run or a baseline that forecasts windows.

    Attributes:
        name: Its name.
        forecast: Forecasts a batch: samples, seed, network evaluations, selection rule.
        predictor: The predictor for a number of network evaluations; None for a baseline.
    """

    name: str
    forecast: Callable[[Batch, int, int, int, str | None], BatchForecast]
    predictor: Callable[[int], TorchPredictor] | None = None

    @classmethod
    def of_run(cls, name: str, predictor: Callable[[int], TorchPredictor]) -> "WindowForecaster":
        """A trained run."""

        def forecast(
            batch: Batch, samples: int, seed: int, steps: int, select: str | None
        ) -> BatchForecast:
            run = predictor(steps)
            if select is None:
                return BatchForecast(run.forecast(batch, samples, seed), None, run.calibration)
            draws = draws_of(select, samples)
            chosen = run.choose(batch, samples, draws, select, seed)
            return BatchForecast(*chosen, run.calibration)

        return cls(name, forecast, predictor)

    @classmethod
    def constant_velocity(cls) -> "WindowForecaster":
        """The baseline that repeats the last displacement; all its samples are equal."""
        fit = load("cv")

        def forecast(
            batch: Batch, samples: int, seed: int, steps: int, select: str | None
        ) -> BatchForecast:
            return BatchForecast(fit([batch], samples, seed).forecast(batch, samples, seed))

        return cls("cv", forecast)


def scores(
    forecast: BatchForecast, batch: Batch, miss: float | None = None
) -> Mapping[str, Floats]:
    """Scores of all agents by name, [B, A], as `trajflow evaluate` computes them.

    They are NaN where nothing is forecast or the future is unknown.

    Args:
        forecast: The forecast, samples [S, B, A, F, D].
        batch: The window, with its future.
        miss: Distance beyond which the best endpoint is a miss, in the unit of the tracks; None:
            there is no miss rate.
    """
    options = EvaluationOptions(samples=len(forecast.samples), miss=miss)
    values = target_scores(forecast.samples, batch, options, forecast.weights)
    shown = [name for name in SCORES if miss is not None or name != "miss_rate"]
    return {name: scatter(batch.target, values[:, NAMES.index(name)]) for name in shown}


def regions(forecast: BatchForecast, target: Bools) -> dict[float, tuple[Floats, Floats]]:
    """Centres [B, A, F, D] and radii [B, A, F] of the prediction regions of each level.

    Args:
        forecast: The forecast, samples [S, B, A, F, D].
        target: Agents that are forecast, [B, A].
    """
    shares = None if forecast.weights is None else forecast.weights[:, target]
    samples, calibration = forecast.samples[:, target], forecast.calibration
    discs = {level: region_of(samples, level, "each", calibration, shares) for level in LEVELS}
    return {
        level: (scatter(target, disc.centre), scatter(target, disc.radius))
        for level, disc in discs.items()
    }


def scatter(target: Bools, rows: Floats) -> Floats:
    """Rows [N, ...] of the N targets at their place among all agents, [B, A, ...]; NaN elsewhere.

    Args:
        target: Agents that are forecast, [B, A].
        rows: One row per target, [N, ...].
    """
    full = np.full((*target.shape, *rows.shape[1:]), np.nan)
    full[target] = rows
    return full


def window_scores(
    forecaster: WindowForecaster, batch: Batch, by: str, miss: float | None = None
) -> dict[str, Floats]:
    """Scores of each window by name, [B]: means over its targets, or the highest OOD score.

    Args:
        forecaster: The run or baseline.
        batch: The windows.
        by: The OOD score, or any other of `RANKINGS` for all of these.
        miss: Distance of a miss, as in `scores`.

    Raises:
        RunError: A baseline has no OOD score.
        ConfigError: The run has no OOD detector.
    """
    if by == OOD_SCORE:
        if forecaster.predictor is None:
            raise RunError(f"{forecaster.name} is a baseline and has no OOD score")
        detected = forecaster.predictor(1).ood(batch)
        return {by: np.asarray(np.nanmax(scatter(batch.target, detected.ood_score), 1))}
    forecast = forecaster.forecast(batch, 20, 0, 1, None)
    values = scores(forecast, batch, miss)
    return {name: np.nanmean(values[name], 1) for name in RANKINGS if name in values}


def chunks(targets: Ints) -> Iterator[Ints]:
    """Consecutive windows in groups of about `CHUNK` targets, from the targets of each, [N]."""
    group = (np.cumsum(targets) - 1) // CHUNK
    yield from np.split(np.arange(len(targets)), np.flatnonzero(np.diff(group)) + 1)
