"""Where a track jumps: rows that the agent cannot have reached, and places to cut the track."""

from dataclasses import dataclass

import numpy as np

from trajflow.batch import Bools, Floats, Ints
from trajflow.datasets.motion import steps_of

GLITCH = 3
"""Rows away from a track that it returns from; more rows elsewhere are a track of their own."""


@dataclass(frozen=True)
class Jumps:
    """What jumps do to N rows.

    Attributes:
        apart: Rows to set apart, [N].
        cut: Rows at which a new trajectory begins, [N].
    """

    apart: Bools
    cut: Bools


def find_jumps(track: Ints, time: Floats, position: Floats, limit: Floats, reach: Floats) -> Jumps:
    """Apply the rule of teleports to whole trajectories.

    A track with a step faster than the limit is looked at closely: each of its steps that is
    faster than its reach, a lower speed, divides it into runs. Up to three rows that the track
    returns from are set apart: the row after them is within reach of the row before them. At any
    other such step the track is cut, and the rest becomes a trajectory of its own. A piece of a
    cut track that has only one row is set apart.

    Args:
        track: Trajectory of each row, those of one beside each other, [N].
        time: Seconds, increasing inside a trajectory, [N].
        position: World coordinates, [N, D].
        limit: Speed that no step of a sound track has, of each row's trajectory, [N].
        reach: Speed at which a track with such a step is divided, at most the limit, [N].
    """
    jumps = Jumps(np.zeros(len(track), np.bool_), np.zeros(len(track), np.bool_))
    steps = steps_of(track, time, position)
    far = steps.row[steps.speed > limit[steps.row]]
    apart = steps.row[steps.speed > reach[steps.row]]
    begins = np.flatnonzero(np.concatenate(([True], np.diff(track) != 0)))
    ends = np.append(begins[1:], len(track))
    for one in np.unique(np.searchsorted(begins, far, side="right") - 1):
        own = slice(int(begins[one]), int(ends[one]))
        first, last = np.searchsorted(apart, (own.start, own.stop))
        starts = [0, *(apart[first:last] - own.start).tolist()]
        _divide(jumps, own, starts, _Reach(time[own], position[own], float(reach[own.start])))
    return jumps


@dataclass(frozen=True)
class _Reach:
    time: Floats
    position: Floats
    limit: float

    def __call__(self, before: int, after: int) -> bool:
        seconds = self.time[after] - self.time[before]
        return bool(
            np.linalg.norm(self.position[after] - self.position[before]) <= self.limit * seconds
        )


def _divide(jumps: Jumps, own: slice, starts: list[int], reach: _Reach) -> None:
    """Walk the runs of one track; `starts` are the first rows of its runs."""
    apart, cut = jumps.apart[own], jumps.cut[own]
    ends = [*starts[1:], len(apart)]
    last, index = ends[0] - 1, 1
    while index < len(starts):
        back = _return(reach, last, starts, index)
        if back is None:
            cut[starts[index]] = True
            back = index
        else:
            apart[last + 1 : starts[back]] = True
        last, index = ends[back] - 1, back + 1
    _drop_lonely(apart, cut)


def _return(reach: _Reach, last: int, starts: list[int], index: int) -> int | None:
    """The run, after at most three rows away, that can be reached from the last good row."""
    for back in range(index + 1, min(index + 1 + GLITCH, len(starts))):
        if starts[back] - last - 1 <= GLITCH and reach(last, starts[back]):
            return back
    return None


def _drop_lonely(apart: Bools, cut: Bools) -> None:
    if not cut.any():
        return
    piece = np.cumsum(cut)
    kept = np.bincount(piece[~apart], minlength=int(piece[-1]) + 1)
    apart |= kept[piece] == 1
