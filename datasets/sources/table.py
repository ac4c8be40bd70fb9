"""Any table of positions by column names: CSV, TSV or Parquet, text also as .gz, .bz2, .xz, .zip.

Rows are observations; the agent, the coordinates and the time (seconds, dates, or frames with dt)
are columns, and so may be the scene, the type, z and the part (split) a row belongs to.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from trajflow.batch import Floats
from trajflow.datasets.delimited import Rows, read_delimited, sniff
from trajflow.datasets.grammar import labels, looks_numeric, midnight, moments, numbers
from trajflow.datasets.mapping import Mapped, map_columns
from trajflow.datasets.parquet import parquet_names, read_parquet
from trajflow.datasets.reading import Reading, ReadOptions
from trajflow.datasets.unpacking import COMPRESSED, plain_stem, plain_suffix
from trajflow.errors import DataError

TEXT = (".csv", ".tsv", ".txt")
PARQUET = (".parquet", ".pq")


def read(path: Path, options: ReadOptions) -> Reading:
    """Open one table, or all tables of a folder that have the same columns.

    Raises:
        DataError: There is no table, a column is missing, or frames have no dt.
    """
    files = _files(path)
    mapped = map_columns(files[0], options.columns, column_names(files[0]), options.dims)
    frames = "frame" in mapped.names
    if frames and options.dt is None:
        raise DataError(
            f"{path}: column {mapped.names['frame']!r} counts frames, which have no seconds; "
            "give dt, the seconds from one row of an agent to its next"
        )
    unit = options.unit or ("m" if options.scale else mapped.unit)
    reading = Reading(
        chunks=iter(()),
        dims=3 if "z" in mapped.names else 2,
        files=files,
        dt=options.dt,
        unit=unit,
        frames=frames,
        columns=dict(mapped.names),
        notes=list(mapped.notes),
    )
    table = _Table(reading, mapped, options)
    reading.chunks = (chunk for index in range(len(files)) for chunk in table.chunks(index))
    return reading


@dataclass
class _Table:
    """Turns rows of a file into canonical rows; remembers what dates count from."""

    reading: Reading
    mapped: Mapped
    options: ReadOptions
    dates: bool | None = None
    origin: float | None = None

    def chunks(self, index: int) -> Iterator[pd.DataFrame]:
        file = self.reading.files[index]
        wanted = [*self.mapped.names.values(), *self.mapped.folds.values()]
        if index:
            _check_columns(file, wanted)
        for rows in _rows(file, wanted, self.options.chunk_rows):
            if rows.table.num_rows:
                yield self._canonical(rows, index)
            if rows.malformed:
                yield _malformed(rows, index, plain_stem(file), self.reading.dims)

    def _canonical(self, rows: Rows, index: int) -> pd.DataFrame:
        column = {c: rows.table.column(n) for c, n in self.mapped.names.items()}
        chunk = pd.DataFrame({"row": rows.number})
        chunk["file"] = index
        for name in ("scene", "agent", "type", "split"):
            if name in column:
                chunk[name] = labels(column[name]).to_pandas()
        if "scene" not in column:
            chunk["scene"] = plain_stem(self.reading.files[index])
        chunk["time"] = self._seconds(column)
        for axis in "xyz"[: self.reading.dims]:
            chunk[axis] = numbers(column[axis]) * (self.options.scale or 1.0)
        self._note_folds(rows.table, chunk["scene"])
        return _with_text(chunk, rows, list(self.mapped.names.values()))

    def _seconds(self, column: dict[str, pa.Array]) -> Floats:
        if "frame" in column:
            return numbers(column["frame"])
        time = column["time"]
        if self.dates is None:
            self.dates = not looks_numeric(time)
        if not self.dates:
            return numbers(time) * self.mapped.seconds
        seconds = moments(time)
        if self.origin is None and np.isfinite(seconds).any():
            self.origin = midnight(float(np.nanmin(seconds)))
            self.reading.notes.append(f"time counts from {pd.Timestamp(self.origin, unit='s')} UTC")
        return seconds - (self.origin or 0.0)

    def _note_folds(self, table: pa.RecordBatch, scene: "pd.Series[str]") -> None:
        for fold, name in self.mapped.folds.items():
            tested = labels(table.column(name)).to_pandas() == "test"
            known = self.reading.folds.setdefault(fold, [])
            known.extend(s for s in scene[tested].unique() if s not in known)


def _rows(file: Path, columns: list[str], chunk_rows: int) -> Iterator[Rows]:
    if plain_suffix(file) not in PARQUET:
        yield from read_delimited(file, sniff(file), columns, chunk_rows)
        return
    read = 0
    for batch in read_parquet(file, columns, chunk_rows):
        yield Rows(batch, np.arange(read + 1, read + 1 + batch.num_rows), [])
        read += batch.num_rows


def column_names(file: Path) -> list[str]:
    """Names of the columns of one table, in its order.

    Raises:
        DataError: It is no table.
    """
    if plain_suffix(file) not in PARQUET:
        return sniff(file).names
    if file.suffix.lower() in COMPRESSED:
        raise DataError(f"{file} is a packed Parquet table, which is packed inside; unpack it")
    return parquet_names(file)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"no file or folder {path}; check the path")
    if not path.is_dir():
        return [path]
    files = sorted(p for p in path.iterdir() if plain_suffix(p) in (*TEXT, *PARQUET))
    if not files:
        raise DataError(f"{path} holds no table ({', '.join((*TEXT, *PARQUET))}); name a file")
    return files


def _check_columns(file: Path, wanted: list[str]) -> None:
    lacking = sorted(set(wanted) - set(column_names(file)))
    if lacking:
        raise DataError(
            f"{file} lacks the columns {', '.join(map(repr, lacking))} that the other files of "
            "its folder have; import it by itself"
        )


def _with_text(chunk: pd.DataFrame, rows: Rows, names: list[str]) -> pd.DataFrame:
    axes = [axis for axis in "xyz" if axis in chunk]
    bad = np.flatnonzero(~np.isfinite(chunk[["time", *axes]].to_numpy(float)).all(1))
    if len(bad):
        found = rows.table.take(pa.array(bad)).to_pylist()
        text = np.full(len(chunk), "", object)
        text[bad] = ["; ".join(f"{name}={row[name]}" for name in names) for row in found]
        chunk["text"] = text
    return chunk


def _malformed(rows: Rows, index: int, scene: str, dims: int) -> pd.DataFrame:
    number, text = zip(*rows.malformed, strict=True)
    chunk = pd.DataFrame({"row": number, "text": text, "fault": "malformed"})
    chunk["file"], chunk["scene"], chunk["agent"] = index, scene, ""
    for name in ("time", *"xyz"[:dims]):
        chunk[name] = np.nan
    return chunk
