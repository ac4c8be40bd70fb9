"""Crowded scenes in parts: memory and time grow with the agents, not with their pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from trajflow.types import Batch, Bools, Floats, Ints

TIES = 8
"""Further neighbors, for distances that are equal in the precision of a model."""
CROWD = 1000
"""Scenes of more agents are divided."""
PART = 256
"""About how many targets a part has."""


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
