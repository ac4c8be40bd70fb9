"""Reads any table of positions, as text, Parquet or lines of JSON, by the names of its columns."""

import csv
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import duckdb
import pyarrow as pa

from trajflow.datasets.columns import Mapped, map_columns, names_places
from trajflow.datasets.dates import UNIX, read_times, unix_unit
from trajflow.datasets.ingest import BATCH, SAMPLE_ROWS, ImportOptions, Source
from trajflow.datasets.schema import AXES
from trajflow.datasets.sql import MAX_LINE, connect, label, number, quoted, reading, real
from trajflow.datasets.unpacking import (
    is_packed,
    parquet_schema,
    plain_stem,
    plain_suffix,
    read_parquet,
    stage,
)
from trajflow.errors import DataError

Connection = duckdb.DuckDBPyConnection
# Converts a file to a plain text table or lines of JSON: (path, place, most bytes)
Convert = Callable[[Path, Path, int | None], None]
TEXT = (".csv", ".tsv", ".txt")
LINES = (".ndjson", ".jsonl")
PARQUET = (".parquet", ".pq", ".geoparquet")
MAX_COLUMNS = 10_000
NULL = "\x02\x03"  # Stands for NULL, so that an empty cell differs from a missing one
MAX_COMMENTS = 1000
_FPS = re.compile(
    r"(?i)(?:frame[ _]?rate|fps|frames per second)\W{0,5}([0-9]+(?:\.[0-9]+)?)"
    r"|([0-9]+(?:\.[0-9]+)?) ?(?:fps|frames per second)"
)
_SEPARATOR = re.compile("(?i)sep=.")  # Spreadsheets write this before the header line
_NUMBER = re.compile(r"[+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")
# A number with a decimal comma
_COMMA = r"[+-]?(?:[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]*),[0-9]+(?:[eE][+-]?[0-9]+)?"
_HEAD = 2 * MAX_LINE  # Bytes of a packed file that are enough to read its header
# Columns of a reader's rows
RESERVED = {"row", "scene", "agent", "type", "split", "time", "x", "y", "z", "fault", "text"}


def table(
    db: Connection,
    path: Path,
    options: ImportOptions,
    *,
    agent_type: str = "",
    convert: Convert = stage,
    pattern: str | None = None,
) -> Source:
    """Any table of positions: text, also compressed, Parquet or lines of JSON.

    Each row is an observation. The agent, the coordinates and the time (seconds, dates, or frames
    with dt) are columns; scene, type, z and split may be columns too. Columns of a text without a
    header line are numbered from 1. All tables of a folder have the same columns.

    Args:
        db: The database that reads the rows.
        path: The table, or a folder of tables.
        options: Options of the import.
        agent_type: Type of all agents if no column has it.
        convert: Makes a plain table of each file; by default it is unpacked.
        pattern: Pattern of the tables in a folder.

    Raises:
        DataError: There is no table, a column is missing, or frames have no dt.
    """
    files = _tables(path, pattern)
    encoding = options.settings.get("encoding", "utf-8")
    opened = [
        _Table.open(file, options.folder / f"input{index}", encoding, convert)
        for index, file in enumerate(files)
    ]
    first = opened[0]
    columns = first.by_number(options.columns)
    mapped = map_columns(files[0], columns, first.names, options.dims, first.cells)
    frames = "frame" in mapped.names and first.fps is None
    if frames and options.dt is None:
        raise DataError(
            f"{path}: column {mapped.names['frame']!r} counts frames, which have no duration; "
            "give dt, the seconds from one row of an agent to its next: --dt SECONDS"
        )
    needed = [*mapped.names.values(), *mapped.folds.values()]
    for file in opened:
        _check_columns(file.path, needed, file.names)
        named = [name for name in file.names if name in options.where]
        file.scan(db, [*needed, *named], encoding)
    _drop_counter(db, first, mapped)
    values = _decimals(db, first, mapped)
    dates, seconds = False, None
    if "time" in mapped.names:
        cell = values["time"]
        order = options.settings.get("dates")
        values["time"], dates, seconds = _times(db, opened, mapped, cell, order)
    elif first.fps is not None:
        values["time"] = f"{number(values['frame'])} / {real(first.fps)}"
        mapped.notes.append(f"the first lines name {first.fps:g} frames per second")
    else:
        values["time"] = number(values["frame"])
    unit = mapped.unit or first.unit
    source = Source(
        selects=[_table_select(db, file, mapped, options, values, agent_type) for file in opened],
        files=files,
        dims=3 if "z" in mapped.names else 2,
        dt=options.dt,
        unit=options.unit or ("m" if options.scale else unit),
        frames=frames,
        dates=dates,
        seconds_known=dates or seconds is not None,
        time_unit=seconds or 1.0,
        columns=dict(mapped.names),
        notes=mapped.notes,
    )
    for file in opened if mapped.folds else ():
        _note_folds(db, file, mapped, source)
    return source


