"""As many samples as there is time for, and no waiting for a call that takes longer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")
RECENT_CALLS = 32
"""Calls whose cost is remembered: one bad moment counts for a second or two."""
USABLE_SHARE = 0.8
"""Share of the remaining time that a call may be expected to take."""
TRIAL_AGENTS = 24
"""Agents of the larger trial call."""
TRIALS = 3
"""Calls that are timed of each kind, after one that is not: libraries load on it."""
RESERVE = 0.1
"""Share of the deadline kept for what follows a call, a millisecond at least."""
WAKE_DECAY = 0.98
"""How fast a late wake-up of this thread is forgotten, per call."""


@dataclass(frozen=True)
class CallCost:
    """Seconds of a call: a constant, and a share for each agent in the scene and each draw."""

    constant: float
    agent: float
    draw: float

    @classmethod
    def measure(cls, seconds: Callable[[int, int], float], samples: int) -> CallCost:
        """The cost of calls, from three of them.

        Args:
            seconds: Duration of a call for so many agents with so many samples each.
            samples: Most samples S of an agent.
        """
        one, many = seconds(1, 1), seconds(TRIAL_AGENTS, 1)
        full = seconds(TRIAL_AGENTS, samples) if samples > 1 else many
        draw = max(full - many, 0.0) / (TRIAL_AGENTS * max(samples - 1, 1))
        agent = max((many - one) / (TRIAL_AGENTS - 1) - draw, 0.0)
        return cls(max(one - agent - draw, 1e-6), agent, max(draw, 1e-9))

    def __call__(self, agents: int, draws: int) -> float:
        """Seconds of a call with so many agents in the scene and draws in total."""
        return self.constant + self.agent * agents + self.draw * draws


class SampleBudget:
    """How many samples fit into the remaining time, given what the last calls took.

    The slowest of the last calls counts: a deadline is about bad moments, not typical ones. Where
    nothing would fit, that call is forgotten and one sample is tried all the same. After a call
    that was not in time none is made for a while, twice as long after each such call in a row: a
    machine that is too slow is not slowed further, and is tried again.
    """

    def __init__(self, cost: CallCost) -> None:
        self.cost = cost
        self._slowdowns: deque[float] = deque(maxlen=RECENT_CALLS)
        self._pause, self._next_pause = 0, 1
        self.lock = threading.Lock()

    def record(self, agents: int, draws: int, seconds: float) -> None:
        """Take in what a call took."""
        with self.lock:
            self._slowdowns.append(seconds / self.cost(agents, draws))

    def finish(self, in_time: bool) -> None:
        """Take in whether the last call that was made was in time."""
        with self.lock:
            self._pause = 0 if in_time else self._next_pause
            self._next_pause = 1 if in_time else min(2 * self._next_pause, RECENT_CALLS)

    def samples(self, wanted: int, agents: int, targets: int, left: float) -> int:
        """Samples of each target that fit, `wanted` at most; 0 where no call shall be made.

        Args:
            wanted: Most samples of each.
            agents: Agents in the scene.
            targets: How many of them are forecast, one at least.
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


class CallThread:
    """Makes calls one after the other in a thread of its own, so that nobody has to wait for them.

    A call that was given up goes on to its end; the next one waits, or is given up too.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "trajflow-online")

    def run(self, call: Callable[[], Result], timeout: float | None) -> Result | None:
        """What a call returns; None where it takes longer than so many seconds, if any.

        Raises:
            Exception: Whatever the call raises in time.
        """
        future = self._pool.submit(call)
        try:
            return future.result(timeout if timeout is None else max(timeout, 0.0))
        except TimeoutError:
            future.cancel()
            return None


class DeadlineCaller:
    """Makes calls with as many samples as there is time for.

    Some calls are made at once: libraries load on the first, the others measure the cost.
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
            trial: Makes a call for so many agents with so many samples each.
            samples: Most samples S of an agent.
            deadline: Seconds; None: calls take their time.
            clock: Seconds that calls are measured by.
        """
        self.samples, self.deadline, self._clock = samples, deadline, clock
        self._thread = None if deadline is None else CallThread()
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
        """Go on in a forked child, where only the thread that forked still runs."""
        self._budget.lock = threading.Lock()
        # Also without a deadline: OpenMP waits for ever for the threads of the parent's thread.
        self._thread = CallThread()

    def __call__(
        self, call: Callable[[int], Result], agents: int, targets: int, began: float
    ) -> Result | None:
        """What `call(samples)` returns; None where there is no time for it.

        Args:
            call: Called with a number of samples.
            agents: Agents in its scene.
            targets: How many of them are forecast.
            began: When the time to answer in began.
        """
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
        return call() if self._thread is None else self._thread.run(call, timeout)
