"""The latest time that was told, and whether the clock behind it was set back."""

from __future__ import annotations

import math
from collections.abc import Callable

FEW = 3
"""Late times in a row that are never taken for a clock that was set back."""


class Present:
    """The latest of the times that came in.

    A late time leaves it as it is. Where times keep coming for a while and none is later, the
    clock was set back, a simulation began again, or one time was far ahead by mistake.

    Attributes:
        time: The latest time, seconds; -inf before the first.
        rewound: How often the clock was set back.
    """

    def __init__(self, patience: float, clock: Callable[[], float]) -> None:
        """Know nothing yet.

        Args:
            patience: Seconds without a later time after which the clock counts as set back.
            clock: Seconds that patience is measured by.
        """
        self.patience, self._clock = patience, clock
        self.rewound = 0
        self.restart()

    def restart(self) -> None:
        """Know nothing again."""
        self.time, self._behind, self._moved = -math.inf, 0, self._clock()

    def tell(self, time: float) -> bool:
        """Take in a time; whether the clock was set back, and all that was known is void."""
        if time > self.time:
            self.time, self._behind, self._moved = time, 0, self._clock()
            return False
        self._behind += time < self.time
        back = self._behind > FEW and self.quiet() > self.patience
        if back:
            self.restart()
            self.time, self.rewound = time, self.rewound + 1
        return back

    def quiet(self) -> float:
        """Seconds since a later time came in."""
        return self._clock() - self._moved
