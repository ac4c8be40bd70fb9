"""What a store of tracks looks like, asked of the worker: its paths, speeds, lengths and faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from trajflow.batch import Floats, Ints
from trajflow.tui.worker_requests import Request

if TYPE_CHECKING:
    from trajflow.browsing.shelf import Shelf
    from trajflow.datasets.tracks import Tracks

MOST = 60_000
"""Steps that are drawn at most; of longer stores, whole tracks are left out evenly."""
BINS = 24


@dataclass(frozen=True)
class Histogram:
    """How often values occur.

    Attributes:
        edges: Bounds of the bins, [N + 1] of N bins.
        counts: How many lie in each, [N].
        middle: The median.
        beyond: How many are larger than the last bound.
    """

    edges: Floats
    counts: Ints
    middle: float
    beyond: int = 0


@dataclass(frozen=True)
class Paths:
    """Tracks of a scene.

    Attributes:
        scene: Name of the recording; empty for all.
        kind: Type of the agents; empty for all.
        tracks: How many there are.
        rows: Their positions.
        steps: Ends of the steps that are drawn, [N, 2, 2]: from and to, x and y.
        track: Which track each of them belongs to, [N].
        speeds: Speeds of all steps, units per second.
        lengths: Lengths of the tracks, seconds.
        unit: Unit of the coordinates.
        drawn: How many tracks are drawn.
    """

    scene: str
    kind: str
    tracks: int
    rows: int
    steps: Floats
    track: Ints
    speeds: Histogram
    lengths: Histogram
    unit: str
    drawn: int


@dataclass(frozen=True)
class ReadPaths(Request):
    """Read the tracks of a scene, or of the largest one; answered by `Paths`.

    Attributes:
        store: The store.
        scene: Name of the recording; empty: the one with most rows; None: all.
        kind: Type of the agents; empty for all.
    """

    newest: ClassVar[bool] = True

    store: Path
    scene: str | None = ""
    kind: str = ""

    def answer(self, state: Shelf) -> Paths:
        """The tracks."""
        store = state.store(self.store)
        scene = self.scene
        if scene == "":
            scene = max(store.scene_rows, key=lambda name: store.scene_rows[name])
        tracks = store.tracks([scene] if scene is not None else None)
        return paths_of(tracks, scene or "", self.kind, store.unit)


@dataclass(frozen=True)
class Scenes:
    """The recordings of a store: their names and how many rows each has."""

    rows: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class ReadScenes(Request):
    """What recordings a store has; answered by `Scenes`."""

    newest: ClassVar[bool] = True

    store: Path

    def answer(self, state: Shelf) -> Scenes:
        """The recordings, in stored order."""
        return Scenes(tuple(state.store(self.store).scene_rows.items()))


@dataclass(frozen=True)
class Examined:
    """What was found in a store: level, what was examined, what was found."""

    findings: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Examine(Request):
    """Examine a store as `trajflow doctor` does; answered by `Examined`, the bytes first."""

    newest: ClassVar[bool] = True
    quick: ClassVar[bool] = False

    store: Path

    def answer(self, state: Shelf) -> Iterator[Examined]:
        """The findings, worst first."""
        from trajflow.datasets.doctor import check, doctor

        for found in (check(self.store), doctor(state.store(self.store))):
            yield Examined(tuple((one.level, one.code, one.message) for one in found))


def paths_of(tracks: Tracks, scene: str, kind: str, unit: str) -> Paths:
    """What is shown of tracks, of one type of agents or of all."""
    chosen = np.arange(len(tracks.scene))
    if kind:
        chosen = np.flatnonzero(tracks.kind == tracks.types.index(kind))
    kept = np.isin(tracks.track, chosen)
    place, step = tracks.position[kept, :2], tracks.step[kept]
    track = tracks.track[kept]
    same = np.flatnonzero(np.diff(track) == 0)
    ends = np.stack([place[same], place[same + 1]], 1)
    seconds = np.diff(step)[same] * tracks.dt
    speed: Floats = np.hypot(*(ends[:, 1] - ends[:, 0]).T) / seconds
    _, rows = np.unique(track, return_counts=True)
    every = max(1, -(-len(same) // MOST))
    drawn = np.isin(track[same], chosen[::every])
    length = np.asarray((rows - 1) * tracks.dt, np.float64)
    return Paths(
        scene=scene,
        kind=kind,
        tracks=len(chosen),
        rows=len(track),
        steps=ends[drawn].astype(np.float32),
        track=track[same][drawn],
        speeds=histogram(speed),
        lengths=histogram(length),
        unit=unit,
        drawn=len(chosen[::every]),
    )


def histogram(values: Floats, bins: int = BINS) -> Histogram:
    """Counts of values [*] in equal bins from 0 to the 99th percentile and a little more."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Histogram(np.linspace(0, 1, bins + 1), np.zeros(bins, np.int64), float("nan"))
    high = float(np.percentile(finite, 99)) * 1.1 or float(finite.max()) or 1.0
    counts, edges = np.histogram(finite, bins, (0, high))
    return Histogram(edges, counts, float(np.median(finite)), int((finite > high).sum()))
