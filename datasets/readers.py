"""The formats of tracks that can be read: one function each, which answers with a `Source`.

A reader is a function `(db, path, options) -> Source`; its name is that of the format. Packages
bring their own under the entry point `trajflow.importers`.
"""

import csv
import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files as resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import duckdb
import pyarrow as pa

from trajflow.datasets.columns import Mapped, map_columns
from trajflow.datasets.dates import ORDERS, UNIX, read_times, unix_unit
from trajflow.datasets.ingest import (
    BATCH,
    FIRST,
    MAX_LINE,
    ReadOptions,
    Source,
    label,
    number,
    quoted,
    reading,
    real,
)
from trajflow.datasets.unpacking import (
    is_packed,
    parquet_columns,
    plain_stem,
    plain_suffix,
    read_parquet,
    stage,
)
from trajflow.errors import DataError, did_you_mean

Connection = duckdb.DuckDBPyConnection
Reader = Callable[[Connection, Path, ReadOptions], Source]
GROUP = "trajflow.importers"
TEXT = (".csv", ".tsv", ".txt")
PARQUET = (".parquet", ".pq")
MAX_COLUMNS = 10_000
ENCODINGS = ("utf-8", "latin-1", "utf-16")
SETTINGS: dict[str, dict[str, Sequence[str]]] = {
    "table": {"encoding": ENCODINGS, "dates": ORDERS},
    "ethucy": {"eth-time": ("field", "true")},
}
"""Choices that one reader alone knows, with the values they take."""
NULL = "\x02\x03"
"""What stands for NULL in text, so that an empty cell is not taken for a missing one."""
TRAJNET_FPS = 2.5
TRAJNET_SPLITS = {"train": "train", "val": "val", "test": "test", "test_private": "test"}
SDD_FPS = 30
MAX_COMMENTS = 1000
_FPS = re.compile(
    r"(?i)(?:frame[ _]?rate|fps|frames per second)\W{0,5}([0-9]+(?:\.[0-9]+)?)"
    r"|([0-9]+(?:\.[0-9]+)?) ?(?:fps|frames per second)"
)
_SEPARATOR = re.compile("(?i)sep=.")
"""What a spreadsheet writes before the line of names."""
_NUMBER = re.compile(r"[+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")
_COMMA = r"[+-]?(?:[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]*),[0-9]+(?:[eE][+-]?[0-9]+)?"
"""A number with a decimal comma, as a pattern of DuckDB."""
SDD = ["track", "xmin", "ymin", "xmax", "ymax", "frame", "lost", "occluded", "generated", "label"]
STEP = 0.4
FRAMES_PER_STEP = 10


def available() -> list[str]:
    """Names of all readers, our own and those of installed packages."""
    return sorted({*READERS, *_foreign()})


def load_reader(name: str) -> Reader:
    """The reader of a name.

    Raises:
        DataError: No reader has this name.
    """
    if name in READERS:
        return READERS[name]
    foreign = _foreign()
    if name in foreign:
        reader: Reader = foreign[name].load()
        return reader
    raise DataError(did_you_mean("importer", name, available()))


def check_settings(name: str, settings: Mapping[str, str]) -> None:
    """Refuse settings that a reader does not know.

    Raises:
        DataError: It does not know them, or their values.
    """
    known = SETTINGS.get(name, {})
    for setting, value in settings.items():
        if setting not in known:
            raise DataError(f"importer {name!r} has no setting {setting!r}; leave it out")
        if value not in known[setting]:
            raise DataError(did_you_mean(setting, value, known[setting]))


