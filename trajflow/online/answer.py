"""What a loop gets: a forecast, and how far it can be relied on."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajflow.forecast import Forecast


@dataclass(frozen=True)
class OnlineForecast:
    """A forecast, and how far it can be relied on.

    Attributes:
        forecast: The futures of A agents, from `time` on.
        ids: Who they are, A of them.
        time: The present: the latest time that was pushed, in seconds; nan before the first push.
        seen: Past steps of each agent that were known, [A].
        age: Seconds since each agent was last seen, [A].
        straight: Who goes straight on instead of as the network says, [A]: all of them where
            there was no time for it, else those it gives nothing finite for or who are too far
            from the others.
        fallback: Whether there was no time for the network, and all go on as they went.
        thinned: Whether there are fewer samples than asked for, to be in time.
        late: Whether it came after the deadline all the same.
        stale: Whether nothing newer was pushed for longer than allowed.
        seconds: What it took.
    """

    forecast: Forecast
    ids: tuple[Hashable, ...]
    time: float
    seen: NDArray[np.int64]
    age: NDArray[np.float64]
    straight: NDArray[np.bool_]
    fallback: bool
    thinned: bool
    late: bool
    stale: bool
    seconds: float
