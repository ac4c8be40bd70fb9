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
    """

    def __init__(self, cost: Cost) -> None:
        """Expect calls to take what they cost."""
        self.cost = cost
        self._ratios: deque[float] = deque(maxlen=CALLS)
        self._lock = threading.Lock()

    def learn(self, agents: int, draws: int, seconds: float) -> None:
        """A call that looked at so many agents and drew so many futures took so long."""
        with self._lock:
            self._ratios.append(seconds / self.cost(agents, draws))

    def samples(self, wanted: int, agents: int, drawn: int, left: float) -> int:
        """Futures of each agent that fit into the seconds left, `wanted` at most, maybe none.

        Args:
            wanted: Most futures of each.
            agents: Who is looked at.
            drawn: Who of them is forecast, one at least.
            left: Seconds.
        """
        with self._lock:
            ratio = max(self._ratios, default=1.0)
        fitting = MARGIN * left / max(ratio, 1e-9) - self.cost(agents, 0)
        return int(min(wanted, max(fitting / (self.cost.draw * drawn), 0)))

    def recover(self) -> None:
        """Forget the dearest call, so that one bad moment does not rule for ever."""
        with self._lock:
            if self._ratios:
                self._ratios.remove(max(self._ratios))