def table(db: Connection, path: Path, options: ReadOptions) -> Source:
    """Any table of positions by column names: CSV, TSV, blanks or Parquet, text also packed.

    Rows are observations; the agent, the coordinates and the time (seconds, dates, or frames with
    dt) are columns, and so may be the scene, the type, z and the split a row belongs to. Columns
    of a text without a line of names are called by their numbers, from 1. A folder holds tables
    with the same columns.

    Raises:
        DataError: There is no table, a column is missing, or frames have no dt.
    """
    files = _tables(path)
    encoding = options.settings.get("encoding", "utf-8")
    first = _Table.open(files[0], 0, options.folder, encoding)
    mapped = map_columns(
        files[0], first.by_number(options.columns), first.names, options.dims, first.cells
    )
    frames = "frame" in mapped.names and first.fps is None
    if frames and options.dt is None:
        raise DataError(
            f"{path}: column {mapped.names['frame']!r} counts frames, which have no seconds; "
            "give dt, the seconds from one row of an agent to its next: --dt SECONDS"
        )
    wanted = [*mapped.names.values(), *mapped.folds.values()]
    opened = [first]
    for index, file in enumerate(files[1:], 1):
        opened.append(_Table.open(file, index, options.folder, encoding))
        _check_columns(file, wanted, opened[-1].names)
    for one in opened:
        one.scan(db, wanted, encoding)
    _drop_counter(db, first, mapped)
    values = _decimals(db, first, mapped)
    notes, dates = mapped.notes, False
    if "time" in mapped.names:
        values["time"], dates = _times(db, opened, mapped, values["time"], options, notes)
    elif first.fps is not None:
        values["time"] = f"{number(values['frame'])} / {real(first.fps)}"
        notes.append(f"the first lines name {first.fps:g} frames per second")
    else:
        values["time"] = number(values["frame"])
    source = Source(
        selects=[_table_select(one, mapped, options, values) for one in opened],
        files=files,
        dims=3 if "z" in mapped.names else 2,
        dt=options.dt,
        unit=options.unit or ("m" if options.scale else mapped.unit),
        frames=frames,
        dates=dates,
        seconds_known=dates or mapped.seconds is not None or any("since 1970" in n for n in notes),
        columns=dict(mapped.names),
        notes=notes,
    )
    for one in opened if mapped.folds else ():
        _note_folds(db, one, mapped, source)
    return source


@dataclass
class _Table:
    """One file of a table: where it lies, its columns, and how DuckDB scans it.

    Attributes:
        path: The file.
        names: Its columns; numbers from 1 where no line names them.
        delimiter: What stands between two cells; " " for any blanks, "" for Parquet.
        place: The file, plain.
        skip: Lines before the first row.
        cells: The first row, if it stands where names should.
        fps: Frames per second that a comment names.
        commented: Whether comments, lines that begin with #, are left out.
        relation: SQL of the rows.
    """

    path: Path
    names: list[str]
    delimiter: str = ""
    place: Path = Path()
    skip: int = 1
    cells: list[str] = field(default_factory=list)
    fps: float | None = None
    commented: bool = False
    relation: str = ""

    @classmethod
    def open(
        cls, path: Path, index: int, folder: Path, encoding: str, most: int | None = None
    ) -> "_Table":
        if plain_suffix(path) in PARQUET:
            if is_packed(path):
                raise DataError(
                    f"{path} is a packed Parquet table; Parquet packs itself: unpack it"
                )
            return cls(path, parquet_columns(path), place=folder / f"input{index}")
        place = folder / f"input{index}"
        stage(path, place, most)
        comments, text = _first_line(path, place, encoding)
        if most is None:
            _check_last_line(path, place)
        delimiter = _delimiter(text)
        cells = _cells(path, text, delimiter)
        one = cls(path, cells, delimiter, place, len(comments) + 1, commented=bool(comments))
        rates = (_FPS.search(comment) for comment in comments)
        one.fps = next((float(result[1] or result[2]) for result in rates if result), None) or None
        if _are_values(cells):
            last = comments[-1].lstrip("# \t") if comments else ""
            named = (_cells(path, last, way) for way in (delimiter, " ")) if last else ()
            numbers = [str(number) for number in range(1, len(cells) + 1)]
            one.names = next((names for names in named if len(names) == len(cells)), numbers)
            one.skip, one.cells = len(comments), cells
        return one

    def by_number(self, columns: Mapping[str, str]) -> dict[str, str]:
        """Columns as they are called, where the user names a cell of the first row instead."""
        cells = {cell: name for cell, name in zip(self.cells, self.names, strict=False)}
        return {
            canonical: name if name in self.names else cells.get(name, name)
            for canonical, name in columns.items()
        }

    def scan(self, db: Connection, wanted: list[str], encoding: str) -> None:
        """Make the relation that holds the rows; a Parquet file is copied into the database."""
        if self.delimiter:
            width = len(self.names) + 2
            if self.delimiter == " ":
                rows = _lines(self.place, self.skip, encoding)
                cells = ", ".join(f"c[{index + 1}] as c{index}" for index in range(width))
                split = f"select regexp_split_to_array(line, '\\s+') as c from {rows}"
                rows = f"(select {cells} from ({split}))"
            else:
                rows = _scan(self.place, width, self.delimiter, skip=self.skip, encoding=encoding)
            rows = f'(select row_number() over () as "row", * from {rows})'
            self.relation = f"(from {rows} where not starts_with(coalesce(c0, ''), '#'))"
            if not self.commented:
                self.relation = rows
            return
        self.relation = self.place.name
        for batch in read_parquet(self.path, list(dict.fromkeys(wanted)), BATCH):
            columns = {
                self.key(n): c for n, c in zip(batch.schema.names, batch.columns, strict=True)
            }
            db.register("batch", pa.table(columns))
            db.execute(f"create table if not exists {self.relation} as from batch limit 0")
            db.execute(f"insert into {self.relation} from batch")
            db.unregister("batch")
        if not db.execute(
            f"select 1 from duckdb_tables() where table_name = '{self.relation}'"
        ).fetchall():
            nothing = ", ".join(
                f"null::varchar as {self.key(name)}" for name in dict.fromkeys(wanted)
            )
            db.execute(f"create table {self.relation} as select {nothing} limit 0")
        self.relation = f'(select rowid + 1 as "row", * from {self.relation})'

    def key(self, name: str) -> str:
        """The column of a name as the relation has it."""
        return f"c{self.names.index(name)}"


