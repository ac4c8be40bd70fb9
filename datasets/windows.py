"""Cut tracks into windows: who is forecast from which moment, as indexes into the rows.

Crowded scenes are divided into parts, so that memory and time grow with the agents, not with their
pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.datasets.schema import Tracks
from trajflow.errors import ConfigError
from trajflow.types import Batch, Bools, Floats, Ints

MOST_PAIRS = 1_000_000
"""Pairs of agents and targets of which all distances are computed at once; of more, the nearest."""
TIES = 8
"""Further neighbors, for distances that are equal in the precision of a model."""
CROWD = 1000
"""Scenes of more agents are divided."""
PART = 256
"""About how many targets a part has."""


@dataclass(frozen=True)
class Rows:
    """The N rows of K tracks that exist for a set of windows, and how to find them."""

    tracks: Tracks  # where positions come from
    history: int  # past steps, T
    horizon: int  # future steps, F
    row: Ints  # rows of the tracks, increasing, [N]
    key: Ints  # track and step of each row as one increasing number, [N]
    present: Ints  # order of the rows by scene, then step, then track, [N]
    # Whether all steps of a target may lie here; of other rows only the past is seen, [N]
    own: Bools
    whole: Bools  # whether the row is the present of a target: all T + F steps around it exist, [N]
    free: Bools  # tracks whose future may be seen, [K]
    reach: int = 1  # times T and F that batches bring around the present


@dataclass(frozen=True)
class Windows:
    """W windows of T + F steps; positions are copied only by `gather`.

    A window is a scene and a start step at which at least one agent is seen in all T + F steps.
    These agents are its targets; its neighbors are all others visible at the present step, the
    last of the past, of whatever split. Windows of neighboring starts overlap and share their
    agents, so an interval around a mean must be drawn over agents, never over windows.

    Attributes:
        rows: The rows of the tracks that exist for these windows.
        scene: Index of the recording of each window, [W].
        start: First step of each window, [W], in steps.
        first: Where the agents visible at the present step begin in `rows.present`, [W].
        visible: How many they are, [W].
        target_counts: Targets of each window, [W].
        agent_counts: Targets and kept neighbors of each window, [W].
    """

    rows: Rows
    scene: Ints
    start: Ints
    first: Ints
    visible: Ints
    target_counts: Ints
    agent_counts: Ints

    def __len__(self) -> int:
        """Moments from which a scene is forecast, W."""
        return len(self.scene)

    @property
    def targets(self) -> int:
        """Targets of all windows: what the field calls the number of windows."""
        return int(self.target_counts.sum())

    @cached_property
    def agents(self) -> Ints:
        """Numbers of the agents that are a target of any window, sorted, [N]."""
        rows = self.rows
        return np.unique(rows.tracks.agent[rows.tracks.track[rows.row[rows.whole]]])

    @property
    def people(self) -> int:
        """Distinct agents that are a target of any window."""
        return len(self.agents)

    def gather(self, windows: Ints) -> Batch:
        """The positions of some windows, to the last bit as stored; NaN where one is not seen.

        Targets come first, by number, then neighbors, the one nearest to a target first.

        Args:
            windows: Which windows, [B].
        """
        members = self.first[windows], self.visible[windows], self.agent_counts[windows]
        return _gather(self.rows, self.scene[windows], self.start[windows], *members)


def cut(
    tracks: Tracks,
    history: int,
    horizon: int,
    *,
    stride: int = 1,
    rows: Bools | None = None,
    own: Bools | None = None,
    agents: Ints | None = None,
    neighbors: int | None = None,
    reach: int = 1,
    presents: tuple[int, int] | None = None,
    opening: int | None = None,
) -> Windows:
    """All windows of the tracks, found without a copy of any position.

    A gap in a track, be it one step, ends its windows: targets are seen at T + F consecutive
    steps. Only one agent need be there, so a lonely walker is forecast too.

    Args:
        tracks: What to cut.
        history: Past steps, T.
        horizon: Future steps, F.
        stride: Steps between two starts, counted from the first own row of each scene.
        rows: Rows that exist, [N]; None for all. No window sees another.
        own: Rows of which all T + F steps of a target are, as those of a split, [N]; None for all.
            Of the others that exist only the past is seen, and only of neighbors.
        agents: Numbers of the agents that may be targets, any shape; None for all. The others
            are neighbors whose future is not seen.
        neighbors: Most neighbors kept in a window, the nearest; None for all.
        reach: Batches also bring this many times T and F steps around the present, as `around`.
        presents: First present step of windows and the step after the last, where the tracks are
            some steps of one recording; None: all.
        opening: First own step of that recording, from which strides are counted; None: that of
            the rows.

    Raises:
        ConfigError: A number is out of bounds.
    """
    check_shape(history, horizon, stride, neighbors)
    row = np.arange(len(tracks.step)) if rows is None else np.flatnonzero(rows)
    track, step = tracks.track[row], tracks.step[row]
    origin, last = (int(step.min()), int(step.max())) if len(row) else (0, 0)
    span = last - origin + 1 + history + horizon
    key = track * span + (step - origin)
    moment = tracks.scene[track] * span + (step - origin)
    present = np.argsort(moment, kind="stable")
    free = np.ones(len(tracks.agent), bool) if agents is None else np.isin(tracks.agent, agents)
    mine = np.ones(len(row), bool) if own is None else own[row]

    places = np.flatnonzero(mine)
    begins = places[_begins(key[places], history + horizon)]
    begins = begins[free[track[begins]]]
    if presents is not None:
        now = step[begins] + history - 1
        begins = begins[(now >= presents[0]) & (now < presents[1])]
    if stride > 1 and opening is not None:
        begins = begins[(step[begins] - opening) % stride == 0]
    elif stride > 1:
        moments = np.sort(moment[places])
        first = moments[np.searchsorted(moments, moment[begins] // span * span)]
        begins = begins[(moment[begins] - first) % stride == 0]
    whole = np.zeros(len(row), bool)
    whole[begins + history - 1] = True
    index = Rows(tracks, history, horizon, row, key, present, mine, whole, free, reach)
    return _windows(index, moment, span, origin, neighbors)


def check_shape(history: int, horizon: int, stride: int, neighbors: int | None) -> None:
    """Refuse windows that cannot be.

    Raises:
        ConfigError: A number is out of bounds.
    """
    for name, given in (("history", history), ("horizon", horizon), ("stride", stride)):
        if given < 1:
            raise ConfigError(f"{name} must be at least 1 step, got {given}")
    if neighbors is not None and neighbors < 0:
        raise ConfigError(f"neighbors must be 0 or more, or None for all, got {neighbors}")


def _windows(index: Rows, moment: Ints, span: int, origin: int, neighbors: int | None) -> Windows:
    """Collect targets and visible agents by moment: scene * span + step - origin of rows, [N]."""
    moments = moment[index.present]
    now: Ints
    now, targets = np.unique(moment[index.whole], return_counts=True)
    first = np.searchsorted(moments, now)
    visible = np.searchsorted(moments, now, side="right") - first
    beside = visible - targets
    kept = targets + (beside if neighbors is None else np.minimum(beside, neighbors))
    start = now % span + origin - index.history + 1
    return Windows(index, now // span, start, first, visible, targets, kept)


def _begins(key: Ints, length: int) -> Ints:
    """Rows from which a track goes on for `length` steps without a gap, [N]."""
    last = max(0, len(key) - length + 1)
    return np.flatnonzero(key[length - 1 :] - key[:last] == length - 1)


def _gather(
    rows: Rows, scene: Ints, start: Ints, first: Ints, visible: Ints, counts: Ints
) -> Batch:
    """A batch of B windows, from the fields of `Windows` for each, [B]."""
    tracks = rows.tracks
    slot = np.arange(visible.max(initial=0))
    member = rows.present[first[:, None] + np.minimum(slot, visible[:, None] - 1)]
    target = rows.whole[member] & (slot < visible[:, None])
    order = _nearest(tracks.position[rows.row[member]], target, slot < visible[:, None])
    order = order[:, : counts.max(initial=0)]
    member = np.take_along_axis(member, order, 1)
    target = np.take_along_axis(target, order, 1)
    kept = slot[: order.shape[1]] < counts[:, None]
    position = _paths(rows, member, kept, target)
    agent = np.where(kept, tracks.agent[tracks.track[rows.row[member]]], -1)
    present = rows.reach * rows.history
    past = position[:, :, present - rows.history : present]
    future = position[:, :, present : present + rows.horizon]
    around = position if rows.reach > 1 else None
    types = type_names(tracks, np.where(kept, rows.tracks.track[rows.row[member]], -1))
    return Batch(past, future, target, scene, start, agent, around, types=types)


def type_names(tracks: Tracks, track: Ints) -> NDArray[np.str_] | None:
    """Names of the types of tracks, of any shape; "" for -1. None where all are of one type."""
    if len(tracks.types) < 2:
        return None
    names = np.array([*tracks.types, ""], np.str_)
    return np.asarray(names[np.where(track < 0, -1, tracks.kind[track])])


def _nearest(here: Floats, target: Bools, seen: Bools) -> Ints:
    """Order of the agents of each window: targets, neighbors by distance, padding; [B, A]."""
    away = np.where(target, -1.0, np.inf)
    other = seen & ~target
    if target.size * int(target.sum(1).max(initial=0)) > MOST_PAIRS:
        for place, goals, others, row in zip(here, target, other, away, strict=True):
            if others.any():
                row[others] = squared_distances(place[others], place[goals])
    elif other.any():
        count = int(target.sum(1).max())
        goals = np.argsort(~target, axis=1, kind="stable")[:, :count]
        real = np.take_along_axis(target, goals, 1)[:, None]
        square = np.zeros((*here.shape[:2], count))
        for axis in np.moveaxis(here, -1, 0):
            square += (axis[:, :, None] - np.take_along_axis(axis, goals, 1)[:, None]) ** 2
        away = np.where(other, np.where(real, square, np.inf).min(-1), away)
    return np.argsort(away, axis=1, kind="stable")


def _paths(rows: Rows, member: Ints, kept: Bools, target: Bools) -> Floats:
    """Positions of agents around their rows at the present, [B, A, W, D]; W = R (T + F).

    A future is seen of own rows only. So is what a target did before its window: a scene played
    backwards makes it the future that is learned.
    """
    steps = np.arange(1 - rows.reach * rows.history, rows.reach * rows.horizon + 1)
    wanted = rows.key[member][..., None] + steps
    result = np.minimum(np.searchsorted(rows.key, wanted), len(rows.key) - 1)
    free = rows.free[rows.tracks.track[rows.row[member]]]
    past, own = steps <= 0, rows.own[result]
    allowed = (own & (past | free[..., None])) | (past & ~target[..., None])
    seen = (rows.key[result] == wanted) & kept[..., None] & allowed
    position = rows.tracks.position[rows.row[result]]
    position[~seen] = np.nan
    return position


def crowd_parts(
    place: Floats, targets: Ints, size: int, neighbors: int
) -> Iterator[tuple[Ints, Ints]]:
    """Parts of at most `size` targets [N] close together, and the nearest neighbors of each part.

    `place` is the position of each agent of the scene, [A, D].
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(place)
    near = min(neighbors + TIES + 1, len(place))
    for part in _side_by_side(place, targets, size):
        others = tree.query(place[part], k=near)[1] if neighbors else part
        yield part, np.setdiff1d(others, part)


