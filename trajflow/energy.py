"""How far two sets of samples are apart, and which of them is wider."""

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import TrajflowError

Floats = NDArray[np.float64]


def energy_distance(first: Floats, second: Floats, chunk: int = 2048) -> float:
    """Unbiased energy distance of two sample sets, in the unit of the samples.

    `2 E|X - Y| - E|X - X'| - E|Y - Y'|` with |.| over everything but the first axis. Its mean is
    zero where the distributions agree and positive anywhere else, so a finite set of samples from
    the same distribution also gives values slightly below zero. A NaN sample gives NaN.

    Args:
        first: Samples of one distribution, [S, ...].
        second: Samples of the other, [N, ...].
        chunk: Rows compared at once; memory grows with its square.

    Raises:
        TrajflowError: If a set holds fewer than two samples or the samples differ in shape.

    Source: Szekely and Rizzo 2013, "Energy statistics: a class of statistics based on distances".
    """
    x, y = _flat_pair(first, second)
    across = _distances(x, y, chunk) / (len(x) * len(y))
    return 2 * across - _mean_within(x, chunk) - _mean_within(y, chunk)


def deviation_ratio(samples: Floats, truth: Floats) -> float:
    """Total standard deviation of the samples [S, ...] over that of the truth [N, ...].

    Raises:
        TrajflowError: If a set holds fewer than two samples or the samples differ in shape.
    """
    x, y = _flat_pair(samples, truth)
    return float(np.sqrt(x.var(0, ddof=1).sum() / y.var(0, ddof=1).sum()))


def _flat_pair(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Both sets as rows about one common centre, [S, D] and [N, D]."""
    shapes = f"got {list(np.shape(first))} and {list(np.shape(second))}"
    if min(len(first), len(second)) < 2:
        raise TrajflowError(f"each set needs at least 2 samples, {shapes}; draw more")
    if np.shape(first)[1:] != np.shape(second)[1:]:
        raise TrajflowError(f"samples must have one shape, [S, ...] and [N, ...], {shapes}")
    x = np.asarray(first, np.float64).reshape(len(first), -1)
    y = np.asarray(second, np.float64).reshape(len(second), -1)
    centre = y.mean(0)
    return x - centre, y - centre


def _mean_within(x: Floats, chunk: int) -> float:
    return _distances(x, x, chunk) / (len(x) * (len(x) - 1))


def _distances(x: Floats, y: Floats, chunk: int) -> float:
    """Sum of the distances of all pairs; a row is at no distance from itself."""
    total = 0.0
    for i in range(0, len(x), chunk):
        a = x[i : i + chunk]
        for j in range(0, len(y), chunk):
            b = y[j : j + chunk]
            square = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
            if x is y and i == j:
                np.fill_diagonal(square, 0.0)  # rounding leaves up to 1e-7 there
            total += float(np.sqrt(np.maximum(square, 0.0)).sum())
    return total
