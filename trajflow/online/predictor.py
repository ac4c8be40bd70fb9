"""A predictor that is told what is seen and asked, at any time, what comes next."""

from __future__ import annotations

import threading
import time as clocks
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajflow.errors import ConfigError, TrajflowError
from trajflow.forecast import Forecast
from trajflow.online.deadline import Budget
from trajflow.online.memory import Floats, Memory


class Predicting(Protocol):
    """What draws the futures: a `Predictor` or a `Mixture`."""

    @property
    def history(self) -> int:
        """Past steps T."""

    @property
    def horizon(self) -> int:
        """Future steps F."""

    @property
    def dims(self) -> int:
        """Coordinates D."""

    @property
    def dt(self) -> float:
        """Seconds per step."""

    def predict(
        self,
        past: ArrayLike,
        neighbours: ArrayLike | None = None,
        samples: int = 20,
        seed: int | None = None,
        agents: Sequence[object] = (),
    ) -> Forecast:
        """Futures of pasts [A, T, D]."""


@dataclass(frozen=True)
class OnlineForecast:
    """A forecast, and how far it can be relied on.

    Attributes:
        forecast: The futures of A agents, from `time` on.
        ids: Who they are, A of them.
        time: The present: when the last observation came in, in seconds of the pushed times.
        seen: Past steps of each agent that were known, [A].
        age: Seconds since each agent was last seen, [A].
        fallback: Whether there was no time for the network, and all go on as they went.
        thinned: Whether there are fewer samples than asked for, to be in time.
        late: Whether it came after the deadline all the same.
        stale: Whether nothing was pushed for longer than allowed.
        seconds: What it took.
    """

    forecast: Forecast
    ids: tuple[Hashable, ...]
    time: float
    seen: NDArray[np.int64]
    age: Floats
    fallback: bool
    thinned: bool
    late: bool
    stale: bool
    seconds: float


