"""Whether a forecaster draws: another seed must give other paths."""

import numpy as np

from trajflow.types import Floats

MOST_SAMPLES, MOST_TARGETS = 20, 64
"""As many are compared: the answer does not need more."""


def sample_sensitivity(one: Floats, other: Floats) -> float:
    """How far the nearest path of another seed is, in units of the nearest of the same seed.

    About 1 for draws from a distribution; 0 for a fixed set of paths, in whatever order, whose
    coverage and likelihood mean nothing. It is the median over the targets; one whose paths are
    all at one place under both seeds says nothing, and if all are such the result is 0.

    Args:
        one: Samples under a seed, [S, N, F, D].
        other: Samples of the same targets under another one, [S, N, F, D].
    """
    x, y = (samples[:MOST_SAMPLES, :MOST_TARGETS] for samples in (one, other))
    across = _apart(x, y).min(1).mean(0)
    within = np.zeros_like(across)
    if len(x) > 1:
        own = _apart(x, x)
        own[np.arange(len(x)), np.arange(len(x))] = np.inf
        within = own.min(1).mean(0)
    telling = (across > 0) | (within > 0)
    ratio = np.divide(across, within, out=np.ones_like(across), where=within > 0)
    return float(np.median(ratio[telling])) if telling.any() else 0.0


def _apart(x: Floats, y: Floats) -> Floats:
    """Mean displacement between every path of two sets of samples, [S, S, N]."""
    return np.asarray(np.sqrt(np.square(x[:, None] - y[None]).sum(-1)).mean(-1))
