"""Judged parts become blocks for the store and rows for the quarantine, and are counted."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Bools, Ints
from trajflow.datasets.parts import Part
from trajflow.datasets.quality import BETWEEN, REASONS, Judge, pieces, scenes_of
from trajflow.datasets.quarantine import Apart, Quarantine
from trajflow.datasets.roster import Roster, label_of
from trajflow.datasets.tracks import TrackBlock

LONG_GAP = 10


@dataclass
class Sift:
    """Sorts the rows of one part after the other.

    Attributes:
        judge: Tells what becomes of each row.
        roster: Names behind the codes.
        quarantine: Takes the rows set apart.
        scenes: Scenes with at least one kept row, in order.
        types, splits: Trajectories of each type and rows of each part, kept.
        steps: Steps of dt between consecutive kept rows.
        kept, between, moved, cuts, turned: Rows kept, dropped between steps, moved in time; tracks
            cut; rows whose longitude was turned by 360 degrees.
    """

    judge: Judge
    roster: Roster
    quarantine: Quarantine
    scenes: dict[str, None] = field(default_factory=dict)
    types: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    steps: Counter[int] = field(default_factory=Counter)
    kept: int = 0
    between: int = 0
    moved: int = 0
    cuts: int = 0
    turned: int = 0

    def blocks(self, part: Part) -> Iterator[TrackBlock]:
        """Judge whole trajectories and hand over the kept ones, scene by scene."""
        verdict = self.judge(part)
        self._set_apart(part, verdict.reason)
        kept = verdict.kept
        self.between += int((verdict.reason == BETWEEN).sum())
        self.moved += verdict.moved
        self.kept += int(kept.sum())
        moved = replace(part, position=verdict.position).take(kept)
        self.turned += int((moved.position[:, 0] != part.position[kept, 0]).sum())
        step, cut = verdict.step[kept], verdict.cut[kept]
        for _, rows in scenes_of(moved.scene):
            yield self._block(moved.take(rows), step[rows], cut[rows])

    def _block(self, part: Part, step: Ints, cut: Bools) -> TrackBlock:
        begins, number = pieces(part.track, cut)
        tracks = part.track[begins].tolist()
        names = np.array(self.roster.splits.names)
        types = [self.roster.types.names[self.roster.kind[t]] for t in tracks]
        scene = self.roster.scenes.names[int(part.scene[0])]
        labels = [self._label(t, n) for t, n in zip(tracks, number.tolist(), strict=True)]
        rowsize = np.diff(np.append(begins, len(step)))
        self.cuts += int((number > 1).sum())
        self.scenes[scene] = None
        self.types.update(types)
        self.splits.update(names[part.split].tolist())
        gaps = np.delete(np.diff(step), begins[1:] - 1)
        self.steps.update(dict(enumerate(np.bincount(np.minimum(gaps, LONG_GAP + 1)).tolist())))
        return TrackBlock(
            scene=scene,
            labels=cast(list[int] | list[str], labels),
            types=types,
            rowsize=rowsize,
            time=np.asarray(step * self.judge.rules.dt, np.float64),
            position=part.position,
            split=names[part.split],
        )

    def _label(self, track: int, number: int) -> int | str:
        """The source's label; "LABEL#2" for what follows after a jump."""
        label = self.roster.label[track]
        if number == 1:
            return label_of(label)
        name = f"{label}#{number}"
        while self.roster.has(self.roster.scene[track], name):
            name += "'"
        return name

    def _set_apart(self, part: Part, reason: NDArray[np.int8]) -> None:
        bad = part.take(reason >= 0)
        if not len(bad.row):
            return
        names = np.array(REASONS, object)[reason[reason >= 0]]
        self.quarantine.add(
            Apart(
                reason=names,
                scene=np.array(self.roster.scenes.names, object)[bad.scene],
                agent=np.array(self.roster.label, object)[bad.track],
                time=bad.time,
                position=bad.position,
                file=bad.file,
                row=bad.row,
                text=np.full(len(names), "", object),
            )
        )
