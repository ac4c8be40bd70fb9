"""Chooses the temperature of a trained model, the deviation of its noise, on validation."""

from collections.abc import Callable, Iterable, Mapping

from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.training.validation import validate
from trajflow.types import Batch

TEMPERATURES = (0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3)
"""The first candidates; the search widens if the optimum may lie outside."""
BOUNDS = (0.5, 3.0)
"""Bounds of the search: a model that needs more is wrong in more than its spread."""
STEP = 1.08
"""Ratio between two candidates outside the first ones."""
TOLERANCE = 0.002
"""Share of the best energy score that may be given up for a better spread."""
LEVEL = 0.9
"""Level of the regions whose coverage counts beside the spread."""


def search_temperature(
    model: TrajectoryModel,
    batches: Callable[[], Iterable[Batch]],
    samples: int,
    steps: int,
    seed: int,
    has_time: Callable[[], bool] = lambda: True,
) -> tuple[float, dict[str, float]]:
    """The best temperature, and the validation scores with it.

    The search widens, within `BOUNDS`, until neither the temperature of the best energy score nor
    the chosen one is at its end.

    Args:
        model: The trained model.
        batches: Returns the validation windows, the same each time.
        samples: Draws of each agent.
        steps: Network evaluations per draw.
        seed: Seed of the draws.
        has_time: Whether there is time for another candidate; 1 is always tried.
    """

    def score(temperature: float) -> dict[str, float]:
        return validate(model, batches(), samples, steps, seed, temperature)

    scores: dict[float, dict[str, float]] = {}
    for temperature in sorted(TEMPERATURES, key=lambda t: abs(t - 1)):
        if not scores or has_time():
            scores[temperature] = score(temperature)
    while len(scores) >= len(TEMPERATURES) and has_time():
        if (candidate := _next_candidate(scores)) is None:
            break
        scores[candidate] = score(candidate)
    chosen = choose_temperature(scores)
    return chosen, scores[chosen]


def at_bound(temperature: float) -> bool:
    """Whether the search ended at one of its bounds, so that a better one may lie outside."""
    return temperature in BOUNDS


def _next_candidate(scores: Mapping[float, Mapping[str, float]]) -> float | None:
    """The next temperature outside the end at which the best or the chosen one lies."""
    best = min(scores, key=lambda t: scores[t]["energy_score"])
    low, high = BOUNDS
    for temperature in (best, choose_temperature(scores)):
        if temperature == max(scores) and temperature < high:
            return min(high, round(temperature * STEP, 2))
        if temperature == min(scores) and temperature > low:
            return max(low, round(temperature / STEP, 2))
    return None


def choose_temperature(scores: Mapping[float, Mapping[str, float]]) -> float:
    """The temperature with the most truthful spread among those of nearly the best energy score.

    Samples of the true distribution are as far from each other as from the truth (spread ratio 1),
    and their regions of level .9 contain nine of ten truths. The temperature nearest to both is
    chosen: with heavy-tailed errors the spread, a mean, alone asks for less noise than the regions
    need. A step of temperature moves the spread about twice as far as the coverage, so it counts
    half.
    """

    def distance(temperature: float) -> float:
        spread, coverage = (scores[temperature][key] for key in ("spread_ratio", "coverage_90"))
        return abs(spread - 1) / 2 + abs(coverage - LEVEL)

    limit = (1 + TOLERANCE) * min(values["energy_score"] for values in scores.values())
    good = [t for t, values in scores.items() if values["energy_score"] <= limit]
    return min(good, key=distance)