def column_names(path: Path, encoding: str = "utf-8") -> list[str]:
    """Names of the columns of one table, in its order.

    Raises:
        DataError: It is no table.
    """
    with TemporaryDirectory() as folder:
        return _Table.open(path, 0, Path(folder), encoding, 2 * MAX_LINE).names


def _tables(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"no file or folder {path}; check the path")
    if not path.is_dir():
        return [path]
    files = sorted(p for p in path.iterdir() if plain_suffix(p) in (*TEXT, *PARQUET))
    if not files:
        raise DataError(f"{path} holds no table ({', '.join((*TEXT, *PARQUET))}); name a file")
    return files


def _first_line(path: Path, place: Path, encoding: str) -> tuple[list[str], str]:
    """The comments at the head of a text table, and its first other line."""
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
        raise DataError(f"{path} is empty or begins with a blank line; it needs a line of names")
    return comments, text


def _stage_text(path: Path, place: Path) -> None:
    """`stage` a text whose last line is as short as the others must be."""
    stage(path, place)
    _check_last_line(path, place)


def _check_last_line(path: Path, place: Path) -> None:
    """Refuse a last line that is too long: DuckDB would take it into memory, several times."""
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
    # Commas between digits are no delimiters where there is another one: 0,5;1,25
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
        raise DataError(f"the first line of {path} names no columns: {error}") from None
    while len(cells) > 1 and not cells[-1]:
        cells.pop()
    return cells


def _are_values(cells: list[str]) -> bool:
    """Whether a first line holds values and no names: mostly numbers, unless they only count."""
    filled = [cell for cell in cells if cell]
    numeric = sum(bool(_NUMBER.fullmatch(cell)) for cell in filled)
    counts = [str(number) for number in range(len(cells))]
    return numeric >= 2 and 2 * numeric >= len(filled) and cells != counts


