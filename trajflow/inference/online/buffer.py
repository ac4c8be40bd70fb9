"""The last observations of each agent, checked, in arrays that never grow beyond their bounds."""

from __future__ import annotations

import math
import reprlib
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import TrajflowError
from trajflow.inference.inputs import real_numbers
from trajflow.text import safe

Floats = NDArray[np.float64]

MAX_IDS = 10_000
"""Ids of one push: as many as a predictor takes in one scene."""
MAX_ID_LENGTH = 256
"""Characters of an id, all texts and numbers in it together; ids are kept, and printed."""
MAX_COORDINATE = 1e100
"""Largest coordinate: squares and differences of larger ones may not be finite."""
LATE_PUSHES = 3
"""Late pushes in a row that are never taken for a clock that was set back."""


@dataclass(frozen=True)
class Observations:
    """What is known of A agents at one moment.

    Attributes:
        ids: The agents.
        time: The present: the latest time that was pushed, seconds.
        quiet: Seconds since a newer time than all before was pushed.
        times: When each agent was observed, relative to the present, ascending along K; -inf
            where there are fewer than K observations, [A, K].
        positions: Where, [A, K, D].
    """

    ids: tuple[Hashable, ...]
    time: float
    quiet: float
    times: Floats
    positions: Floats


class ObservationBuffer:
    """The last K observations of up to N agents, each in the order of their times.

    All but the latest observation of an agent keep a distance in time, so that K of them span the
    past however often an agent is observed. Threads may push and read at the same time.

    Late pushes are sorted in. Where pushes keep coming for a while and none is newer than the
    present, the clock was set back, a simulation began again, or one time was far ahead by
    mistake: all is forgotten.
    """

    def __init__(
        self,
        agents: int,
        observations: int,
        dims: int,
        span: float,
        rewind_after: float,
        clock: Callable[[], float],
    ) -> None:
        """Take all memory.

        Args:
            agents: Most agents, N; a new agent replaces the one not observed for longest.
            observations: Observations kept of each, K.
            dims: Coordinates, D.
            span: Seconds before the present that are kept.
            rewind_after: Seconds without a newer time after which the clock counts as set back.
            clock: Seconds that `rewind_after` is measured by.
        """
        self.span, self._spacing = span, span / (observations - 2)
        self._rewind_after, self._clock = rewind_after, clock
        self._times = np.full((agents, observations), -np.inf)
        self._positions = np.full((agents, observations, dims), np.nan)
        self._dropped = dict.fromkeys(
            ("not_finite", "too_large", "late", "dense", "crowded", "rewound"), 0
        )
        self._lock = threading.Lock()
        self._clear()

    @property
    def now(self) -> float:
        """The latest time that was pushed; -inf before the first."""
        return self._now

    @property
    def dropped(self) -> dict[str, int]:
        """What was dropped, counted, by reason."""
        return dict(self._dropped)

    def push(self, time: Any, ids: Iterable[Hashable], positions: Any) -> None:
        """Add where agents were at a time; positions [A, D].

        An observation at the time of another one replaces it.

        Raises:
            TrajflowError: Time, ids or positions are not what they should be; nothing is added.
        """
        moment, agents = checked_time(time), checked_ids(ids)
        points = checked_positions(positions, len(agents), self._positions.shape[-1])
        finite = np.asarray(np.isfinite(points).all(-1))
        usable = np.asarray(finite & (np.abs(points) <= MAX_COORDINATE).all(-1))
        agents = [agent for agent, good in zip(agents, usable, strict=True) if good]
        with self._lock:
            self._dropped["not_finite"] += len(finite) - int(finite.sum())
            self._dropped["too_large"] += int(finite.sum()) - len(agents)
            self._advance(moment)
            oldest = self._now - self.span
            if moment < oldest:
                self._dropped["late"] += len(agents)
                return
            self._add(moment, agents, points[usable])
            self._forget(oldest)

    def read(self, within: float, ids: Sequence[Hashable] | None) -> tuple[Observations, int]:
        """The agents observed lately, and how many of them were asked for: those come first.

        Args:
            within: Seconds before the present that count as lately.
            ids: Agents that are asked for; None: all, in the order in which they appeared.

        Raises:
            TrajflowError: Nothing was pushed yet, or an agent was not observed lately.
        """
        wanted = None if ids is None else checked_ids(ids)
        with self._lock:
            if self._now == -math.inf:
                raise TrajflowError("nobody was seen yet; push observations first")
            recent = self._now - self._times[:, -1] <= within
            present = [agent for agent, row in self._rows.items() if recent[row]]
            wanted = present if wanted is None else wanted
            chosen = set(wanted)
            if missing := chosen.difference(present):
                first = next(agent for agent in wanted if agent in missing)
                raise TrajflowError(
                    f"agent {first!r} was not seen lately; leave `ids` out for all who were"
                )
            agents = (*wanted, *(agent for agent in present if agent not in chosen))
            rows = np.array([self._rows[agent] for agent in agents], np.int64)
            times, positions = self._times[rows] - self._now, self._positions[rows]
            quiet = self._clock() - self._advanced
            return Observations(agents, self._now, quiet, times, positions), len(wanted)

    def reset(self) -> None:
        """Forget all observations."""
        with self._lock:
            self._clear()

    def after_fork(self) -> None:
        """Go on in a forked child: with what was pushed, unless a thread was about to push."""
        if self._lock.locked():
            self._lock = threading.Lock()
            self.reset()

    def _clear(self) -> None:
        self._times.fill(-np.inf)
        self._positions.fill(np.nan)
        agents = len(self._times)
        self._rows: dict[Hashable, int] = {}
        self._owners: list[Hashable] = [None] * agents
        self._used = np.zeros(agents, bool)
        self._free = list(range(agents - 1, -1, -1))
        self._now, self._late_pushes, self._advanced = -math.inf, 0, self._clock()

    def _advance(self, time: float) -> None:
        """Take a time for the present if it is newer, or if the clock was set back."""
        if time > self._now:
            self._now, self._late_pushes, self._advanced = time, 0, self._clock()
            return
        self._late_pushes += time < self._now
        quiet = self._clock() - self._advanced
        if self._late_pushes > LATE_PUSHES and quiet > self._rewind_after:
            self._clear()
            self._now = time
            self._dropped["rewound"] += 1

    def _add(self, time: float, agents: Sequence[Hashable], positions: Floats) -> None:
        stored = [k for k, agent in enumerate(agents) if agent in self._rows]
        rows = np.array([self._rows[agents[k]] for k in stored], np.int64)
        newer = self._times[rows, -1] < time
        self._append(rows[newer], time, positions[stored][newer])
        for k in np.flatnonzero(~newer):
            self._insert(int(rows[k]), time, positions[stored[k]])
        for agent, position in zip(agents, positions, strict=True):
            if agent not in self._rows and (row := self._free_row(time)) is not None:
                self._rows[agent], self._owners[row], self._used[row] = row, agent, True
                self._times[row, -1], self._positions[row, -1] = time, position

    def _append(self, rows: NDArray[np.int64], time: float, positions: Floats) -> None:
        """Add observations newer than all others of their agents."""
        before, last = self._times[rows, -2], self._times[rows, -1]
        spaced = last - before >= self._spacing
        self._dropped["dense"] += int((~spaced).sum())
        moving = rows[spaced]
        self._times[moving, :-1] = self._times[moving, 1:]
        self._positions[moving, :-1] = self._positions[moving, 1:]
        self._times[rows, -1], self._positions[rows, -1] = time, positions

    def _insert(self, row: int, time: float, position: Floats) -> None:
        """Add an observation that is not newer than all others of its agent."""
        times, positions = self._times[row], self._positions[row]
        place = int(np.searchsorted(times, time))
        if times[place] == time:
            positions[place] = position
        elif place == 0:
            self._dropped["late"] += 1
        elif min(times[place] - time, time - times[place - 1]) < self._spacing:
            self._dropped["dense"] += 1
        else:
            times[: place - 1], positions[: place - 1] = times[1:place], positions[1:place]
            times[place - 1], positions[place - 1] = time, position

    def _free_row(self, time: float) -> int | None:
        """A row for an agent first observed at a time; None where all others are newer."""
        if not self._free:
            self._dropped["crowded"] += 1
            oldest = int(self._times[:, -1].argmin())
            if self._times[oldest, -1] >= time:
                return None
            self._drop(oldest)
        return self._free.pop()

    def _forget(self, before: float) -> None:
        """Drop the agents who were not observed since a time."""
        for row in np.flatnonzero(self._used & (self._times[:, -1] < before)):
            self._drop(int(row))

    def _drop(self, row: int) -> None:
        del self._rows[self._owners[row]]
        self._owners[row], self._used[row] = None, False
        self._times[row], self._positions[row] = -np.inf, np.nan
        self._free.append(row)


