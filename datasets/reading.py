"""What an importer is asked for, and what it hands over: tracks as chunks of canonical rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

CANONICAL = ("scene", "agent", "type", "time", "frame", "x", "y", "z", "split")


@dataclass(frozen=True)
class ReadOptions:
    """What the user said about files whose format leaves it open.

    Attributes:
        columns: Name in the file of each canonical column ("agent", "time", "x", ...).
        dt: Seconds per step.
        unit: Unit of the coordinates.
        scale: Metres per unit of the file; positions are multiplied by it.
        dims: Coordinates that are read, 2 or 3; None: z is read where there is one.
        settings: Choices that one importer alone knows; its `SETTINGS` has their names.
        chunk_rows: About how many rows a chunk holds; bounds the memory of reading.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    dt: float | None = None
    unit: str | None = None
    scale: float | None = None
    dims: int | None = None
    chunk_rows: int = 65_536
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Reading:
    """Tracks on their way in: facts about the source, and its rows in chunks.

    A chunk is a table of N rows with the columns

    * scene, agent: names as text; "" where the file has none (such a row is set apart),
    * time: seconds, or frame numbers where `frames` is set; float, NaN where unreadable,
    * x, y and, with three dims, z: float, NaN where unreadable,
    * row: number of the row in its file, from 1; file: index of its file in `files`,

    and, if the source knows them, type and split (text, "" where unknown), text (the row as the
    file has it, for rows that are unreadable) and fault (the name of a problem the importer found).

    Attributes:
        chunks: The rows, read as they are asked for.
        dims: Coordinates of a position, D.
        files: Every file that is read.
        dt: Seconds per step, if the format or the user fixes it.
        unit: Unit of the coordinates, if the format or the user fixes it.
        frames: Times are frame numbers, to be scaled so that the usual step is dt.
        columns: Which column of the file each canonical column was taken from.
        notes: Sentences for the report, complete once the chunks are.
        folds: Test scenes of each leave-one-out fold; complete once the chunks are.
        dropped: Rows left out on purpose, by reason; complete once the chunks are.
    """

    chunks: Iterator[pd.DataFrame]
    dims: int
    files: list[Path]
    dt: float | None = None
    unit: str | None = None
    frames: bool = False
    columns: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    folds: dict[str, list[str]] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
