"""What an import reads: its options, and the rows and facts that a reader returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BATCH = 122_880  # Rows that are processed together
SAMPLE_ROWS = 20_000  # Rows from which the notation of a table is detected


@dataclass(frozen=True)
class ImportOptions:
    """How files of tracks are read and cleaned; None and empty values are detected from the data.

    Attributes:
        columns: Name in the file of each canonical column ("agent", "x", "y", "time", "frame",
            "z", "scene", "type", "split"), for tables; "" for no column.
        dt: Seconds per step; by default fixed by the format, or the interval of most rows.
        unit: Unit of the coordinates; by default named by the format or the columns.
        scale: Metres per unit of the file; positions are multiplied by it.
        dims: Coordinates read from a table, 2 or 3; by default z is read where it exists.
        factors: Factor by axis for axes with a unit of their own, such as {"z": 0.3048} for feet.
        project: Convert longitudes and latitudes to metres around the centre of each scene; the
            store keeps the centres, so that forecasts are returned in degrees. None converts
            them if the unit is degrees; False keeps degrees.
        where: Condition on the rows, a DuckDB expression of their columns (scene, agent,
            type, split, time, x, y, z and those of a table); it cannot read files.
        types: Types of the agents to read; empty for all.
        settings: Settings of a single reader, such as {"eth-time": "true"} of ethucy or
            {"encoding": "latin-1"} of table.
        resample: Step of the store in seconds; the position at each whole step is interpolated
            linearly between the row before it and the first row after it.
        max_gap: Longest gap in seconds to interpolate across; by default 2.5 steps, or 2.5 times
            the typical time between rows if that is longer.
        speed_limit: Speed above which a step is a jump, in units per second; inf for no limit; by
            default estimated.
        on_problem: "quarantine" or "refuse", for all problems or by problem.
        licence: Terms of the data, stored with it.
        history: The command that imports the data, stored with it.
        part_rows: Rows cleaned at once; with DuckDB's own limit it bounds the memory.
        folder: Folder for temporary files of a reader; set by the import.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    dt: float | None = None
    unit: str | None = None
    scale: float | None = None
    dims: int | None = None
    factors: Mapping[str, float] = field(default_factory=dict)
    project: bool | None = None
    where: str = ""
    types: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    resample: float | None = None
    max_gap: float | None = None
    speed_limit: float | None = None
    on_problem: Mapping[str, str] | str | None = None
    licence: str = ""
    history: str = ""
    part_rows: int = 500_000
    folder: Path = Path()


@dataclass
class Source:
    """What a reader returns: one SELECT per file, and facts about all files.

    A SELECT yields, in any order, the columns `row` (number of the row in its file, from 1),
    `scene`, `agent`, `type`, `split` (text as in the file; '' if missing), `time` (seconds or
    frames), `x`, `y`, `z` (NULL where unreadable), `fault` (name of a problem that the reader
    detected, or NULL) and `text` (the row as in the file, for rows that cannot be used).

    Attributes:
        selects: One statement per file.
        files: Every file that is read.
        dims: Coordinates of a position, D.
        dt: Seconds per step, if the format or the user fixes them.
        unit: Unit of the coordinates, if the format or the user fixes it.
        frames: Whether times are frame numbers, which are scaled so that the typical step is dt.
        dates: Whether times are seconds since 1970, which are counted from the first midnight.
        seconds_known: Whether the file states that its times are seconds.
        time_unit: Seconds per unit of the times in the files.
        columns: Column of the file behind each canonical column.
        notes: Sentences for the report.
        folds: Test scenes of each leave-one-out fold.
        dropped: SQL condition of rows that are dropped on purpose, by reason.
    """

    selects: list[str]
    files: list[Path]
    dims: int = 2
    dt: float | None = None
    unit: str | None = None
    frames: bool = False
    dates: bool = False
    seconds_known: bool = True
    time_unit: float = 1.0
    columns: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    folds: dict[str, list[str]] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
