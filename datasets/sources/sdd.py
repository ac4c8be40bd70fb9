"""Stanford Drone Dataset: a tree SCENE/videoN/annotations.txt of boxes in pixels at 30 fps.

A position is the centre of a box. Boxes marked lost (the agent is out of view) are dropped; every
12th frame is kept for a step of 0.4 s. Positions stay in pixels unless a scale is given.

Source: Robicquet et al. 2016, "Learning social etiquette".
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from trajflow.datasets.delimited import Layout, Rows, read_delimited
from trajflow.datasets.grammar import labels, numbers
from trajflow.datasets.reading import Reading, ReadOptions
from trajflow.errors import DataError

DT = 0.4
FPS = 30
NAMES = ["track", "xmin", "ymin", "xmax", "ymax", "frame", "lost", "occluded", "generated", "label"]


def read(path: Path, options: ReadOptions) -> Reading:
    """Open one annotations.txt, or all below a folder.

    Raises:
        DataError: There are no annotations, or dt is no whole number of frames.
    """
    files = sorted(path.rglob("annotations.txt")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise DataError(f"no annotations.txt at {path} or below; name the folder that holds them")
    every = _frames_per_step(options.dt or DT)
    dropped: Counter[str] = Counter()
    return Reading(
        chunks=_chunks(files, options, every, dropped),
        dims=2,
        files=files,
        dt=every / FPS,
        unit=options.unit or ("m" if options.scale else "px"),
        columns={"agent": "track", "x": "(xmin + xmax) / 2", "y": "(ymin + ymax) / 2"},
        dropped=dropped,
    )


def _frames_per_step(dt: float) -> int:
    every = round(dt * FPS)
    if every < 1 or abs(dt * FPS - every) > 0.01 * every:
        raise DataError(
            f"dt = {dt} s is {dt * FPS:.3f} frames at {FPS} fps; give a whole number of frames, "
            f"such as {max(every, 1) / FPS:.4f} s"
        )
    return every


def _chunks(
    files: list[Path], options: ReadOptions, every: int, dropped: Counter[str]
) -> Iterator[pd.DataFrame]:
    layout = Layout(" ", NAMES, skip=0)
    scenes = _scenes(files)
    for index, file in enumerate(files):
        for rows in read_delimited(file, layout, NAMES, options.chunk_rows):
            chunk = _centres(rows, options.scale or 1.0)
            frame, lost = chunk.pop("frame"), chunk.pop("lost") == 1
            between = ~lost & (frame % every > 0)
            dropped["lost"] += int(lost.sum())
            dropped["between steps"] += int(between.sum())
            chunk["time"] = frame / FPS
            chunk["scene"], chunk["file"] = scenes[index], index
            yield chunk[~(lost | between)]


def _centres(rows: Rows, scale: float) -> pd.DataFrame:
    value = {name: numbers(rows.table.column(name)) for name in NAMES[1:7]}
    chunk = pd.DataFrame({"row": rows.number, "frame": value["frame"], "lost": value["lost"]})
    chunk["agent"] = labels(rows.table.column("track")).to_pandas()
    chunk["type"] = labels(rows.table.column("label")).to_pandas().str.lower()
    chunk["x"] = (value["xmin"] + value["xmax"]) / 2 * scale
    chunk["y"] = (value["ymin"] + value["ymax"]) / 2 * scale
    chunk["text"], chunk["fault"] = "", ""
    if rows.malformed:
        number, text = zip(*rows.malformed, strict=True)
        odd = pd.DataFrame({"row": number, "text": text, "fault": "malformed", "agent": ""})
        odd[["frame", "lost", "x", "y"]] = np.nan
        odd["type"] = ""
        chunk = pd.concat([chunk, odd], ignore_index=True) if len(chunk) else odd
    return chunk


def _scenes(files: list[Path]) -> list[str]:
    """Names such as "bookstore_video0", from the two folders above each file."""
    names = ["_".join(file.resolve().parts[-3:-1]) for file in files]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"scene {twice[0]!r} is there twice; import one tree at a time")
    return names
