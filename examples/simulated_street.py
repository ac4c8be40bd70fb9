"""Simulates a sensor that sees people on a street: noisy, with missing and late observations."""

from collections.abc import Iterator

import numpy as np

PERIOD = 0.05
"""Seconds between two observations."""
STAY = 20.0
"""Mean time in seconds until a person leaves."""
MISSING, LATE = 0.05, 0.03
"""Shares of observations that are missing and late."""
JITTER, NOISE = 0.004, 0.02
"""Standard deviations of timestamps (s) and positions (m)."""
SIZE = 40.0
"""Side of the square in which people appear, in metres."""


class Street:
    """A constant number of people who walk and turn slowly; who leaves is replaced.

    Attributes:
        total: Number of different people so far.
    """

    def __init__(self, people: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.ids = np.arange(people)
        self.total = people
        self.position = self.rng.uniform(0, SIZE, (people, 2))
        self.heading = self.rng.uniform(0, 2 * np.pi, people)
        self.speed = self.rng.normal(1.3, 0.25, people)
        self.delayed: list[tuple[int, float, list[int], np.ndarray]] = []

    def step(self, tick: int) -> Iterator[tuple[float, list[int], np.ndarray]]:
        """Observations that arrive at a tick, late ones first: time, ids and positions [A, 2]."""
        rng, people = self.rng, len(self.ids)
        for leaving in np.flatnonzero(rng.random(people) < PERIOD / STAY):
            self.ids[leaving], self.total = self.total, self.total + 1
            self.position[leaving] = rng.uniform(0, SIZE, 2)
        self.heading += rng.normal(0, 0.05, people)
        direction = np.stack([np.cos(self.heading), np.sin(self.heading)], -1)
        self.position += PERIOD * self.speed[:, None] * direction
        timestamp = tick * PERIOD + rng.normal(0, JITTER)
        observed = self.position + rng.normal(0, NOISE, self.position.shape)
        number = rng.random(people)
        late, on_time = number < LATE, number >= LATE + MISSING
        arrival = tick + int(rng.integers(1, 6))
        self.delayed.append((arrival, timestamp, self.ids[late].tolist(), observed[late]))
        yield from (one[1:] for one in self.delayed if one[0] <= tick)
        self.delayed = [one for one in self.delayed if one[0] > tick]
        yield timestamp, self.ids[on_time].tolist(), observed[on_time]
