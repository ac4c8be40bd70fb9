"""What was seen of each agent lately, in arrays that never grow beyond their bounds."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import TrajflowError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Memory:
    """The last K observations of up to N agents, each in the order of their times.

    Attributes:
        late: Observations that were older than all that is kept of their agent, and dropped.
        crowded: Agents that were forgotten because there was no room for a new one.
    """

    def __init__(self, agents: int, observations: int, dims: int) -> None:
        """Make room.

        Args:
            agents: Most agents, N; who was not seen for longest makes room for the next one.
            observations: Observations kept of each, K.
            dims: Coordinates, D.
        """
        self.times = np.full((agents, observations), -np.inf)
        self.points = np.full((agents, observations, dims), np.nan)
        self.late = self.crowded = 0
        self._slots: dict[Hashable, int] = {}
        self._free = list(range(agents - 1, -1, -1))

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, agent: Hashable) -> bool:
        return agent in self._slots

    def add(self, time: float, agents: Sequence[Hashable], points: Floats) -> None:
        """Observations of some agents at one time, points [A, D].

        One of a time that is known already replaces it.
        """
        for agent, point in zip(agents, points, strict=True):
            self._insert(self._slot(agent), time, point)

    def last(self, agents: Sequence[Hashable]) -> Floats:
        """When each agent was last seen, [A]."""
        last: Floats = self.times[self._rows(agents), -1]
        return last

    def forget(self, before: float) -> None:
        """Give up the agents who were not seen since a time."""
        for agent in [a for a, slot in self._slots.items() if self.times[slot, -1] < before]:
            self._drop(agent)

    def agents(self) -> list[Hashable]:
        """All who are known."""
        return list(self._slots)

    def positions(self, agents: Sequence[Hashable], moments: Floats, gap: float) -> Floats:
        """Where agents were at moments, [A, T, D]; NaN where that is not known.

        Between two observations they moved evenly, unless these are farther apart than `gap`. An
        observation also serves the moment next to it, half of the time between two moments away
        at most; after the last one they went on as before for so long.

        Args:
            agents: Who, A of them.
            moments: When, ascending, [T].
            gap: Longest time between two observations that is bridged.

        Raises:
            TrajflowError: An agent is not known.
        """
        times = self.times[rows := self._rows(agents)]
        points, end = self.points[rows], times.shape[1] - 1
        reach = 0.5 * np.diff(moments).min(initial=np.inf)
        who = np.arange(len(rows))[:, None]
        after = (times[:, None] < moments[:, None]).sum(-1)
        ahead = after > end
        right = np.where(ahead, end, after)
        left = np.where(ahead, end - 1, np.maximum(after - 1, 0))
        begin, last = times[who, left], times[who, right]
        span = last - begin
        along = (span > 0) & (span <= gap) & (~ahead | (moments - last <= reach))
        back = np.abs(moments - begin) < np.abs(moments - last)
        nearest = np.where(back, left, right)
        close = np.abs(moments - times[who, nearest]) <= reach
        share = np.where(along, moments - begin, 0) / np.where(along, span, 1)
        start, step = points[who, left], points[who, right] - points[who, left]
        moved = start + share[..., None] * step
        known = np.where(along[..., None], moved, points[who, nearest])
        return np.where((along | close)[..., None], known, np.nan)

    def _rows(self, agents: Sequence[Hashable]) -> Ints:
        try:
            return np.array([self._slots[agent] for agent in agents], np.int64)
        except KeyError as error:
            raise TrajflowError(
                f"agent {error.args[0]!r} was not seen lately; leave `ids` out for all who were"
            ) from None

    def _slot(self, agent: Hashable) -> int:
        if agent in self._slots:
            return self._slots[agent]
        if not self._free:
            self.crowded += 1
            self._drop(min(self._slots, key=lambda a: self.times[self._slots[a], -1]))
        slot = self._slots[agent] = self._free.pop()
        return slot

    def _drop(self, agent: Hashable) -> None:
        slot = self._slots.pop(agent)
        self.times[slot], self.points[slot] = -np.inf, np.nan
        self._free.append(slot)

    def _insert(self, slot: int, time: float, point: Floats) -> None:
        times, points = self.times[slot], self.points[slot]
        place = int(np.searchsorted(times, time))
        if place < len(times) and times[place] == time:
            points[place] = point
        elif place == 0:
            self.late += 1
        else:
            times[: place - 1], points[: place - 1] = times[1:place], points[1:place]
            times[place - 1], points[place - 1] = time, point