@dataclass
class _Table:
    """One file of a table, its columns, and the SQL of its rows."""

    path: Path
    names: list[str]  # columns; numbers from 1 without a header line
    place: Path  # the plain file
    delimiter: str = ""  # of a text; " " for any blanks, "{" for lines of JSON, "" for Parquet
    skip: int = 1  # lines before the first row
    cells: list[str] = field(default_factory=list)  # the first row, without a header line
    fps: float | None = None  # named by a comment
    unit: str | None = None  # named by a Parquet file
    commented: bool = False  # whether lines that begin with # are skipped
    relation: str = ""  # SQL: `row`, a column c0, c1, ... per name, and `odd` for malformed rows
    line: str = "null"  # SQL: a malformed row as text

    @classmethod
    def open(
        cls,
        path: Path,
        place: Path,
        encoding: str,
        convert: Convert = stage,
        most: int | None = None,
    ) -> "_Table":
        if plain_suffix(path) in PARQUET:
            if is_packed(path):
                raise DataError(
                    f"{path} is a compressed Parquet table; Parquet compresses itself: unpack it"
                )
            names, unit = parquet_schema(path)
            return cls(path, names, place, unit=unit)
        convert(path, place, most)
        if convert is not stage and not place.stat().st_size:
            raise DataError(f"{path} has no tracks; is it the right file?")
        if _holds_json(place):
            return cls(path, _keys(path, place), place, "{")
        comments, text = _first_line(path, place, encoding)
        if most is None:
            check_last_line(path, place)
        delimiter = _delimiter(text)
        cells = _cells(path, text, delimiter)
        file = cls(path, cells, place, delimiter, len(comments) + 1, commented=bool(comments))
        rates = (_FPS.search(comment) for comment in comments)
        file.fps = next((float(result[1] or result[2]) for result in rates if result), None) or None
        if _are_values(cells):
            last = comments[-1].lstrip("# \t") if comments else ""
            named = (_cells(path, last, mark) for mark in (delimiter, " ")) if last else ()
            numbers = [str(number) for number in range(1, len(cells) + 1)]
            file.names = next((names for names in named if len(names) == len(cells)), numbers)
            file.skip, file.cells = len(comments), cells
        return file

    def by_number(self, columns: Mapping[str, str]) -> dict[str, str]:
        """The columns by name, where the user names a cell of the first row instead."""
        cells = {cell: name for cell, name in zip(self.cells, self.names, strict=False)}
        return {
            canonical: name if name in self.names else cells.get(name, name)
            for canonical, name in columns.items()
        }

    def scan(self, db: Connection, needed: list[str], encoding: str) -> None:
        """Set the SQL of the rows; a Parquet file is copied into the database."""
        if not self.delimiter:
            self._copy_parquet(db, list(dict.fromkeys(needed)))
            return
        width = len(self.names)
        if self.delimiter == "{":
            cells = ", ".join(f"{_json_cell(name)} as c{i}" for i, name in enumerate(self.names))
            self.line = "line"
            self.relation = f"""(select "row", {cells}, line,
                coalesce(json_type(j), '') <> 'OBJECT' as odd from {json_lines(self.place)})"""
            return
        if self.delimiter == " ":
            rows = text_lines(self.place, self.skip, encoding)
            cells = ", ".join(f"c[{index + 1}] as c{index}" for index in range(width + 2))
            rows = f"""(select {cells} from (
                select regexp_split_to_array(line, '\\s+') as c from {rows}))"""
        else:
            rows = scan_csv(self.place, width + 2, self.delimiter, self.skip, encoding=encoding)
        surplus = " or ".join(f"trim(coalesce(c{width + index}, '')) <> ''" for index in range(2))
        cells = ", ".join(f"c{index}" for index in range(width + 2))
        self.line = f"concat_ws({quoted(self.delimiter)}, {cells})"
        comment = "where not starts_with(coalesce(c0, ''), '#')" if self.commented else ""
        self.relation = f"""(select *, c{width - 1} is null or {surplus} as odd
            from (select row_number() over () as "row", * from {rows}) {comment})"""

    def _copy_parquet(self, db: Connection, needed: list[str]) -> None:
        name = f'"{self.place.parent.name}/{self.place.name}"'
        empty = ", ".join(f"null::varchar as {self.key(column)}" for column in needed)
        created = False
        for batch in read_parquet(self.path, needed, BATCH):
            columns = {
                self.key(n): c for n, c in zip(batch.schema.names, batch.columns, strict=True)
            }
            db.register("batch", pa.table(columns))
            if not created:
                db.execute(f"create table {name} as from batch limit 0")
            db.execute(f"insert into {name} from batch")
            db.unregister("batch")
            created = True
        if not created:
            db.execute(f"create table {name} as select {empty} limit 0")
        self.relation = f'(select rowid + 1 as "row", *, false as odd from {name})'

    def sample(self, db: Connection, values: str) -> Any:
        """The values of SQL aggregates over the first rows."""
        with reading(self.path):
            query = f"select {values} from (from {self.relation} limit {SAMPLE_ROWS})"
            return db.execute(query).fetchall()[0]

    def key(self, name: str) -> str:
        """SQL: the column with a name."""
        return f"c{self.names.index(name)}"


