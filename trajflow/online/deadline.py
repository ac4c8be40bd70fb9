"""How many futures can be drawn in the time that is left."""

from __future__ import annotations

from collections import deque

START = 2000
"""Draws that cost as much as a call does for itself, until calls have been timed."""


class Budget:
    """Seconds of a call as a start plus a share for each draw, both learned from the last calls.

    The dearest of the last calls counts: a deadline is about bad moments, not about usual ones.
    """

    def __init__(self, calls: int = 32, margin: float = 0.8) -> None:
        """Know nothing yet.

        Args:
            calls: How many of the last calls count.
            margin: Share of the time left that a call may be expected to take.
        """
        self._calls: deque[float] = deque(maxlen=calls)
        self.margin = margin

    def learn(self, draws: int, seconds: float) -> None:
        """A call of so many draws took so long."""
        self._calls.append(seconds / (START + draws))

    def expected(self, draws: int) -> float:
        """Seconds that a call of so many draws may take; 0 before the first one."""
        return max(self._calls, default=0.0) * (START + draws)

    def samples(self, wanted: int, agents: int, left: float) -> int:
        """Futures of each agent that fit into the seconds left, `wanted` at most, maybe none."""
        each = max(self._calls, default=0.0)
        if each == 0:
            return wanted
        fitting = (self.margin * left / each - START) / max(agents, 1)
        return int(min(wanted, max(fitting, 0)))

    def recover(self) -> None:
        """Forget the dearest call, so that one bad moment does not rule for ever."""
        if self._calls:
            self._calls.remove(max(self._calls))
