"""Fills a place from irregular observations while forecasts are made."""

from __future__ import annotations

import math
import threading

from trajflow.inference.online.buffer import ObservationBuffer
from trajflow.inference.online.resampling import resample
from trajflow.observations import GAP
from trajflow.place import Moment, Place


class Watcher:
    """Fills a place at regular steps from a buffer of observations, one step behind the present.

    The delay leaves time for late observations, and for an observation after the step to
    interpolate to.
    """

    def __init__(self, place: Place, dt: float, max_gap: float) -> None:
        """Watch a place.

        Args:
            place: The place to fill, at the scene "".
            dt: Seconds per step.
            max_gap: Longest gap between two observations that is interpolated, in seconds.
        """
        self.place, self._dt, self._max_gap = place, dt, max_gap
        self._lock = threading.Lock()
        self._time, self._offset, self._next = -math.inf, 0, 0

    def follow(self, buffer: ObservationBuffer) -> None:
        """Add the steps that are complete since the last call."""
        with self._lock:
            if buffer.now == -math.inf:
                return
            if self._time == -math.inf or buffer.now < self._time:
                self._begin(buffer.now)
            self._time = buffer.now
            last = self._step(self._time) - 1
            if self._next > last:
                return
            observed, _ = buffer.read(2 * self._dt + self._max_gap, None)
            # After a long silence only the steps that the buffer still knows.
            for step in range(max(self._next, last - GAP), last + 1):
                ago = observed.time - self._dt * (step - self._offset)
                times = observed.times + ago
                points = resample(times, observed.positions, 1, self._dt, self._max_gap)[:, 0]
                self.place.push("", step, observed.ids, points)
            self._next = last + 1

    def moment(self, time: float) -> Moment:
        """The place at a time of the buffer's clock."""
        with self._lock:
            step = self._step(time)
            return self.place.at("", step, time / self._dt + self._offset - step)

    def after_fork(self) -> None:
        """Make it usable in a forked child."""
        self._lock = threading.Lock()
        self.place.after_fork()

    def _begin(self, time: float) -> None:
        """Continue the steps of the place when a clock begins or was set back."""
        step, latest = math.floor(time / self._dt), self.place.latest()
        self._offset = max(0, latest + GAP + 2 - step) if len(self.place) else max(0, -step)
        self._next = step + self._offset

    def _step(self, time: float) -> int:
        return math.floor(time / self._dt) + self._offset
