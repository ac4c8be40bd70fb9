"""People who come and go, as a sensor would report them: noisy, with gaps, and sometimes late."""

from collections.abc import Iterator

import numpy as np

PERIOD = 0.05
"""Seconds between two observations."""
STAY = 20.0
"""Seconds that people stay, on average."""
MISSING, LATE, JITTER, NOISE = 0.05, 0.03, 0.004, 0.02
"""Shares of observations that are missing and late; deviations of stamps (s) and positions (m)."""


class Street:
    """So many people on average, who walk, turn slowly, and are replaced when they leave."""

    def __init__(self, people: int, seed: int) -> None:
        self.chance = np.random.default_rng(seed)
        self.ids = np.arange(people)
        self.known = people
        self.place = self.chance.uniform(0, 40, (people, 2))
        self.heading = self.chance.uniform(0, 2 * np.pi, people)
        self.pace = self.chance.normal(1.3, 0.25, people)
        self.delayed: list[tuple[int, float, list[int], np.ndarray]] = []

    def step(self, tick: int) -> Iterator[tuple[float, list[int], np.ndarray]]:
        """What is seen at a tick, and what is told of earlier ones only now: time, ids, points."""
        chance, people = self.chance, len(self.ids)
        for gone in np.flatnonzero(chance.random(people) < PERIOD / STAY):
            self.ids[gone], self.known = self.known, self.known + 1
            self.place[gone] = chance.uniform(0, 40, 2)
        self.heading += chance.normal(0, 0.05, people)
        towards = np.stack([np.cos(self.heading), np.sin(self.heading)], -1)
        self.place += PERIOD * self.pace[:, None] * towards
        stamp = tick * PERIOD + chance.normal(0, JITTER)
        seen = self.place + chance.normal(0, NOISE, self.place.shape)
        fate = chance.random(people)
        late, told = fate < LATE, fate >= LATE + MISSING
        wait = tick + int(chance.integers(1, 6))
        self.delayed.append((wait, stamp, self.ids[late].tolist(), seen[late]))
        yield from (one[1:] for one in self.delayed if one[0] <= tick)
        self.delayed = [one for one in self.delayed if one[0] > tick]
        yield stamp, self.ids[told].tolist(), seen[told]
