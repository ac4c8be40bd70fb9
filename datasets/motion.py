"""How trajectories move: steps, running speeds, straightness; longitudes across the date line."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from trajflow.batch import Floats, Ints

WINDOW = 5


@dataclass(frozen=True)
class Steps:
    """What lies between consecutive rows of the same trajectory, N steps.

    Attributes:
        row: Index of the later row of each step, [N].
        track: Trajectory of each step, [N].
        seconds: Time each step takes, [N].
        length: Distance between its ends, [N], in the unit of the positions.
    """

    row: Ints
    track: Ints
    seconds: Floats
    length: Floats

    @property
    def speed(self) -> Floats:
        """Distance per second, [N]."""
        return self.length / self.seconds


def steps_of(track: Ints, time: Floats, position: Floats) -> Steps:
    """The steps of N rows that are sorted by trajectory and time, times of one being different.

    Args:
        track: Trajectory of each row, [N].
        time: Seconds, [N].
        position: World coordinates, [N, D].
    """
    row = np.flatnonzero(track[1:] == track[:-1]) + 1
    length = np.linalg.norm(position[row] - position[row - 1], axis=1)
    return Steps(row, track[row], time[row] - time[row - 1], length)


def running_speed(steps: Steps) -> Floats:
    """The second lowest of every five consecutive speeds of a trajectory, [N].

    A lasting speed shows in it; a jump, or two glitches with four fast steps, do not.
    """
    return np.asarray(np.partition(steps.speed[windows_of(steps.track)], 1, axis=1)[:, 1])


def straightness(steps: Steps, position: Floats) -> tuple[Ints, Floats]:
    """Net distance over path length of every five consecutive steps that move at all.

    A straight path has 1, jitter about a place 0.3, a random walk 0.45.

    Args:
        steps: Steps of N rows.
        position: World coordinates of these rows, [N, D].

    Returns:
        Trajectory of each such window, and the ratio, both [W].
    """
    windows = windows_of(steps.track)
    path = steps.length[windows].sum(1)
    ends = position[steps.row[windows[:, -1]]] - position[steps.row[windows[:, 0]] - 1]
    moving = path > 0
    net = np.linalg.norm(ends[moving], axis=1)
    return steps.track[windows[moving, 0]], net / path[moving]


def medians(values: Floats, group: Ints, count: int, least: int = 1) -> Floats:
    """Median of the values of each group, [K]; NaN for groups with fewer than `least`.

    Args:
        values: What to take the median of, [N].
        group: Group of each value, [N].
        count: Number of groups, K.
        least: Values that a group must have.
    """
    order = np.lexsort((values, group))
    sizes = np.bincount(group, minlength=count)
    first = np.cumsum(sizes) - sizes
    result = np.full(count, np.nan)
    filled = sizes >= max(least, 1)
    ordered = values[order]
    low = ordered[(first + (sizes - 1) // 2)[filled]]
    high = ordered[(first + sizes // 2)[filled]]
    result[filled] = (low + high) / 2
    return result


def continuous(longitude: Floats, track: Ints) -> Floats:
    """Longitudes without the jump at 180 degrees, [N], each trajectory on its first row's turn."""
    turns = np.zeros(len(longitude))
    same = track[1:] == track[:-1]
    turns[1:] = np.where(same, -np.rint(np.diff(longitude) / 360), 0)
    total = np.cumsum(turns)
    begins = np.flatnonzero(np.concatenate(([True], ~same)))
    sizes = np.diff(np.append(begins, len(longitude)))
    return longitude + 360 * (total - np.repeat(total[begins], sizes))


def mean_longitude(longitude: Floats) -> float:
    """The circular mean of longitudes in degrees, [N], between -180 and 180."""
    angle = np.deg2rad(longitude)
    return float(np.rad2deg(np.arctan2(np.sin(angle).mean(), np.cos(angle).mean())))


def near_longitude(longitude: Floats, track: Ints, reference: float) -> Floats:
    """Continuous longitudes turned by whole turns so that each trajectory is near a reference.

    Neighbours on both sides of the date line thus lie beside each other, [N].
    """
    straight = continuous(longitude, track)
    _, group = np.unique(track, return_inverse=True)
    middle = np.bincount(group, straight) / np.bincount(group)
    return np.asarray(straight - 360 * np.rint((middle - reference) / 360)[group])


def windows_of(track: Ints) -> Ints:
    """Indices of every five consecutive steps of one trajectory, [W, 5]."""
    if len(track) < WINDOW:
        return np.empty((0, WINDOW), np.int64)
    whole = track[WINDOW - 1 :] == track[: -(WINDOW - 1)]
    return np.asarray(sliding_window_view(np.arange(len(track)), WINDOW)[whole])
