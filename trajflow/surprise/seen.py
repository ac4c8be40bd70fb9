"""Windows of people as the scores see them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from trajflow.errors import DataError
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.surprise.sight import Sight, joined, look
from trajflow.surprise.viewing import NetworkViewer
from trajflow.types import Batch, Bools, Floats, Ints


@dataclass(frozen=True)
class Seen:
    """N windows of one part, as the scores see them.

    Attributes:
        sight: What there is to see of them.
        person: Number of each window's agent, [N].
        scene: Recording that each window is of, [N].
    """

    sight: Sight
    person: Ints
    scene: Ints

    @classmethod
    def of(cls, model: TrajectoryModel, batches: Iterable[Batch]) -> "Seen":
        """What there is to see of all targets of the batches.

        Raises:
            DataError: There are none.
        """
        found = [batch for batch in batches if batch.targets]
        if not found:
            raise DataError("no windows to learn surprise from; choose another split or fold")
        viewer = NetworkViewer(model)
        sights = [look(viewer, batch.past, batch.target) for batch in found]
        person = np.concatenate([batch.agent[batch.target] for batch in found])
        scene = [batch.scene[np.nonzero(batch.target)[0]] for batch in found]
        return cls(joined(sights), person, np.concatenate(scene))

    def take(self, rows: Bools) -> "Seen":
        """Some of the windows."""
        return Seen(self.sight.take(rows), self.person[rows], self.scene[rows])

    @property
    def weight(self) -> Floats:
        """Weight of each window, [N]: every person counts once, and the mean is 1."""
        _, person, windows = np.unique(self.person, return_inverse=True, return_counts=True)
        return np.asarray(len(person) / len(windows) / windows[person])