def column_names(path: Path, encoding: str = "utf-8", convert: Convert = stage) -> list[str]:
    """Names of the columns of one table, in order.

    Args:
        path: The table.
        encoding: Encoding of a text.
        convert: Makes a plain table of the file; by default it is unpacked.

    Raises:
        DataError: The file is no table.
    """
    with TemporaryDirectory() as folder:
        return _Table.open(path, Path(folder) / "head", encoding, convert, _HEAD).names


def _tables(path: Path, pattern: str | None) -> list[Path]:
    if not path.exists():
        raise DataError(f"no file or folder {path}; check the path")
    if not path.is_dir():
        return [path]
    if pattern is not None:
        return list_files(path, pattern)
    files = sorted(p for p in path.iterdir() if plain_suffix(p) in (*TEXT, *LINES, *PARQUET))
    if not files:
        raise DataError(
            f"{path} has no table ({', '.join((*TEXT, *LINES, *PARQUET))}); name a file"
        )
    return files


def list_files(path: Path, pattern: str) -> list[Path]:
    """The file at a path, or the files of a folder that match a pattern; at least one."""
    files = sorted(path.glob(pattern)) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise DataError(f"no {pattern} at {path}; name the folder with these files")
    return files


def _holds_json(place: Path) -> bool:
    with place.open("rb") as stream:
        return stream.read(1 << 12).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def _keys(path: Path, place: Path) -> list[str]:
    with reading(path), connect() as db:
        rows = db.execute(
            f"""select key from (select unnest(json_keys(j)) as key, "row" as r from (
                from {json_lines(place)} limit {SAMPLE_ROWS}) where json_type(j) = 'OBJECT')
            group by key order by min(r), count(*) desc"""
        ).fetchall()
    names = [name for (name,) in rows]
    if not 0 < len(names) <= MAX_COLUMNS:
        raise DataError(f"{path} has lines of JSON with {len(names)} names; is it a table?")
    return names


def _json_cell(name: str) -> str:
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    return f"json_extract_string(j, {quoted(pointer)})"


def _first_line(path: Path, place: Path, encoding: str) -> tuple[list[str], str]:
    """The comments at the start of a text table, and its first other line."""
    comments: list[str] = []
    size = place.stat().st_size
    with place.open("rb") as stream:
        while len(comments) <= MAX_COMMENTS:
            text = _line(path, stream, encoding)
            blank = bool(comments) and not text.strip() and stream.tell() < size
            if not (blank or text.startswith("#") or _SEPARATOR.fullmatch(text.strip())):
                break
            comments.append(text)
    if not text.strip():
        raise DataError(f"{path} is empty or begins with a blank line; it needs a header line")
    return comments, text


def stage_text(path: Path, place: Path) -> None:
    """`stage` a text and check the length of its last line."""
    stage(path, place)
    check_last_line(path, place)


def check_last_line(path: Path, place: Path) -> None:
    """Refuse a last line that is too long: DuckDB would hold it in memory several times."""
    with place.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) > MAX_LINE:
            stream.seek(-MAX_LINE - 1, os.SEEK_END)
            if not re.search(rb"[\r\n]", stream.read()):
                raise DataError(
                    f"{path} is no table: its last line is longer than {MAX_LINE} bytes; is a "
                    "quote left open there?"
                )


