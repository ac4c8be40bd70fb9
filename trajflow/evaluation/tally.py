"""Sums of scores by person, all that means over groups and their intervals need."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trajflow.errors import DataError
from trajflow.types import Batch, Bools, Floats, Ints


@dataclass(frozen=True)
class People:
    """The A people of a group: how many windows each has, and the sums of their scores.

    Attributes:
        agent: Numbers of the people, [A].
        windows: Windows in which each was forecast, [A].
        sums: Sum of each score over these windows, [A, N] with N scores.
    """

    agent: Ints
    windows: Ints
    sums: Floats

    @property
    def means(self) -> Floats:
        """Means of the N scores over all windows, [N]."""
        return np.asarray(self.sums.sum(0) / self.windows.sum())


class Tally:
    """Adds up scores, group by group and person by person; memory grows with the people only."""

    def __init__(self) -> None:
        self._held: dict[str, list[People]] = {}

    def expect(self, groups: Mapping[str, Sequence[int]]) -> dict[int, str]:
        """The group of each recording; every group must get windows before the end."""
        for name in groups:
            self._held.setdefault(name, [])
        return {scene: name for name, scenes in groups.items() for scene in scenes}

    def add(
        self,
        batch: Batch,
        scores: Floats,
        group_of: Mapping[int, str],
        which: Bools | None = None,
    ) -> None:
        """Add the scores [N, ...] of the N targets of a batch to the groups of their scenes.

        Args:
            batch: The windows.
            scores: A row of scores for each target.
            group_of: The group of each recording.
            which: Targets whose scores are added, [N]; None for all.

        Raises:
            DataError: A scene of the batch is in no group.
        """
        scene = np.broadcast_to(batch.scene[:, None], batch.target.shape)[batch.target]
        agent = batch.agent[batch.target]
        lost = sorted(set(scene.tolist()) - set(group_of))
        if lost:
            raise DataError(f"scenes {lost} are in no group; groups must name every scene judged")
        group = np.array([group_of[one] for one in scene.tolist()])
        if which is not None:
            agent, scores, group = agent[which], scores[which], group[which]
        for name in set(group.tolist()):
            mine = group == name
            ones = np.ones(int(mine.sum()), np.int64)
            held = self._held[name]
            held.append(_summed(agent[mine], ones, scores[mine]))
            if len(held) > 64:
                self._held[name] = [_merged(held)]

    def people(self) -> dict[str, People]:
        """The people of each group.

        Raises:
            DataError: A group has no windows.
        """
        empty = [name for name, held in self._held.items() if not held]
        if empty or not self._held:
            raise DataError(f"nothing to judge: no windows in {empty or 'any group'}")
        return self.found()

    def found(self) -> dict[str, People]:
        """The people of each group that has windows."""
        return {name: _merged(held) for name, held in self._held.items() if held}


def _merged(held: list[People]) -> People:
    return _summed(
        np.concatenate([one.agent for one in held]),
        np.concatenate([one.windows for one in held]),
        np.concatenate([one.sums for one in held]),
    )


def _summed(agent: Ints, windows: Ints, sums: Floats) -> People:
    people, row = np.unique(agent, return_inverse=True)
    count = np.zeros(len(people), np.int64)
    total = np.zeros((len(people), sums.shape[1]))
    np.add.at(count, row, windows)
    np.add.at(total, row, sums)
    return People(people, count, total)