def _scan(
    place: Path,
    columns: int,
    delimiter: str,
    *,
    skip: int = 0,
    quote: str = '"',
    encoding: str = "utf-8",
) -> str:
    """SQL: the rows of a text file as columns c0, c1, ...; a missing cell is NULL, an empty one ''.

    DuckDB guesses nothing here. Its strict mode gives up a whole file for one odd quote; the other
    drops what a row has too much, so callers ask for one column more than there should be.
    """
    names = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(columns))
    # A path is a pattern to DuckDB; its last part is a name of ours.
    folder = "".join(f"[{c}]" if c in "*?[" else c for c in str(place.parent))
    return (
        f"read_csv({quoted(f'{folder}/{place.name}')}, columns={{{names}}}, skip={skip}, "
        f"delim={quoted(delimiter)}, quote={quoted(quote)}, escape={quoted(quote)}, header=false, "
        f"auto_detect=false, strict_mode=false, null_padding=true, nullstr='{NULL}', "
        f"parallel=false, max_line_size={MAX_LINE}, encoding='{encoding}')"
    )


def _check_columns(file: Path, wanted: list[str], names: list[str]) -> None:
    lacking = sorted(set(wanted) - set(names))
    if lacking:
        raise DataError(
            f"{file} lacks the columns {', '.join(map(repr, lacking))} that the other files of "
            "its folder have; import it by itself"
        )


def _drop_counter(db: Connection, one: _Table, mapped: Mapped) -> None:
    """Take no column for the scene in which every row of an agent has its own value."""
    name = mapped.names.get("scene")
    if name is None:
        return
    scene, agent = one.key(name), one.key(mapped.names["agent"])
    with reading(one.path):
        rows, agents, pairs = db.execute(
            f"""select count(*), count(distinct {agent}), count(distinct ({scene}, {agent}))
            from (from {one.relation} limit {FIRST})"""
        ).fetchall()[0]
    if pairs < 0.9 * rows or rows < 3 * agents:
        return
    del mapped.names["scene"]
    mapped.folds.clear()
    mapped.notes.append(
        f"column {name!r} differs from row to row of an agent, so it is taken for no scene"
    )


def _decimals(db: Connection, one: _Table, mapped: Mapped) -> dict[str, str]:
    """SQL of the cell behind each canonical column, with {} for the column, decimals with a point.

    A column has decimal commas if more of its first cells have one than a decimal point. Between
    commas a cell such as 1,250 may also be 1250, so another cell must settle it.
    """
    axes = [name for name in ("time", "frame", "x", "y", "z", "agent") if name in mapped.names]
    cells: dict[str, str] = dict.fromkeys(axes, "{}")
    if not one.delimiter:
        return cells
    # "1,250" in a table of semicolons has a decimal comma, between quotes it may be thousands.
    grouped = "^[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+$" if one.delimiter == "," else "^$"
    point = "replace(replace(trim({}::varchar), '.', ''), ',', '.')"
    counts = ", ".join(
        f"""count(*) filter (contains({t}, ',') and regexp_full_match(trim({t}), '{_COMMA}')
            and not regexp_matches(trim({t}), '{grouped}'))
        - count(*) filter (contains({t}, '.') and {number(t)} is not null)"""
        for t in (one.key(mapped.names[name]) for name in axes)
    )
    with reading(one.path):
        more = db.execute(f"select {counts} from (from {one.relation} limit {FIRST})").fetchall()
    for name, surplus in zip(axes, more[0], strict=True):
        if surplus > 0:
            cells[name] = f"if(regexp_full_match(trim({{}}), '{_COMMA}'), {point}, {{}})"
    commas = [repr(mapped.names[name]) for name in axes if cells[name] != "{}"]
    if commas:
        mapped.notes.append(f"decimal commas are read in {', '.join(commas)}")
    return cells


