"""A first look at all tracks: the usual step, how fast agents go, and whose units differ."""

from dataclasses import dataclass, field

import numpy as np

from trajflow.batch import Bools, Floats, Ints
from trajflow.datasets.motion import continuous, medians, running_speed, steps_of, straightness
from trajflow.datasets.parts import Part

KEEP = 1 << 14
NEAR = 0.25
"""Times this close to the median are averaged."""
ROUNDED = 0.02
"""Clocks are rounded by less than this share of a step; a mean further off is jitter."""
STRAIGHT = 0.6
FAST = 20.0
"""A jump is this many times faster than the 99th percentile of running speeds."""


@dataclass
class Sample:
    """At most 2 x 16 384 values that stand for all seen, evenly thinned."""

    values: Floats = field(default_factory=lambda: np.empty(0))
    every: int = 1
    _skip: int = 0

    def add(self, values: Floats) -> None:
        """Take notice of more values, [N]."""
        self.values = np.concatenate((self.values, values[self._skip :: self.every]))
        self._skip = (self._skip - len(values)) % self.every
        while len(self.values) >= 2 * KEEP:
            self.values = self.values[::2]
            self.every *= 2


@dataclass
class Beat:
    """The time from row to row that most rows have.

    Clocks are written with few digits: 30 frames per second as 0.033, 0.033, 0.034 s. The mean of
    the times near the median is exact where the median would drift off the grid.
    """

    sample: Sample = field(default_factory=Sample)
    total: float = 0.0
    count: int = 0
    _middle: float = np.nan

    def add(self, seconds: Floats) -> None:
        """Take notice of more times, [N]."""
        self.sample.add(seconds)
        if len(seconds) and not self.count:
            self._middle = _middle(seconds)
        near = seconds[np.abs(seconds - self._middle) <= NEAR * self._middle]
        self.total += float(near.sum())
        self.count += len(near)

    def usual(self) -> float | None:
        """The usual time; None if there was none."""
        if not self.count:
            return None
        median, mean = _middle(self.sample.values), self.total / self.count
        return float(f"{mean if abs(mean - median) < ROUNDED * median else median:.9g}")


class Survey:
    """What a pass over all parts finds, in the clock and the unit of the files.

    Attributes:
        beat: Times from row to row.
        running: Running speeds of moving agents.
        pace: Median speed of each trajectory while it moves, [K]; NaN where it hardly does.
        travels: Whether a trajectory goes anywhere rather than standing or jittering, [K].
        low, high: Corners of the box around each trajectory, [K, D].
        crossings: Steps that look like longitudes crossing the date line.
    """

    def __init__(self, tracks: int, dims: int, unit: str | None) -> None:
        self.beat, self.running = Beat(), Sample()
        self.pace = np.full(tracks, np.nan)
        self.travels: Bools = np.zeros(tracks, np.bool_)
        self.low, self.high = np.full((tracks, dims), np.nan), np.full((tracks, dims), np.nan)
        self.crossings = 0
        self._longitudes = unit == "degree"

    def add(self, part: Part) -> None:
        """Look at whole trajectories."""
        again = (part.track[1:] == part.track[:-1]) & (part.time[1:] == part.time[:-1])
        part = part.take(np.concatenate(([True], ~again)))
        found, track = np.unique(part.track, return_inverse=True)
        position = part.position.copy()
        if self._longitudes:
            position[:, 0] = continuous(position[:, 0], part.track)
        self._boxes(found, track, position)
        order = np.argsort(track, kind="stable")
        track, position = track[order], position[order]
        steps = steps_of(track, part.time[order], position)
        self.crossings += _crossings(steps.row, position)
        self.beat.add(steps.seconds)
        speed = running_speed(steps)
        self.running.add(speed[speed > 0])
        moving = steps.length > 0
        self.pace[found] = medians(steps.speed[moving], steps.track[moving], len(found), least=3)
        where, ratio = straightness(steps, position)
        self.travels[found] = medians(ratio, where, len(found), least=3) >= STRAIGHT

    def fastest(self) -> float | None:
        """A speed that only jumps reach, per unit of the clock; None if hardly anything moves."""
        if not len(self.running.values):
            return None
        return FAST * float(np.quantile(self.running.values, 0.99))

    def _boxes(self, found: Ints, track: Ints, position: Floats) -> None:
        order = np.argsort(track, kind="stable")
        begins = np.searchsorted(track[order], np.arange(len(found)))
        self.low[found] = np.minimum.reduceat(position[order], begins)
        self.high[found] = np.maximum.reduceat(position[order], begins)


def _middle(values: Floats) -> float:
    """A median that is one of the values."""
    return float(np.percentile(values, 50, method="lower"))


def _crossings(row: Ints, position: Floats) -> int:
    """Steps of about 360 in x alone, between places that can be longitude and latitude."""
    before, after = position[row - 1, :2], position[row, :2]
    fits = (np.abs([before, after]) <= (360, 90)).all((0, 2))
    turn = np.abs(after - before)
    return int((fits & (np.abs(turn[:, 0] - 360) < 10) & (turn[:, 1] < 10)).sum())
