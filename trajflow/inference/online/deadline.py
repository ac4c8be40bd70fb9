"""Calls with as many samples as fit a deadline, without waiting for calls that take longer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")
# One slow call influences a second or two.
RECENT_CALLS = 32
# Share of the remaining time that a call is planned to take.
USABLE_SHARE = 0.8
# Agents of the larger trial call.
TRIAL_AGENTS = 24
# Timed trial calls of each kind, after one untimed call that loads libraries.
TRIALS = 3
# Share of the deadline reserved for work after a call, at least a millisecond.
RESERVE = 0.1
# Decay per call of the measured delay in waking up this thread.
WAKE_DECAY = 0.98
THREAD = "trajflow-online"


@dataclass(frozen=True)
class CallCost:
    """Cost of a call in seconds: a constant, plus a cost per agent in the scene and per draw."""

    constant: float
    agent: float
    draw: float

    @classmethod
    def measure(cls, seconds: Callable[[int, int], float], samples: int) -> CallCost:
        """Measure the cost with three kinds of calls."""
        single, many = seconds(1, 1), seconds(TRIAL_AGENTS, 1)
        full = seconds(TRIAL_AGENTS, samples) if samples > 1 else many
        draw = max(full - many, 0.0) / (TRIAL_AGENTS * max(samples - 1, 1))
        agent = max((many - single) / (TRIAL_AGENTS - 1) - draw, 0.0)
        return cls(max(single - agent - draw, 1e-6), agent, max(draw, 1e-9))

    def __call__(self, agents: int, draws: int) -> float:
        """Seconds of a call with this many agents in the scene and draws in total."""
        return self.constant + self.agent * agents + self.draw * draws


class SampleBudget:
    """Plans how many samples fit the remaining time, from the durations of the last calls.

    The slowest of the last calls counts, because a deadline must hold in the worst case. If nothing
    fits, that call is forgotten and one sample is tried. After a late call no call is made for some
    time, which doubles with each late call in a row, so that a slow machine is not slowed further.
    """

    def __init__(self, cost: CallCost) -> None:
        self.cost = cost
        self._slowdowns: deque[float] = deque(maxlen=RECENT_CALLS)
        self._pause, self._next_pause = 0, 1
        self.lock = threading.Lock()

    def record(self, agents: int, draws: int, seconds: float) -> None:
        """Record the duration of a call."""
        with self.lock:
            self._slowdowns.append(seconds / self.cost(agents, draws))

    def finish(self, in_time: bool) -> None:
        """Record whether the last call met the deadline."""
        with self.lock:
            self._pause = 0 if in_time else self._next_pause
            self._next_pause = 1 if in_time else min(2 * self._next_pause, RECENT_CALLS)

    def samples(self, wanted: int, agents: int, targets: int, left: float) -> int:
        """Number of samples of each target that fit, at most `wanted`; 0 if no call should be made.

        Args:
            wanted: Most samples of each target.
            agents: Agents in the scene.
            targets: Number of forecast agents, at least 1.
            left: Remaining seconds.
        """
        with self.lock:
            if self._pause or left <= 0:
                self._pause = max(self._pause - 1, 0)
                return 0
            slowest = max(self._slowdowns, default=1.0)
            spare = USABLE_SHARE * left / max(slowest, 1e-9) - self.cost(agents, 0)
            fitting = min(wanted, int(max(spare / (self.cost.draw * targets), 0)))
            if not fitting and self._slowdowns:
                self._slowdowns.remove(slowest)
            return max(fitting, 1)


class DeadlineCaller:
    """Makes calls with as many samples as fit the deadline. Trial calls measure the cost first.

    With a deadline, calls run in a thread of their own, so that the caller can stop waiting. A call
    that timed out runs to its end; the next one waits for it, or times out too.
    """

    def __init__(
        self,
        trial: Callable[[int, int], object],
        samples: int,
        deadline: float | None,
        clock: Callable[[], float],
    ) -> None:
        """Measure the cost of calls.

        Args:
            trial: Makes a call for a number of agents and of samples.
            samples: Most samples S of an agent.
            deadline: Seconds; None: no deadline.
            clock: Returns the seconds that calls are measured in.
        """
        self.samples, self.deadline, self._clock = samples, deadline, clock
        self._thread = None if deadline is None else ThreadPoolExecutor(1, THREAD)
        self._late_wake = 0.0

        def seconds(agents: int, samples: int) -> float:
            durations = []
            for _ in range(1 + TRIALS):
                began = clock()
                self._run(lambda: trial(agents, samples), None)
                durations.append(clock() - began)
            return min(durations[1:])

        self._budget = SampleBudget(CallCost.measure(seconds, samples))

    def after_fork(self) -> None:
        """Make it usable in a forked child, where only the forking thread still runs."""
        self._budget.lock = threading.Lock()
        # Also without a deadline: OpenMP waits for ever for the threads of the parent's thread.
        self._thread = ThreadPoolExecutor(1, THREAD)

    def __call__(
        self, call: Callable[[int], Result], agents: int, targets: int, began: float
    ) -> Result | None:
        """The result of `call(samples)`; None if there is no time for it."""
        if self.deadline is None:
            return self._run(lambda: call(self.samples), None)
        left = self.deadline - (self._clock() - began)
        samples = self._budget.samples(self.samples, agents, targets, left)
        if samples < 1:
            return None

        def timed() -> Result:
            start = self._clock()
            result = call(samples)
            self._budget.record(agents, samples * targets, self._clock() - start)
            return result

        reserve = max(RESERVE * self.deadline, 1e-3) + self._late_wake
        timeout = max(left - reserve, left / 2)
        result = self._run(timed, timeout)
        overrun = self._clock() - began - (self.deadline - left + timeout)
        self._late_wake = max(overrun if result is None else 0.0, WAKE_DECAY * self._late_wake)
        self._budget.finish(result is not None and overrun <= left - timeout)
        return result

    def _run(self, call: Callable[[], Result], timeout: float | None) -> Result | None:
        """The result of a call; None after a timeout in seconds (None: no timeout)."""
        if self._thread is None:
            return call()
        future = self._thread.submit(call)
        try:
            return future.result(timeout if timeout is None else max(timeout, 0.0))
        except TimeoutError:
            future.cancel()
            return None