class OnlinePredictor:
    """Forecasts from observations that come in irregularly, late, and with gaps.

    Threads may push and ask at the same time. What is kept is bounded: the last observations of
    so many agents.

    Example:
        >>> online = OnlinePredictor(predictor, deadline_ms=50)  # doctest: +SKIP
        >>> online.push(12.05, ["a", "b"], [[0.1, 2.0], [4.2, 1.1]])  # doctest: +SKIP
        >>> online.forecast().forecast.samples.shape  # doctest: +SKIP
        (20, 2, 12, 2)
    """

    def __init__(
        self,
        predictor: Predicting,
        *,
        samples: int = 20,
        seed: int | None = 0,
        deadline_ms: float | None = None,
        stale_after: float = 1.0,
        gap: float | None = None,
        forget_after: float | None = None,
        most_agents: int = 256,
        observations: int = 256,
        clock: Callable[[], float] = clocks.monotonic,
    ) -> None:
        """Prepare, and let the network run once so that the first answer is no slower.

        Args:
            predictor: What draws the futures.
            samples: Futures of each agent.
            seed: Equal seeds and observations give equal forecasts; None draws afresh.
            deadline_ms: Milliseconds within which `forecast` shall answer: with fewer samples
                rather than late, then with none of the network's. None: it takes its time.
            stale_after: Seconds without a push after which forecasts say that they are stale.
            gap: Longest time between two observations that is bridged; None: three steps.
            forget_after: Seconds after which an agent who is not seen is given up, the length of
                a past at most; None: that.
            most_agents: Agents that are remembered at once.
            observations: Observations that are kept of each.
            clock: Seconds that deadlines and staleness are measured by.

        Raises:
            ConfigError: A number is out of bounds.
        """
        least = {"samples": (samples, 1), "most_agents": (most_agents, 1)}
        for name, (number, bound) in (least | {"observations": (observations, 2)}).items():
            if number < bound:
                raise ConfigError(f"{name} must be at least {bound}, got {number}")
        if deadline_ms is not None and deadline_ms <= 0:
            raise ConfigError(
                f"deadline_ms must be above 0, got {deadline_ms}; None is no deadline"
            )
        self.predictor, self.samples, self.seed = predictor, samples, seed
        self.deadline = None if deadline_ms is None else deadline_ms / 1000
        self.stale_after, self.gap = stale_after, 3 * predictor.dt if gap is None else gap
        length = (predictor.history - 0.5) * predictor.dt
        self.forget_after = length if forget_after is None else min(forget_after, length)
        self.refused = 0
        self._clock, self._lock = clock, threading.Lock()
        self._memory = Memory(most_agents, observations, predictor.dims)
        self._now, self._pushed, self._budget = -np.inf, clock(), Budget()
        self._warm()

    @property
    def dropped(self) -> dict[str, int]:
        """Observations and agents that were given up: not finite, too late, no room."""
        memory = self._memory
        return {"not_finite": self.refused, "late": memory.late, "crowded": memory.crowded}

    def push(self, time: float, ids: Sequence[Hashable], positions: ArrayLike) -> None:
        """Tell where agents were at a time.

        An observation may come late; it takes its place among the others. A position that is not
        finite is left out and counted in `dropped`.

        Args:
            time: Seconds, on the clock of all pushes.
            ids: Who was seen, each once.
            positions: Where, [A, D], in the predictor's unit.

        Raises:
            TrajflowError: Time, ids or positions are not what they should be; nothing was taken.
        """
        points = self._checked(time, ids, positions)
        known = np.asarray(np.isfinite(points).all(-1))
        with self._lock:
            self.refused += int((~known).sum())
            seen = [agent for agent, one in zip(ids, known, strict=True) if one]
            self._memory.add(float(time), seen, points[known])
            self._now, self._pushed = max(self._now, float(time)), self._clock()
            self._memory.forget(self._now - self.forget_after)

    def forecast(self, ids: Sequence[Hashable] | None = None) -> OnlineForecast:
        """Futures from the last pushed time on.

        Args:
            ids: Who is forecast; the others only stand around them. None: all who are known.

        Raises:
            TrajflowError: Nobody is known, or one of them is not.
        """
        began = self._clock()
        with self._lock:
            everyone, now, pushed = self._memory.agents(), self._now, self._pushed
            wanted = everyone if ids is None else list(ids)
            if not wanted:
                raise TrajflowError("nobody was seen lately; push observations first")
            others = [agent for agent in everyone if agent not in set(wanted)]
            past, age = self._past([*wanted, *others], now)
        drawn = self._draw(past, tuple(wanted), began)
        took = self._clock() - began
        return OnlineForecast(
            forecast=drawn or self._straight(past[: len(wanted)], tuple(wanted)),
            ids=tuple(wanted),
            time=now,
            seen=np.isfinite(past).all(-1).sum(-1)[: len(wanted)],
            age=age[: len(wanted)],
            fallback=drawn is None,
            thinned=drawn is not None and len(drawn.samples) < self.samples,
            late=self.deadline is not None and took > self.deadline,
            stale=began - pushed > self.stale_after,
            seconds=took,
        )

    def _checked(self, time: float, ids: Sequence[Hashable], positions: ArrayLike) -> Floats:
        """Positions [A, D] of a push.

        Raises:
            TrajflowError: The push is not what it should be.
        """
        if not np.isfinite(time):
            raise TrajflowError(f"time must be a finite number of seconds, got {time}")
        if len(set(ids)) != len(ids):
            twice = next(agent for agent in ids if list(ids).count(agent) > 1)
            raise TrajflowError(f"agent {twice!r} is there twice at {time:g} s; ids must be unique")
        try:
            points = np.asarray(positions, np.float64)
        except (TypeError, ValueError) as error:
            raise TrajflowError(f"positions must be an array of numbers: {error}") from None
        if points.shape != (len(ids), self.predictor.dims) and (len(ids) or points.size):
            raise TrajflowError(
                f"positions of {len(ids)} agents must be [{len(ids)}, {self.predictor.dims}], "
                f"got {list(points.shape)}"
            )
        return points.reshape(len(ids), self.predictor.dims)

    def _past(self, agents: Sequence[Hashable], now: float) -> tuple[Floats, Floats]:
        """Pasts [A, T, D] of agents, and seconds since each was seen, [A]."""
        ago = np.arange(self.predictor.history)[::-1] * self.predictor.dt
        past = self._memory.positions(agents, np.float64(now) - ago, self.gap)
        return past, now - self._memory.last(agents)

    def _draw(self, past: Floats, ids: tuple[Hashable, ...], began: float) -> Forecast | None:
        """Futures of the first agents [A, T, D] among all; None where there is no time for any."""
        samples = self.samples
        if self.deadline is not None:
            left = self.deadline - (self._clock() - began)
            samples = self._budget.samples(samples, len(past), left)
        if samples < 1:
            self._budget.recover()
            return None
        known, around = past[: len(ids)], past[len(ids) :]
        begin = self._clock()
        drawn = self.predictor.predict(known, around, samples, self.seed, ids)
        self._budget.learn(samples * len(past), self._clock() - begin)
        return drawn

    def _straight(self, past: Floats, ids: tuple[Hashable, ...]) -> Forecast:
        """One future of each agent: on as it went between the last two steps it was seen."""
        step, seen = np.arange(past.shape[1]), np.isfinite(past).all(-1)
        last = np.where(seen, step, -1).max(1)
        before = np.where(seen & (step < last[:, None]), step, -1).max(1)
        who, known = np.arange(len(past)), before >= 0
        gap = np.where(known, last - before, 1)[:, None]
        pace = np.where(known[:, None], past[who, last] - past[who, before], 0) / gap
        ahead = np.arange(1, self.predictor.horizon + 1) + (len(step) - 1 - last)[:, None]
        futures = past[who, last][:, None] + ahead[..., None] * pace[:, None]
        return Forecast(futures[None], self.predictor.dt, ids)

    def _warm(self) -> None:
        """Two calls whose time does not count: libraries load on the first one."""
        past = np.zeros((2, self.predictor.history, self.predictor.dims))
        for _ in range(2):
            self.predictor.predict(past, None, self.samples, 0)
