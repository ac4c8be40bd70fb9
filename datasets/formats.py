"""The formats of tracks: how a file's format is detected, and which reader reads it.

Other packages add readers under the entry point `trajflow.importers`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from trajflow.datasets import readers
from trajflow.datasets.columns import ORDERS, plain
from trajflow.datasets.convert import geojson_lines, gpx_lines, sqlite_lines
from trajflow.datasets.readers import Connection, Reader, table_reader
from trajflow.datasets.sources import ImportOptions, Source
from trajflow.datasets.table_file import LINES, PARQUET, TEXT, Convert
from trajflow.datasets.tables import table
from trajflow.datasets.unpacking import parquet_schema, plain_stem, plain_suffix, stage
from trajflow.errors import DataError, did_you_mean

GROUP = "trajflow.importers"
ENCODINGS = ("utf-8", "latin-1", "utf-16")
# Settings of single readers, with the values they take
SETTINGS: dict[str, dict[str, Sequence[str]]] = {"ethucy": {"eth-time": ("field", "true")}}
TABLE_SETTINGS: dict[str, Sequence[str]] = {"encoding": ENCODINGS, "dates": ORDERS}
HEAD_BYTES = 1 << 16  # Bytes of a file from which its format is detected
SAMPLE_FILES = 3  # Files of a folder from which its format is detected
SDD_WIDTH = 10  # Columns of an SDD annotation


@dataclass(frozen=True)
class Head:
    """The start of a file, from which its format is detected."""

    path: Path
    raw: bytes  # unpacked
    comments: list[str]  # leading lines that begin with #
    cells: list[list[str]]  # of the first other lines, split at commas, semicolons, tabs or blanks
    names: frozenset[str]  # columns of a Parquet file, or cells of the first line, in lower case

    @classmethod
    def of(cls, path: Path) -> "Head":
        """Read the start of a file."""
        if plain_suffix(path) in PARQUET:
            names = parquet_schema(path)[0]
            return cls(path, b"PAR1", [], [], frozenset(map(plain, names)))
        with TemporaryDirectory() as folder:
            unpacked = Path(folder) / "head"
            stage(path, unpacked, HEAD_BYTES)
            with unpacked.open("rb") as stream:
                raw = stream.read(HEAD_BYTES)
        lines = raw.decode("latin-1").removeprefix("\xef\xbb\xbf").splitlines()
        lines = [line for line in (lines if len(raw) < HEAD_BYTES else lines[:-1]) if line.strip()]
        comments = [line for line in lines if line.startswith("#")]
        rows = [line for line in lines if not line.startswith("#")]
        mark = max(",;\t", key=rows[0].count) if rows else ","
        split = mark if rows and mark in rows[0] else None
        cells = [[cell.strip() for cell in row.split(split)] for row in rows]
        return cls(path, raw, comments, cells, frozenset(map(plain, cells[0] if cells else ())))

    def numbers(self, width: int, most: int = 2000) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """The first N rows as numbers, [N, D] with D = `width`; None if they have other columns."""
        rows = self.cells[:most]
        try:
            if rows and all(len(row) == width for row in rows):
                return np.array(rows, np.float64)
        except ValueError:
            pass
        return None


@dataclass(frozen=True)
class Format:
    """A format of tracks."""

    fits: Callable[[Head], bool]  # whether the start of a file is in this format
    read: Reader
    is_table: bool = True  # whether its reader takes columns and the settings of a table
    convert: Convert = stage  # makes a plain table of one of its files


def available() -> list[str]:
    """Names of all formats, including those of installed packages."""
    return sorted({*FORMATS, *_plugins()})


def load_reader(name: str) -> Reader:
    """The reader of a format; an unknown format is a DataError."""
    if name in FORMATS:
        return FORMATS[name].read
    plugins = _plugins()
    if name in plugins:
        reader: Reader = plugins[name].load()
        return reader
    raise DataError(did_you_mean("format", name, available()))


def check_settings(name: str, settings: Mapping[str, str]) -> None:
    """Refuse settings that a reader does not have, and invalid values."""
    allowed = TABLE_SETTINGS if _is_table_format(name) else SETTINGS.get(name, {})
    for setting, value in settings.items():
        if setting not in allowed:
            raise DataError(f"format {name!r} has no setting {setting!r}; leave it out")
        if value not in allowed[setting]:
            raise DataError(did_you_mean(setting, value, allowed[setting]))


def _is_table_format(name: str) -> bool:
    return name in FORMATS and FORMATS[name].is_table


def read_files(
    db: Connection, name: str | None, paths: Sequence[Path], options: ImportOptions
) -> tuple[str, Source]:
    """Read files or folders of one format, and return its name and the source of rows.

    Files of several formats, or that differ in unit, step or dimensions, are refused.
    """
    names = {path: name or find_format(path, bool(options.columns)) for path in paths}
    if len(set(names.values())) > 1:
        listed = ", ".join(f"{path} ({format})" for path, format in names.items())
        raise DataError(f"the files are of several formats: {listed}; import them one by one")
    name = names[paths[0]]
    check_settings(name, options.settings)
    if options.columns and name in FORMATS and not FORMATS[name].is_table:
        raise DataError(f"format {name!r} has no columns to choose; leave out --columns")
    if options.factors and not _is_table_format(name):
        raise DataError(f"format {name!r} takes no unit for a single axis; leave it out")
    read, sources = load_reader(name), []
    for index, path in enumerate(paths):
        folder = options.folder / str(index)
        folder.mkdir()
        sources.append(read(db, path, replace(options, folder=folder)))
    stems = Counter(plain_stem(path) for path in paths if path.is_file())
    repeated = [stem for stem, count in stems.items() if count > 1]
    if repeated and _is_table_format(name) and "scene" not in sources[0].columns:
        raise DataError(
            f"several files are called {repeated[0]!r}, which names their recording; rename them, "
            "or name a column of recordings: --scene-column NAME"
        )
    for path, source in zip(paths[1:], sources[1:], strict=True):
        _extend(sources[0], source, f"{path} and {paths[0]}")
    return name, sources[0]


def _extend(first: Source, other: Source, names: str) -> None:
    for fact in ("dims", "dt", "unit", "frames", "dates", "time_unit"):
        if getattr(first, fact) != getattr(other, fact):
            values = f"{getattr(other, fact)!r} and {getattr(first, fact)!r}"
            raise DataError(f"{names} differ in {fact}, {values}; import them one by one")
    first.selects += other.selects
    first.files += other.files
    first.loads += other.loads
    first.notes += [note for note in other.notes if note not in first.notes]
    first.folds |= other.folds
    first.seconds_known &= other.seconds_known


def find_format(path: Path, has_columns: bool = False) -> str:
    """Detect the format of a file, or of three files of a folder, from their first bytes.

    If the user names columns (`has_columns`), a format without columns is read as a table. If no
    format fits, or several do, the DataError says how to name it.
    """
    formats = {file: _format_of(file) for file in _samples(path)}
    if len(set(formats.values())) > 1:
        (file, first), (other, second) = list(formats.items())[:2]
        raise DataError(
            f"{file.name} in {path} looks like {first}, {other.name} like {second}; import them "
            "one by one, or name the format: --format"
        )
    name = next(iter(formats.values()))
    return name if FORMATS[name].is_table or not has_columns else "table"


def _samples(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"no file or folder {path}; check the path")
    if not path.is_dir():
        return [path]
    suffixes = (*TEXT, *LINES, *PARQUET, ".geojson", ".gpx", ".sqlite")
    for pattern in ("**/annotations.txt", "**/gt/gt.txt", "*", "**/*"):
        files = [f for f in sorted(path.glob(pattern)) if plain_suffix(f) in suffixes]
        if files:
            return files[:SAMPLE_FILES]
    raise DataError(f"{path} has no file that can be read ({', '.join(suffixes)}); name a file")


def _format_of(path: Path) -> str:
    head = Head.of(path)
    formats = [name for name, format in FORMATS.items() if format.fits(head)]
    special = [name for name in formats if name != "table"]
    if not formats or len(special) > 1:
        names = " or ".join(special) or "none of the formats"
        raise DataError(
            f"{path} looks like {names}; name its format: --format {'|'.join(special or FORMATS)}"
        )
    if special == ["ethucy"] and (order := _order_of_columns(head)) != "frame agent":
        if order == "agent frame":
            return "table"
        raise DataError(
            f"{path} has four columns of numbers that may be frame, agent, x, y or agent, frame, "
            "x, y; say which: --format ethucy, or --format table --columns agent=1,frame=2,x=3,y=4 "
            "--dt SECONDS"
        )
    return (special or formats)[0]


def _order_of_columns(head: Head) -> str:
    """Detect the column of agents, whose positions change little from row to row.

    The answer is "frame agent", "agent frame", or "" if both are plausible.
    """
    rows = head.numbers(4)
    assert rows is not None
    steps = []
    for agent in (1, 0):
        ordered = rows[np.lexsort((rows[:, 1 - agent], rows[:, agent]))]
        same = np.diff(ordered[:, agent]) == 0
        length = np.linalg.norm(np.diff(ordered[:, 2:], axis=0), axis=1)[same]
        steps.append(float(np.median(length)) if len(length) else np.inf)
    if min(steps) == np.inf or max(steps) < 2 * min(steps):
        return ""
    return "frame agent" if steps[0] < steps[1] else "agent frame"


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def is_obsmat(head: Head) -> bool:
    """Eight numbers: whole frames in order, whole ids, and a constant z."""
    rows = head.numbers(8)
    if rows is None or not _are_whole(rows[:, :2]):
        return False
    return bool((np.diff(rows[:, 0]) >= 0).all() and np.ptp(rows[:, 3]) == 0)


def is_ethucy(head: Head) -> bool:
    """Four numbers between blanks, the first two whole."""
    rows = None if head.comments or b"," in head.raw else head.numbers(4)
    return rows is not None and _are_whole(rows[:, :2])


def is_mot(head: Head) -> bool:
    """Nine or ten numbers between commas: whole frame, id and class, a flag and a box."""
    rows = next((r for r in map(head.numbers, (9, 10)) if r is not None), None)
    if rows is None or b"," not in head.raw or not _are_whole(rows[:, [0, 1, 7]]):
        return False
    flag, size = rows[:, 6], rows[:, 4:6]
    return bool((rows[:, :2] >= 1).all() and np.isin(flag, (0, 1)).all() and (size > 0).all())


def is_sdd(head: Head) -> bool:
    """Ten cells, the last one quoted."""
    return bool(head.cells) and all(
        len(row) == SDD_WIDTH and row[-1].startswith('"') for row in head.cells[:50]
    )


def is_trajnet(head: Head) -> bool:
    """Lines of JSON with the key "track" or "scene"."""
    begins = (b'{"track":', b'{"scene":')
    return head.raw.lstrip()[:80].replace(b" ", b"").startswith(begins)


def is_geojson(head: Head) -> bool:
    """A JSON list of objects, or a GeoJSON feature or collection."""
    raw = head.raw.lstrip(b"\x1e\xef\xbb\xbf \t\r\n")
    is_list = b"".join(raw[:200].split()).startswith(b"[{")
    return is_list or (raw.startswith(b"{") and b'"Feature' in raw[:4096])


def is_table(head: Head) -> bool:
    """Text, or Parquet, that is neither XML nor a JSON list."""
    text = b"\0" not in head.raw.strip(b"\xff\xfe") or head.raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    return text and not head.raw.lstrip().startswith((b"<", b"["))


def _are_whole(values: np.ndarray[Any, np.dtype[np.float64]]) -> bool:
    return bool((values == np.rint(values)).all())


def _has_comment(head: Head) -> bool:
    words = " ".join(head.comments).lower()
    return any(word in words for word in ("petrack", "jupedsim", "jpsvis", "framerate"))


FLIGHTS = {"icao24", "timestamp", "latitude", "longitude"}
SCENARIOS = {"scenario_id", "track_id", "timestep", "position_x", "position_y"}
WALKERS = "pedestrian"
FORMATS = {
    "table": Format(is_table, table),
    "ethucy": Format(is_ethucy, readers.ethucy, is_table=False),
    # ETH annotations in metres: frame, agent, x, z, y and velocities, rows 0.4 s apart.
    # Source: Pellegrini et al. 2009, "You'll never walk alone".
    "obsmat": Format(
        is_obsmat,
        table_reader(
            dict(frame="1", agent="2", x="3", y="5", scene="", type="", z=""),
            agent_type=WALKERS,
            pattern="**/obsmat.txt",
            dt=readers.STEP,
            unit="m",
        ),
    ),
    "trajnet": Format(is_trajnet, readers.trajnet, is_table=False),
    "sdd": Format(is_sdd, readers.sdd, is_table=False),
    "mot": Format(is_mot, readers.mot, is_table=False),
    # Text of PeTrack or JuPedSim: id, frame, x, y, z and comments that name the frame rate.
    # Source: Boltes and Seyfried 2013, "Collecting pedestrian trajectories".
    "petrack": Format(_has_comment, table_reader(agent_type=WALKERS, pattern="*.txt")),
    # SQLite files of JuPedSim 1: the table trajectory_data, frame rate in the metadata.
    "jupedsim": Format(
        lambda head: head.raw.startswith(b"SQLite format 3\0"),
        table_reader(agent_type=WALKERS, convert=sqlite_lines, pattern="*.sqlite", unit="m"),
        convert=sqlite_lines,
    ),
    "gpx": Format(
        lambda head: b"<gpx" in head.raw,
        table_reader(
            dict(agent="agent", time="time", x="lon", y="lat"), convert=gpx_lines, pattern="*.gpx"
        ),
        convert=gpx_lines,
    ),
    "geojson": Format(
        is_geojson,
        table_reader(convert=geojson_lines, pattern="*.*json"),
        convert=geojson_lines,
    ),
    "ais": Format(
        lambda head: (
            head.names >= {"mmsi", "lat", "lon"} or head.names >= {"mmsi", "latitude", "longitude"}
        ),
        table_reader(agent_type="ship"),
    ),
    # Flights of the traffic library, altitudes in feet.
    # Source: Olive 2019, "traffic, a toolbox for processing and analysing air traffic data".
    "traffic": Format(
        lambda head: head.raw == b"PAR1" and head.names >= FLIGHTS,
        readers.traffic,
    ),
    # Motion forecasting scenarios in metres.
    # Source: Wilson et al. 2021, "Argoverse 2: next generation datasets for self-driving".
    "argoverse2": Format(
        lambda head: head.names >= SCENARIOS,
        table_reader(
            dict(agent="track_id", frame="timestep", x="position_x", y="position_y")
            | dict(scene="scenario_id", type="object_type"),
            pattern="**/*.parquet",
            dt=0.1,
            unit="m",
        ),
    ),
}
