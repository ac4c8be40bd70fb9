"""The rank of a value among those of reference people, each of whom counts once. Numpy only."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trajflow.batch import Floats, Ints

FEW = 20
"""Fewer people than this cannot say what one in twenty is."""
MAX_VALUES = 1000


@dataclass(frozen=True)
class Ranks:
    """Values of the windows of P people, rising, and how many people reach up to each.

    Attributes:
        values: Values, [N], rising.
        mass: People at each value and below, their windows sharing them evenly, [N], up to P.
    """

    values: Floats
    mass: Floats

    @classmethod
    def of(cls, values: Floats, person: Ints) -> "Ranks":
        """Ranks among values [N] of windows of people [N]; what is not finite counts least."""
        _, index, windows = np.unique(person, return_inverse=True, return_counts=True)
        values = _finite(values)
        order = np.argsort(values, kind="stable")
        return cls(values[order], np.cumsum(1 / windows[index][order]))._thinned()

    @classmethod
    def in_typical_recording(cls, values: Floats, person: Ints, recording: Ints) -> "Ranks":
        """Ranks in a typical one of several recordings, [N] each.

        The share below a value is the one that half of the people have in their own recording. A
        recording unlike the others, by its clock or its noise, then cannot lift the threshold for
        all. Recordings of fewer than `FEW` people are taken together.

        Source: Dunn, Wasserman and Ramdas 2022, "Distribution-free prediction sets for two-layer
        hierarchical models", for groups of people; the median of the groups is ours.
        """
        _, index = np.unique(recording, return_inverse=True)
        people = [len(np.unique(person[index == code])) for code in range(index.max() + 1)]
        group = np.where(np.array(people) >= FEW, np.arange(len(people)), -1)[index]
        each = [cls.of(values[group == g], person[group == g]) for g in np.unique(group)]
        weight = np.array([one.people for one in each])
        grid = np.sort(_finite(values), kind="stable")
        shares = np.stack([one._up_to(grid) for one in each])
        order = np.argsort(shares, 0, kind="stable")
        half = (np.cumsum(weight[order], 0) >= weight.sum() / 2).argmax(0)
        share = np.take_along_axis(shares, np.take_along_axis(order, half[None], 0), 0)[0]
        return cls(grid, share / (1 - share[-1]))._thinned()

    @property
    def people(self) -> float:
        """How many people there are, P."""
        return float(self.mass[-1])

    def below(self, values: Floats) -> Floats:
        """Share of people with less, [N], of P and the newcomer; above 0 and at most 1.

        Between two known values it grows evenly, and beyond the largest towards 1, so that the
        more extreme of two values has the larger share. A newcomer's is above a level with a
        probability of one less the level, within 1 / (P + 1).

        Source: Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random world"; Lee,
        Barber and Willett 2023, "Distribution-free inference with hierarchical data".
        """
        values = _finite(values)
        place = np.searchsorted(self.values, values, side="left")
        low = np.concatenate([[0.0], self.mass])[place]
        high = np.minimum(np.concatenate([self.mass, [self.people + 1]])[place], low + 1)
        share = low + (high - low) * self._between(values, place)
        return np.asarray(np.clip(share / (self.people + 1), np.finfo(float).tiny, 1.0))

    def _up_to(self, values: Floats) -> Floats:
        place = np.searchsorted(self.values, values, side="right")
        return np.asarray(np.concatenate([[0.0], self.mass])[place] / (self.people + 1))

    @cached_property
    def _upper_range(self) -> float:
        return max(float(self.values[-1] - np.median(self.values)), 1e-12)

    def _between(self, values: Floats, place: Ints) -> Floats:
        """How far towards the next known value each lies, [N], from 0 to 1."""
        last = len(self.values) - 1
        left = self.values[np.clip(place - 1, 0, last)]
        right = self.values[np.clip(place, 0, last)]
        inside = np.clip((values - left) / np.where(right > left, right - left, 1), 0, 1)
        over = np.maximum(values - self.values[last], 0) / self._upper_range
        return np.asarray(
            np.where(place > last, over / (1 + over), np.where(place > 0, inside, 0.5))
        )

    def _thinned(self) -> "Ranks":
        """The same with at most `MAX_VALUES` values, the largest among them."""
        if len(self.values) <= MAX_VALUES:
            return self
        kept = np.unique(np.linspace(0, len(self.values) - 1, MAX_VALUES).round().astype(int))
        return Ranks(self.values[kept], self.mass[kept])


def _finite(values: Floats) -> Floats:
    """The values, with the least single-precision number where one is not finite."""
    least = float(np.finfo(np.float32).min)
    return np.asarray(np.nan_to_num(values, nan=least, posinf=-least, neginf=least))
