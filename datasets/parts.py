"""Portions of an import that fit in memory: whole trajectories, sorted by scene, agent and time."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Bools, Floats, Ints
from trajflow.datasets.roster import Roster, label_of, natural
from trajflow.datasets.spill import Span, Spill


@dataclass(frozen=True)
class Part:
    """N rows of whole trajectories, sorted by scene, agent and time.

    Attributes:
        scene, track: Codes in the roster, [N].
        time: Seconds, or frames before they are scaled, [N].
        position: Coordinates as the file has them, [N, D].
        split: Code of the part each row belongs to, [N].
        file, row: Where each row stands, [N].
    """

    scene: Ints
    track: Ints
    time: Floats
    position: Floats
    split: Ints
    file: Ints
    row: Ints

    def take(self, chosen: Bools | Ints | slice) -> "Part":
        """The chosen rows."""
        return replace(self, **{f.name: getattr(self, f.name)[chosen] for f in fields(self)})


def plan(roster: Roster, most: int) -> list[list[Span]]:
    """Group trajectories into parts of at most `most` rows where no single one is larger.

    Scenes come in natural order of their names; a scene too large for one part is divided in the
    order of its labels, so that the result does not depend on the order of rows in the file.
    """
    parts: list[list[Span]] = []
    room = 0
    for _, tracks in roster.by_scene():
        for group, rows in _groups(tracks, roster, most):
            if rows > room:
                parts.append([])
                room = most
            parts[-1].extend(_spans(tracks, group, roster.scene[int(tracks[0])]))
            room -= rows
    return parts


def load(spill: Spill, spans: list[Span], roster: Roster) -> Part:
    """Read a part back from disk, in an order that does not depend on the order in the file."""
    table = spill.read(spans)
    track = table["track"].astype(np.int64)
    place = {span.scene: index for index, span in enumerate(spans)}
    order = np.lexsort((table["row"], table["file"], table["time"], _rank(track, place, roster)))
    part = Part(
        scene=table["scene"].astype(np.int64),
        track=track,
        time=table["time"],
        position=table["position"],
        split=table["split"].astype(np.int64),
        file=table["file"].astype(np.int64),
        row=table["row"],
    )
    return part.take(order)


def _groups(tracks: Ints, roster: Roster, most: int) -> Iterator[tuple[Ints, int]]:
    """Indexes of the trajectories of a scene that are in memory together, and their rows."""
    rows = roster.rows[tracks]
    if rows.sum() <= most:
        yield np.arange(len(tracks)), int(rows.sum())
        return
    keys = [_label_key(roster.label[track]) for track in tracks.tolist()]
    order = sorted(range(len(tracks)), key=keys.__getitem__)
    first, held = 0, 0
    for index, count in enumerate(rows[order].tolist()):
        if held and held + count > most:
            yield np.sort(order[first:index]), held
            first, held = index, 0
        held += count
    yield np.sort(order[first:]), held


def _spans(tracks: Ints, group: Ints, scene: int) -> list[Span]:
    """Ranges of trajectories that hold those of a group and no other of the scene."""
    ranges = np.split(group, np.flatnonzero(np.diff(group) > 1) + 1)
    return [Span(scene, int(tracks[r[0]]), int(tracks[r[-1]])) for r in ranges]


def _rank(track: Ints, place: dict[int, int], roster: Roster) -> NDArray[np.int64]:
    found, inverse = np.unique(track, return_inverse=True)
    keys = [(place[roster.scene[t]], *_label_key(roster.label[t])) for t in found.tolist()]
    rank = np.empty(len(found), np.int64)
    rank[sorted(range(len(found)), key=keys.__getitem__)] = np.arange(len(found))
    return rank[inverse]


def _label_key(text: str) -> tuple[int, int, tuple[tuple[int, int, str], ...]]:
    label = label_of(text)
    return (0, label, ()) if isinstance(label, int) else (1, 0, natural(label))