def squared_distances(place: Floats, goals: Floats) -> Floats:
    """Squared distances of places [N, D] to the nearest of goals [N, D], [N]."""
    from scipy.spatial import cKDTree

    near = min(TIES, len(goals))
    index = cKDTree(goals).query(place, k=near)[1].reshape(len(place), near)
    square = np.zeros(index.shape)
    for axis in range(place.shape[1]):
        square += (place[:, None, axis] - goals[index, axis]) ** 2
    return np.asarray(square.min(1))


@dataclass(frozen=True)
class Division:
    """A batch whose crowded scenes are in parts."""

    # The parts as scenes. Each target is a target of one of them, and may be a neighbor in others
    batch: Batch
    scene: Ints  # the scene of each part in the batch before
    agent: Ints  # the place of each agent in that scene, [B, A] over parts; -1 for padding

    def restored(self, values: Floats, whole: Batch) -> Floats:
        """Values [S, B, A, ...] of the targets of the parts in the scenes of the `whole` batch."""
        result = np.full((len(values), *whole.target.shape, *values.shape[3:]), np.nan)
        part, place = np.nonzero(self.batch.target)
        result[:, self.scene[part], self.agent[part, place]] = values[:, part, place]
        return result


def divide(batch: Batch, neighbors: int | None) -> Division | None:
    """The batch with scenes of more than `CROWD` agents in parts of about `PART` targets.

    A target needs its nearest `neighbors`. None if they are None, for all, or no scene is crowded.
    """
    there = np.asarray(batch.agent >= 0)
    if neighbors is None or there.sum(1).max(initial=0) <= CROWD:
        return None
    scenes, parts, others = [], [], []
    for number, present in enumerate(there):
        agents = np.flatnonzero(present)
        if len(agents) <= CROWD:
            divided = [(agents, agents[:0])]
        else:
            place, target = batch.past[number, agents, -1], batch.target[number, agents]
            members = crowd_parts(place, np.flatnonzero(target), PART, neighbors)
            divided = [(agents[part], agents[rest]) for part, rest in members]
        for part, rest in divided:
            scenes.append(number)
            parts.append(part)
            others.append(rest)
    agent = np.full((len(parts), max(map(len, map(np.append, parts, others)))), -1)
    own = np.zeros(agent.shape, bool)
    for row, (part, rest) in enumerate(zip(parts, others, strict=True)):
        agent[row, : len(part) + len(rest)] = np.append(part, rest)
        own[row, : len(part)] = True
    return Division(_parts(batch, np.array(scenes), agent, own), np.array(scenes), agent)


_FILLED = {"target": False, "agent": -1, "types": "", "name": 0}


def _parts(batch: Batch, scene: Ints, agent: Ints, own: Bools) -> Batch:
    """Agents [B, A] of scenes [B] of a batch as scenes of a new one; `own` stay targets."""
    taken: dict[str, Any] = {}
    for name in (field.name for field in fields(batch)):
        value = getattr(batch, name)
        if value is None or value.ndim == 1:
            taken[name] = value if value is None else value[scene]
        else:
            taken[name] = value[scene[:, None], np.maximum(agent, 0)]
            taken[name][agent < 0] = _FILLED.get(name, np.nan)
    taken["target"] &= own
    return Batch(**taken)


def _side_by_side(place: Floats, members: Ints, size: int) -> Iterator[Ints]:
    """Members in parts of at most `size`, each close together: halved across the longest side."""
    if len(members) <= size:
        yield from [members] if len(members) else []
        return
    axis = int(np.ptp(place[members], axis=0).argmax())
    order = members[np.argsort(place[members, axis], kind="stable")]
    middle = len(order) // 2
    yield from _side_by_side(place, order[:middle], size)
    yield from _side_by_side(place, order[middle:], size)
