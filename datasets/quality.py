"""Judge every row of an import: kept on a whole step of dt, or set apart with one reason."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Bools, Floats, Ints
from trajflow.datasets.grid import TOLERANCE
from trajflow.datasets.motion import mean_longitude, near_longitude
from trajflow.datasets.parts import Part
from trajflow.datasets.problems import PROBLEMS
from trajflow.datasets.teleports import find_jumps

KEPT, BETWEEN = -1, -2
REASONS = tuple(PROBLEMS)
EXACT = 1e-3
"""A time less than this share of dt away from a whole step counts as on it."""


@dataclass(frozen=True)
class Rules:
    """By what rows are judged.

    Attributes:
        dt: Seconds per step of the store.
        every: Steps of the files per step of the store; the rows between are dropped.
        seconds: Seconds per unit of the files' clock.
        limit: Speed that no step of a sound trajectory has, [K], units per second.
        reach: Speed at which a trajectory with such a step is divided, [K], units per second.
        odd: Whether a trajectory has another unit than the rest, [K].
        longitudes: Whether x is a longitude in degrees.
    """

    dt: float
    every: int
    seconds: float
    limit: Floats
    reach: Floats
    odd: Bools
    longitudes: bool


@dataclass(frozen=True)
class Verdict:
    """What becomes of N rows.

    Attributes:
        reason: Index into REASONS, KEPT, or BETWEEN for rows dropped between steps, [N].
        step: Whole steps of dt, [N]; meaningful where a row is kept.
        position: Coordinates, longitudes made continuous, [N, D].
        cut: Rows at which a new trajectory begins after a jump, [N].
        moved: Kept rows whose time was moved onto its step.
    """

    reason: NDArray[np.int8]
    step: Ints
    position: Floats
    cut: Bools
    moved: int

    @property
    def kept(self) -> Bools:
        """Rows that go into the store, [N]."""
        return np.asarray(self.reason == KEPT)


class Judge:
    """Applies the rules to one part after the other.

    A scene may come in several parts; what is found for its first holds for all: the `clock`, a
    shift in seconds that puts most of its rows onto whole steps, and the `meridian` its
    longitudes are near.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.clock: dict[int, float] = {}
        self.meridian: dict[int, float] = {}

    def __call__(self, part: Part) -> Verdict:
        """Judge whole trajectories, sorted by scene, agent and time."""
        time = part.time * self.rules.seconds
        position = self._positions(part)
        reason = np.full(len(time), KEPT, np.int8)
        reason[self.rules.odd[part.track]] = REASONS.index("mixed-units")
        _judge_repeats(reason, part)
        fine = self.rules.dt / self.rules.every
        exact = (time - self._shifts(part, time, reason == KEPT)) / fine
        step = np.rint(exact).astype(np.int64)
        _judge_grid(reason, part.track, exact, step)
        reason[(reason == KEPT) & (step % self.rules.every != 0)] = BETWEEN
        step //= self.rules.every
        cut = self._judge_jumps(reason, part.track, step, position)
        moved = (reason == KEPT) & (np.abs(exact - np.rint(exact)) > EXACT)
        return Verdict(reason, step, position, cut, int(moved.sum()))

    def _positions(self, part: Part) -> Floats:
        if not self.rules.longitudes:
            return part.position
        position = part.position.copy()
        for scene, rows in scenes_of(part.scene):
            x = part.position[rows, 0]
            meridian = self.meridian.setdefault(scene, mean_longitude(x))
            position[rows, 0] = near_longitude(x, part.track[rows], meridian)
        return position

    def _shifts(self, part: Part, time: Floats, good: Bools) -> Floats:
        shift = np.zeros(len(time))
        fine = self.rules.dt / self.rules.every
        for scene, rows in scenes_of(part.scene):
            if scene not in self.clock:
                self.clock[scene] = _shift(time[rows][good[rows]], fine)
            shift[rows] = self.clock[scene]
        return shift

    def _judge_jumps(
        self, reason: NDArray[np.int8], track: Ints, step: Ints, position: Floats
    ) -> Bools:
        good = np.flatnonzero(reason == KEPT)
        limit, reach = self.rules.limit[track[good]], self.rules.reach[track[good]]
        seconds = np.asarray(step[good] * self.rules.dt, np.float64)
        jumps = find_jumps(track[good], seconds, position[good], limit, reach)
        reason[good[jumps.apart]] = REASONS.index("teleport")
        cut = np.zeros(len(reason), np.bool_)
        cut[good[jumps.cut]] = True
        return cut


def _judge_repeats(reason: NDArray[np.int8], part: Part) -> None:
    """Rows of one agent and time: exact copies after the first, or all if their places differ."""
    good = np.flatnonzero(reason == KEPT)
    track, time, position = part.track[good], part.time[good], part.position[good]
    new = np.ones(len(good), np.bool_)
    new[1:] = (np.diff(track) != 0) | (np.diff(time) > 0)
    group = np.cumsum(new) - 1
    differs = (position != position[new][group]).any(1)
    conflict = np.bincount(group, differs)[group] > 0
    reason[good[~new]] = REASONS.index("duplicate")
    reason[good[conflict]] = REASONS.index("conflict")


def _judge_grid(reason: NDArray[np.int8], track: Ints, exact: Floats, step: Ints) -> None:
    """Rows too far from a whole step, and of several rows in one step all but the nearest."""
    miss = np.abs(exact - step)
    reason[(reason == KEPT) & (miss > TOLERANCE)] = REASONS.index("off-grid")
    good = np.flatnonzero(reason == KEPT)
    order = good[np.lexsort((miss[good], step[good], track[good]))]
    again = (np.diff(track[order]) == 0) & (np.diff(step[order]) == 0)
    reason[order[1:][again]] = REASONS.index("off-grid")


def _shift(time: Floats, fine: float) -> float:
    """What the clock is ahead of whole steps: the circular mean over rows, 0 if negligible."""
    angle = 2 * np.pi * (time / fine % 1)
    if not len(angle):
        return 0.0
    turn = np.arctan2(np.sin(angle).mean(), np.cos(angle).mean()) / (2 * np.pi)
    return float(turn * fine) if abs(turn) > EXACT else 0.0


def scenes_of(scene: Ints) -> list[tuple[int, slice]]:
    """Each scene of sorted rows, [N], and where its rows are."""
    begins = np.flatnonzero(np.diff(scene, prepend=-1))
    ends = [*begins[1:].tolist(), len(scene)][: len(begins)]
    return [(int(scene[b]), slice(b, e)) for b, e in zip(begins.tolist(), ends, strict=True)]


def pieces(track: Ints, cut: Bools) -> tuple[Ints, Ints]:
    """Number the pieces of each kept trajectory from 1, and trajectories and pieces from 0.

    Args:
        track: Trajectory of each row, sorted by trajectory, [N].
        cut: Rows at which a new piece begins, [N].

    Returns:
        First row of each piece, and its number inside its trajectory.
    """
    new = np.concatenate(([True], np.diff(track) != 0))
    begins = np.flatnonzero(new | cut)
    own = np.cumsum(new)[begins]
    first = np.searchsorted(own, own)
    return begins, np.arange(len(begins)) - first + 1