def _times(
    db: Connection,
    opened: list[_Table],
    mapped: Mapped,
    cell: str,
    options: ReadOptions,
    notes: list[str],
) -> tuple[str, bool]:
    """SQL of the seconds of a row, with {} for the column of the time, and whether it has dates."""
    name, path = mapped.names["time"], opened[0].path
    columns = [(one.relation, one.key(name)) for one in opened]
    value, dates, said = read_times(db, path, name, columns, cell, options.settings.get("dates"))
    notes.extend(said)
    if dates or said:
        return value, dates
    if mapped.seconds is not None:
        return f"{value} * {real(mapped.seconds)}", False
    relation, column = columns[0]
    middle = f"select median({value.replace('{}', column)}) from (from {relation} limit {FIRST})"
    with reading(path):
        unit = unix_unit(db.execute(middle).fetchall()[0][0] or 0.0)
    if unit is None:
        return value, False
    notes.append(f"{name!r} is read as {unit} since 1970")
    return f"{value} * {real(UNIX[unit])}", False


def _table_select(
    one: _Table, mapped: Mapped, options: ReadOptions, values: Mapping[str, str]
) -> str:
    column = {canonical: one.key(name) for canonical, name in mapped.names.items()}
    stem, scale = quoted(plain_stem(one.path)), real(options.scale or 1.0)
    clock = column.get("frame") or column["time"]
    value = {"time": values["time"].replace("{}", clock), "z": "null::double"}
    for axis in {*"xyz"} & {*column}:
        value[axis] = f"{number(values[axis].replace('{}', column[axis]))} * {scale}"
    for name in ("scene", "agent", "type", "split"):
        cell = values.get(name, "{}").replace("{}", column.get(name, ""))
        value[name] = f"coalesce({cell}::varchar, '')" if name in column else "''"
    if "scene" not in column:
        value["scene"] = stem
    rows, odd = one.relation, "false"
    if one.delimiter:
        width = len(one.names)
        surplus = " or ".join(f"trim(coalesce(c{width + index}, '')) <> ''" for index in range(2))
        rows, odd = f"(select *, c{width - 1} is null or {surplus} as odd from {rows})", "odd"
        cells = sorted({int(key[1:]) for key in column.values()})
        cells_text = ", ".join(f"c{index}" for index in [*cells, width, width + 1])
        line = f"concat_ws({quoted(one.delimiter)}, {cells_text})"
    axes = [axis for axis in "xyz" if axis in column]
    unread = " or ".join(f"{name} is null" for name in ("time", *axes))
    text = " || '; ' || ".join(
        f"{quoted(name + '=')} || coalesce({one.key(name)}::varchar, 'None')"
        for name in mapped.names.values()
    )
    lines = f"when odd then {line}" if one.delimiter else ""
    # The text is put together above the values, where DuckDB does so for the few odd rows only.
    return f"""select "row", scene, agent, type, split, time, x, y, z,
        if({odd}, 'malformed', null) as fault, case {lines} when {unread} then {text} end as text
        from (select *, if({odd}, {stem}, {value["scene"]}) as scene,
            if({odd}, '', {value["agent"]}) as agent, if({odd}, '', {value["type"]}) as type,
            if({odd}, '', {value["split"]}) as split, if({odd}, null, {value["time"]}) as time,
            if({odd}, null, {value["x"]}) as x, if({odd}, null, {value["y"]}) as y,
            if({odd}, null, {value["z"]}) as z from {rows})"""


def _note_folds(db: Connection, one: _Table, mapped: Mapped, source: Source) -> None:
    """Collect the scenes that columns such as fold_zara1 call test, in the order of the file."""
    tested = [f"bool_or({label(one.key(name))} = 'test')" for name in mapped.folds.values()]
    scene = label(one.key(mapped.names["scene"]))
    with reading(one.path):
        result = db.execute(
            f"select {scene} as s, {', '.join(tested)} from {one.relation} group by s "
            'order by min("row")'
        ).fetchall()
    for name, *flags in result:
        for fold, flag in zip(mapped.folds, flags, strict=True):
            scenes = source.folds.setdefault(fold, [])
            if flag and name not in scenes:
                scenes.append(name)


