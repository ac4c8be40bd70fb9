"""How far a context lies from the nearest ones learned from."""

import numpy as np

from trajflow.surprise.scores import State
from trajflow.surprise.sight import Sight
from trajflow.types import Floats

KEPT, AXES, NEAREST = 2000, 16, 5
"""Contexts remembered, their principal components, and how many of the nearest count."""


def fit(sight: Sight, weight: Floats) -> State:
    """Contexts of agents of weights [N], in principal components of unit variance.

    Source: Sun, Ming, Zhu and Li 2022, "Out-of-distribution detection with deep nearest
    neighbors".
    """
    from sklearn.decomposition import PCA

    axes = min(AXES, sight.context.shape[1], len(sight))
    found = PCA(axes, whiten=True, random_state=0).fit(sight.context)
    scale = np.sqrt(np.maximum(found.explained_variance_, 1e-6 * found.explained_variance_[0]))
    axis = found.components_.T / np.maximum(scale, 1e-12)
    count = min(KEPT, len(weight))
    rows = np.random.default_rng(0).choice(len(weight), count, False, weight / weight.sum())
    state = {"mean": found.mean_, "axis": axis, "usual": np.ones(1)}
    state["bank"] = (sight.context[rows] - found.mean_) @ axis
    # Half of the bank against the other: a context is at no distance from itself.
    half = {**state, "bank": state["bank"][::2]}
    usual = np.median(values(half, sight.take(rows[1::2]))) if count > 1 else 1.0
    return {**state, "usual": np.array([max(usual, 1e-9)])}


def values(state: State, sight: Sight) -> Floats:
    """Mean distance to the nearest contexts, [N]."""
    found = components(state, sight)
    bank = state["bank"]
    square = np.square(found).sum(1)[:, None] - 2 * found @ bank.T + np.square(bank).sum(1)
    count = min(NEAREST, len(bank))
    near = np.partition(square, count - 1, 1)[:, :count]
    return np.asarray(np.sqrt(np.maximum(near, 0)).mean(1))


def components(state: State, sight: Sight) -> Floats:
    """The contexts in principal components of unit variance, [N, ...]."""
    return np.asarray((sight.context - state["mean"]) @ state["axis"])


def reasons(state: State, sight: Sight) -> list[str]:
    """How far they are, [N]."""
    usual = float(state["usual"][0])
    return [
        f"the most similar pasts learned from are {far / usual:.1f} times as far as usual"
        for far in values(state, sight)
    ]
