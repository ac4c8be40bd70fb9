"""Who forecasts a window: a run with as many steps as asked, or constant velocity."""

from collections.abc import Callable
from dataclasses import dataclass

from trajflow.baselines import load
from trajflow.batch import Batch, Floats
from trajflow.calibration import Calibration
from trajflow.choosing import draws_of
from trajflow.predictor import Predictor


@dataclass(frozen=True)
class Drawn:
    """A forecast of one batch.

    Attributes:
        samples: Futures, [S, B, A, F, D]; NaN for who is not forecast.
        weights: How likely each of chosen samples is, [S, B, A]; None for plain draws.
        calibration: What makes regions hold, if anything does.
    """

    samples: Floats
    weights: Floats | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True)
class Rival:
    """A forecaster with a name.

    Attributes:
        name: What it is called.
        draw: Makes the forecast of a batch: samples, seed, network evaluations, rule of selection.
        predictor: The predictor behind it for so many evaluations, if there is one.
    """

    name: str
    draw: Callable[[Batch, int, int, int, str | None], Drawn]
    predictor: Callable[[int], Predictor] | None = None


def of_run(name: str, predictor: Callable[[int], Predictor]) -> Rival:
    """A trained run."""

    def draw(batch: Batch, samples: int, seed: int, steps: int, select: str | None) -> Drawn:
        found = predictor(steps)
        if select is None:
            return Drawn(found.forecast(batch, samples, seed), None, found.calibration)
        draws = draws_of(select, samples)
        return Drawn(*found.choose(batch, samples, draws, select, seed), found.calibration)

    return Rival(name, draw, predictor)


def straight_on() -> Rival:
    """Everyone goes on as in the last step; all samples are the same."""
    fit = load("cv")

    def draw(batch: Batch, samples: int, seed: int, steps: int, select: str | None) -> Drawn:
        return Drawn(fit([batch], samples, seed).forecast(batch, samples, seed))

    return Rival("cv", draw)
