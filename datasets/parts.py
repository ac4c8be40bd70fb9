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
    """Group trajectories into parts of at most `most` rows where no single one is larger."""
    parts: list[list[Span]] = []
    room = 0
    for _, tracks in roster.by_scene():
        for first, last, rows in _pieces(tracks, roster.rows[tracks], most):
            if rows > room:
                parts.append([])
                room = most
            parts[-1].append(Span(roster.scene[first], first, last))
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


def _pieces(tracks: Ints, rows: Ints, most: int) -> Iterator[tuple[int, int, int]]:
    """First and last trajectory of consecutive groups, and their rows."""
    first, held = 0, 0
    for index, count in enumerate(rows.tolist()):
        if held and held + count > most:
            yield int(tracks[first]), int(tracks[index - 1]), held
            first, held = index, 0
        held += count
    yield int(tracks[first]), int(tracks[-1]), held


def _rank(track: Ints, place: dict[int, int], roster: Roster) -> NDArray[np.int64]:
    found, inverse = np.unique(track, return_inverse=True)
    keys = [(place[roster.scene[t]], *_label_key(roster.label[t])) for t in found.tolist()]
    rank = np.empty(len(found), np.int64)
    rank[sorted(range(len(found)), key=keys.__getitem__)] = np.arange(len(found))
    return rank[inverse]


def _label_key(text: str) -> tuple[int, int, tuple[tuple[int, int, str], ...]]:
    label = label_of(text)
    return (0, label, ()) if isinstance(label, int) else (1, 0, natural(label))
