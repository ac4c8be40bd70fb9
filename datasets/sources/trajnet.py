"""TrajNet++ files: one JSON object per line, {"track": {f, p, x, y}} or {"scene": {..., fps}}.

One file is one recording in metres; files below folders named train, val or test belong to that
part. The scene lines, which list cut-outs of the recording, tell only the rate.

Source: Kothari et al. 2021, "Human trajectory forecasting in crowds".
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trajflow.datasets.lines import blocks_of_lines, first_lines
from trajflow.datasets.reading import Reading, ReadOptions
from trajflow.errors import DataError

PARTS = {"train": "train", "val": "val", "test": "test", "test_private": "test"}
FPS = 2.5
LOOK_AHEAD = 20_000
COLUMNS = ["row", "agent", "time", "x", "y", "text", "fault"]


def read(path: Path, options: ReadOptions) -> Reading:
    """Open one file, or all `*.ndjson` below a folder.

    Raises:
        DataError: There are no files, or they have different rates.
    """
    files = sorted(path.rglob("*.ndjson")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise DataError(f"no *.ndjson at {path} or below; name the folder that holds them")
    rates = {file: _rate(file) for file in files}
    told = sorted({rate for rate in rates.values() if rate})
    if len(told) > 1:
        raise DataError(f"the files have different rates, {told} fps; import them one by one")
    dt = options.dt or 1 / (told[0] if told else FPS)
    dropped: Counter[str] = Counter()
    return Reading(
        chunks=_chunks(files, [_part(path, f) for f in files], dt, options.chunk_rows, dropped),
        dims=2,
        files=files,
        dt=dt,
        unit=options.unit or "m",
        columns={"frame": "f", "agent": "p", "x": "x", "y": "y"},
        notes=[] if told else [f"no fps in the files; {FPS:g} fps is taken"],
        dropped=dropped,
    )


def _chunks(
    files: list[Path], parts: list[str], dt: float, size: int, dropped: Counter[str]
) -> Iterator[pd.DataFrame]:
    names = _scenes(files)
    for index, file in enumerate(files):
        seconds = dt / _frame_step(file)
        for block in blocks_of_lines(file, size):
            rows = [row for number, line in block if (row := _row(number, line, dropped))]
            chunk = pd.DataFrame(rows, columns=COLUMNS)
            chunk["time"] *= seconds
            chunk["scene"], chunk["file"], chunk["type"] = names[index], index, "pedestrian"
            chunk["split"] = parts[index]
            yield chunk


def _part(path: Path, file: Path) -> str:
    """The part told by the nearest folder of a known name, not above the path that was given."""
    folders = file.relative_to(path.parent).parts[:-1]
    return next((PARTS[name] for name in reversed(folders) if name in PARTS), "")


def _row(number: int, line: bytes, dropped: Counter[str]) -> tuple[Any, ...] | None:
    found = _object(line)
    if "scene" in found:
        return None
    track = found.get("track")
    text = line.decode("utf-8", "replace").strip()
    if not isinstance(track, dict):
        return (number, "", np.nan, np.nan, np.nan, text, "malformed")
    if track.get("prediction_number") is not None:
        dropped["predictions"] += 1
        return None
    agent = track.get("p")
    label = str(agent) if isinstance(agent, int | str) and not isinstance(agent, bool) else ""
    return (number, label, *(_number(track.get(key)) for key in "fxy"), text, "")


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        return np.nan
    return float(value)


def _rate(file: Path) -> float | None:
    """Rows per second of an agent, from the first scene line that tells it."""
    for line in first_lines(file, LOOK_AHEAD):
        scene = _object(line).get("scene")
        if isinstance(scene, dict) and _number(scene.get("fps")) > 0:
            return float(scene["fps"])
    return None


def _frame_step(file: Path) -> float:
    """Frames from one row of a person to the next, as most have it."""
    frames: dict[str, list[float]] = {}
    for line in first_lines(file, LOOK_AHEAD):
        track = _object(line).get("track")
        if isinstance(track, dict) and np.isfinite(_number(track.get("f"))):
            frames.setdefault(str(track.get("p")), []).append(float(track["f"]))
    steps = np.concatenate([np.diff(np.unique(f)) for f in frames.values()] or [np.ones(1)])
    return float(np.median(steps)) if len(steps) else 1.0


def _scenes(files: list[Path]) -> list[str]:
    stems = Counter(file.stem for file in files)
    return [f.stem if stems[f.stem] == 1 else f"{f.parent.name}/{f.stem}" for f in files]
