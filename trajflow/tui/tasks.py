"""What the screens ask of the engine: functions that run in its process, and their results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trajflow.browse.corrupted import ReportWindow, evaluate_run_ood
from trajflow.browse.view import Floats, Ints, SamplingOptions, View
from trajflow.ood.report import OODTerms, Stage

if TYPE_CHECKING:
    from trajflow.browse.browser import SplitSummary
    from trajflow.browse.session import Session
    from trajflow.datasets.schema import Tracks

MAX_STEPS = 60_000
"""Steps that are drawn at most; of larger stores, whole tracks are left out evenly."""
BINS = 24
Finding = tuple[str, str, str]
"""Level, what was examined, what was found."""


@dataclass(frozen=True)
class Histogram:
    """How often values occur.

    Attributes:
        edges: Bounds of the bins, [N + 1] of N bins.
        counts: Values in each, [N].
        median: The median.
        beyond: Values larger than the last bound.
    """

    edges: Floats
    counts: Ints
    median: float
    beyond: int = 0

    @classmethod
    def of(cls, values: Floats, bins: int = BINS) -> Histogram:
        """Counts of values [*] in equal bins from 0 to a little above the 99th percentile."""
        finite = values[np.isfinite(values)]
        if not len(finite):
            return cls(np.linspace(0, 1, bins + 1), np.zeros(bins, np.int64), float("nan"))
        high = float(np.percentile(finite, 99)) * 1.1 or float(finite.max()) or 1.0
        counts, edges = np.histogram(finite, bins, (0, high))
        return cls(edges, counts, float(np.median(finite)), int((finite > high).sum()))


@dataclass(frozen=True)
class SceneTracks:
    """Tracks of a scene.

    Attributes:
        scene: Name of the recording; empty for all.
        agent_type: Type of the agents; empty for all.
        tracks: How many there are.
        rows: Their positions.
        steps: Ends of the steps that are drawn, [N, 2, 2]: from and to, x and y.
        track: Number of the track of each of them, [N].
        speeds: Speeds of all steps, units per second.
        durations: Durations of the tracks, seconds.
        unit: Unit of the coordinates.
        drawn: How many tracks are drawn.
    """

    scene: str
    agent_type: str
    tracks: int
    rows: int
    steps: Floats
    track: Ints
    speeds: Histogram
    durations: Histogram
    unit: str
    drawn: int


def warm_up(session: Session) -> None:
    """Nothing: the process has then loaded what takes seconds."""


def open_run(session: Session, run: Path, data: Path, split: str) -> SplitSummary:
    """Load a run and the windows of a split."""
    return session.browser(run, data, split).summary()


def show_window(
    session: Session,
    run: Path,
    data: Path,
    split: str,
    index: int,
    options: SamplingOptions,
    past: Floats | None = None,
    beside: str | None = None,
) -> tuple[View, View | None]:
    """A window and its forecast, and the forecast of another forecaster if one is named.

    Args:
        session: What is open.
        run: Run folder.
        data: Store.
        split: Which windows.
        index: Number of the window.
        options: How it is forecast.
        past: Another past to forecast from, [A, T, D]; None: as stored.
        beside: "cv", or the folder of another run.
    """
    browser = session.browser(run, data, split)
    view = browser.view(index, options, past)
    if beside is None:
        return view, None
    return view, browser.view(index, options, past, browser.other(beside))


def rank_windows(
    session: Session, run: Path, data: Path, split: str, by: str
) -> Iterator[tuple[float, Mapping[str, Floats]]]:
    """Score all windows of a split: the share that is done, and scores by name [W] at the end."""
    browser = session.browser(run, data, split)
    for done, total, scores in browser.rank(by):
        yield done / max(1, total), {} if scores is None else dict(browser.ranked)


def preview_run(session: Session, run: Path, data: Path, split: str) -> View:
    """A busy window of a run."""
    return session.browser(run, data, split).preview()


def list_scenes(session: Session, store: Path) -> Mapping[str, int]:
    """The recordings of a store in stored order, and the rows of each."""
    return dict(session.store(store).scene_rows)


def read_tracks(
    session: Session, store: Path, scene: str | None = "", agent_type: str = ""
) -> SceneTracks:
    """The tracks of a scene.

    Args:
        session: What is open.
        store: The store.
        scene: Name of the recording; empty: the one with most rows; None: all.
        agent_type: Type of the agents; empty for all.
    """
    opened = session.store(store)
    if scene == "":
        scene = max(opened.scene_rows, key=lambda name: opened.scene_rows[name])
    tracks = opened.tracks([scene] if scene is not None else None)
    return scene_tracks(tracks, scene or "", agent_type, opened.unit)


def examine_store(session: Session, store: Path) -> Iterator[list[Finding]]:
    """What `trajflow doctor` finds: first in the bytes of a store, then in its tracks."""
    from trajflow.datasets.doctor import check, doctor

    yield [(one.level, one.code, one.message) for one in check(store)]
    yield [(one.level, one.code, one.message) for one in doctor(session.store(store))]


def plan_training(session: Session, store: Path, settings: list[str]) -> Iterator[dict[str, Any]]:
    """What a training with these settings would do, and, as the second value, how long it takes."""
    from trajflow.config import Config
    from trajflow.training.start import plan_stages

    yield from plan_stages(store, Config.load(None, settings))


def evaluate_ood(session: Session, run: Path, data: Path) -> Iterator[Stage | Path]:
    """Evaluate the OOD detection of a run; the progress, and at the end the report's path."""
    yield from evaluate_run_ood(session, run, data, OODTerms())


def show_corrupted(
    session: Session,
    run: Path,
    data: Path,
    terms: OODTerms,
    against: Path | None,
    place: ReportWindow,
) -> tuple[View, View]:
    """A window behind an OOD report, and its agent among the nearest training tracks."""
    return session.corrupted(run, data, terms, against).view(place)


def scene_tracks(tracks: Tracks, scene: str, agent_type: str, unit: str) -> SceneTracks:
    """What is shown of tracks, of one type of agents or of all."""
    chosen = np.arange(len(tracks.scene))
    if agent_type:
        chosen = np.flatnonzero(tracks.kind == tracks.types.index(agent_type))
    kept = np.isin(tracks.track, chosen)
    position, step, track = tracks.position[kept, :2], tracks.step[kept], tracks.track[kept]
    same = np.flatnonzero(np.diff(track) == 0)
    ends = np.stack([position[same], position[same + 1]], 1)
    seconds = np.diff(step)[same] * tracks.dt
    speed: Floats = np.hypot(*(ends[:, 1] - ends[:, 0]).T) / seconds
    _, rows = np.unique(track, return_counts=True)
    every = max(1, -(-len(same) // MAX_STEPS))
    drawn = np.isin(track[same], chosen[::every])
    return SceneTracks(
        scene=scene,
        agent_type=agent_type,
        tracks=len(chosen),
        rows=len(track),
        steps=ends[drawn].astype(np.float32),
        track=track[same][drawn],
        speeds=Histogram.of(speed),
        durations=Histogram.of(np.asarray((rows - 1) * tracks.dt, np.float64)),
        unit=unit,
        drawn=len(chosen[::every]),
    )
