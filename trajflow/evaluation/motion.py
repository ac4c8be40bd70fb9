"""Who stands and who moves, told from the past alone, so that each can be judged apart."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from trajflow.datasets.loader import TrackData
from trajflow.evaluation.tally import People, Tally
from trajflow.types import Batch, Bools, Floats

STANDING, MOVING = "standing", "moving"
SLOW = 0.2
"""Metres per second below which a mean speed is no walk; annotation jitter stays below it."""
SHARE = 0.15
"""Of the usual pace, where the unit is not the metre; of 1.3 metres per second it is 0.2."""
USUAL = 0.9
"""Quantile of the paces that is the usual one of those who move, though most may stand."""
LOOK = 5000
"""Windows that the usual pace is taken from."""


def pace(past: Floats) -> Floats:
    """Mean distance covered per step of a past, [*, T, D] -> [*], in its unit per step.

    A step counts if both its ends were seen; a past without any has pace 0.
    """
    lengths = np.sqrt(np.square(np.diff(past, axis=-2)).sum(-1))
    seen = np.isfinite(lengths)
    covered = np.where(seen, lengths, 0.0).sum(-1)
    return np.asarray(covered / np.maximum(seen.sum(-1), 1))


def standing_pace(data: TrackData, part: str) -> float:
    """Pace below which an agent counts as standing, in the store's unit per step.

    In metres it is 0.2 metres per second; in any other unit 15 % of the usual pace of the part,
    which nine of ten windows do not exceed.

    Args:
        data: The tracks.
        part: "train", "val" or "test".

    Raises:
        DataError: The part is empty.
    """
    if data.store.unit == "m":
        return SLOW * data.store.dt
    return SHARE * _usual(data.validation(512, LOOK, part))


def _usual(batches: Iterable[Batch]) -> float:
    found = np.concatenate([pace(batch.past[batch.target]) for batch in batches])
    return float(np.quantile(found, USUAL))


class MotionTally:
    """Scores of those who stood and of those who moved, group by group and person by person."""

    def __init__(self, standing: float) -> None:
        """Nothing yet.

        Args:
            standing: Pace below which a past counts as standing, in the batches' unit per step.
        """
        self._standing = standing
        self._held = {STANDING: Tally(), MOVING: Tally()}

    def expect(self, groups: Mapping[str, Sequence[int]]) -> None:
        """Groups that may get windows."""
        for tally in self._held.values():
            tally.expect(groups)

    def add(self, batch: Batch, scores: Floats, group_of: Mapping[int, str]) -> None:
        """Add the scores [N, ...] of the N targets of a batch, each where it belongs."""
        stood = self.stood(batch)
        self._held[STANDING].add(batch, scores, group_of, stood)
        self._held[MOVING].add(batch, scores, group_of, ~stood)

    def stood(self, batch: Batch) -> Bools:
        """Whether each of the N targets of a batch stood in its past, [N]."""
        return np.asarray(pace(batch.past[batch.target]) < self._standing)

    def people(self) -> dict[str, dict[str, People]]:
        """By motion, the people of each group that has any; a motion nobody had is left out."""
        found = {motion: tally.found() for motion, tally in self._held.items()}
        return {motion: groups for motion, groups in found.items() if groups}
