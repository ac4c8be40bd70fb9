"""Scores of a chosen set: what its weights say, and nothing that only draws have."""

import numpy as np

from trajflow import metrics
from trajflow.errors import TrajflowError
from trajflow.evaluation.protocol import Judging
from trajflow.evaluation.scores import NAMES, target_scores
from trajflow.types import Batch, Floats

SINGLE = ("jade", "jfde", "collision_rate")
"""Scores of whole scenes: members of two agents' sets with the same number do not belong together,
so these are NaN."""


def chosen_scores(samples: Floats, weights: Floats, batch: Batch, judging: Judging) -> Floats:
    """One row per target of the batch, one column per name of NAMES.

    The best of the samples are as of plain draws. Means, spread, coverage and the energy score
    are of the weighted samples.

    Args:
        samples: What was chosen, [S, B, A, F, D].
        weights: How likely each is, [S, B, A]; of sum 1 over S for the targets.
        batch: What happened.
        judging: The terms.

    Raises:
        TrajflowError: Samples or weights have another shape, or are no samples or weights.
    """
    rows = target_scores(samples, batch, judging)
    target = batch.target
    share, drawn, future = weights[:, target], samples[:, target], batch.future[target]
    if not (share >= 0).all() or np.abs(share.sum(0) - 1).max(initial=0) > 1e-6:
        raise TrajflowError(
            "weights of chosen samples must be at least 0 and sum to one for every target"
        )
    away = np.sqrt(np.square(drawn - future).sum(-1))
    columns = {
        "mean_ade": (share * away.mean(-1)).sum(0),
        "mean_fde": (share * away[..., -1]).sum(0),
        "energy_score": metrics.weighted_energy_score(drawn, share, future),
        "coverage_50": metrics.coverage(drawn, future, 0.5, share),
        "coverage_90": metrics.coverage(drawn, future, 0.9, share),
        "spread": metrics.spread(drawn, share),
        **dict.fromkeys(SINGLE, np.full(len(future), np.nan)),
    }
    for name, column in columns.items():
        rows[:, NAMES.index(name)] = column
    return rows