def ethucy(db: Connection, path: Path, options: ReadOptions) -> Source:
    """ETH/UCY recordings as the field uses them: text of four columns, frame, agent, x, y, metres.

    One step is 10 frames or 0.4 s. A known recording is cut in time at the protocol's first
    validation frame, row by row; any other recording is a scene of its own without a cut.

    The field reads `biwi_eth` like that too, though its people were annotated every 6 frames, 0.4 s
    apart, and resampled to every 10 with the frame numbers kept: 10 of its frames last 2/3 s.
    Called 0.4 s they make people walk 10/6 as fast, usually 2.5 m/s; at their true time it is
    1.5 m/s, as in `biwi_hotel`. The setting eth-time "true" reads that recording so, on steps of
    0.4 s that lie on straight lines between its rows. The speeds are right then, but a present
    between two rows knows a little of the later one, which takes a tenth off the error of constant
    velocity; only at every fifth step is it a row of the file.

    Source: Pellegrini et al. 2009 (ETH) and Lerner et al. 2007 (UCY), as processed by
    Gupta et al. 2018, "Social GAN".

    Raises:
        DataError: There is no recording at the path.
    """
    files = _files(path, "*.txt")
    known = tomllib.loads((resources("trajflow.datasets") / "catalog/ethucy.toml").read_text())
    scenes = {file.stem for file in files}
    strange = sorted(scenes - set(known["first_validation_frame"]))
    source = Source(
        selects=[],
        files=files,
        dt=options.dt or STEP,
        unit=options.unit or "m",
        columns={"frame": "1", "agent": "2", "x": "3", "y": "4"},
        notes=[f"not in the protocol, so without a cut: {', '.join(strange)}"] if strange else [],
        folds={name: tests for name, tests in known["folds"].items() if scenes.issuperset(tests)},
    )
    every = known["annotated_every"] if options.settings.get("eth-time") == "true" else {}
    for index, file in enumerate(files):
        _stage_text(file, options.folder / f"input{index}")
        select = _ethucy_rows(options.folder / f"input{index}", file.stem, known)
        step = every.get(file.stem, FRAMES_PER_STEP)
        if step != FRAMES_PER_STEP:
            select = _resampled(db, select, file, step, source)
        seconds = real(STEP / step)
        source.selects.append(f"select * replace (time * {seconds} as time) from ({select})")
    return source


def _files(path: Path, pattern: str) -> list[Path]:
    """The file at a path, or all of a pattern in a folder."""
    files = sorted(path.glob(pattern)) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise DataError(f"no {pattern} at {path}; name the folder that holds them")
    return files


def _ethucy_rows(place: Path, stem: str, known: dict[str, Any]) -> str:
    cut = known["first_validation_frame"].get(stem)
    split = f"if(time < {cut}, 'train', 'val')" if cut is not None else "''"
    return f"""select *, {split} as split from (
        select "row", {quoted(stem)} as scene, if(whole, c[2], '') as agent,
        'pedestrian' as type, if(whole, {number("c[1]")}, null) as time,
        if(whole, {number("c[3]")}, null) as x, if(whole, {number("c[4]")}, null) as y,
        null::double as z, if(whole, null, 'malformed') as fault, line as text
        from (select "row", line, c, len(c) = 4 as whole
              from (select "row", line, regexp_split_to_array(line, '\\s+') as c
                    from {_lines(place)})))"""


def _lines(place: Path, skip: int = 0, encoding: str = "utf-8") -> str:
    """SQL: the lines of a text file that are not blank, trimmed, with their numbers from 1."""
    blank = rb"' \t\n\v\f\r'".decode("unicode_escape")
    rows = _scan(place, 2, "\x01", skip=skip, quote="", encoding=encoding)
    return f"""(select row_number() over () as "row", line from (
        select trim(concat_ws(' ', c0, c1), {blank}) as line from {rows}) where line <> '')"""


