"""Draw what a run forecasts of its own windows, beside what happened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import open_store
from trajflow.errors import ConfigError, DataError, did_you_mean
from trajflow.inference.loading import load_predictor
from trajflow.inference.tables import check_fit
from trajflow.plotting import check_suffix, draw_forecasts, save
from trajflow.regions import region_of
from trajflow.runs import RunFolder, track_data
from trajflow.scene_image import load_image
from trajflow.types import Batch


def plot_forecasts(
    run: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    split: str = "test",
    panels: int = 6,
    scenes: Sequence[str] | None = None,
    windows: Sequence[int] = (),
    samples: int = 20,
    steps: int = 1,
    seed: int = 0,
    level: float | None = None,
    device: str = "auto",
) -> Path:
    """Draw histories, truths and sampled futures of windows spread over a split.

    Args:
        run: The run folder.
        data: A store.
        out: The picture: .png, .svg or .pdf.
        split: "train", "val" or "test".
        panels: Windows that are drawn.
        scenes: Recordings that they are taken from; None: all.
        windows: Numbers of the windows in the split, from 0, instead of windows spread over it.
        samples: Futures of each agent.
        steps: Network evaluations per draw.
        seed: Equal seeds give equal pictures.
        level: Share of the ends that drawn regions contain; None: no regions.
        device: Where to compute.

    Returns:
        `out`.

    Raises:
        DataError: A recording is unknown or has no window in the split, or there is no such
            window.
        ConfigError: Both recordings and windows are given.
        RunError: There is no run, or the tracks do not fit it.
    """
    out = Path(out)
    check_suffix(out)
    store, folder = open_store(data), RunFolder.open(run)
    predictor = load_predictor(folder.path, device, steps)
    check_fit(predictor, store, data)
    tracks = track_data(store, folder.config)
    if windows and scenes:
        raise ConfigError("windows are numbered in the whole split: leave out the recording")
    if windows:
        batch = numbered_windows(tracks, split, windows)
    else:
        batch = spread_windows(tracks, split, scenes, panels)
    drawn = predictor.forecast(batch, samples, seed)
    present = batch.start + predictor.history - 1
    titles = [
        f"{store.scenes[code]}, {step * store.dt:.1f} s"
        for code, step in zip(batch.scene, present, strict=True)
    ]
    region = region_of(drawn, level, "each", predictor.calibration) if level else None
    images = [load_image(store.path, store.scenes[code]) for code in batch.scene]
    save(draw_forecasts(batch, drawn, titles, store.unit, region=region, images=images), out)
    return out


def numbered_windows(data: TrackData, split: str, numbers: Sequence[int]) -> Batch:
    """Windows of a split as one batch, by their numbers from 0.

    Raises:
        DataError: There is no such window.
    """
    windows = data.windows(split)
    if beyond := [number for number in numbers if not 0 <= number < len(windows)]:
        raise DataError(f"there is no window {beyond[0] + 1}; {split!r} has {len(windows)} windows")
    return windows.gather(np.array(numbers))


def spread_windows(data: TrackData, split: str, scenes: Sequence[str] | None, count: int) -> Batch:
    """At most `count` windows of a split as one batch, spread evenly over recordings.

    Raises:
        DataError: A recording is unknown, or has no window in this split.
    """
    names = data.store.scenes
    for name in scenes or ():
        if name not in names:
            raise DataError(did_you_mean("recording", name, names))
    codes = [names.index(name) for name in scenes or names]
    for windows in data.stream(split):
        rows = np.flatnonzero(np.isin(windows.scene, codes))
        if len(rows):
            rows = rows[np.lexsort((windows.start[rows], windows.scene[rows]))]
            middle = (np.arange(count) + 0.5) / count * len(rows)
            return windows.gather(rows[np.unique(middle.astype(np.int64))])
    raise DataError(f"no window of {', '.join(scenes or ())} is in split {split!r}; choose another")
