"""Writes a store block by block; it appears complete at the end or not at all."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError
from zarr.codecs import ZstdCodec

from trajflow.datasets.checksums import CHECKSUMS, write_checksums
from trajflow.datasets.output import OutputFolder, disk_errors
from trajflow.datasets.schema import (
    AXES,
    CHUNK,
    MAX_SPLITS,
    Header,
    Spec,
    TrackBlock,
    check_block,
    flags,
    row_columns,
    trajectory_columns,
)
from trajflow.datasets.store import is_store
from trajflow.errors import DataError
from trajflow.types import Ints

BUFFER_VALUES = 4 * CHUNK  # Values of a column that are buffered until whole chunks are written
LEVEL = 3
_TABLE_TYPES = {"f": "<f8", "i": "<i8", "u": "<i8", "b": "|i1"}


class Column:
    """A one-dimensional array under construction, written in whole chunks.

    No chunk is read back or rewritten, and chunks that equal the fill value are written too, so a
    missing file is always damage.
    """

    def __init__(self, group: zarr.Group, name: str, spec: Spec) -> None:
        self.rows = 0
        self.attrs: dict[str, Any] = dict(spec.attrs)
        self._dtype = np.dtype(spec.dtype)
        self._buffer: list[NDArray[np.generic]] = []
        self._buffered, self._digest = 0, hashlib.sha256()
        self._array = group.create_array(
            name,
            shape=(0,),
            chunks=(CHUNK,),
            dtype=self._dtype,
            compressors=ZstdCodec(level=LEVEL, checksum=True),
            fill_value=_fill(self._dtype),
            dimension_names=(spec.dimension,),
            attributes=self.attrs,
            config={"write_empty_chunks": True},
        )

    @property
    def sha256(self) -> str:
        """Digest of all values so far, independent of chunks."""
        return self._digest.hexdigest()

    def append(self, values: ArrayLike) -> None:
        """Add values at the end, [N]."""
        added = np.array(values, self._dtype)
        self._digest.update(added.data)
        self._buffer.append(added)
        self._buffered += len(added)
        self.rows += len(added)
        if self._buffered >= BUFFER_VALUES:
            self._write(self._buffered // CHUNK * CHUNK)

    def close(self) -> None:
        """Write the buffered values and the attributes."""
        self._write(self._buffered)
        if self.attrs != self._array.attrs.asdict():
            self._array.update_attributes(self.attrs)

    def _write(self, count: int) -> None:
        if count:
            values = np.concatenate(self._buffer)
            self._array.append(values[:count])
            self._buffer = [values[count:].copy()]
            self._buffered -= count


def _fill(dtype: np.dtype[np.generic]) -> float | int:
    if dtype.kind == "f":
        return float("nan")
    return -1 if dtype.kind == "i" else 0


class TableWriter:
    """A table under construction; text is stored as codes, with the names in the attributes."""

    def __init__(self, folder: Path, name: str) -> None:
        self._name, self._rows = name, 0
        self._group = zarr.create_group(str(folder / name), zarr_format=3)
        self._columns: dict[str, Column] = {}
        self._names: dict[str, dict[str, int]] = {}

    def append(self, columns: Mapping[str, ArrayLike | Sequence[str]]) -> None:
        """Add rows to all columns; the first call names the columns."""
        arrays = {name: _plain(values) for name, values in columns.items()}
        if not any(map(len, arrays.values())):
            return
        if not self._columns:
            for name, values in arrays.items():
                self._begin(name, values)
        lengths = {len(values) for values in arrays.values()}
        if set(arrays) != set(self._columns) or len(lengths) != 1:
            sizes = {name: len(values) for name, values in arrays.items()}
            raise DataError(
                f"table {self._name!r} takes columns {sorted(self._columns)} of one length, "
                f"got {sizes}"
            )
        for name, values in arrays.items():
            codes = self._names.get(name)
            if codes is not None:
                values = np.array([codes.setdefault(str(v), len(codes)) for v in values], np.int64)
            self._columns[name].append(values)
        self._rows += lengths.pop()

    def close(self) -> None:
        """Write the buffered rows, and the names of the codes."""
        for name, column in self._columns.items():
            if name in self._names:
                column.attrs["names"] = list(self._names[name])
            column.close()
        self._group.attrs["rows"] = self._rows

    def _begin(self, name: str, values: NDArray[Any]) -> None:
        if not name.isidentifier():
            raise DataError(f"a column cannot be called {name!r}; choose another name")
        if values.dtype.kind not in _TABLE_TYPES:
            self._names[name] = {}
        dtype = _TABLE_TYPES.get(values.dtype.kind, "<i8")
        self._columns[name] = Column(self._group, name, Spec(dtype, "row"))


def _plain(values: ArrayLike | Sequence[str]) -> NDArray[Any]:
    """Values as an array in which masked ones are NaN, or "" in text."""
    if not np.ma.isMaskedArray(values):
        return np.asarray(values)
    masked = np.ma.asarray(values)
    if masked.dtype.kind in "fiub":
        return np.asarray(np.ma.filled(masked.astype(np.float64), np.nan))
    return np.asarray(np.ma.filled(masked.astype(object), ""))


class StoreWriter:
    """A store under construction; memory holds a few chunks of rows and the index.

    Attributes:
        path: The store; it appears when the `with` block ends without an error.
        folds: Test scenes of each leave-one-out fold, or None.
        centres: Longitude and latitude around which each scene was projected to metres, or None.
        report: The report of an import, stored with the tracks.

    Example:
        >>> import numpy as np, tempfile
        >>> from trajflow.datasets import StoreWriter, TrackBlock, open_store
        >>> walk = TrackBlock("hall", [7], ["pedestrian"], np.array([3]),
        ...                   np.arange(3) * 0.4, np.ones((3, 2)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with StoreWriter(f"{folder}/hall.zarr", dims=2, dt=0.4, unit="m") as writer:
        ...         writer.append(walk)
        ...     open_store(f"{folder}/hall.zarr").rows
        3
    """

    def __init__(
        self,
        path: str | PathLike[str] | OutputFolder,
        *,
        dims: int,
        dt: float,
        unit: str,
        source: str = "",
        licence: str = "",
        inputs: Sequence[Mapping[str, Any]] = (),
        folds: Mapping[str, Sequence[str]] | None = None,
        history: str = "",
        overwrite: bool = False,
    ) -> None:
        """Check the path and the facts about all tracks.

        Args:
            path: Path of the store, or an open output folder.
            dims: Coordinates of a position, D: 2 or 3.
            dt: Seconds per step.
            unit: Unit of the coordinates, "m", "px", "degree" or another name.
            source: Where the tracks come from.
            licence: Terms under which they may be used.
            inputs: Name, sha256 and size of every file read.
            folds: Test scenes of each leave-one-out fold; None: each scene is its own fold.
            history: The command that writes the store.
            overwrite: Whether to replace an existing store once this one is complete.

        Raises:
            DataError: The path exists, or dims, dt or unit are invalid.
        """
        if dims not in (2, 3) or not 0 < dt < np.inf or not unit:
            raise DataError(
                f"dims must be 2 or 3, dt positive seconds and unit a name; "
                f"got dims={dims}, dt={dt}, unit={unit!r}"
            )
        self._opened = isinstance(path, OutputFolder)
        if isinstance(path, OutputFolder):
            self._output, self.path = path, path.place
        else:
            self._output = OutputFolder(Path(path), overwrite, is_store)
            self.path = self._output.place
        self.folds = folds
        self.centres: Mapping[str, tuple[float, float]] | None = None
        self.report: Mapping[str, Any] = {}
        self._dims, self._dt, self._unit = dims, float(dt), unit
        self._origin = {"source": source, "licence": licence, "history": history}
        self._inputs = [dict(entry) for entry in inputs]
        self._rows: dict[str, Column] = {}
        self._tables: dict[str, TableWriter] = {}

    def __enter__(self) -> Self:
        with disk_errors(self.path), ExitStack() as undo:
            if not self._opened:
                self._output.open()
                undo.callback(self._output.close)
            self._group = zarr.create_group(str(self._output.content), zarr_format=3)
            specs = row_columns(self._dims, self._unit)
            self._rows = {name: Column(self._group, name, spec) for name, spec in specs.items()}
            self._contents = _Contents(self._dims)
            undo.pop_all()
        return self

    def append(self, block: TrackBlock) -> None:
        """Add whole trajectories of one scene.

        A refused block leaves the store unchanged, so more blocks may follow.

        Raises:
            DataError: The block is inconsistent, its times do not increase or are off the grid of
                dt, a value is masked or not finite, or its scene or agent was complete before.
        """
        self._refuse_closed()
        time, position = _plain(block.time), _plain(block.position)
        check_block(block, time, position, self._dims, self._dt)
        codes = self._contents.add(block, time, position)
        self._rows["time"].append(time)
        self._rows["split"].append(codes)
        for axis, values in zip(AXES, position.T, strict=False):
            self._rows[axis].append(values)

    def append_table(self, name: str, columns: Mapping[str, ArrayLike | Sequence[str]]) -> None:
        """Add rows to a table beside the tracks, such as the quarantined rows of an import.

        Args:
            name: The table, for example "quarantine".
            columns: Numbers or texts by name, [N] each; the same names in every call. Masked
                values are missing.

        Raises:
            DataError: The name is invalid, or the columns differ from those before.
        """
        self._refuse_closed()
        if name not in self._tables:
            used = {*self._rows, *trajectory_columns(text_labels=True), CHECKSUMS.split("/")[0]}
            if not name.isidentifier() or name in used:
                raise DataError(f"a table cannot be called {name!r}; choose another name")
            self._tables[name] = TableWriter(self._output.content, name)
        self._tables[name].append(columns)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with disk_errors(self.path), ExitStack() as undo:
            if not self._opened:
                undo.callback(self._output.close)
            if isinstance(error, OSError):
                raise error
            if kind is None:
                self._finish()
                self._output.commit()
            self._rows = {}

    def _finish(self) -> None:
        if not self._contents.rowsize:
            raise DataError(f"no tracks for {self.path}: nothing was appended; see the report")
        if len({column.rows for column in self._rows.values()}) != 1:
            raise DataError(f"{self.path}: an append was cut short; write the store again")
        columns = dict(self._rows)
        values = self._contents.columns()
        for name, spec in trajectory_columns("label_size" in values).items():
            columns[name] = Column(self._group, name, spec)
            columns[name].append(values[name])
        header = self._header({name: columns[name].sha256 for name in sorted(columns)})
        columns["split"].attrs |= flags(header.splits)
        columns["agent_type"].attrs |= flags(header.types)
        for column in columns.values():
            column.close()
        for table in self._tables.values():
            table.close()
        self._group.update_attributes(header.attributes())
        write_checksums(self._output.content)

    def _refuse_closed(self) -> None:
        if not self._rows:
            raise DataError(f"{self.path} is not being written; append inside a 'with' block")

    def _header(self, content: dict[str, str]) -> Header:
        result = self._contents.summary()
        folds = None if self.folds is None else {k: list(v) for k, v in self.folds.items()}
        for fold, scenes in (folds or {}).items():
            unknown = sorted(set(scenes) - set(result["scenes"]))
            if unknown:
                raise DataError(f"fold {fold!r} names scenes that have no tracks: {unknown}")
        facts = {"dims": self._dims, "dt": self._dt, "unit": self._unit, "folds": folds}
        facts |= {"centres": self.centres, "inputs": self._inputs, "content": content}
        facts |= {"report": dict(self.report)}
        try:
            return Header.model_validate({**self._origin, **facts, **result})
        except ValidationError as error:
            raise DataError(f"the store's attributes cannot be written: {error}") from error


class _Contents:
    """Collects the index and the header of a store, block by block."""

    def __init__(self, dims: int) -> None:
        self.rowsize: list[Ints] = []
        self._scenes: dict[str, int] = {}
        self._types: dict[str, int] = {}
        self._splits: dict[str, int] = {}
        self._labels: list[int | str] = []
        self._scene: list[Ints] = []
        self._type: list[Ints] = []
        self._open: set[str] = set()
        self._span = (np.inf, -np.inf)
        self._duration = 0.0
        self._split_rows = np.zeros(MAX_SPLITS, np.int64)
        self._low, self._high = np.full(dims, np.inf), np.full(dims, -np.inf)

    def add(
        self, block: TrackBlock, time: NDArray[Any], position: NDArray[Any]
    ) -> NDArray[np.int8]:
        """Add a checked block, and return the code of the split of each row, [N]."""
        labels = [_label(label) for label in block.labels]
        names = np.atleast_1d(np.asarray(block.split))
        used, which = np.unique(names, return_index=True)
        self._refuse(block, labels, used.tolist())
        if block.scene not in self._scenes:
            if self._scenes:
                self._duration += self._span[1] - self._span[0]
            self._scenes[block.scene] = len(self._scenes)
            self._open, self._span = set(), (np.inf, -np.inf)
        self._open.update(map(str, labels))
        self._labels.extend(labels)
        self.rowsize.append(np.array(block.rowsize, np.int64))
        self._scene.append(np.full(len(labels), self._scenes[block.scene]))
        for kind in block.types:
            self._types.setdefault(str(kind), len(self._types))
        self._type.append(np.array([self._types[str(kind)] for kind in block.types], np.int64))
        low, high = float(time.min()), float(time.max())
        self._span = min(self._span[0], low), max(self._span[1], high)
        self._low = np.minimum(self._low, position.min(0))
        self._high = np.maximum(self._high, position.max(0))
        for name in names[np.sort(which)].tolist():
            self._splits.setdefault(str(name), len(self._splits))
        codes = np.array([self._splits[str(name)] for name in used], np.int8)
        splits = np.broadcast_to(codes[np.searchsorted(used, names)], (len(time),))
        self._split_rows += np.bincount(splits, minlength=MAX_SPLITS)
        return splits

    def columns(self) -> dict[str, Ints | NDArray[np.uint8]]:
        """The arrays with one entry per trajectory, by name, [K] each."""
        rowsize = np.concatenate(self.rowsize)
        columns: dict[str, Ints | NDArray[np.uint8]] = {
            "rowsize": rowsize,
            "episode_ends": np.cumsum(rowsize),
            "scene": np.concatenate(self._scene),
            "agent_type": np.concatenate(self._type),
        }
        if all(isinstance(label, int) for label in self._labels):
            columns["trajectory_id"] = np.array(self._labels, np.int64)
        else:
            texts = [str(label).encode() for label in self._labels]
            columns["trajectory_id"] = np.arange(len(texts))
            columns["label_size"] = np.array([len(text) for text in texts], np.int64)
            columns["label_bytes"] = np.frombuffer(b"".join(texts), np.uint8)
        return columns

    def summary(self) -> dict[str, Any]:
        """The fields of the header that follow from the tracks."""
        rows = self._split_rows[: len(self._splits)]
        kinds = np.bincount(np.concatenate(self._type))
        return {
            "rows": int(rows.sum()),
            "trajectories": len(self._labels),
            "scenes": list(self._scenes),
            "splits": list(self._splits),
            "types": list(self._types),
            "split_rows": rows.tolist(),
            "type_counts": kinds.tolist(),
            "bounds": np.stack((self._low, self._high), 1).tolist(),
            "duration": self._duration + self._span[1] - self._span[0],
        }

    def _refuse(self, block: TrackBlock, labels: list[int | str], splits: list[str]) -> None:
        last = next(reversed(self._scenes), None)
        if block.scene in self._scenes and block.scene != last:
            raise DataError(
                f"scene {block.scene!r} comes again after scene {last!r}; "
                "append all blocks of a scene one after the other"
            )
        earlier: set[str] = set()
        for label in map(str, labels):
            if label in earlier or (block.scene == last and label in self._open):
                raise DataError(
                    f"scene {block.scene!r}, agent {label!r} comes twice; "
                    "join its rows into one trajectory or give the parts different labels"
                )
            earlier.add(label)
        for name in (block.scene, *set(block.types), *splits):
            _text(name)
        if len({*splits} | {*self._splits}) > MAX_SPLITS:
            raise DataError(f"with scene {block.scene!r} there are more than {MAX_SPLITS} splits")


def _label(label: object) -> int | str:
    if isinstance(label, int | np.integer) and -(2**63) <= int(label) < 2**63:
        return int(label)
    return _text(label)


def _text(name: object) -> str:
    text = str(name)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"name {text!r} cannot be written as UTF-8; rename it") from None
    return text
