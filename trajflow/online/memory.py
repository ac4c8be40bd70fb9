"""What was seen of each agent lately, in arrays that never grow beyond their bounds."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Memory:
    """The last K observations of up to N agents, each in the order of their times.

    Observations of an agent keep a distance in time, all but the latest, so that K of them reach
    back as far as is needed however often an agent is seen.

    Attributes:
        late: Observations that were older than all that is kept of their agent, and dropped.
        crowded: Agents that were forgotten, or not let in, because there was no room.
        dense: Observations that were closer than `spacing` to another one, and not kept.
    """

    def __init__(self, agents: int, observations: int, dims: int, spacing: float = 0.0) -> None:
        """Make room.

        Args:
            agents: Most agents, N; who was not seen for longest makes room for the next one.
            observations: Observations kept of each, K.
            dims: Coordinates, D.
            spacing: Least time between two observations that are kept of an agent, seconds.
        """
        self.times = np.full((agents, observations), -np.inf)
        self.points = np.full((agents, observations, dims), np.nan)
        self.spacing = spacing
        self.late = self.crowded = self.dense = 0
        self._slots: dict[Hashable, int] = {}
        self._owners: list[Hashable] = [None] * agents
        self._used = np.zeros(agents, bool)
        self._free = list(range(agents - 1, -1, -1))

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, agent: Hashable) -> bool:
        return agent in self._slots

    def add(self, time: float, agents: Sequence[Hashable], points: Floats) -> None:
        """Observations of some agents at one time, points [A, D].

        One of a time that is known already replaces it.
        """
        known = [k for k, agent in enumerate(agents) if agent in self._slots]
        slots = np.array([self._slots[agents[k]] for k in known], np.int64)
        newer = self.times[slots, -1] < time
        self._append(slots[newer], time, points[known][newer])
        for k in np.flatnonzero(~newer):
            self._insert(int(slots[k]), time, points[known[k]])
        for agent, point in zip(agents, points, strict=True):
            if agent not in self._slots and (slot := self._room(time)) is not None:
                self._slots[agent], self._owners[slot], self._used[slot] = slot, agent, True
                self.times[slot, -1], self.points[slot, -1] = time, point

    def agents(self, now: float, within: float) -> list[Hashable]:
        """Who was seen within so many seconds before now, in the order in which they appeared."""
        recent = now - self.times[:, -1] <= within
        return [agent for agent, slot in self._slots.items() if recent[slot]]

    def take(self, agents: Sequence[Hashable]) -> tuple[Floats, Floats]:
        """Copies of what is known of agents: times [A, ...], ascending, and points [A, ..., D].

        Where fewer than K observations are known the first times are -inf.

        Raises:
            KeyError: An agent is not known.
        """
        rows = np.array([self._slots[agent] for agent in agents], np.int64)
        return self.times[rows], self.points[rows]

    def forget(self, before: float = np.inf) -> None:
        """Give up the agents who were not seen since a time; all of them by default."""
        for slot in np.flatnonzero(self._used & (self.times[:, -1] < before)):
            self._drop(int(slot))

    def _room(self, time: float) -> int | None:
        """A place for an agent who was first seen at a time, if one can be had."""
        if not self._free:
            self.crowded += 1
            oldest = int(self.times[:, -1].argmin())
            if self.times[oldest, -1] >= time:
                return None
            self._drop(oldest)
        return self._free.pop()

    def _drop(self, slot: int) -> None:
        del self._slots[self._owners[slot]]
        self._owners[slot], self._used[slot] = None, False
        self.times[slot], self.points[slot] = -np.inf, np.nan
        self._free.append(slot)

    def _append(self, slots: NDArray[np.int64], time: float, points: Floats) -> None:
        """Observations later than all others of their agents."""
        before, last = self.times[slots, -2], self.times[slots, -1]
        apart = last - before >= self.spacing
        self.dense += int((~apart).sum())
        moving = slots[apart]
        self.times[moving, :-1] = self.times[moving, 1:]
        self.points[moving, :-1] = self.points[moving, 1:]
        self.times[slots, -1], self.points[slots, -1] = time, points

    def _insert(self, slot: int, time: float, point: Floats) -> None:
        """An observation that is not later than all others of its agent."""
        times, points = self.times[slot], self.points[slot]
        place = int(np.searchsorted(times, time))
        if times[place] == time:
            points[place] = point
        elif place == 0:
            self.late += 1
        elif min(times[place] - time, time - times[place - 1]) < self.spacing:
            self.dense += 1
        else:
            times[: place - 1], points[: place - 1] = times[1:place], points[1:place]
            times[place - 1], points[place - 1] = time, point
