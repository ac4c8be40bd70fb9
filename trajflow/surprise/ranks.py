"""Where a value lies among those of people known, each of whom counts once."""

from dataclasses import dataclass

import numpy as np

from trajflow.types import Bools, Floats, Ints

FEW = 20
"""People without whom a recording cannot say what one in twenty is."""


@dataclass(frozen=True)
class Ranks:
    """Values of the windows of P people, in rising order, and the share of people up to each.

    Attributes:
        values: What was seen, [N], rising.
        mass: People, their windows sharing them evenly, at each value and below, [N], up to P.
    """

    values: Floats
    mass: Floats

    @classmethod
    def of(cls, values: Floats, people: Ints) -> "Ranks":
        """The ranks among values [N] of windows of people [N]; what is not finite counts least."""
        _, person, windows = np.unique(people, return_inverse=True, return_counts=True)
        order = np.argsort(known(values), kind="stable")
        return cls(known(values)[order], np.cumsum(1 / windows[person][order]))

    @classmethod
    def usual(cls, values: Floats, people: Ints, recording: Ints) -> "Ranks":
        """The ranks in a usual one of several recordings, [N] each.

        The share below a value is that which half of the people have in their own recording. One
        that is unlike the others, by its clock or its noise, then cannot lift the threshold for
        all: pooled, its people would be nearly all that is above. Recordings of fewer than `FEW`
        people are taken together. Of one recording they are `Ranks.of`.

        Source: Dunn, Wasserman and Ramdas 2022, "Distribution-free prediction sets for two-layer
        hierarchical models", for groups of people; the median of the groups is ours.
        """
        each = [cls.of(values[rows], people[rows]) for rows in _recordings(people, recording)]
        weight = np.array([one.people for one in each])
        grid = np.sort(known(values), kind="stable")
        shares = np.stack([one._upto(grid) for one in each])
        order = np.argsort(shares, 0, kind="stable")
        half = (np.cumsum(weight[order], 0) >= weight.sum() / 2).argmax(0)
        share = np.take_along_axis(shares, np.take_along_axis(order, half[None], 0), 0)[0]
        return cls(grid, share / (1 - share[-1]))

    @property
    def people(self) -> float:
        """How many people are known, P."""
        return float(self.mass[-1])

    def below(self, values: Floats) -> Floats:
        """Share of people with less, [N] of values [N]: of P known and the one who is asked for.

        Above 0 and at most 1. Between two values known it grows evenly, and beyond the largest
        one towards 1, so that of two strange ones the stranger is told. A new person's is above
        a level with a probability of one less the level, give or take 1 / (P + 1).

        Source: Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random world", for the
        share as a conformal p-value turned round; Lee, Barber and Willett 2023, "Distribution-free
        inference with hierarchical data", for people of many windows.
        """
        asked = known(values)
        place = np.searchsorted(self.values, asked, side="left")
        low = np.concatenate([[0.0], self.mass])[place]
        high = np.minimum(np.concatenate([self.mass, [self.people + 1]])[place], low + 1)
        share = low + (high - low) * self._between(asked, place)
        return np.asarray(np.clip(share / (self.people + 1), np.finfo(float).tiny, 1.0))

    def _upto(self, values: Floats) -> Floats:
        """Share of people with as much or less, [N] of values [N], a newcomer above all."""
        place = np.searchsorted(self.values, values, side="right")
        return np.asarray(np.concatenate([[0.0], self.mass])[place] / (self.people + 1))

    def _between(self, asked: Floats, place: Ints) -> Floats:
        """How far towards the next known value each lies, [N], from 0 to 1."""
        last = len(self.values) - 1
        left = self.values[np.clip(place - 1, 0, last)]
        right = self.values[np.clip(place, 0, last)]
        gap = np.where(right > left, right - left, 1)
        inside = np.clip((asked - left) / gap, 0, 1)
        scale = max(float(self.values[last] - np.median(self.values)), 1e-12)
        over = np.maximum(asked - self.values[last], 0) / scale
        beyond = over / (1 + over)
        return np.asarray(np.where(place > last, beyond, np.where(place > 0, inside, 0.5)))

    def thinned(self, most: int) -> "Ranks":
        """The same with at most so many values, among them the largest ones."""
        if len(self.values) <= most:
            return self
        mass = np.unique(np.linspace(0, len(self.values) - 1, most).round().astype(int))
        return Ranks(self.values[mass], self.mass[mass])


def _recordings(people: Ints, recording: Ints) -> list[Bools]:
    """Rows of each recording of many people, [N], and of all the others together."""
    _, where = np.unique(recording, return_inverse=True)
    count = [len(np.unique(people[where == code])) for code in range(where.max() + 1)]
    group = np.where(np.array(count) >= FEW, np.arange(len(count)), -1)[where]
    return [group == code for code in np.unique(group)]


def known(values: Floats) -> Floats:
    """The values with the least number in place of what is none, [N]."""
    least = float(np.finfo(np.float32).min)
    return np.asarray(np.nan_to_num(values, nan=least, posinf=-least, neginf=least))
