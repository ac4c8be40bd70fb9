"""The error to expect of a forecast, learned from how forecasts of other people have gone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from trajflow.metrics import energy_score
from trajflow.models.tensors import to_tensor
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.surprise.faults import FAULTS, faulted
from trajflow.surprise.forest import Forest
from trajflow.surprise.risk import Risk
from trajflow.surprise.seen import Seen
from trajflow.surprise.surprise import Made
from trajflow.types import Batch, Floats, scene_centres

DRAWS = 20
"""Futures that an energy score is of."""
LEAST = 1e-3
"""Energy scores that count as none, as a share of the usual step."""
SAME = ("filled", "glitch", "late", "lost", "noise", "padded")
"""Faults under which what follows stays what it was."""


@dataclass(frozen=True)
class Windows:
    """Windows of one part, and what there is to see of them.

    Attributes:
        batches: The windows; those without targets are left out.
        seen: The N targets of all of them, in the order of the batches.
    """

    batches: Sequence[Batch]
    seen: Seen

    @classmethod
    def of(cls, model: TrajectoryModel, batches: Iterable[Batch]) -> "Windows":
        """Look at batches.

        Raises:
            DataError: They have no targets.
        """
        found = [batch for batch in batches if batch.targets]
        return cls(found, Seen.of(model, found))


@dataclass(frozen=True)
class Drawing:
    """How the futures are drawn whose error is to be expected, as a predictor draws them.

    Attributes:
        evaluations: Network evaluations per draw.
        temperature: Deviation of the noise.
        seed: Seed of the draws, and of faults.
    """

    evaluations: int
    temperature: float = 1.0
    seed: int = 0


def fit_risk(
    model: TrajectoryModel, made: Made, training: Windows, validation: Windows, how: Drawing
) -> Risk:
    """Learn the error of training people, and its level from validation people.

    Training windows are also shown under faults that leave the future as it was, so that the error
    of a damaged past is known too. How large errors are is taken from people the network has not
    learned from: a power of what the trees say, so that the order stays theirs.

    Args:
        model: Whose forecasts they are.
        made: What scores have learned.
        training: Windows that scores and network have learned from.
        validation: Windows that nothing was learned from.
        how: How its forecasts are drawn.
    """
    rows, outcome = _outcomes(model, made, training, how)
    chance = np.random.default_rng([how.seed, len(FAULTS)])
    usual = training.seen.sight.motion.usual
    bad = [batch for batch, _ in faulted(training.batches, SAME, usual, chance)]
    more, worse = _outcomes(model, made, Windows.of(model, bad), how)
    forest = Forest.foretelling(np.concatenate([rows, more]), np.concatenate([outcome, worse]))
    held, true = _outcomes(model, made, validation, how)
    return Risk(forest, _level(forest(held), true, validation.seen.weight))


def energy_scores(model: TrajectoryModel, batches: Iterable[Batch], how: Drawing) -> Floats:
    """Energy score of the model's draws for all targets of the batches, [N], unit of the tracks."""
    chance = torch.Generator(model.normalizer.displacement_scale.device).manual_seed(how.seed)
    return np.concatenate([_energy_score(model, batch, how, chance) for batch in batches])


def _outcomes(
    model: TrajectoryModel, made: Made, windows: Windows, how: Drawing
) -> tuple[Floats, Floats]:
    """What is known of N targets before, [N, ...], and their energy score over the usual pace."""
    sight = windows.seen.sight
    score = energy_scores(model, windows.batches, how)
    told = made.outlook(made.values(sight), sight)
    return told, np.maximum(score / sight.motion.usual, LEAST)


@torch.inference_mode()
def _energy_score(
    model: TrajectoryModel, batch: Batch, how: Drawing, chance: torch.Generator
) -> Floats:
    centre, device = scene_centres(batch.past), model.normalizer.displacement_scale.device
    points = to_tensor(batch.past, centre, device)
    target = torch.as_tensor(batch.target, device=device)
    drawn = model.forecast(
        points, target, DRAWS, how.evaluations, chance, temperature=how.temperature
    )
    there = centre[np.nonzero(batch.target)[0], None]
    return energy_score(drawn.double().cpu().numpy() + there, batch.future[batch.target])


def _level(told: Floats, outcome: Floats, weight: Floats) -> Floats:
    """Start and slope, [2], of the logarithm of the mean outcome [N] over what was told [N]."""
    from sklearn.linear_model import GammaRegressor

    found = GammaRegressor(alpha=0.0, max_iter=1000).fit(told[:, None], outcome, weight)
    level = np.array([found.intercept_, found.coef_[0]])
    if not np.isfinite(level).all() or level[1] <= 0:
        mean = np.average(outcome, weights=weight) / np.average(np.exp(told), weights=weight)
        return np.array([np.log(mean), 1.0])
    return level
