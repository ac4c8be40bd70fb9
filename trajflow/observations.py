"""The observations of a `Place`: a ring buffer, indexed by cell of the plane and by track."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from trajflow.types import Bools, Floats, Ints

# Number of observations over which a velocity is measured.
SPAN = 2
# A track ends after this many steps without an observation.
GAP = 8
# Most observations of a cell that a lookup reads: the newest.
CANDIDATES = 4096


@dataclass(frozen=True)
class ObservationTable:
    """N observations; `before` and `after` are their neighbors in their track, -1 for none."""

    position: Floats
    velocity: Floats
    step: Ints
    scene: Ints
    track: Ints
    before: Ints
    after: Ints

    @classmethod
    def empty(cls, count: int, dims: int) -> ObservationTable:
        """Space for `count` observations."""
        points = (np.full((count, dims), np.nan) for _ in range(2))
        return cls(*points, *(np.full(count, -1, np.int64) for _ in range(5)))

    def resized(self, count: int) -> ObservationTable:
        """A copy with space for `count` observations, more than now."""
        larger = ObservationTable.empty(count, self.position.shape[1])
        for name, column in vars(self).items():
            getattr(larger, name)[: len(column)] = column
        return larger


class ObservationStore:
    """The newest observations of several scenes; beyond `limit` the oldest are overwritten.

    Attributes:
        limit: Most observations in memory.
        rows: The observations, in the order of their addition up to the overwriting.
        tracks: Number of the track of a scene code and an agent.
        numbered: Largest number of a track so far.
    """

    def __init__(self, limit: int, dims: int, cell_size: float) -> None:
        self.limit, self._cell_size = limit, cell_size
        self.rows = ObservationTable.empty(min(limit, 1024), dims)
        self.tracks: dict[tuple[int, str], int] = {}
        self.numbered = self._added = 0
        self._cells: dict[tuple[int, int, int], array[int]] = {}
        self._last: dict[tuple[int, str], int] = {}
        self._names: dict[int, tuple[int, str]] = {}

    def __len__(self) -> int:
        return min(self._added, self.limit)

    def add(self, scene: int, step: int, agent: str, point: Floats) -> None:
        """Add the position [D] of an agent at a step after all others of its scene."""
        row = self._added % self.limit
        if self._added >= self.limit:
            self._forget(row)
        elif row == len(self.rows.step):
            self.rows = self.rows.resized(min(2 * row, self.limit))
        self._added += 1
        r, key = self.rows, (scene, agent)
        before = self._last.get(key, -1)
        if before < 0:
            self.numbered += 1
            self.tracks[key], self._names[self.numbered] = self.numbered, key
        elif step - r.step[before] > GAP:
            before = -1
        r.position[row], r.step[row], r.scene[row] = point, step, scene
        r.track[row], r.before[row], r.after[row] = self.tracks[key], before, -1
        origin = before
        for _ in range(SPAN - 1):
            origin = r.before[origin] if origin >= 0 and r.before[origin] >= 0 else origin
        r.velocity[row] = np.nan
        if before >= 0:
            r.after[before] = row
            r.velocity[row] = (point - r.position[origin]) / (step - r.step[origin])
        self._last[key] = row
        self._cells.setdefault(self._cell(scene, point), array("q")).append(row)

    def _forget(self, row: int) -> None:
        """Drop the oldest observation, which is also the oldest of its cell and of its track."""
        r, scene = self.rows, int(self.rows.scene[row])
        cell = self._cell(scene, r.position[row])
        self._cells[cell].pop(0)
        if not self._cells[cell]:
            del self._cells[cell]
        if r.after[row] >= 0:
            r.before[r.after[row]] = -1
            return
        key = self._names[int(r.track[row])]
        if self._last[key] == row:
            del self._last[key], self.tracks[key], self._names[int(r.track[row])]

    def _cell(self, scene: int, point: Floats) -> tuple[int, int, int]:
        return scene, int(point[0] // self._cell_size), int(point[1] // self._cell_size)

    def around(self, scene: int, position: Floats, oldest: int | None, now: int) -> Ints:
        """Rows in the cells around a position, from step `oldest` on and before `now`, [N]."""
        _, x, y = self._cell(scene, position)
        chosen = [np.zeros(0, np.int64)]
        for cell in ((scene, i, j) for i in (x - 1, x, x + 1) for j in (y - 1, y, y + 1)):
            if cell in self._cells:
                rows = np.array(self._cells[cell], np.int64)  # in the order of their steps
                steps = self.rows.step[rows]
                first = 0 if oldest is None else int(np.searchsorted(steps, oldest))
                last = int(np.searchsorted(steps, now))
                chosen.append(rows[max(first, last - CANDIDATES) : last])
        return np.concatenate(chosen)

    def count_following(self, rows: Ints, now: int, horizon: int) -> Ints:
        """Number of observations before the present in the F steps after rows [N], [N]."""
        r = self.rows
        count, end = np.zeros(len(rows), np.int64), np.minimum(r.step[rows] + horizon, now - 1)
        index, row = np.arange(len(rows)), rows
        for _ in range(horizon):
            row = r.after[row]
            valid = (row >= 0) & (r.step[row] <= end[index])
            index, row = index[valid], row[valid]
            count[index] += 1
        return count

    def paths(self, rows: Ints, now: Ints, history: int, horizon: int) -> Floats:
        """The tracks around rows [N] before the present; see `Place.paths`."""
        r, length = self.rows, history + horizon
        result = np.full((len(rows), length, r.position.shape[1] + 1), np.nan)
        chosen = np.flatnonzero(rows >= 0)
        for link, steps in ((r.before, history), (r.after, horizon + 1)):
            index, row = chosen, rows[chosen]
            for _ in range(steps):
                index, row = index[row >= 0], row[row >= 0]
                slot = history - 1 + r.step[row] - r.step[rows[index]]
                valid = (slot >= 0) & (slot < length) & (r.step[row] < now[index])
                index, row, slot = index[valid], row[valid], slot[valid]
                if not len(index):
                    break
                result[index, slot, :-1] = r.position[row]
                result[index, slot, -1] = now[index] - r.step[row]
                row = link[row]
        return result

    def track(self, scene: int, agent: str, first: int, count: int) -> Floats:
        """Positions of an agent at F = `count` steps from `first` on, [F, D]; NaN if unseen."""
        r = self.rows
        result, row = (
            np.full((count, r.position.shape[1]), np.nan),
            self._last.get((scene, agent), -1),
        )
        while row >= 0 and r.step[row] >= first:
            if r.step[row] < first + count:
                result[r.step[row] - first] = r.position[row]
            row = r.before[row]
        return result

    def in_order(self) -> Ints:
        """All rows in the order in which they were added, [N]."""
        oldest = self._added % self.limit if self._added > len(self) else 0
        return (np.arange(len(self)) + oldest) % self.limit

    def agents(self, tracks: Iterable[int]) -> Iterator[tuple[int, str]]:
        """Scene code and agent of each track."""
        return (self._names[track] for track in tracks)

    def restore(self, velocity: Floats, track: Ints, numbered: int) -> None:
        """Set velocities [N, D] and tracks [N], which may depend on rows dropped before a save."""
        self.rows.velocity[: len(self)], self.rows.track[: len(self)] = velocity, track
        self.tracks = {key: int(track[row]) for key, row in self._last.items()}
        self._names = {number: key for key, number in self.tracks.items()}
        self.numbered = numbered


def motion(past: Floats) -> tuple[Floats, Floats]:
    """Present positions [N, D] and displacements per step [N, D] of pasts [N, T, D].

    An agent that is not observed now is extrapolated. The displacement is measured over the last
    two observations before the last one, or over one; NaN without any.
    """
    observed = np.asarray(np.isfinite(past).all(-1))
    steps = np.arange(past.shape[1])
    number_back = observed[:, ::-1].cumsum(1)[:, ::-1]
    agent = np.arange(len(past))

    def step_of(number: int) -> Ints:
        """Step of the observation `number` before the last; -1 if there is none."""
        chosen: Bools = observed & (number_back == number + 1)
        return np.asarray(np.where(chosen, steps, -1).max(1, initial=-1))

    last, before = step_of(0), step_of(1)
    for number in range(2, SPAN + 1):
        earlier = step_of(number)
        before = np.where(earlier >= 0, earlier, before)
    position = np.where((last >= 0)[:, None], past[agent, last], np.nan)
    moved = (position - past[agent, before]) / np.maximum(last - before, 1)[:, None]
    velocity = np.where((before >= 0)[:, None], moved, np.nan)
    age = (past.shape[1] - 1 - last)[:, None]
    return position + age * np.nan_to_num(velocity), velocity
