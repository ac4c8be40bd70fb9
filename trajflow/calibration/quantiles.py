"""Quantiles and means in which every person counts once, however many windows they have."""

import numpy as np
from numpy.typing import ArrayLike

from trajflow.types import Floats, Ints

SLACK = 1e-9
"""Share of a person by which a sum of their windows may miss a whole one in rounding."""


def person_quantiles(scores: Floats, people: Ints, levels: ArrayLike) -> Floats:
    """Bounds that a window of another person stays below with at least the probabilities asked.

    The windows of one person overlap and are far from exchangeable, but people are: each of the
    P people weighs 1 / (P + 1), shared among their windows, and the newcomer's own 1 / (P + 1)
    lies at infinity. A bound is the lowest score at which a level is reached; it is infinite
    above P / (P + 1), where too few people are known. A score of a random window of a new person
    is at most the bound with a probability of at least the level and, unless scores tie, at most
    2 / (P + 1) more; 1 / (P + 1) more where everybody has one window.

    Args:
        scores: A score of each window, [N, ...].
        people: Who each window is of, [N].
        levels: Probabilities between 0 and 1, Q of them.

    Returns:
        The bounds, [Q, ...].

    Source: Lee, Barber and Willett 2023, "Distribution-free inference with hierarchical data"
    (hierarchical conformal prediction); without the newcomer's weight it is the CDF pooling,
    valid for many people, of Dunn, Wasserman and Ramdas 2022, "Distribution-free prediction sets
    for two-layer hierarchical models".
    """
    _, person, windows = np.unique(people, return_inverse=True, return_counts=True)
    needed = np.atleast_1d(np.asarray(levels, float)) * (len(windows) + 1) - SLACK
    columns = scores.reshape(len(scores), -1).T
    bounds = [_lowest(column, 1 / windows[person], needed) for column in columns]
    return np.stack(bounds, -1).reshape(len(needed), *scores.shape[1:])


def person_means(values: Floats, people: Ints) -> Floats:
    """Mean over people of the mean over each one's windows, [...] of values [N, ...]."""
    _, person, windows = np.unique(people, return_inverse=True, return_counts=True)
    return np.asarray(np.tensordot(1 / windows[person], values, 1) / len(windows))


def _lowest(scores: Floats, mass: Floats, needed: Floats) -> Floats:
    """The lowest of the scores [N] up to which the masses [N] sum to what is needed, [Q]."""
    order = np.argsort(scores)
    reached = np.cumsum(mass[order])
    return np.append(scores[order], np.inf)[np.searchsorted(reached, needed)]
