"""A boosted forest as plain arrays: grown by scikit-learn, walked by numpy."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from trajflow.types import Bools, Floats, Ints

LEAVES, DEPTH, RATE = 31, 7, 0.12
"""Leaves and questions in a row of a tree at most, and what of it counts."""


@dataclass(frozen=True)
class Forest:
    """K trees of at most N nodes each; a leaf leads to itself.

    Attributes:
        feature: Which feature a node asks for, [K, N].
        threshold: Up to which it goes left, [K, N].
        left, right: The next node, [K, N].
        lost: Whether it goes left if the feature is not known, [K, N].
        value: What a leaf adds, [K, N].
        start: What all leaves are added to, [1].
    """

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    lost: Bools
    value: Floats
    start: Floats

    @classmethod
    def telling(cls, rows: Floats, faulty: Bools, weight: Floats) -> "Forest":
        """The forest that gives the logarithm of the odds that rows [N, ...] are faulty.

        Source: Friedman 2001, "Greedy function approximation: a gradient boosting machine"; on
        faults it learns from: Hendrycks, Mazeika and Dietterich 2019, "Deep anomaly detection with
        outlier exposure".
        """
        from sklearn.ensemble import HistGradientBoostingClassifier

        grower = HistGradientBoostingClassifier(
            max_iter=120,
            max_leaf_nodes=LEAVES,
            max_depth=DEPTH,
            learning_rate=RATE,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=0,
        )
        return cls._of_grown(grower.fit(rows, faulty, weight))

    @classmethod
    def foretelling(cls, rows: Floats, outcome: Floats) -> "Forest":
        """The forest that gives the logarithm of the mean outcome [N] > 0 of rows [N, ...]."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        grower = HistGradientBoostingRegressor(
            loss="gamma",
            max_iter=60,
            max_leaf_nodes=8,
            min_samples_leaf=40,
            learning_rate=0.08,
            l2_regularization=5.0,
            early_stopping=False,
            random_state=0,
        )
        return cls._of_grown(grower.fit(rows, outcome))

    @classmethod
    def _of_grown(cls, grower: Any) -> "Forest":
        nodes = [tree[0].nodes for tree in grower._predictors]
        most = max(map(len, nodes))
        told = {name: np.stack([_padded(one, name, most) for one in nodes]) for name in _NAMES}
        leaf, own = told.pop("is_leaf"), np.arange(most)
        feature = np.where(leaf, 0, told["feature_idx"])
        left, right = (np.where(leaf, own, told[side]) for side in ("left", "right"))
        start = np.array([np.ravel(grower._baseline_prediction)[0]])
        lost, value = told["missing_go_to_left"].astype(bool), told["value"]
        return cls(feature, told["num_threshold"], left, right, lost, value, start)

    def __call__(self, rows: Floats) -> Floats:
        """What the trees add up to for rows [N, ...], [N]."""
        count, width = len(self.feature), rows.shape[1]
        # Flat indices: numpy takes from one axis several times faster than from two.
        base = np.arange(count) * self.feature.shape[1]
        left, right = ((side + base[:, None]).ravel() for side in (self.left, self.right))
        feature, threshold = self.feature.ravel(), self.threshold.ravel()
        lost, flat = self.lost.ravel(), np.ascontiguousarray(rows).ravel()
        start = (np.arange(len(rows)) * width)[:, None]
        gaps = bool(np.isnan(flat).any())
        node = np.repeat(base[None], len(rows), 0)
        while True:
            asked = flat.take(start + feature.take(node))
            goes = asked <= threshold.take(node)
            if gaps:
                goes |= lost.take(node) & np.isnan(asked)
            after = np.where(goes, left.take(node), right.take(node))
            if (after == node).all():
                return np.asarray(self.start[0] + self.value.ravel().take(node).sum(1))
            node = after

    def arrays(self) -> dict[str, Floats]:
        """The forest as arrays by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def of(cls, arrays: Mapping[str, Floats]) -> "Forest":
        """The forest of `arrays`.

        Raises:
            ValueError: They are none of a forest.
        """
        whole = {"feature": np.int64, "left": np.int64, "right": np.int64, "lost": np.bool_}
        made: dict[str, Any] = {
            f.name: arrays[f.name].astype(whole.get(f.name, np.float64)) for f in fields(cls)
        }
        shape = made["feature"].shape
        own = np.arange(shape[-1])
        halts = ((made["left"] == own) == (made["right"] == own)).all()
        alike = all(one.shape == shape for name, one in made.items() if name != "start")
        # Only leaves lead to themselves, and nothing leads back: a walk down always ends.
        inside = all(((made[k] >= own) & (made[k] < shape[-1])).all() for k in ("left", "right"))
        inside = inside and halts and (made["feature"] >= 0).all()
        if len(shape) != 2 or not alike or not inside or made["start"].shape != (1,):
            raise ValueError("the trees do not fit together")
        return cls(**made)


_NAMES = (
    "is_leaf",
    "feature_idx",
    "num_threshold",
    "missing_go_to_left",
    "left",
    "right",
    "value",
)


def _padded(nodes: Any, name: str, most: int) -> Floats:
    values = np.asarray(nodes[name])
    filled = 1 if name == "is_leaf" else 0
    return np.pad(values, (0, most - len(values)), constant_values=filled)
