"""DuckDB for imports: connections, errors, the rows of text files, clean values and names."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from trajflow.datasets.unpacking import MAX_LINE
from trajflow.errors import DataError

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
