"""Options of an evaluation, and the scores of the targets of batches."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trajflow import metrics
from trajflow.datasets.windows import divide
from trajflow.errors import ConfigError, TrajflowError
from trajflow.inference.base import Predictor
from trajflow.types import Batch, Bools, Chooser, Floats, Forecaster, Ints

NAMES = (
    "min_ade",
    "min_fde",
    "mean_ade",
    "mean_fde",
    "energy_score",
    "coverage_50",
    "coverage_90",
    "miss_rate",
    "jade",
    "jfde",
    "collision_rate",
    "true_collision_rate",
    "spread",
)
RATIO = "spread_ratio"
"""Distance between samples over distance to the truth, as a ratio of means."""
PAIRS = {name: f"{name}_independent" for name in ("jade", "jfde", "collision_rate")}
"""Scores of whole scenes, and their names for shuffled samples. Selected samples have none (NaN):
sample s of one agent's set does not belong to sample s of another's.
"""
JOINT = (*PAIRS.values(), *(f"{name}_gain" for name in PAIRS))
"""A gain is the score of shuffled samples minus that of the samples as drawn."""
# One shuffle alone is noisy where few agents meet.
SHUFFLES = 5
# Enough to see whether the samples depend on the seed.
MOST_SAMPLES, MOST_TARGETS = 20, 64


@dataclass(frozen=True)
class EvaluationOptions:
    """How to evaluate a forecaster. A report repeats all but `split` and `fold`.

    Attributes:
        split: "train", "val" or "test".
        fold: Leave-one-out fold; None: the one that the run left out, if any.
        samples: Futures S of each agent.
        draws: Futures that samples are selected from; 0: 20 for each sample.
        selection: Rule that selects the samples, such as "kmeans" or "learned"; "plain": the
            samples are plain draws.
        joint: Whether sample s of all agents of a scene is one future.
        steps: Network evaluations per draw.
        seed: Seed of draws and intervals.
        miss: Distance beyond which the best endpoint counts as a miss, in the store's unit. None:
            it is chosen from the unit and speed of the training split where tracks are evaluated;
            `evaluate_forecaster`, which has no tracks, leaves the score out (NaN).
        collide: Distance below which two agents collide, in the store's unit; None: as for `miss`.
        resamples: Bootstrap resamples behind an interval.
        shuffles: How often samples are shuffled between agents, to score them as if agents were
            forecast independently.
        standing: Mean speed of the past below which an agent counts as standing, in the store's
            unit per step. Scores are then also reported by motion; None: they are not.
        clocks: Real seconds per step of some recordings, given to a forecaster trained on several
            frame intervals: "NAME=SECONDS,NAME=SECONDS".
        min_agents: Moments with fewer agents to score are left out. Some publications count
            moments of two or more alone: 181 windows of eth instead of 364.
        earlier_paths: Whether earlier paths of the recordings replace some samples; see
            `Predictor.predict`.

    Raises:
        ConfigError: A number is out of bounds, or two options contradict each other.
    """

    split: str = "test"
    fold: str | None = None
    samples: int = 20
    draws: int = 0
    selection: str = "plain"
    joint: bool = False
    steps: int = 1
    seed: int = 0
    miss: float | None = None
    collide: float | None = None
    resamples: int = 1000
    shuffles: int = 0
    standing: float | None = None
    clocks: str = ""
    min_agents: int = 1
    earlier_paths: bool = False

    def __post_init__(self) -> None:
        if self.samples < 1 or self.resamples < 1:
            raise ConfigError(
                f"samples and resamples must be at least 1, got {self.samples} and {self.resamples}"
            )
        if self.min_agents < 1:
            raise ConfigError(f"min_agents must be at least 1, got {self.min_agents}")
        if self.shuffles < 0:
            raise ConfigError(f"shuffles must be 0 or more, got {self.shuffles}")
        plain = self.selection == "plain"
        if self.shuffles and not plain:
            raise ConfigError(
                f"samples selected by {self.selection} are a set for each agent alone, so there is "
                "no agreement between agents to score; judge plain draws for that"
            )
        if plain and self.draws not in (0, self.samples):
            raise ConfigError(
                f"{self.samples} samples of {self.draws} draws: say by --select how to choose "
                "them, or leave --draws out"
            )
        if not plain and 0 < self.draws < self.samples:
            raise ConfigError(
                f"cannot choose {self.samples} samples of {self.draws} draws; draw as many at least"
            )


@dataclass(frozen=True)
class BatchScores:
    """Scores of the N targets of a batch.

    Attributes:
        scene: Index of the recording of each, [N].
        agent: Number of each agent, [N].
        scores: A column for each name of `NAMES`, and of `JOINT` if samples were shuffled, [N, K].
        speed: Mean speed of each past, [N].
        types: Name of the type of each agent, [N]; None if all are of one type.
        seconds: How long the forecast took.
        sensitivity: `sample_sensitivity` of the batch, if it was measured.
    """

    scene: Ints
    agent: Ints
    scores: Floats
    speed: Floats
    types: NDArray[np.str_] | None
    seconds: float
    sensitivity: float | None

    @property
    def targets(self) -> int:
        """Number of targets, N."""
        return len(self.agent)


def score_batches(
    forecaster: Forecaster,
    batches: Iterable[Batch],
    options: EvaluationOptions,
    number: int = 0,
    sensitivity: bool = True,
) -> Iterator[BatchScores]:
    """Forecast batches and score them; those without moments of `min_agents` are left out.

    Args:
        forecaster: The forecaster. It gets the batches with NaN in place of the future.
        batches: The windows.
        options: How to evaluate.
        number: How many batches were scored before. Seeds follow from it: batches with equal seeds
            would share their noise.
        sensitivity: Whether to measure how much the samples of the first batch depend on the seed.

    Raises:
        ConfigError: The options select samples, and the forecaster cannot.
        TrajflowError: A forecast has the wrong shape or is not finite.
    """
    for batch in batches:
        few = batch.target.sum(1, keepdims=True) < options.min_agents
        batch = replace(batch, target=batch.target & ~few)
        if batch.targets:
            yield _scored(forecaster, batch, options, number, sensitivity)
            number, sensitivity = number + 1, False


def _scored(
    forecaster: Forecaster, batch: Batch, options: EvaluationOptions, number: int, measured: bool
) -> BatchScores:
    sensitivity, target = None, batch.target
    begin = time.perf_counter()
    samples, weights = _draw(forecaster, batch, options, _seed(options, number, 0))
    seconds = time.perf_counter() - begin
    scores = target_scores(samples, batch, options, weights)
    if weights is None and options.shuffles:
        seed = _seed(options, number, 2)
        scores = np.concatenate([scores, independent_scores(samples, batch, options, seed)], -1)
    if measured:
        other, _ = _draw(forecaster, batch, options, _seed(options, number, 1))
        sensitivity = sample_sensitivity(samples[:, target], other[:, target])
    return BatchScores(
        scene=np.broadcast_to(batch.scene[:, None], target.shape)[target],
        agent=batch.agent[target],
        scores=scores,
        speed=metrics.mean_speed(batch.past[target]),
        types=None if batch.types is None else batch.types[target],
        seconds=seconds,
        sensitivity=sensitivity,
    )


def _draw(
    forecaster: Forecaster, batch: Batch, options: EvaluationOptions, seed: int
) -> tuple[Floats, Floats | None]:
    """Samples of the targets, and their weights; crowded scenes are forecast in parts."""
    hidden = batch.without_future()
    neighbors = forecaster.format.neighbors if isinstance(forecaster, Predictor) else None
    parts = divide(hidden, neighbors)
    if parts is None:
        return _forecast(forecaster, hidden, options, seed)
    samples, weights = _forecast(forecaster, parts.batch, options, seed)
    restored = None if weights is None else parts.restored(weights, batch)
    return parts.restored(samples, batch), restored


def _forecast(
    forecaster: Forecaster, hidden: Batch, options: EvaluationOptions, seed: int
) -> tuple[Floats, Floats | None]:
    if options.selection == "plain":
        return forecaster.forecast(hidden, options.samples, seed), None
    if not isinstance(forecaster, Chooser):
        raise ConfigError(
            f"this forecaster cannot select samples by {options.selection!r}; score plain draws"
        )
    draws = options.draws or options.samples
    return forecaster.choose(hidden, options.samples, draws, options.selection, seed)


def _seed(options: EvaluationOptions, number: int, variant: int) -> int:
    """A seed for each batch and use."""
    words = [options.seed, number, variant]
    return int(np.random.SeedSequence(words).generate_state(1)[0])


def target_scores(
    samples: Floats, batch: Batch, options: EvaluationOptions, weights: Floats | None = None
) -> Floats:
    """Scores of the targets of a batch: a row for each target, a column for each name of `NAMES`.

    The best sample is the best of all samples, also with weights. Means, spread, coverage and the
    energy score are of the weighted samples.

    Args:
        samples: The forecast, [S, B, A, F, D].
        batch: The windows with their true future.
        options: How to evaluate.
        weights: Weights of selected samples, [S, B, A], summing to 1 over S for the targets; None:
            plain draws.

    Raises:
        TrajflowError: The samples have another shape or are not finite, or the weights are invalid.
    """
    expected = (options.samples, *batch.future.shape)
    if samples.shape != expected:
        raise TrajflowError(
            f"a forecast of this batch must be {list(expected)}, [S, B, A, F, D]; "
            f"the forecaster gave {list(samples.shape)}"
        )
    target = batch.target
    drawn, future = samples[:, target], batch.future[target]
    invalid = int((~np.isfinite(drawn)).any((0, 2, 3)).sum())
    if invalid:
        raise TrajflowError(
            f"the forecaster gave NaN or infinite positions for {invalid} of {len(future)} "
            "targets; every target must be forecast"
        )
    columns = {
        "min_ade": metrics.min_ade(drawn, future),
        "min_fde": metrics.min_fde(drawn, future),
        "miss_rate": np.full(len(future), np.nan)
        if options.miss is None
        else metrics.miss_rate(drawn, future, options.miss),
        "true_collision_rate": _collision_rate(batch.future[None], target, options),
    }
    if weights is None:
        columns |= _draw_scores(drawn, future) | _scene_scores(samples, batch, options)
    else:
        columns |= _weighted_scores(drawn, weights[:, target], future)
        columns |= dict.fromkeys(PAIRS, np.full(len(future), np.nan))
    return np.stack([columns[name] for name in NAMES], -1)


def _draw_scores(drawn: Floats, future: Floats) -> dict[str, Floats]:
    return {
        "mean_ade": metrics.mean_ade(drawn, future),
        "mean_fde": metrics.mean_fde(drawn, future),
        "energy_score": metrics.energy_score(drawn, future),
        "coverage_50": metrics.coverage(drawn, future, 0.5),
        "coverage_90": metrics.coverage(drawn, future, 0.9),
        "spread": metrics.spread(drawn),
    }


def _weighted_scores(drawn: Floats, weights: Floats, future: Floats) -> dict[str, Floats]:
    if not (weights >= 0).all() or np.abs(weights.sum(0) - 1).max(initial=0) > 1e-6:
        raise TrajflowError(
            "weights of chosen samples must be at least 0 and sum to one for every target"
        )
    error = np.sqrt(np.square(drawn - future).sum(-1))
    return {
        "mean_ade": (weights * error.mean(-1)).sum(0),
        "mean_fde": (weights * error[..., -1]).sum(0),
        "energy_score": metrics.weighted_energy_score(drawn, weights, future),
        "coverage_50": metrics.coverage(drawn, future, 0.5, weights),
        "coverage_90": metrics.coverage(drawn, future, 0.9, weights),
        "spread": metrics.spread(drawn, weights),
    }


def _scene_scores(samples: Floats, batch: Batch, options: EvaluationOptions) -> dict[str, Floats]:
    target = batch.target
    return {
        "jade": metrics.joint_ade(samples, batch.future, target)[target],
        "jfde": metrics.joint_fde(samples, batch.future, target)[target],
        "collision_rate": _collision_rate(samples, target, options),
    }


def _collision_rate(samples: Floats, target: Bools, options: EvaluationOptions) -> Floats:
    if options.collide is None:
        return np.full(int(target.sum()), np.nan)
    return metrics.collision_rate(samples, target, options.collide)[target]


def independent_scores(
    samples: Floats, batch: Batch, options: EvaluationOptions, seed: int
) -> Floats:
    """Scores of shuffled samples: a row for each target, a column for each name of `JOINT`.

    Args:
        samples: The forecast, [S, B, A, F, D].
        batch: The windows with their true future.
        options: How to evaluate; `shuffles` is at least 1.
        seed: Seed of the shuffles.
    """
    rng = np.random.default_rng(seed)
    plain = _stacked(_scene_scores(samples, batch, options))
    total = np.zeros_like(plain)
    for _ in range(options.shuffles):
        total += _stacked(_scene_scores(shuffled(samples, rng), batch, options))
    independent = total / options.shuffles
    return np.concatenate([independent, independent - plain], -1)


def _stacked(columns: dict[str, Floats]) -> Floats:
    return np.stack([columns[name] for name in PAIRS], -1)


def shuffled(samples: Floats, rng: np.random.Generator) -> Floats:
    """Permute the samples of each agent independently, [S, B, A, F, D].

    The samples of an agent stay the same, but sample s of two agents no longer belong together, as
    if each agent had been forecast alone.

    Args:
        samples: Joint samples, [S, B, A, F, D].
        rng: Source of randomness.
    """
    count, scenes, agents = samples.shape[:3]
    orders = np.broadcast_to(np.arange(count)[:, None, None], (count, scenes, agents))
    orders = rng.permuted(orders, axis=0)
    return np.take_along_axis(samples, orders[..., None, None], 0)


def with_ratio(means: Floats) -> Floats:
    """Append the spread ratio to means [..., N] of the scores, [..., N + 1]."""
    width, error = means[..., NAMES.index("spread")], means[..., NAMES.index("mean_ade")]
    ratio = np.divide(width, error, out=np.full_like(error, np.nan), where=error > 0)
    return np.concatenate([means, ratio[..., None]], -1)


def sample_sensitivity(first: Floats, second: Floats) -> float:
    """Distance to the nearest path of another seed, over that to the nearest path of the same seed.

    About 1 for draws from a distribution, 0 for a fixed set of paths. The median over the targets
    is taken, without targets whose paths are all in one place under both seeds.

    Args:
        first: Samples of one seed, [S, N, F, D].
        second: Samples of the same targets with another seed, [S, N, F, D].
    """
    x, y = (samples[:MOST_SAMPLES, :MOST_TARGETS] for samples in (first, second))
    across = _displacements(x, y).min(1).mean(0)
    within = np.zeros_like(across)
    if len(x) > 1:
        own = _displacements(x, x)
        own[np.arange(len(x)), np.arange(len(x))] = np.inf
        within = own.min(1).mean(0)
    informative = (across > 0) | (within > 0)
    ratio = np.divide(across, within, out=np.ones_like(across), where=within > 0)
    return float(np.median(ratio[informative])) if informative.any() else 0.0


def _displacements(x: Floats, y: Floats) -> Floats:
    """Mean displacement between every path of two sets of samples, [S, S, N]."""
    return np.asarray(np.sqrt(np.square(x[:, None] - y[None]).sum(-1)).mean(-1))