def checked_time(time: Any) -> float:
    """A time in seconds.

    Raises:
        TrajflowError: It is no finite number.
    """
    if np.ma.is_masked(time):
        raise TrajflowError("time is masked; push at a known time, or leave the push out")
    try:
        if isinstance(time, str | bytes | np.timedelta64):
            raise TypeError
        seconds = float(time)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise TrajflowError(f"time must be a number of seconds, got {_short(time)}") from None
    if not math.isfinite(seconds):
        raise TrajflowError(f"time must be a finite number of seconds, got {seconds}")
    return seconds


def checked_ids(ids: Iterable[Hashable]) -> list[Hashable]:
    """Ids as plain Python values, each there once.

    Raises:
        TrajflowError: They are no sequence, there are too many, one is of another type or too
            long, or one is there twice.
    """
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise TrajflowError(f"ids must be a sequence of ids, got {_short(ids)}; write [...]")
    agents = [_checked_id(agent) for agent in islice(ids, MAX_IDS + 1)]
    if len(agents) > MAX_IDS:
        raise TrajflowError(f"a push holds at most {MAX_IDS} agents, got more; push in parts")
    if len(set(agents)) < len(agents):
        twice = next(agent for agent, count in Counter(agents).items() if count > 1)
        raise TrajflowError(f"agent {twice!r} is there twice; ids must be unique")
    return agents


