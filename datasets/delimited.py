"""Stream a delimited text file as columns of text, so that no value is guessed on the way in."""

import codecs
import csv
import io
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv

from trajflow.batch import Ints
from trajflow.datasets.lines import MAX_LINE
from trajflow.datasets.unpacking import unpacked
from trajflow.errors import DataError

MAX_COLUMNS = 10_000
MAX_MALFORMED = 100_000
MAX_TEXT = 200
"""Letters of a malformed row that are kept."""
ROW_BYTES = 64
MIN_BLOCK, MAX_BLOCK = 1 << 12, 1 << 20
"""Bytes parsed at once; up to 32 blocks are read ahead."""
PATIENCE = 0.2
"""Seconds in which a parser that was given up asks for bytes once more, if it does."""
_DELIMITERS = ",\t;|"
_DECODER = codecs.getincrementaldecoder("utf-8")


@dataclass(frozen=True)
class Layout:
    """How a text table is laid out: its delimiter, its columns, and lines to skip before rows."""

    delimiter: str
    names: list[str]
    skip: int = 1


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of a table.

    Attributes:
        table: N rows of text, one column per name asked for.
        number: Number of each row in its file, from 1, blank lines not counted, [N].
        malformed: Rows with another number of columns that stood before or among these, as
            (number, text).
    """

    table: pa.RecordBatch
    number: Ints
    malformed: list[tuple[int, str]]


def sniff(path: Path) -> Layout:
    """Delimiter and column names from the first line.

    Raises:
        DataError: The file is empty, no text, or has no line of a sane length.
    """
    with unpacked(path) as stream:
        line = stream.readline(MAX_LINE + 1)
    if b"\0" in line:
        raise DataError(
            f"{path} is no text in UTF-8, it has NUL bytes; convert it from UTF-16 if it is text"
        )
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise DataError(f"{path} is no text in UTF-8; convert it or name the right file") from None
    if not text.strip():
        raise DataError(f"{path} is empty or begins with a blank line; it needs a line of names")
    delimiter = max(_DELIMITERS, key=text.count)
    columns = text.count(delimiter) + 1
    if len(line) > MAX_LINE or columns > MAX_COLUMNS:
        raise DataError(
            f"{path} begins with a line of {len(line)} bytes and {columns} columns, too many; "
            "is it a table?"
        )
    try:
        names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter))]
    except csv.Error as error:
        raise DataError(f"the first line of {path} names no columns: {error}") from None
    return Layout(delimiter, names)


def read_delimited(
    path: Path, layout: Layout, columns: Sequence[str], chunk_rows: int
) -> Iterator[Rows]:
    """The chosen columns of a table, as text, in pieces of about `chunk_rows` rows or a megabyte.

    Raises:
        DataError: The file is damaged, no UTF-8, or most of it is no such table.
    """
    odd = _Malformed(layout.skip)
    block = min(max(chunk_rows * ROW_BYTES, MIN_BLOCK), MAX_BLOCK)
    reading = pv.ReadOptions(
        use_threads=False, block_size=block, column_names=layout.names, skip_rows=layout.skip
    )
    parsing = pv.ParseOptions(delimiter=layout.delimiter, invalid_row_handler=odd)
    kinds = {name: pa.string() for name in columns}
    converting = pv.ConvertOptions(
        column_types=kinds, include_columns=list(columns), strings_can_be_null=False
    )
    accepted = 0
    with unpacked(path) as stream:
        text = _Utf8(path, stream)
        try:
            for batch in pv.open_csv(pa.PythonFile(text, mode="r"), reading, parsing, converting):
                number = odd.number(np.arange(accepted, accepted + batch.num_rows))
                accepted += batch.num_rows
                yield Rows(batch, number, odd.take())
        except BaseException:
            text.leave()
            raise
    if odd.fresh:
        nothing = pa.record_batch([pa.array([], pa.string()) for _ in columns], list(columns))
        yield Rows(nothing, np.empty(0, np.int64), odd.take())


class _Utf8(io.RawIOBase):
    """Text on its way to the parser, which would only complain of bytes that are none."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self._path, self._stream, self._decoder = path, stream, _DECODER()
        self._left, self._ended = False, threading.Event()

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes; none at the end."""
        if self._left:
            self._ended.set()
            return b""
        found = self._stream.read(-1 if size is None else size)
        try:
            self._decoder.decode(found, final=not found)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self._path} is no table in UTF-8 text ({error.reason}); convert it first"
            ) from None
        return found

    def leave(self) -> None:
        """End early: the parser reads ahead in a thread, which must not outlive Python."""
        self._left = True
        if self._ended.wait(PATIENCE):
            time.sleep(PATIENCE / 20)


@dataclass
class _Malformed:
    """Collects the rows that do not have as many columns as the table, up to a bound."""

    skip: int
    seen: list[int] = field(default_factory=list)
    fresh: list[tuple[int, str]] = field(default_factory=list)

    def __call__(self, row: Any) -> str:
        if len(self.seen) == MAX_MALFORMED:
            return "error"
        number = row.number - self.skip
        self.seen.append(number)
        self.fresh.append((number, row.text[:MAX_TEXT]))
        return "skip"

    def take(self) -> list[tuple[int, str]]:
        fresh, self.fresh = self.fresh, []
        return fresh

    def number(self, accepted: Ints) -> Ints:
        """Row numbers of the accepted rows, which lie between the malformed ones, [N]."""
        before = np.array(self.seen, np.int64) - 1 - np.arange(len(self.seen))
        return np.asarray(accepted + 1 + np.searchsorted(before, accepted, side="right"), np.int64)
