"""All scores of the targets of one batch, a column each."""

import numpy as np

from trajflow import metrics
from trajflow.errors import TrajflowError
from trajflow.evaluation.protocol import Judging
from trajflow.types import Batch, Floats

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
"""Distance between samples over that to the truth: a ratio of means, so it is made of them."""


def target_scores(samples: Floats, batch: Batch, judging: Judging) -> Floats:
    """One row per target of the batch, one column per name of NAMES.

    Args:
        samples: What was forecast, [S, B, A, F, D].
        batch: What happened.
        judging: The terms.

    Raises:
        TrajflowError: The samples have another shape, or a target's are not finite.
    """
    expected = (judging.samples, *batch.future.shape)
    if samples.shape != expected:
        raise TrajflowError(
            f"a forecast of this batch must be {list(expected)}, [S, B, A, F, D]; "
            f"the forecaster gave {list(samples.shape)}"
        )
    target = batch.target
    drawn, future = samples[:, target], batch.future[target]
    lost = int((~np.isfinite(drawn)).any((0, 2, 3)).sum())
    if lost:
        raise TrajflowError(
            f"the forecaster gave NaN or infinite positions for {lost} of {len(future)} targets; "
            "every target must be forecast"
        )
    columns = {
        "min_ade": metrics.min_ade(drawn, future),
        "min_fde": metrics.min_fde(drawn, future),
        "mean_ade": metrics.mean_ade(drawn, future),
        "mean_fde": metrics.mean_fde(drawn, future),
        "energy_score": metrics.energy_score(drawn, future),
        "coverage_50": metrics.coverage(drawn, future, 0.5),
        "coverage_90": metrics.coverage(drawn, future, 0.9),
        "miss_rate": metrics.miss_rate(drawn, future, judging.miss),
        "jade": metrics.joint_ade(samples, batch.future, target)[target],
        "jfde": metrics.joint_fde(samples, batch.future, target)[target],
        "collision_rate": metrics.collision_rate(samples, target, judging.collide)[target],
        "true_collision_rate": metrics.collision_rate(batch.future[None], target, judging.collide)[
            target
        ],
        "spread": metrics.spread(drawn),
    }
    return np.stack([columns[name] for name in NAMES], -1)


def with_ratio(means: Floats) -> Floats:
    """The means [..., N] of the N scores, and the spread ratio after them, [..., N + 1]."""
    apart, away = means[..., NAMES.index("spread")], means[..., NAMES.index("mean_ade")]
    ratio = np.divide(apart, away, out=np.full_like(away, np.nan), where=away > 0)
    return np.concatenate([means, ratio[..., None]], -1)
