"""What is told of a forecast beside its samples: scores, and discs that hold a share of it."""

from collections.abc import Mapping

import numpy as np

from trajflow import metrics
from trajflow.batch import Batch, Bools, Floats
from trajflow.browsing.rivals import Drawn
from trajflow.calibration import region_of

LEVELS = (0.5, 0.9)
PAIRED = 200
"""Draws between which distances are taken; more would take a second and tell the same."""
MISS = 2.0
"""Distance of the best endpoint beyond which it is a miss, in the unit of the tracks."""


def scores(drawn: Drawn, batch: Batch) -> Mapping[str, Floats]:
    """Scores of all agents by name, [B, A]; NaN where nothing is forecast or the future is unknown.

    The energy score and the spread of more than 200 plain draws are those of the first 200.

    Args:
        drawn: The forecast, samples [S, B, A, F, D].
        batch: What happened.
    """
    target, weights = batch.target, drawn.weights
    samples, future = drawn.samples[:, target], batch.future[target]
    few = samples[:PAIRED]
    if weights is None:
        share = None
        energy = metrics.energy_score(few, future)
    else:
        share = weights[:, target]
        energy = metrics.weighted_energy_score(samples, share, future)
    found = {
        "energy_score": energy,
        "min_ade": metrics.min_ade(samples, future),
        "min_fde": metrics.min_fde(samples, future),
        "mean_ade": _mean(metrics.mean_ade, samples, share, future),
        "miss": metrics.miss_rate(samples, future, MISS),
        "inside_90": metrics.coverage(samples, future, 0.9, share),
        "spread": metrics.spread(samples, share) if share is not None else metrics.spread(few),
    }
    return {name: spread_out(target, values) for name, values in found.items()}


def discs(drawn: Drawn, target: Bools) -> dict[float, tuple[Floats, Floats]]:
    """Centres [B, A, F, D] and radii [B, A, F] of the discs of each of the levels.

    Args:
        drawn: The forecast, samples [S, B, A, F, D].
        target: Who is forecast, [B, A].
    """
    found = {}
    share = None if drawn.weights is None else drawn.weights[:, target]
    for level in LEVELS:
        disc = region_of(drawn.samples[:, target], level, "each", drawn.calibration, share)
        found[level] = (spread_out(target, disc.centre), spread_out(target, disc.radius))
    return found


def spread_out(target: Bools, rows: Floats) -> Floats:
    """Rows [N, ...] of the N targets among all agents, [B, A, ...]; NaN for the others.

    Args:
        target: Who is forecast, [B, A].
        rows: A row for each, [N, ...].
    """
    full = np.full((*target.shape, *rows.shape[1:]), np.nan)
    full[target] = rows
    return full


def _mean(score: object, samples: Floats, share: Floats | None, future: Floats) -> Floats:
    """Mean displacement error over steps and samples, [N]."""
    if share is None:
        return metrics.mean_ade(samples, future)
    away = np.sqrt(np.square(samples - future).sum(-1)).mean(-1)
    return np.asarray((share * away).sum(0))
