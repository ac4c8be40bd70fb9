"""Chooses the deviation of the noise of a trained model on the validation split."""

from collections.abc import Callable, Iterable, Mapping

from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.training.validation import validate
from trajflow.types import Batch

TEMPERATURES = (0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3)
"""What is tried first; more where the optimum may lie beyond."""
BOUNDS = (0.5, 3.0)
"""How far the search goes: a model that wants more is wrong about more than its width."""
STRETCH = 1.08
"""From one temperature to the next beyond the first ones."""
TOLERANCE = 0.002
"""What a better spread may cost, as a share of the best energy score."""
LEVEL = 0.9
"""Level of the regions whose coverage counts beside the spread."""


def tempered(
    model: TrajectoryModel,
    batches: Callable[[], Iterable[Batch]],
    samples: int,
    steps: int,
    seed: int,
    more: Callable[[], bool] = lambda: True,
) -> tuple[float, dict[str, float]]:
    """The deviation of the noise that serves best, and the validation scores under it.

    The search is widened, within `BOUNDS`, until neither the best energy score nor the choice is
    at its end.

    Args:
        model: The trained model.
        batches: Gives the validation windows, the same each time.
        samples: Draws of each agent.
        steps: Network evaluations per draw.
        seed: Seed of the draws.
        more: Whether there is time to try another temperature; 1 is always tried.
    """

    def judged(temperature: float) -> dict[str, float]:
        return validate(model, batches(), samples, steps, seed, temperature)

    result: dict[float, dict[str, float]] = {}
    for temperature in sorted(TEMPERATURES, key=lambda one: abs(one - 1)):
        if not result or more():
            result[temperature] = judged(temperature)
    while len(result) >= len(TEMPERATURES) and more() and (beyond := _beyond(result)) is not None:
        result[beyond] = judged(beyond)
    chosen = choose_temperature(result)
    return chosen, result[chosen]


def at_bound(temperature: float) -> bool:
    """Whether a temperature is at an end of the search, so that a better one may lie beyond."""
    return temperature in BOUNDS


def _beyond(scores: Mapping[float, Mapping[str, float]]) -> float | None:
    """The next temperature to try: beyond the end at which the best or the chosen one lies."""
    best = min(scores, key=lambda t: scores[t]["energy_score"])
    low, high = BOUNDS
    for one in (best, choose_temperature(scores)):
        if one == max(scores) and one < high:
            return min(high, round(one * STRETCH, 2))
        if one == min(scores) and one > low:
            return max(low, round(one / STRETCH, 2))
    return None


def choose_temperature(scores: Mapping[float, Mapping[str, float]]) -> float:
    """Of the temperatures whose energy score is as good as the best, that of the truest spread.

    Samples of the truth's own distribution are as far from each other as from what happens, and
    their regions of level 0.9 hold nine of ten truths. Of those that are about as good a forecast,
    the one nearest to both is taken: where errors have heavy tails, the spread alone, which is a
    mean, asks for less noise than the regions need. A step of temperature moves the spread about
    twice as far as the coverage, so it counts half.
    """

    def distance(temperature: float) -> float:
        spread, coverage = (scores[temperature][key] for key in ("spread_ratio", "coverage_90"))
        return abs(spread - 1) / 2 + abs(coverage - LEVEL)

    limit = (1 + TOLERANCE) * min(one["energy_score"] for one in scores.values())
    good = [t for t, one in scores.items() if one["energy_score"] <= limit]
    return min(good, key=distance)
