"""A bounded buffer of the last observations of each agent."""

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

# Most agents in one push, as in one scene of a forecast.
MAX_IDS = 10_000
# Ids are stored and printed, so their length is bounded.
MAX_ID_LENGTH = 256
# Squares and differences of larger coordinates may overflow.
MAX_COORDINATE = 1e100
# This many late pushes in a row never count as a clock that was set back.
LATE_PUSHES = 3


@dataclass(frozen=True)
class Observations:
    """The observations of A agents at one moment.

    Attributes:
        ids: The agents.
        time: The present, which is the latest pushed time, in seconds.
        quiet: Seconds since a new latest time was pushed.
        times: Times of the observations relative to the present, ascending along K; -inf if there
            are fewer than K, [A, K].
        positions: Positions, [A, K, D].
    """

    ids: tuple[Hashable, ...]
    time: float
    quiet: float
    times: Floats
    positions: Floats


class ObservationBuffer:
    """The last K observations of up to N agents, sorted by time. Safe for several threads.

    All but the latest observation of an agent keep a minimum distance in time, so that K
    observations cover the past at any frame rate.

    Late pushes are sorted in. If all pushes are late for some time, the clock was set back, a
    simulation was restarted, or one wrong time was far ahead; the buffer is then emptied.
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
        """Allocate the buffer.

        Args:
            agents: Most agents, N; a new agent replaces the one not observed for longest.
            observations: Observations stored for each agent, K.
            dims: Coordinates, D.
            span: Seconds before the present that are stored.
            rewind_after: Seconds without a new latest time after which the clock counts as set
                back.
            clock: Returns the seconds that `rewind_after` is measured in.
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
        """The latest pushed time; -inf before the first push."""
        return self._now

    @property
    def dropped(self) -> dict[str, int]:
        """Number of dropped observations by reason."""
        return dict(self._dropped)

    def push(self, time: Any, ids: Iterable[Hashable], positions: Any) -> None:
        """Add positions [A, D] of agents at a time; one at the time of another replaces it.

        Raises:
            TrajflowError: Time, ids or positions are invalid; nothing is added.
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
        """The agents observed recently, the requested ones first, and the number of requested ones.

        Args:
            within: Seconds before the present that count as recent.
            ids: Requested agents; None: all, in the order of their first observation.

        Raises:
            TrajflowError: Nothing was pushed yet, or a requested agent was not observed recently.
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
        """Drop all observations."""
        with self._lock:
            self._clear()

    def after_fork(self) -> None:
        """Make the buffer usable in a forked child; it is emptied if another thread was pushing."""
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
        """Move the present to a newer time, or back if the clock was set back."""
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
        """Add an observation older than the latest one of its agent."""
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
        """A row for a new agent; None if all others were observed later than `time`."""
        if not self._free:
            self._dropped["crowded"] += 1
            oldest = int(self._times[:, -1].argmin())
            if self._times[oldest, -1] >= time:
                return None
            self._drop(oldest)
        return self._free.pop()

    def _forget(self, before: float) -> None:
        """Drop agents that were last observed before a time."""
        for row in np.flatnonzero(self._used & (self._times[:, -1] < before)):
            self._drop(int(row))

    def _drop(self, row: int) -> None:
        del self._rows[self._owners[row]]
        self._owners[row], self._used[row] = None, False
        self._times[row], self._positions[row] = -np.inf, np.nan
        self._free.append(row)


def checked_time(time: Any) -> float:
    """Check a time in seconds.

    Raises:
        TrajflowError: It is not a finite number.
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
    """Check ids, and convert them to plain Python values.

    Raises:
        TrajflowError: They are not a sequence, there are too many, one has an unsupported type or
            is too long, or one is repeated.
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
    """Convert an id to a plain Python value with a stable hash and a bounded size.

    Raises:
        TrajflowError: It has an unsupported type, is too long, or is NaN.
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
    """An id as a built-in type, whose hash cannot be overridden, and its number of characters.

    Raises:
        TypeError: The type is not supported.
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
        parts = [_plain(item, depth - 1) for item in agent]
        return tuple(part for part, _ in parts), sum(1 + size for _, size in parts)
    raise TypeError


def _short(value: object) -> str:
    """A value on one line, shortened, for an error."""
    try:
        return safe(reprlib.repr(value))
    except ValueError:  # an integer of so many digits that Python will not write it
        return f"an {type(value).__name__} too long to print"


def checked_positions(positions: Any, agents: int, dims: int) -> Floats:
    """Check positions of agents, [A, D]; NaN where masked.

    Raises:
        TrajflowError: They have another shape, or are not real numbers.
    """
    array = real_numbers(positions, "positions")
    if array.shape != (agents, dims) and (agents or array.size):
        raise TrajflowError(
            f"positions of {agents} agents must be [{agents}, {dims}], got {list(array.shape)}"
        )
    return array.reshape(agents, dims)
