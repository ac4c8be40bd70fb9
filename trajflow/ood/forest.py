"""A boosted forest as plain arrays: scikit-learn grows it, numpy walks it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from trajflow.types import Bools, Floats, Ints


@dataclass(frozen=True)
class Forest:
    """A boosted forest of K trees with at most N nodes each; a leaf leads to itself.

    scikit-learn grows it. Arrays are kept because skl2onnx cannot convert these forests, and an
    exported model must score without scikit-learn.

    Attributes:
        feature: Index of the feature that a node splits by, [K, N].
        threshold: Largest value that goes left, [K, N].
        left, right: Index of the next node, [K, N].
        missing_left: Whether a missing value goes left, [K, N].
        value: Value that a leaf adds, [K, N].
        start: Value of the forest without trees, [1].
    """

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    missing_left: Bools
    value: Floats
    start: Floats

    @classmethod
    def classifier(cls, rows: Floats, corrupted: Bools, weight: Floats) -> "Forest":
        """Fit the log odds that rows [N, ...] are corrupted.

        Source: Friedman 2001, "Greedy function approximation: a gradient boosting machine"; on
        learning from corruptions: Hendrycks, Mazeika and Dietterich 2019, "Deep anomaly detection
        with outlier exposure".
        """
        from sklearn.ensemble import HistGradientBoostingClassifier

        grower = HistGradientBoostingClassifier(
            max_iter=120,
            max_leaf_nodes=31,
            max_depth=7,
            learning_rate=0.12,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=0,
        )
        return cls._of_grown(grower.fit(rows, corrupted, weight))

    @classmethod
    def regressor(cls, rows: Floats, outcome: Floats) -> "Forest":
        """Fit the logarithm of the mean outcome [N], above 0, of rows [N, ...]."""
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
        trees = [tree[0].nodes for tree in grower._predictors]
        most = max(map(len, trees))

        def stacked(name: str, fill: float = 0) -> Any:
            columns = [np.asarray(nodes[name]) for nodes in trees]
            return np.stack([np.pad(c, (0, most - len(c)), constant_values=fill) for c in columns])

        leaf, own = stacked("is_leaf", 1).astype(bool), np.arange(most)
        return cls(
            np.where(leaf, 0, stacked("feature_idx")),
            stacked("num_threshold"),
            np.where(leaf, own, stacked("left")),
            np.where(leaf, own, stacked("right")),
            stacked("missing_go_to_left").astype(bool),
            stacked("value"),
            np.array([np.ravel(grower._baseline_prediction)[0]]),
        )

    def __call__(self, rows: Floats) -> Floats:
        """Sum of the trees for rows [N, ...], [N]."""
        base, left, right, depth = self._flat
        feature, threshold = self.feature.ravel(), self.threshold.ravel()
        missing_left, flat = self.missing_left.ravel(), np.ascontiguousarray(rows).ravel()
        start = (np.arange(len(rows)) * rows.shape[1])[:, None]
        gaps = bool(np.isnan(flat).any())
        node = np.repeat(base[None], len(rows), 0)
        for _ in range(depth):
            value = flat.take(start + feature.take(node))
            goes_left = value <= threshold.take(node)
            if gaps:
                goes_left |= missing_left.take(node) & np.isnan(value)
            node = np.where(goes_left, left.take(node), right.take(node))
        return np.asarray(self.start[0] + self.value.ravel().take(node).sum(1))

    @cached_property
    def _flat(self) -> tuple[Ints, Ints, Ints, int]:
        """Root of each tree, and left and right children, as indices into flattened arrays.

        Also the most splits from a root to a leaf.

        numpy's `take` is several times faster along one axis than along two.
        """
        base = np.arange(len(self.feature)) * self.feature.shape[1]
        left, right = ((side + base[:, None]).ravel() for side in (self.left, self.right))
        depth, tree = np.zeros(self.feature.shape, np.int64), np.arange(len(self.feature))
        for node in range(self.feature.shape[1]):  # children come after their parents
            split = self.left[:, node] != node
            for side in (self.left, self.right):
                depth[tree[split], side[split, node]] = depth[split, node] + 1
        return base, left, right, int(depth.max(initial=0))

    def arrays(self) -> dict[str, Any]:
        """The arrays by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def of(cls, arrays: Mapping[str, Any], width: int) -> "Forest":
        """Build a forest from its arrays.

        Args:
            arrays: As `arrays` returns them; they may come from a damaged file.
            width: Number of features of a row.

        Raises:
            ValueError, KeyError: The arrays are not a forest.
        """
        types = {"feature": np.int64, "left": np.int64, "right": np.int64, "missing_left": bool}
        made: dict[str, Any] = {
            f.name: np.asarray(arrays[f.name]).astype(types.get(f.name, np.float64))
            for f in fields(cls)
        }
        shape = made["feature"].shape
        alike = all(array.shape == shape for name, array in made.items() if name != "start")
        if len(shape) != 2 or not alike or made["start"].shape != (1,):
            raise ValueError("the arrays of the trees have different shapes")
        own = np.arange(shape[1])
        # Only leaves lead to themselves and nothing leads back, so a walk down always ends.
        leaves = ((made["left"] == own) == (made["right"] == own)).all()
        inside = all(((made[k] >= own) & (made[k] < shape[1])).all() for k in ("left", "right"))
        features = ((made["feature"] >= 0) & (made["feature"] < width)).all()
        finite = np.isfinite(made["value"]).all() and np.isfinite(made["start"]).all()
        if not (leaves and inside and features and finite):
            raise ValueError("a node of the trees is invalid")
        return cls(**made)
