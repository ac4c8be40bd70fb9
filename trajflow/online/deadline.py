"""How many futures can be drawn in the time that is left."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

CALLS = 32
"""Last calls that are remembered: one bad moment counts for a second or two."""
MARGIN = 0.8
"""Share of the time left that a call may be expected to take."""
MANY = 24
"""Agents of the larger trial call."""


@dataclass(frozen=True)
class Cost:
    """Seconds of a call: a start, a share for each agent looked at and for each draw."""

    start: float
    agent: float
    draw: float

    @classmethod
    def measured(cls, seconds: Callable[[int, int], float], samples: int) -> Cost:
        """The cost of calls, by three of them.

        Args:
            seconds: What a call takes for so many agents with so many samples each.
            samples: Most samples S of an agent.
        """
        one, many = seconds(1, 1), seconds(MANY, 1)
        full = seconds(MANY, samples) if samples > 1 else many
        draw = max(full - many, 0.0) / (MANY * max(samples - 1, 1))
        agent = max((many - one) / (MANY - 1) - draw, 0.0)
        return cls(max(one - agent - draw, 1e-6), agent, max(draw, 1e-9))

    def __call__(self, agents: int, draws: int) -> float:
        """Seconds of a call that looks at so many agents and draws so many futures of all."""
        return self.start + self.agent * agents + self.draw * draws


class Budget:
    """What fits into the time left, by the cost of a call and how far the last calls were off it.

    The dearest of the last calls counts: a deadline is about bad moments, not about usual ones.
    Where nothing would fit, that call is forgotten and one sample is dared all the same. After a
    call that was not in time none is made for a while, twice as long after each such call in a
    row: a machine that is too slow is not slowed further, and is tried again.
    """

    def __init__(self, cost: Cost) -> None:
        """Expect calls to take what they cost."""
        self.cost = cost
        self._ratios: deque[float] = deque(maxlen=CALLS)
        self._rest, self._next = 0, 1
        self.renew()

    def renew(self) -> None:
        """Take a new lock: a thread that a forked child lacks may hold the old one."""
        self._lock = threading.Lock()

    def learn(self, agents: int, draws: int, seconds: float) -> None:
        """A call that looked at so many agents and drew so many futures took so long."""
        with self._lock:
            self._ratios.append(seconds / self.cost(agents, draws))

    def ended(self, in_time: bool) -> None:
        """Whether the last call that was allowed came in time."""
        with self._lock:
            self._rest = 0 if in_time else self._next
            self._next = 1 if in_time else min(2 * self._next, CALLS)

    def samples(self, wanted: int, agents: int, drawn: int, left: float) -> int:
        """Futures of each agent that may be asked for, `wanted` at most, maybe none.

        Args:
            wanted: Most futures of each.
            agents: Who is looked at.
            drawn: Who of them is forecast, one at least.
            left: Seconds.
        """
        with self._lock:
            if self._rest or left <= 0:
                self._rest = max(self._rest - 1, 0)
                return 0
            dearest = max(self._ratios, default=1.0)
            spare = MARGIN * left / max(dearest, 1e-9) - self.cost(agents, 0)
            fitting = min(wanted, int(max(spare / (self.cost.draw * drawn), 0)))
            if not fitting and self._ratios:
                self._ratios.remove(dearest)
            return max(fitting, 1)
