"""How wide the noise of a trained model should be, as the validation split tells."""

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


def tempered(
    model: TrajectoryModel,
    batches: Callable[[], Iterable[Batch]],
    samples: int,
    steps: int,
    seed: int,
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
    """

    def judged(temperature: float) -> dict[str, float]:
        return validate(model, batches(), samples, steps, seed, temperature)

    result = {temperature: judged(temperature) for temperature in TEMPERATURES}
    while (beyond := _beyond(result)) is not None:
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

    Samples of the truth's own distribution are as far from each other as from what happens. Of
    those that are about as good a forecast, the one nearest to that is taken.
    """
    limit = (1 + TOLERANCE) * min(scores["energy_score"] for scores in scores.values())
    good = [t for t, scores in scores.items() if scores["energy_score"] <= limit]
    return min(good, key=lambda t: abs(scores[t]["spread_ratio"] - 1))
