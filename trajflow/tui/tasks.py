"""What the screens ask of the engine: functions that run in its process, and their results.

Runs, stores and splits are named by the folder of the run, the store and "train", "val" or "test".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from trajflow.browse.view import ReportWindow, SamplingOptions, SplitSummary, View
from trajflow.ood.report import OODTerms, Stage, report_name
from trajflow.types import Floats, Ints

if TYPE_CHECKING:
    from trajflow.browse.browser import Session
    from trajflow.datasets.schema import Tracks

SplitPath = tuple[Path, Path, str]
"""The folder of a run, a store, and a split of it."""
MAX_STEPS = 60_000
"""Steps that are drawn at most; of larger stores, whole tracks are left out evenly."""


@dataclass(frozen=True)
class SceneTracks:
    """Tracks of a recording; without a name, of all recordings.

    Attributes:
        tracks, drawn: How many tracks there are, and how many are drawn.
        steps: Ends of the steps that are drawn, [N, 2, 2]: from and to, x and y.
        track: Number of the track of each of them, [N].
    """

    scene: str
    tracks: int
    steps: Floats
    track: Ints
    unit: str
    drawn: int


def warm_up(session: Session) -> None:
    """Nothing: the process has then loaded what takes seconds."""


def open_run(session: Session, split: SplitPath) -> SplitSummary:
    """Load a run and the windows of a split."""
    return session.browser(*split).summary()


def show_window(
    session: Session,
    split: SplitPath,
    index: int,
    options: SamplingOptions,
    past: Floats | None = None,
    beside: str | None = None,
) -> tuple[View, View | None]:
    """A window and its forecast, and that of another forecaster ("cv" or a run folder).

    Another past, [A, T, D], may stand for the stored one.
    """
    browser = session.browser(*split)
    view = browser.view(index, options, past)
    if beside is None:
        return view, None
    return view, browser.view(index, options, past, browser.other(beside))


def rank_windows(
    session: Session, split: SplitPath, by: str
) -> Iterator[tuple[float, Mapping[str, Floats]]]:
    """Score all windows of a split: the share that is done, and scores by name [W] at the end."""
    browser = session.browser(*split)
    for done, total, scores in browser.rank(by):
        yield done / max(1, total), {} if scores is None else dict(browser.ranked)


def rank_gain(
    session: Session, split: SplitPath, beside: str
) -> Iterator[tuple[float, Mapping[str, Floats]]]:
    """As `rank_windows`: "gain", how much lower the energy score of each window is, [W]."""
    browser = session.browser(*split)
    *_, (_, _, own) = browser.rank("energy_score")
    for done, total, scores in browser.rank("energy_score", browser.other(beside)):
        gain = {} if scores is None or own is None else {"gain": scores - own}
        yield done / max(1, total), gain


def preview_run(session: Session, split: SplitPath) -> View:
    """A busy window of a run."""
    return session.browser(*split).preview()


def plot_window(
    session: Session, split: SplitPath, index: int, options: SamplingOptions, level: float | None
) -> bytes:
    """The PNG that `trajflow plot` draws of a window, counted from 0."""
    from trajflow.inference.plot import plot_forecasts

    run, data, name = split
    with TemporaryDirectory() as folder:
        out = plot_forecasts(
            run,
            data,
            Path(folder) / "window.png",
            split=name,
            windows=[index],
            samples=options.samples,
            steps=options.steps,
            seed=options.seed,
            level=level,
            device="cpu",
        )
        return out.read_bytes()


def list_scenes(session: Session, store: Path) -> Mapping[str, int]:
    """The recordings of a store in stored order, and the rows of each."""
    return dict(session.store(store).scene_rows)


def read_tracks(session: Session, store: Path, scene: str | None = "") -> SceneTracks:
    """The tracks of a recording; empty: of that with most rows; None: of all."""
    opened = session.store(store)
    if scene == "":
        scene = max(opened.scene_rows, key=lambda name: opened.scene_rows[name])
    tracks = opened.tracks([scene] if scene is not None else None)
    return scene_tracks(tracks, scene or "", opened.unit)


def plan_training(session: Session, store: Path, settings: list[str]) -> Iterator[dict[str, Any]]:
    """What a training with these settings would do, and, as the second value, how long it takes."""
    from trajflow.config import Config
    from trajflow.training.start import plan_stages

    yield from plan_stages(store, Config.load(None, settings))


def evaluate_ood(session: Session, run: Path, data: Path) -> Iterator[Stage | Path]:
    """Evaluate the OOD detection of a run, corruption by corruption, and write the report.

    Yields the progress, and at the end the path of the report in the run folder.
    """
    from trajflow.ood.evaluate import evaluation_stages, report_bytes
    from trajflow.runs import RunFolder

    folder, store, terms = RunFolder.open(run), session.store(data), OODTerms()
    session.browser(run, data, terms.split)
    predictor, report = session.predictor(run, terms.steps), dict[str, Any]()
    for stage in evaluation_stages(str(run), predictor, store, folder.config, terms):
        if isinstance(stage, Stage):
            yield stage
        else:
            report = stage
    name = report_name(report["protocol"])
    folder.write(name, report_bytes(report))
    yield folder.path / name


def show_corrupted(
    session: Session, run: Path, data: Path, protocol: Mapping[str, Any], place: ReportWindow
) -> View:
    """A window behind an OOD report with this protocol."""
    return session.corrupted(run, data, protocol).view(place)


def scene_tracks(tracks: Tracks, scene: str, unit: str) -> SceneTracks:
    """What is shown of tracks."""
    position, track = tracks.position[:, :2], tracks.track
    same = np.flatnonzero(np.diff(track) == 0)
    ends = np.stack([position[same], position[same + 1]], 1)
    every = max(1, -(-len(same) // MAX_STEPS))
    drawn = track[same] % every == 0
    return SceneTracks(
        scene=scene,
        tracks=len(tracks.scene),
        steps=ends[drawn].astype(np.float32),
        track=track[same][drawn],
        unit=unit,
        drawn=-(-len(tracks.scene) // every),
    )
