"""What a reader of an import gets, what it returns, and the SQL that both are written in."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from trajflow.datasets.unpacking import MAX_LINE
from trajflow.errors import DataError

BATCH = 122_880  # Rows that are processed together
SAMPLE_ROWS = 20_000  # Rows from which the notation of a table is detected
MAX_NAME = 200
NULL = "\x02\x03"  # Stands for NULL, so that an empty cell differs from a missing one
_LIMITS = {
    "memory_limit": "280MB",
    "max_temp_directory_size": "1TB",
    "threads": 1,
    "enable_progress_bar": False,
    "TimeZone": "UTC",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_WHOLE = re.compile(r"^([+-]?[0-9]+)\.0*$")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")


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
        loads: Functions that put tables which a SELECT needs into a database, one per file or none.
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
    loads: list[Callable[[duckdb.DuckDBPyConnection], None]] = field(default_factory=list)


def connect() -> duckdb.DuckDBPyConnection:
    """An in-memory database with limits on memory and threads, and without extension downloads."""
    db = duckdb.connect(":memory:")
    for name, value in _LIMITS.items():
        db.execute(f"set {name} = {value!r}")
    return db


@contextmanager
def reading(file: Path, where: str = "") -> Iterator[None]:
    """Translate DuckDB's errors about a file.

    Raises:
        DataError: The file has another encoding, a line that is too long or no table, or the
            condition `where` fails.
    """
    with storage_errors():
        try:
            yield
        except duckdb.Error as error:
            if isinstance(error, (duckdb.OutOfMemoryException, duckdb.IOException)):
                raise
            text = str(error)
            if where and isinstance(
                error, (duckdb.ConversionException, duckdb.OutOfRangeException)
            ):
                raise DataError(
                    f"--where {where!r} fails in {file}: {text.splitlines()[0][:200]}; compare "
                    "texts with texts, or use try_cast(NAME as double)"
                ) from None
            line = re.search(r"Line: ([0-9]+)", text)
            at_line = f" (line {line[1]})" if line else ""
            if "unicode" in text or "encod" in text:
                why = "not a table in UTF-8; convert it, or name its encoding: --encoding"
            elif "line size" in text.lower():
                why = f"not a table: a line is longer than {MAX_LINE} bytes; is a quote left open?"
            else:
                why = f"not a readable table: {text.splitlines()[0][:200]}"
            raise DataError(f"{file} is {why}{at_line}") from None


@contextmanager
def storage_errors() -> Iterator[None]:
    """Translate DuckDB's errors about disk and memory to OSError and DataError."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        if "No space" in str(error) or "temp_directory" in str(error):
            raise OSError(28, "No space left on device") from error
        raise DataError(
            "the rows need more memory than an import may use; divide the file"
        ) from error
    except duckdb.IOException as error:
        for number, words in ((28, "No space left"), (27, "File too large"), (30, "Read-only")):
            if words in str(error):
                raise OSError(number, words) from error
        raise DataError(f"the rows cannot be read or sorted: {str(error)[:200]}") from error


def check_expression(db: duckdb.DuckDBPyConnection, where: str) -> None:
    """Refuse a condition that is not one expression of the columns of a row."""
    trees = []
    for query in (f"select {where}\n", f"select ({where}\n)"):
        tree = json.loads(db.execute("select json_serialize_sql(?)", [query]).fetchall()[0][0])
        if tree["error"]:
            raise DataError(
                f"--where {where!r} is not a condition: {tree['error_message']}; write one as in "
                "--where \"type = 'ship' and x > 0\""
            )
        trees.append(json.dumps(tree))
    if any('"class": "SUBQUERY"' in tree for tree in trees):
        raise DataError(f"--where {where!r} selects from a table; use the columns of a row only")


def quoted(value: object) -> str:
    """SQL: a text constant."""
    return "'" + str(value).replace("'", "''") + "'"