def _resampled(db: Connection, select: str, file: Path, every: int, source: Source) -> str:
    """SQL: rows at multiples of `every` frames, on straight lines between rows 10 frames apart.

    A row that is drawn between two others knows the later one. Nothing crosses a gap or the cut
    between two splits; rows that cannot be read stay as they are.
    """
    good = "time is not null and x is not null and y is not null and fault is null and agent <> ''"
    apart = real(float(FRAMES_PER_STEP))
    steps = -(-FRAMES_PER_STEP // every)
    line = "if(share = 0, {0}, {0} + share * (before.{0} - {0}))"
    made = f"""select "row", scene, agent, type, frame as time, {line.format("x")} as x,
        {line.format("y")} as y, z, fault, text, split
        from (select *, (time - frame) / {apart} as share from (
            select *, (floor(time / {every}) - back) * {every} as frame from (
                select *, lag({{time: time, x: x, y: y, split: split}}) over (
                    partition by agent order by "row") as before from ({select}) where {good}),
            range({steps}) as r(back)))
        where frame = time or (time - before.time = {apart} and split = before.split
                               and frame > before.time)"""
    with reading(file):
        counts = [
            db.execute(f"select count(*) from ({rows})").fetchall()[0][0]
            for rows in (f"select 1 from ({select}) where {good}", made)
        ]
    source.notes.append(
        f"{file.stem} is at its true time, {every} frames to {STEP:g} s: {counts[0]} rows "
        f"{FRAMES_PER_STEP} frames apart became {counts[1]} on straight lines between them"
    )
    columns = '"row", scene, agent, type, time, x, y, z, fault, text, split'
    return f"{made} union all select {columns} from ({select}) where not coalesce({good}, false)"


def trajnet(db: Connection, path: Path, options: ReadOptions) -> Source:
    """TrajNet++ files: one JSON object per line, {"track": {f, p, x, y}} or {"scene": {..., fps}}.

    One file is one recording in metres; files below folders named train, val or test belong to
    that split. The scene lines, which list cut-outs of the recording, name only the rate.

    Source: Kothari et al. 2021, "Human trajectory forecasting in crowds".

    Raises:
        DataError: There are no files, or they have different rates.
    """
    files = _files(path, "**/*.ndjson")
    stems = Counter(file.stem for file in files)
    objects, rates, steps = [], set(), []
    for index, file in enumerate(files):
        _stage_text(file, options.folder / f"input{index}")
        objects.append(_objects(options.folder / f"input{index}"))
        with reading(file):
            rate, step = _trajnet_rate(db, objects[-1])
        rates |= {rate} if rate else set()
        steps.append(step)
    if len(rates) > 1:
        raise DataError(
            f"the files have different rates, {sorted(rates)} fps; import them one by one"
        )
    dt = options.dt or 1 / next(iter(rates), TRAJNET_FPS)
    selects = []
    for file, rows, step in zip(files, objects, steps, strict=True):
        folders = file.relative_to(path.parent).parts[:-1]
        split = next((TRAJNET_SPLITS[n] for n in reversed(folders) if n in TRAJNET_SPLITS), "")
        name = file.stem if stems[file.stem] == 1 else f"{file.parent.name}/{file.stem}"
        selects.append(_trajnet_rows(rows, name, split, dt / step))
    return Source(
        selects=selects,
        files=files,
        dt=dt,
        unit=options.unit or "m",
        columns={"frame": "f", "agent": "p", "x": "x", "y": "y"},
        notes=[] if rates else [f"no fps in the files; {TRAJNET_FPS:g} fps is taken"],
        dropped={"predictions": "fault = 'prediction'"},
    )


def _objects(place: Path) -> str:
    """SQL: the lines of a file with the JSON they hold, NULL where they hold none."""
    return f"""(select "row", line, case when json_valid(line) then line::json end as j
        from {_lines(place)})"""


def _trajnet_rate(db: Connection, rows: str) -> tuple[float | None, float]:
    """Rows per second as a scene line names them, and frames from one row of a person to the next.

    Both come from the first lines; most rows decide about the second.
    """
    head = f"(select j from {rows} where j is not null limit 20000)"
    rate = f"select {number('''(j->'$.scene.fps')''')} as r from {head} where r > 0 limit 1"
    step = f"""select median(step) from (select frame - lag(frame) over (
            partition by p order by frame) as step from (
            select distinct (j->>'$.track.p') as p, {number("(j->'$.track.f')")} as frame
            from {head} where frame is not null))"""
    fps = [value for (value,) in db.execute(rate).fetchall()]
    return next(iter(fps), None), db.execute(step).fetchall()[0][0] or 1.0


def _trajnet_rows(rows: str, scene: str, split: str, seconds: float) -> str:
    text, plain = "(j->>'$.track.p')", "(j->'$.track.p')::varchar"
    agent = f"""case when regexp_matches({plain}, '^["0-9-]') then {text} else '' end"""
    value = {key: number(f"(j->'$.track.{key}')::varchar") for key in "fxy"}
    return f"""select "row", {quoted(scene)} as scene, coalesce({agent}, '') as agent,
        'pedestrian' as type, {quoted(split)} as split, {value["f"]} * {real(seconds)} as time,
        {value["x"]} as x, {value["y"]} as y, null::double as z,
        case when coalesce(json_type(j, '$.track'), '') <> 'OBJECT' then 'malformed'
             when (j->>'$.track.prediction_number') is not null then 'prediction' end as fault,
        line as text from {rows}
        where j is null or json_type(j) <> 'OBJECT' or not json_exists(j, '$.scene')"""


def sdd(db: Connection, path: Path, options: ReadOptions) -> Source:
    """Stanford Drone Dataset: a tree SCENE/videoN/annotations.txt of boxes in pixels at 30 fps.

    A position is the centre of a box. Boxes marked lost (the agent is out of view) are dropped;
    every 12th frame is kept for a step of 0.4 s. Positions stay in pixels unless a scale is given.

    Source: Robicquet et al. 2016, "Learning social etiquette".

    Raises:
        DataError: There are no annotations, or dt is no whole number of frames.
    """
    files = _files(path, "**/annotations.txt")
    every = _frames_per_step(options.dt or STEP)
    names = ["_".join(file.resolve().parts[-3:-1]) for file in files]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"scene {twice[0]!r} is there twice; import one tree at a time")
    selects = []
    for index, file in enumerate(files):
        _stage_text(file, options.folder / f"input{index}")
        rows = _scan(options.folder / f"input{index}", len(SDD) + 1, " ")
        selects.append(_sdd_rows(rows, names[index], options.scale or 1.0, every))
    return Source(
        selects=selects,
        files=files,
        dt=every / SDD_FPS,
        unit=options.unit or ("m" if options.scale else "px"),
        columns={"agent": "track", "x": "(xmin + xmax) / 2", "y": "(ymin + ymax) / 2"},
        dropped={"lost": "fault = 'lost'", "between steps": "fault = 'between'"},
    )


