"""Ranks of values among people, and the combination of the detector's two parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trajflow.statistics import person_weights
from trajflow.types import Floats, Ints

PARTS = ("forest", "distance")
# Looking at two parts doubles the false alarms; the distance pays for that.
NOVELTY_PENALTY = float(np.log(2))
# Recordings with fewer people cannot estimate a 95 % quantile.
FEW = 20
MAX_VALUES = 1000


@dataclass(frozen=True)
class Ranks:
    """Sorted values of the windows of P people, and the number of people up to each value.

    Attributes:
        values: Values, [N], ascending.
        mass: Number of people at or below each value, [N], up to P. The windows of a person share a
            weight of 1.
    """

    values: Floats
    mass: Floats

    @classmethod
    def of(cls, values: Floats, person: Ints) -> "Ranks":
        """Ranks of values [N] of windows of people [N]; values that are not finite rank lowest."""
        values = _finite(values)
        order = np.argsort(values, kind="stable")
        return cls(values[order], np.cumsum(person_weights(person)[order]))._thinned()

    @classmethod
    def in_typical_recording(cls, values: Floats, person: Ints, recording: Ints) -> "Ranks":
        """Ranks in a typical recording, of values, people and recordings [N] each.

        The rank of a value is the median over people of its rank in their own recording, so that
        one recording with another frame rate or more noise cannot raise the threshold for all.
        Recordings of fewer than `FEW` people are pooled.

        Source: Dunn, Wasserman and Ramdas 2022, "Distribution-free prediction sets for two-layer
        hierarchical models", for groups of people; the median over groups is ours.
        """
        _, index = np.unique(recording, return_inverse=True)
        people = [len(np.unique(person[index == code])) for code in range(index.max() + 1)]
        group = np.where(np.array(people) >= FEW, np.arange(len(people)), -1)[index]
        each = [cls.of(values[group == g], person[group == g]) for g in np.unique(group)]
        weight = np.array([ranks.people for ranks in each])
        grid = np.sort(_finite(values), kind="stable")
        shares = np.stack([ranks._up_to(grid) for ranks in each])
        order = np.argsort(shares, 0, kind="stable")
        half = (np.cumsum(weight[order], 0) >= weight.sum() / 2).argmax(0)
        share = np.take_along_axis(shares, np.take_along_axis(order, half[None], 0), 0)[0]
        return cls(grid, share / (1 - share[-1]))._thinned()

    @property
    def people(self) -> float:
        """Number of people, P."""
        return float(self.mass[-1])

    def below(self, values: Floats) -> Floats:
        """Share of the P people and one newcomer with a lower value, [N], above 0 and at most 1.

        The share is interpolated between known values and approaches 1 beyond the largest, so that
        the more extreme of two values has the larger share. The share of a new person exceeds a
        level with probability 1 - level, within 1 / (P + 1).

        Source: Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random world"; Lee,
        Barber and Willett 2023, "Distribution-free inference with hierarchical data".
        """
        values = _finite(values)
        index = np.searchsorted(self.values, values, side="left")
        low = self._steps[index]
        high = np.minimum(self._steps[index + 1], low + 1)
        share = low + (high - low) * self._between(values, index)
        return np.asarray(np.clip(share / (self.people + 1), np.finfo(float).tiny, 1.0))

    def _up_to(self, values: Floats) -> Floats:
        index = np.searchsorted(self.values, values, side="right")
        return np.asarray(self._steps[index] / (self.people + 1))

    @cached_property
    def _steps(self) -> Floats:
        return np.concatenate([[0.0], self.mass, [self.people + 1]])

    @cached_property
    def _upper_range(self) -> float:
        return max(float(self.values[-1] - np.median(self.values)), 1e-12)

    def _between(self, values: Floats, index: Ints) -> Floats:
        """Position of each value between its neighbors in `values`, [N], from 0 to 1."""
        last = len(self.values) - 1
        left = self.values[np.clip(index - 1, 0, last)]
        right = self.values[np.clip(index, 0, last)]
        inside = np.clip((values - left) / np.where(right > left, right - left, 1), 0, 1)
        over = np.maximum(values - self.values[last], 0) / self._upper_range
        return np.asarray(
            np.where(index > last, over / (1 + over), np.where(index > 0, inside, 0.5))
        )

    def _thinned(self) -> "Ranks":
        """At most `MAX_VALUES` of the values, the largest among them."""
        if len(self.values) <= MAX_VALUES:
            return self
        kept = np.unique(np.linspace(0, len(self.values) - 1, MAX_VALUES).round().astype(int))
        return Ranks(self.values[kept], self.mass[kept])


def _finite(values: Floats) -> Floats:
    """Replace values that are not finite by the lowest single-precision number."""
    if np.isfinite(values).all():
        return values
    least = float(np.finfo(np.float32).min)
    return np.asarray(np.nan_to_num(values, nan=least, posinf=-least, neginf=least))


@dataclass(frozen=True)
class PastRanks:
    """Ranks among pasts of one length.

    Attributes:
        held_out: Ranks of both parts among held-out training people, by name.
        combined, typical: Ranks of the combination among reference people and in a typical
            recording.
    """

    held_out: Mapping[str, Ranks]
    combined: Ranks
    typical: Ranks

    @classmethod
    def of(
        cls,
        held_out: Mapping[str, Floats],
        held_person: Ints,
        values: Mapping[str, Floats],
        person: Ints,
        recording: Ints,
    ) -> "PastRanks":
        """Ranks from values of both parts, for held-out training windows and reference windows."""
        ranks = {name: Ranks.of(value, held_person) for name, value in held_out.items()}
        combination = combine(part_ranks(ranks, values))
        typical = Ranks.in_typical_recording(combination, person, recording)
        return cls(ranks, Ranks.of(combination, person), typical)

    def ranks_of(self, values: Mapping[str, Floats]) -> dict[str, Floats]:
        """Ranks [N] of `part_values`: of each part, and of both as "ood_score" and "typical"."""
        parts = part_ranks(self.held_out, values)
        combination = combine(parts)
        among = {"ood_score": self.combined, "typical": self.typical}
        return parts | {name: ranks.below(combination) for name, ranks in among.items()}

    def arrays(self) -> dict[str, Floats]:
        """Values and mass of all ranks by name, [N] each."""
        groups = {f"held/{name}": ranks for name, ranks in self.held_out.items()}
        groups |= {"whole": self.combined, "typical": self.typical}
        names = ("values", "mass")
        return {f"{g}/{k}": getattr(ranks, k) for g, ranks in groups.items() for k in names}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats], prefix: str = "") -> "PastRanks":
        """Ranks from what `arrays` returned, under names that begin with a prefix."""

        def ranks(group: str) -> Ranks:
            return Ranks(*(arrays[f"{prefix}{group}/{name}"] for name in ("values", "mass")))

        return cls({n: ranks(f"held/{n}") for n in PARTS}, ranks("whole"), ranks("typical"))


def part_ranks(held_out: Mapping[str, Ranks], values: Mapping[str, Floats]) -> dict[str, Floats]:
    """Rank of `part_values` among held-out training people, [N] by name."""
    return {name: ranks.below(values[name]) for name, ranks in held_out.items()}


def combine(parts: Mapping[str, Floats]) -> Floats:
    """Combine the ranks [N] of both parts into one value, [N]; only its order matters.

    The part that finds the past rarer decides; the distance has to be rarer by `NOVELTY_PENALTY`.
    """
    rarity = {name: -np.log1p(-rank + 1e-12) for name, rank in parts.items()}
    return np.asarray(np.maximum(rarity["forest"], rarity["distance"] - NOVELTY_PENALTY))