def real(value: float) -> str:
    """SQL: a double constant, exact to the last bit; a plain 0.1 would be a decimal."""
    return f"'{value!r}'::double"


def number(column: str) -> str:
    """SQL: a text as a finite decimal number, or NULL; a cast alone would accept 1_000."""
    value = f"try_cast({column} as double)"
    odd = f"contains({column}::varchar, '_') or contains({column}::varchar, '+-')"
    return f"(case when isfinite({value}) and not ({odd}) then {value} end)"


def label(column: str) -> str:
    """SQL: `clean_label` of a column."""
    text = f"coalesce({column}::varchar, '')"
    trimmed = f"trim(left({text}, 1000), ' \t\n\v\f\r')"
    whole = rf"regexp_replace({trimmed}, '^([+-]?[0-9]+)\.0*$', '\1')"
    odd = rf"regexp_matches({text}, '^[\s\v]|[\s\v]$|\.0*$')"  # rare, and cheaper to test
    return f"(case when {odd} then {whole} else {text} end)"


def clean_label(text: str | None) -> str:
    """A name without surrounding blanks; 7.0 becomes 7 and None becomes ''."""
    return _WHOLE.sub(r"\1", (text or "")[:1000].strip(" \t\n\v\f\r"))


def is_name(text: str) -> bool:
    """Whether a text is a valid name of a scene, agent, type or split."""
    return 0 < len(text) <= MAX_NAME and "\0" not in text


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts "video2" before "video10"."""
    pieces = re.findall(r"[0-9]{1,18}|[^0-9]+", name)
    return tuple((0, int(p), "") if p.isdigit() and p.isascii() else (1, 0, p) for p in pieces)


def label_of(text: str) -> int | str:
    """A label as an integer if it is the canonical text of one, otherwise unchanged."""
    return int(text) if _INTEGER.fullmatch(text) else text


def label_key(text: str) -> tuple[int, int, tuple[tuple[int, int, str], ...]]:
    """A sort key of labels: numbers first, then texts in natural order."""
    result = label_of(text)
    return (0, result, ()) if isinstance(result, int) else (1, 0, natural(result))


def scan_csv(
    place: Path,
    columns: int,
    delimiter: str,
    skip: int = 0,
    *,
    quote: str = '"',
    encoding: str = "utf-8",
) -> str:
    """SQL: the rows of a text file as columns c0, c1, ...; a missing cell is NULL, an empty one ''.

    DuckDB detects nothing here. Its strict mode rejects a whole file for one odd quote. The other
    mode drops surplus cells of a row, so callers request more columns than there should be.
    """
    names = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(columns))
    # DuckDB reads a path as a pattern; only its last part is a safe name.
    folder = "".join(f"[{c}]" if c in "*?[" else c for c in str(place.parent))
    return (
        f"read_csv({quoted(f'{folder}/{place.name}')}, columns={{{names}}}, skip={skip}, "
        f"delim={quoted(delimiter)}, quote={quoted(quote)}, escape={quoted(quote)}, header=false, "
        f"auto_detect=false, strict_mode=false, null_padding=true, nullstr='{NULL}', "
        f"parallel=false, max_line_size={MAX_LINE}, encoding='{encoding}')"
    )


def text_lines(place: Path, skip: int = 0, encoding: str = "utf-8") -> str:
    """SQL: the lines of a text file that are not blank, stripped and numbered from 1."""
    blank = rb"' \t\n\v\f\r'".decode("unicode_escape")
    rows = scan_csv(place, 2, "\x01", skip, quote="", encoding=encoding)
    return f"""(select row_number() over () as "row", line from (
        select trim(concat_ws(' ', c0, c1), {blank}) as line from {rows}) where line <> '')"""


def json_lines(place: Path) -> str:
    """SQL: the lines of a file and their JSON, NULL where a line is no JSON."""
    return f"""(select "row", line, case when json_valid(line) then line::json end as j
        from {text_lines(place)})"""