def _sdd_rows(rows: str, scene: str, scale: float, every: int) -> str:
    value = {name: number(f"c{index}") for index, name in enumerate(SDD)}
    centre = f"({{0}} + {{1}}) / 2 * {real(scale)}"
    line = f"concat_ws(' ', {', '.join(f'c{index}' for index in range(len(SDD) + 1))})"
    return f"""select *, case when fault = 'malformed' or time is null or x is null or y is null
        then {line} end as text from (select *, {quoted(scene)} as scene,
            if(odd, '', c0) as agent, if(odd, '', lower(c9)) as type,
            '' as split, frame / {real(float(SDD_FPS))} as time,
            {centre.format(value["xmin"], value["xmax"])} as x,
            {centre.format(value["ymin"], value["ymax"])} as y, null::double as z,
            case when odd then 'malformed' when {value["lost"]} = 1 then 'lost'
                 when frame % {every} > 0 then 'between' end as fault
            from (select row_number() over () as "row", *, c9 is null or c10 is not null as odd,
                  {value["frame"]} as frame from {rows}))"""


def _frames_per_step(dt: float) -> int:
    every = round(dt * SDD_FPS)
    if every < 1 or abs(dt * SDD_FPS - every) > 0.01 * every:
        raise DataError(
            f"dt = {dt} s is {dt * SDD_FPS:.3f} frames at {SDD_FPS} fps; give a whole number of "
            f"frames, such as {max(every, 1) / SDD_FPS:.4f} s"
        )
    return every


READERS: dict[str, Reader] = {reader.__name__: reader for reader in (table, ethucy, trajnet, sdd)}


def _foreign() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
