"""Earlier tracks for training and evaluation: what others did before where a target is now."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from trajflow.datasets.schema import Tracks
from trajflow.place import Place, moments
from trajflow.types import Batch, Bools, Ints


class Recall:
    """Brings batches of some recordings what others did earlier who were where a target is now."""

    def __init__(self, place: Place, scenes: Sequence[str], count: int, repeated: bool) -> None:
        """Begin with an empty place.

        Args:
            place: Where tracks are looked up; large enough for all of the recordings.
            scenes: Names of the store's recordings.
            count: Most tracks K that each target is shown.
            repeated: Whether results are kept for the next time that a window comes.
        """
        self.place, self.count, self._scenes, self._repeated = place, count, scenes, repeated
        self._rows_of: dict[tuple[int, int], Ints] = {}

    def push(self, tracks: Tracks, seen: Bools) -> None:
        """Add those rows of tracks that may be remembered, [N]; earlier steps come first."""
        rows = np.flatnonzero(seen)
        scene, agent = (one[tracks.track[rows]] for one in (tracks.scene, tracks.agent))
        for some in moments(scene, tracks.step[rows]):
            step, name = int(tracks.step[rows[some[0]]]), tracks.scenes[scene[some[0]]]
            self.place.push(name, step, agent[some].tolist(), tracks.position[rows[some]])

    def __call__(self, batch: Batch, reach: int = 1) -> Batch:
        """The batch with its memory, over `reach` times T and F steps of each track."""
        history, horizon = batch.past.shape[2], batch.future.shape[2]
        scene, agent = np.nonzero(batch.target)
        now = (batch.start + history - 1)[scene]
        who = list(zip(batch.agent[scene, agent].tolist(), now.tolist(), strict=True))
        rows_of = self._rows_of if self._repeated else {}
        new = [k for k, one in enumerate(who) if one not in rows_of]
        names = [self._scenes[batch.scene[scene[k]]] for k in new]
        past = batch.past[scene[new], agent[new]]
        agents = [who[k][0] for k in new]
        nearest_rows = self.place.nearest(names, past, now[new], agents, self.count, horizon)
        rows_of.update(zip((who[k] for k in new), nearest_rows, strict=True))
        rows = np.array([rows_of[one] for one in who], np.int64).reshape(-1, self.count)
        paths = self.place.paths(rows, now, reach * history, reach * horizon)
        memory = np.full((*batch.target.shape, *paths.shape[1:]), np.nan)
        memory[scene, agent] = paths
        return replace(batch, memory=memory)