def _line(path: Path, stream: IO[bytes], encoding: str) -> str:
    line = stream.readline(MAX_LINE + 1)
    if encoding == "utf-16":
        line += stream.read(1)
    if encoding == "utf-8" and b"\0" in line:
        raise DataError(
            f"{path} is no text in UTF-8, it has NUL bytes; if it is text in UTF-16, say so: "
            "--encoding utf-16"
        )
    if len(line) > MAX_LINE:
        raise DataError(
            f"{path} begins with a line of {len(line)} bytes or more, too many; is it a table?"
        )
    try:
        return line.decode("utf-8-sig" if encoding == "utf-8" else encoding).rstrip("\r\n")
    except UnicodeDecodeError:
        raise DataError(
            f"{path} is no text in {encoding.upper()}; convert it, name its encoding (latin-1 or "
            "utf-16) or name the right file"
        ) from None


def _delimiter(text: str) -> str:
    # Commas between digits are decimal if there is another delimiter: 0,5;1,25
    commas = len(re.findall(r"(?<![0-9]),|,(?![0-9])", text))
    others = max("\t;|", key=text.count)
    if text.count(others) >= 2 and not commas:
        return others
    best = max(",\t;|", key=text.count)
    return best if best in text or not re.search(r"\S\s+\S", text) else " "


def _cells(path: Path, text: str, delimiter: str) -> list[str]:
    if text.count(delimiter) >= MAX_COLUMNS:
        raise DataError(
            f"{path} begins with a line of {text.count(delimiter) + 1} columns, too many; is it a "
            "table?"
        )
    if delimiter == " ":
        return text.split()
    try:
        cells = [name.strip() for name in next(csv.reader([text], delimiter=delimiter))]
    except csv.Error as error:
        raise DataError(f"the first line of {path} is not a header: {error}") from None
    while len(cells) > 1 and not cells[-1]:
        cells.pop()
    return cells


def _are_values(cells: list[str]) -> bool:
    """Whether a first line is a row: two numbers or more, unless they count columns 0, 1, ..."""
    if names_places(cells):
        return False
    numeric = [cell for cell in cells if _NUMBER.fullmatch(cell)]
    counts = [str(number) for number in range(len(numeric))]
    return len(numeric) >= 2 and numeric != counts


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


def _check_columns(file: Path, needed: list[str], names: list[str]) -> None:
    lacking = sorted(set(needed) - set(names))
    if lacking:
        raise DataError(
            f"{file} lacks the columns {', '.join(map(repr, lacking))} that the other files of "
            "its folder have; import it by itself"
        )


def _drop_counter(db: Connection, file: _Table, mapped: Mapped) -> None:
    """Do not use a column as the scene if it differs in every row of an agent."""
    name = mapped.names.get("scene")
    if name is None:
        return
    scene, agent = file.key(name), file.key(mapped.names["agent"])
    values = f"count(*), count(distinct {agent}), count(distinct ({scene}, {agent}))"
    rows, agents, pairs = file.sample(db, values)
    if pairs < 0.9 * rows or rows < 3 * agents:
        return
    del mapped.names["scene"]
    mapped.folds.clear()
    mapped.notes.append(
        f"column {name!r} differs from row to row of an agent, so it is not the scene"
    )


def _decimals(db: Connection, file: _Table, mapped: Mapped) -> dict[str, str]:
    """SQL of each canonical column with a decimal point, {} being the column.

    A column has decimal commas if more of its first cells have one than a decimal point. In a
    file delimited by commas 1,250 may be 1250, so it does not count.
    """
    axes = [name for name in ("time", "frame", "x", "y", "z", "agent") if name in mapped.names]
    cells: dict[str, str] = dict.fromkeys(axes, "{}")
    if not file.delimiter:
        return cells
    grouped = "^[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+$" if file.delimiter == "," else "^$"
    point = "replace(replace(trim({}::varchar), '.', ''), ',', '.')"
    counts = ", ".join(
        f"""count(*) filter (contains({t}, ',') and regexp_full_match(trim({t}), '{_COMMA}')
            and not regexp_matches(trim({t}), '{grouped}'))
        - count(*) filter (contains({t}, '.') and {number(t)} is not null)"""
        for t in (file.key(mapped.names[name]) for name in axes)
    )
    for name, surplus in zip(axes, file.sample(db, counts), strict=True):
        if surplus > 0:
            cells[name] = f"if(regexp_full_match(trim({{}}), '{_COMMA}'), {point}, {{}})"
    commas = [repr(mapped.names[name]) for name in axes if cells[name] != "{}"]
    if commas:
        mapped.notes.append(f"decimal commas are read in {', '.join(commas)}")
    return cells


