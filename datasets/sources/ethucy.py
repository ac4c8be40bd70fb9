"""ETH/UCY recordings as the field uses them: text of four columns, frame, agent, x, y, in metres.

One step is 10 frames or 0.4 s. A known recording is cut in time at the protocol's first validation
frame, row by row; any other recording is a scene of its own without a cut.

The field reads `biwi_eth` like that too, though its people were annotated every 6 frames, 0.4 s
apart, and resampled to every 10 with the frame numbers kept: 10 of its frames last 2/3 s. Called
0.4 s they make people walk 10/6 as fast, usually 2.5 m/s; at their true time it is 1.5 m/s, as in
`biwi_hotel`. The setting eth-time "true" reads that recording so, on steps of 0.4 s that lie on
straight lines between its rows. The speeds are right then, but a present between two rows knows a
little of the later one, which takes a tenth off the error of constant velocity; only at every fifth
step is it a row of the file.

Source: Pellegrini et al. 2009 (ETH) and Lerner et al. 2007 (UCY), as processed by
Gupta et al. 2018, "Social GAN".
"""

import tomllib
from collections.abc import Iterator
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from trajflow.datasets.grammar import labels, numbers
from trajflow.datasets.lines import blocks_of_lines
from trajflow.datasets.reading import Reading, ReadOptions
from trajflow.datasets.resampling import Resampler
from trajflow.errors import DataError

DT = 0.4
FRAMES_PER_STEP = 10
SETTINGS = {"eth-time": ("field", "true")}


def read(path: Path, options: ReadOptions) -> Reading:
    """Open one recording, or all `*.txt` of a folder.

    Raises:
        DataError: There is no recording at the path.
    """
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise DataError(f"no recordings (*.txt) at {path}; name the folder that holds them")
    known = _catalog()
    scenes = {file.stem for file in files}
    folds = {name: tests for name, tests in known["folds"].items() if scenes.issuperset(tests)}
    strange = sorted(scenes - set(known["first_validation_frame"]))
    notes = [f"not in the protocol, so without a cut: {', '.join(strange)}"] if strange else []
    every = known["annotated_every"] if options.settings.get("eth-time") == "true" else {}
    return Reading(
        chunks=_chunks(files, known["first_validation_frame"], every, notes, options.chunk_rows),
        dims=2,
        files=files,
        dt=options.dt or DT,
        unit=options.unit or "m",
        columns={"frame": "1", "agent": "2", "x": "3", "y": "4"},
        notes=notes,
        folds=folds,
    )


def _catalog() -> Any:
    return tomllib.loads((resources("trajflow.datasets") / "catalog/ethucy.toml").read_text())


def _chunks(
    files: list[Path], cuts: dict[str, int], every: dict[str, int], notes: list[str], size: int
) -> Iterator[pd.DataFrame]:
    for index, file in enumerate(files):
        parts = _parted(_lines(file, size), cuts.get(file.stem))
        step = every.get(file.stem, FRAMES_PER_STEP)
        if step != FRAMES_PER_STEP:
            parts = _resampled(parts, file.stem, step, notes)
        for chunk in parts:
            chunk["time"] = chunk.pop("frame") * (DT / step)
            chunk["scene"], chunk["file"], chunk["type"] = file.stem, index, "pedestrian"
            yield chunk


def _parted(chunks: Iterator[pd.DataFrame], cut: int | None) -> Iterator[pd.DataFrame]:
    for chunk in chunks:
        if cut is not None:
            chunk["split"] = np.where(chunk["frame"] < cut, "train", "val")
        yield chunk


def _resampled(
    chunks: Iterator[pd.DataFrame], name: str, step: int, notes: list[str]
) -> Iterator[pd.DataFrame]:
    resample = Resampler(FRAMES_PER_STEP, step)
    yield from map(resample, chunks)
    notes.append(
        f"{name} is at its true time, {step} frames to {DT:g} s: {resample.read} rows "
        f"{FRAMES_PER_STEP} frames apart became {resample.made} on straight lines between them"
    )


def _lines(file: Path, size: int) -> Iterator[pd.DataFrame]:
    for block in blocks_of_lines(file, size):
        texts = [line.decode("utf-8", "replace").strip() for _, line in block]
        cells = [text.split() for text in texts]
        whole = [row if len(row) == 4 else [""] * 4 for row in cells]
        columns = [pa.array(column) for column in zip(*whole, strict=True)]
        chunk = pd.DataFrame({"row": [number for number, _ in block]})
        for name, column in zip(("frame", "x", "y"), (columns[0], *columns[2:]), strict=True):
            chunk[name] = numbers(column)
        chunk["agent"] = labels(columns[1]).to_pandas()
        chunk["text"] = texts
        chunk["fault"] = ["" if len(row) == 4 else "malformed" for row in cells]
        yield chunk
