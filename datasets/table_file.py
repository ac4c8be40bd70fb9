"""One file of a table: its columns, and the SQL of its rows."""

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import duckdb
import pyarrow as pa

from trajflow.datasets.columns import names_places
from trajflow.datasets.sources import (
    BATCH,
    SAMPLE_ROWS,
    connect,
    json_lines,
    quoted,
    reading,
    scan_csv,
    text_lines,
)
from trajflow.datasets.unpacking import (
    MAX_LINE,
    check_last_line,
    is_packed,
    parquet_schema,
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
MAX_COMMENTS = 1000
_FPS = re.compile(
    r"(?i)(?:frame[ _]?rate|fps|frames per second)\W{0,5}([0-9]+(?:\.[0-9]+)?)"
    r"|([0-9]+(?:\.[0-9]+)?) ?(?:fps|frames per second)"
)
_SEPARATOR = re.compile("(?i)sep=.")  # Spreadsheets write this before the header line
_NUMBER = re.compile(r"[+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEAD = 2 * MAX_LINE  # Bytes of a packed file that are enough to read its header


@dataclass
class TableFile:
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
    ) -> "TableFile":
        """Read the start of a file: its delimiter, its columns, and what its comments name."""
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
    """Names of the columns of one table, in order; `convert` makes a plain table of the file.

    Raises:
        DataError: The file is no table.
    """
    with TemporaryDirectory() as folder:
        return TableFile.open(path, Path(folder) / "head", encoding, convert, _HEAD).names


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