def _times(
    db: Connection, opened: list[_Table], mapped: Mapped, cell: str, order: str | None
) -> tuple[str, bool, float | None]:
    """SQL of the seconds, {} being the column, whether it has dates, and the unit in seconds."""
    name, path = mapped.names["time"], opened[0].path
    columns = [(file.relation, file.key(name)) for file in opened]
    value, dates, time_notes = read_times(db, path, name, columns, cell, order)
    mapped.notes.extend(time_notes)
    if dates or time_notes:
        return value, dates, None
    if mapped.seconds is not None:
        return f"{value} * {real(mapped.seconds)}", False, mapped.seconds
    (median,) = opened[0].sample(db, f"median({value.replace('{}', columns[0][1])})")
    unit = unix_unit(median or 0.0)
    if unit is None:
        return value, False, None
    mapped.notes.append(f"{name!r} is read as {unit} since 1970")
    return f"{value} * {real(UNIX[unit])}", False, UNIX[unit]


def _table_select(
    db: Connection,
    file: _Table,
    mapped: Mapped,
    options: ImportOptions,
    values: Mapping[str, str],
    agent_type: str,
) -> str:
    column = {canonical: file.key(name) for canonical, name in mapped.names.items()}
    stem = quoted(plain_stem(file.path))
    clock = column.get("frame") or column["time"]
    value = {"time": values["time"].replace("{}", clock), "z": "null::double"}
    for axis in {*AXES} & {*column}:
        factor = options.factors.get(axis, 1.0) * (options.scale or 1.0)
        value[axis] = f"{number(values[axis].replace('{}', column[axis]))} * {real(factor)}"
    for name in ("scene", "agent", "type", "split"):
        cell = values.get(name, "{}").replace("{}", column.get(name, ""))
        value[name] = f"coalesce({cell}::varchar, '')" if name in column else "''"
    if "scene" not in column:
        value["scene"] = stem
    if "type" not in column:
        value["type"] = quoted(agent_type)
    axes = [axis for axis in AXES if axis in column]
    unread = " or ".join(f"{name} is null" for name in ("time", *axes))
    text = " || '; ' || ".join(
        f"{quoted(name + '=')} || coalesce({file.key(name)}::varchar, 'None')"
        for name in mapped.names.values()
    )
    # The text is composed outside, so that DuckDB does it for the few unreadable rows only.
    return f"""select "row", scene, agent, type, split, time, x, y, z,
        if(odd, 'malformed', null) as fault,
        case when odd then {file.line} when {unread} then {text} end as text
        {_where_columns(db, file, options)}
        from (select *, if(odd, {stem}, {value["scene"]}) as scene,
            if(odd, '', {value["agent"]}) as agent, if(odd, '', {value["type"]}) as type,
            if(odd, '', {value["split"]}) as split, if(odd, null, {value["time"]}) as time,
            if(odd, null, {value["x"]}) as x, if(odd, null, {value["y"]}) as y,
            if(odd, null, {value["z"]}) as z from {file.relation})"""


def _where_columns(db: Connection, file: _Table, options: ImportOptions) -> str:
    """SQL: further columns that `where` names, as numbers where all cells are numbers."""
    names = [
        name
        for name in dict.fromkeys(file.names)
        if name in options.where and name.lower() not in RESERVED
    ]
    if not names:
        return ""
    keys = [file.key(name) for name in names]
    counts = ", ".join(
        f"count({number(key)}) = count(nullif(trim({key}::varchar), ''))" for key in keys
    )
    numeric = file.sample(db, counts)
    cells = [number(k) if is_number else k for k, is_number in zip(keys, numeric, strict=True)]
    pairs = zip(cells, names, strict=True)
    return "".join(f', {cell} as "{name.replace(chr(34), chr(34) * 2)}"' for cell, name in pairs)


def _note_folds(db: Connection, file: _Table, mapped: Mapped, source: Source) -> None:
    """Collect the test scenes of columns such as fold_zara1, in the order of the file."""
    tested = [f"bool_or({label(file.key(name))} = 'test')" for name in mapped.folds.values()]
    scene = label(file.key(mapped.names["scene"]))
    with reading(file.path):
        result = db.execute(
            f"select {scene} as s, {', '.join(tested)} from {file.relation} group by s "
            'order by min("row")'
        ).fetchall()
    for name, *flags in result:
        for fold, flag in zip(mapped.folds, flags, strict=True):
            scenes = source.folds.setdefault(fold, [])
            if flag and name not in scenes:
                scenes.append(name)


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
