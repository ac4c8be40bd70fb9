"""Which known fault a strange past is most like, to put a name to what a forest cannot explain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trajflow.types import Floats, Ints

SAID = {
    "faster": "people who are faster",
    "filled": "tracks with steps filled in",
    "glitch": "tracks with one position off",
    "halved": "tracks with steps put between the ones seen",
    "late": "tracks that have just begun",
    "lost": "tracks with steps missing",
    "noise": "noisy positions",
    "padded": "tracks with a repeated beginning",
    "skipped": "tracks with every other step left out",
    "slower": "people who are slower",
}
"""What a past under each fault is, in words."""
MOST = 4.0
"""Deviations beyond which a feature says no more."""


@dataclass(frozen=True)
class Kinds:
    """Linear scores of K faults.

    Attributes:
        names: The faults.
        mean, deviation: Of each feature, [H].
        weight: What a feature says for each fault, [K, H].
        start: What each fault begins with, [K].
    """

    names: tuple[str, ...]
    mean: Floats
    deviation: Floats
    weight: Floats
    start: Floats

    @classmethod
    def fit(cls, rows: Floats, which: Ints, names: Sequence[str]) -> "Kinds":
        """Learn from rows [N, H] under faults whose places in `names` are [N].

        Source: Fisher 1936, "The use of multiple measurements in taxonomic problems".
        """
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        mean = np.nan_to_num(_mean(rows))
        deviation = np.sqrt(np.nan_to_num(_mean((rows - mean) ** 2))) + 1e-6
        plain = cls(tuple(names), mean, deviation, np.zeros((0, 0)), np.zeros(0))
        found = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.01).fit(
            plain.scaled(rows), which
        )
        weight, start = np.zeros((len(names), rows.shape[1])), np.full(len(names), -1e9)
        if len(found.classes_) == 2:
            weight[found.classes_[1]], start[found.classes_] = found.coef_[0], [0, found.intercept_]
        else:
            weight[found.classes_], start[found.classes_] = found.coef_, found.intercept_
        return cls(tuple(names), mean, deviation, weight, start)

    def scaled(self, rows: Floats) -> Floats:
        """Rows [N, H] in deviations; 0 where not known."""
        found = np.nan_to_num((rows - self.mean) / self.deviation)
        return np.asarray(np.clip(found, -MOST, MOST))

    def said(self, rows: Floats) -> list[str]:
        """What each of the rows [N, H] is most like, in words."""
        likest = (self.scaled(rows) @ self.weight.T + self.start).argmax(1)
        return [f"most like {SAID.get(self.names[k], self.names[k])}" for k in likest]

    def arrays(self) -> Mapping[str, Floats]:
        """All numbers, by name."""
        return {name: value for name, value in vars(self).items() if name != "names"}


def _mean(rows: Floats) -> Floats:
    seen = np.isfinite(rows)
    return np.asarray(np.where(seen, rows, 0).sum(0) / np.maximum(seen.sum(0), 1))
