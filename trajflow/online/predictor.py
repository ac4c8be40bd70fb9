"""A predictor that is told what is seen and asked, at any time, what comes next."""

from __future__ import annotations

import math
import os
import threading
import time as clocks
from collections.abc import Callable, Hashable, Sequence
from weakref import WeakSet

import numpy as np
from numpy.typing import ArrayLike

from trajflow.errors import TrajflowError
from trajflow.online.answer import OnlineForecast
from trajflow.online.door import (
    LARGEST,
    check_seen,
    check_settings,
    checked_ids,
    checked_points,
    checked_time,
)
from trajflow.online.drawing import Drawing
from trajflow.online.memory import Memory
from trajflow.online.predicting import Predicting
from trajflow.online.present import Present
from trajflow.online.resampling import resampled

_LIVING: WeakSet[OnlinePredictor] = WeakSet()


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
        dt: float | None = None,
        *,
        samples: int = 20,
        seed: int | None = 0,
        deadline_ms: float | None = None,
        stale_after: float = 1.0,
        rewind_after: float = 1.0,
        gap: float | None = None,
        forget_after: float | None = None,
        most_agents: int = 256,
        observations: int = 256,
        far: float = 1e5,
        clock: Callable[[], float] = clocks.monotonic,
    ) -> None:
        """Prepare, and let the network run some times so that the first answer is no slower.

        Args:
            predictor: What draws the futures.
            dt: Seconds per step of pasts and forecasts; None: as the predictor was trained.
                Others serve only a model of several rates.
            samples: Futures of each agent.
            seed: Equal seeds and observations give equal forecasts; None draws afresh.
            deadline_ms: Milliseconds within which `forecast` shall answer: with fewer samples
                rather than late, then with none of the network's. None: it takes its time.
            stale_after: Seconds without a newer push after which forecasts say they are stale.
            rewind_after: Seconds in which pushes come but none is newer than the present, after
                which their clock counts as set back: all is forgotten and begins again.
            gap: Longest time between two observations that is bridged, the length of a past at
                most; None: three steps.
            forget_after: Seconds after which an agent who is not seen is given up, the length of
                a past at most; None: that.
            most_agents: Agents that are remembered at once.
            observations: Observations that are kept of each, four for every step at least. Where
                agents are seen so often that the past does not fit, it is kept more coarsely.
            far: Distance from the middle of all agents, in the predictor's unit, beyond which an
                agent goes straight on and is kept from the network, whose precision is single.
            clock: Seconds that deadlines and staleness are measured by.

        Raises:
            ConfigError: A number is out of bounds, or the predictor does not know that `dt`.
        """
        self.dt = predictor.dt if dt is None else float(dt)
        length = (predictor.history - 0.5) * self.dt
        self.gap = min(3 * self.dt if gap is None else gap, length)
        self.forget_after = length if forget_after is None else min(forget_after, length)
        check_settings(
            [
                ("dt", self.dt, 0, False),
                ("samples", samples, 1, True),
                ("deadline_ms", math.inf if deadline_ms is None else deadline_ms, 0, False),
                ("stale_after", stale_after, 0, False),
                ("rewind_after", rewind_after, 0, False),
                ("gap", self.gap, 0, True),
                ("forget_after", self.forget_after, 0, True),
                ("most_agents", most_agents, 1, True),
                ("observations", observations, 4 * predictor.history, True),
                ("far", far, 0, False),
            ]
        )
        self.predictor, self.stale_after = predictor, stale_after
        self._clock, self._lock = clock, threading.Lock()
        self._keep = length + max(self.gap, self.dt)
        spacing = self._keep / (observations - 2)
        self._memory = Memory(most_agents, observations, predictor.dims, spacing)
        self._present = Present(rewind_after, clock)
        self._not_finite = self._too_large = self._quarantined = 0
        self.deadline = None if deadline_ms is None else deadline_ms / 1000
        self._drawing = Drawing(predictor, self.dt, samples, seed, self.deadline, far, clock)
        _LIVING.add(self)

    @property
    def dropped(self) -> dict[str, int]:
        """What was given up, counted.

        Observations that were `not_finite` (or masked), `too_large` to compute with, too `late` to
        matter, or too `dense` to be kept; agents that found no room (`crowded`); how often an agent
        was kept from the network by a forecast (`quarantined`), and the clock set back (`rewound`).
        """
        memory = self._memory
        told = {"not_finite": self._not_finite, "too_large": self._too_large}
        told |= {"quarantined": self._quarantined}
        told |= {name: getattr(memory, name) for name in ("late", "dense", "crowded")}
        return told | {"rewound": self._present.rewound}

    def push(self, time: float, ids: Sequence[Hashable], positions: ArrayLike) -> None:
        """Tell where agents were at a time.

        An observation may come late; it takes its place among the others. A position that is not
        finite, masked or beyond +-1e100 is left out and counted in `dropped`. A push of nobody
        tells that time goes on.

        Args:
            time: Seconds, on the clock of all pushes.
            ids: Who was seen, each once: strings, numbers, UUIDs, or tuples of these, of 256
                characters at most. An id is one agent for as long as it is remembered.
            positions: Where, [A, D], in the predictor's unit.

        Raises:
            TrajflowError: Time, ids or positions are not what they should be; nothing was taken.
        """
        moment, agents = checked_time(time), checked_ids(ids)
        points = checked_points(positions, len(agents), self.predictor.dims)
        finite = np.isfinite(points).all(-1)
        known = np.asarray(finite & (np.abs(points) <= LARGEST).all(-1))
        seen = [agent for agent, one in zip(agents, known, strict=True) if one]
        with self._lock:
            self._not_finite += len(agents) - int(finite.sum())
            self._too_large += int(finite.sum()) - len(seen)
            if self._present.tell(moment):
                self._memory.forget()
            if moment < (oldest := self._present.time - self._keep):
                self._memory.late += len(seen)
                return
            self._memory.add(moment, seen, points[known])
            self._memory.forget(oldest)

    def reset(self) -> None:
        """Forget all that was pushed, as when a simulation begins again."""
        with self._lock:
            self._memory.forget()
            self._present.restart()

    def forecast(self, ids: Sequence[Hashable] | None = None) -> OnlineForecast:
        """Futures from the last pushed time on.

        Args:
            ids: Who is forecast, in this order; the others only stand around them. None: all who
                were seen lately, in the order in which they appeared, maybe nobody.

        Raises:
            TrajflowError: Nothing was pushed yet, or somebody asked for was not seen lately.
        """
        began = self._clock()
        asked = None if ids is None else checked_ids(ids)
        with self._lock:
            now, quiet = self._present.time, self._present.quiet()
            if now == -math.inf:
                raise TrajflowError("nobody was seen yet; push observations first")
            everyone = self._memory.agents(now, self.forget_after)
            wanted = everyone if asked is None else asked
            check_seen(wanted, everyone)
            chosen = set(wanted)
            others = [agent for agent in everyone if agent not in chosen]
            times, points = self._memory.take([*wanted, *others])
        times = times - now
        past = resampled(times, points, self.predictor.history, self.dt, self.gap)
        ids, count = tuple(wanted), len(wanted)
        drawn = self._drawing(past, ids, began)
        faults = drawn.forecast.faults
        if faults is not None and (bad := sum(fault is not None for fault in faults)):
            with self._lock:
                self._quarantined += bad
        took = self._clock() - began
        return OnlineForecast(
            forecast=drawn.forecast,
            ids=ids,
            time=now,
            seen=np.isfinite(past[:count]).all(-1).sum(-1),
            age=0.0 - times[:count, -1],
            straight=drawn.straight,
            fallback=drawn.fallback,
            thinned=drawn.thinned,
            late=self.deadline is not None and took > self.deadline,
            stale=quiet > self.stale_after,
            seconds=took,
        )

    def _after_fork(self) -> None:
        """Go on in a child, knowing what was pushed unless a thread was just about to push."""
        if self._lock.locked():
            self._lock = threading.Lock()
            self.reset()
        self._drawing.renew()


def _after_fork() -> None:
    for online in list(_LIVING):
        online._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