def _checked_id(agent: Any) -> Hashable:
    """An id as a plain Python value, whose hash never changes and whose size is bounded.

    Raises:
        TrajflowError: It is of another type, too long, or not equal to itself.
    """
    if type(agent) is str and len(agent) <= MAX_ID_LENGTH:  # most are, and each push holds many
        return agent
    try:
        plain, size = _plain(agent)
    except TypeError:
        raise TrajflowError(
            f"ids must be numbers, strings, UUIDs or tuples of these, got {_short(agent)} "
            f"({type(agent).__name__}); push a string such as str(id)"
        ) from None
    if size > MAX_ID_LENGTH:
        raise TrajflowError(
            f"an id has at most {MAX_ID_LENGTH} characters, got {_short(agent)} of {size}; "
            "shorten it"
        )
    return plain


def _plain(agent: Any, depth: int = 3) -> tuple[Hashable, int]:
    """An id without a class of its own, which may have a hash of its own, and its characters.

    Raises:
        TypeError: It is of a type that ids cannot have.
    """
    if isinstance(agent, np.generic) and not isinstance(agent, np.datetime64 | np.timedelta64):
        agent = agent.item()
    if isinstance(agent, str):
        return str.__str__(agent), len(agent)
    if isinstance(agent, bytes):
        return bytes(agent), len(agent)
    if agent is None or isinstance(agent, bool):
        return agent, 1
    if isinstance(agent, int):
        return int(agent), 1 + agent.bit_length() // 3
    if isinstance(agent, float):
        if math.isnan(agent):
            raise TrajflowError(f"{agent!r} is not the same as itself, so it cannot be an id")
        return float(agent), 1
    if isinstance(agent, UUID):
        return UUID(int=agent.int), 1
    if isinstance(agent, tuple) and depth and len(agent) <= MAX_ID_LENGTH:
        parts = [_plain(one, depth - 1) for one in agent]
        return tuple(part for part, _ in parts), sum(1 + size for _, size in parts)
    raise TypeError


def _short(value: object) -> str:
    """A value for an error: on one line, and cut."""
    try:
        return safe(reprlib.repr(value))
    except ValueError:  # an integer of so many digits that Python will not write it
        return f"an {type(value).__name__} too long to print"


def checked_positions(positions: Any, agents: int, dims: int) -> Floats:
    """Positions of so many agents, [A, D]; NaN where one is masked.

    Raises:
        TrajflowError: They have another shape, or are no real numbers.
    """
    array = real_numbers(positions, "positions")
    if array.shape != (agents, dims) and (agents or array.size):
        raise TrajflowError(
            f"positions of {agents} agents must be [{agents}, {dims}], got {list(array.shape)}"
        )
    return array.reshape(agents, dims)
