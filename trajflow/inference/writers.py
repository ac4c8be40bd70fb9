"""Write forecasts as CSV, Parquet or zarr; the file appears whole at the end or not at all."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from zarr.codecs import ZstdCodec

from trajflow.datasets.output import OutputFolder
from trajflow.errors import DataError
from trajflow.inference.tracks import Futures
from trajflow.io import MAX_BYTES, storing
from trajflow.remote import exists, is_remote, local_output, located, read_remote
from trajflow.text import no_formula
from trajflow.types import Floats, Ints

FORMAT = "1.0"
SUFFIXES = (".csv", ".parquet", ".zarr")
ROWS = 4096
CHUNK_BYTES = 16 << 20
"""Most rows, and about the most bytes, of a chunk."""
INNER = {
    "samples": ("sample", "ahead", "axis"),
    "weight": ("sample",),
    "centre": ("ahead", "axis"),
    "radius": ("ahead",),
}
"""Names of the axes behind the first."""


def check_target(path: Path, overwrite: bool = False) -> None:
    """Refuse early what could not be written later.

    Raises:
        DataError: The suffix is unknown, the folder is missing, or something is there.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"forecasts go into {', '.join(SUFFIXES)}; got {path.name!r}")
    place = located(path)
    if not is_remote(place) and not place.parent.is_dir():
        raise DataError(f"no folder {path.parent} for {path.name}; make it first")
    if path.suffix.lower() == ".zarr":
        OutputFolder(path, overwrite, _is_forecast)
    elif place.is_dir() or (exists(place) and not overwrite):
        raise DataError(f"{path} exists already; choose another path or use --overwrite")


def write_forecasts(
    futures: Iterable[Futures], path: Path, attrs: Mapping[str, Any], overwrite: bool = False
) -> None:
    """Write forecasts as they come, in the format that the suffix names.

    Args:
        futures: Forecasts, some agents at a time.
        path: A .csv or .parquet file, one row per agent, sample and step; or a .zarr group with
            `samples` [N, S, F, D] and the scene, agent, present step and its time `issued_at` in
            seconds, from the attribute `time_origin` where the tracks had dates, of each of the
            N; with regions also their `centre` [N, F, D] and `radius` [N, F], and of chosen
            samples the `weight` [N, S]; with OOD scores the `ood_score` [N], the number of its
            `ood_reason` [N] and the `expected_error` [N].
        attrs: Facts about the forecasts, kept in .zarr and .parquet.
        overwrite: Whether a file, or a group of forecasts, is replaced.

    Raises:
        DataError: It cannot be written there.
        StorageError: The disk is full or read-only; what was there before is unchanged.
    """
    check_target(path, overwrite)
    with storing(path):
        _write(futures, path, attrs, overwrite)


def _write(
    futures: Iterable[Futures], path: Path, attrs: Mapping[str, Any], overwrite: bool
) -> None:
    if path.suffix.lower() == ".zarr":
        _write_group(futures, path, attrs, overwrite)
        return
    write = _write_csv if path.suffix.lower() == ".csv" else _write_parquet
    with local_output(path) as place:
        partial = place.with_name(f"{path.name}.partial-{os.getpid()}")
        try:
            write(futures, partial, attrs)
            partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)


def _write_csv(futures: Iterable[Futures], path: Path, attrs: Mapping[str, Any]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for index, some in enumerate(futures):
            frame = some.to_frame()
            for name in ("scene", "agent"):
                frame[name] = frame[name].map(no_formula)
            frame.to_csv(file, index=False, header=index == 0)


def _write_parquet(futures: Iterable[Futures], path: Path, attrs: Mapping[str, Any]) -> None:
    writer: pq.ParquetWriter | None = None
    try:
        for some in futures:
            table = pa.Table.from_pandas(some.to_frame(), preserve_index=False)
            table = table.replace_schema_metadata({key: str(v) for key, v in attrs.items()})
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _write_group(
    futures: Iterable[Futures], path: Path, attrs: Mapping[str, Any], overwrite: bool
) -> None:
    with OutputFolder(path, overwrite, _is_forecast) as output:
        group = zarr.create_group(str(output.content), zarr_format=3)
        scenes: dict[str, int] = {}
        agents: dict[str, int] = {}
        reasons: dict[str, int] = {}
        chunks = _Chunks(group)
        for some in futures:
            arrays: dict[str, Floats | Ints] = {"samples": some.samples.swapaxes(0, 1)}
            if some.weights is not None:
                arrays["weight"] = some.weights.T
            if some.region is not None:
                arrays |= {"centre": some.region.centre, "radius": some.region.radius}
            if some.ood is not None:
                arrays["ood_score"] = some.ood.ood_score
                arrays["ood_reason"] = _coded(reasons, some.ood.reasons)
                arrays["expected_error"] = some.ood.expected_error
            arrays |= {"scene": _coded(scenes, some.scene), "agent": _coded(agents, some.agent)}
            arrays |= {"step": some.step, "issued_at": some.seconds(some.step)}
            chunks.add(arrays)
        chunks.flush()
        names = {"scenes": list(scenes), "agents": list(agents)}
        names |= {"reasons": list(reasons)} if reasons else {}
        group.attrs.update({"trajflow_forecast": FORMAT, **attrs, **names})
        output.commit()


class _Chunks:
    """Arrays of a group, written chunk by chunk: one that grew would be written again and again."""

    def __init__(self, group: zarr.Group) -> None:
        self._group = group
        self._held: list[dict[str, Floats | Ints]] = []
        self._rows, self._count = ROWS, 0

    def add(self, arrays: dict[str, Floats | Ints]) -> None:
        """Take values [N, ...] of each array; whole chunks of all that is held are written."""
        if not self._group:
            self._create(arrays)
        self._held.append(arrays)
        self._count += len(arrays["step"])
        if self._count >= self._rows:
            self._write(self._count // self._rows * self._rows)

    def flush(self) -> None:
        """Write what is held."""
        if self._count:
            self._write(self._count)

    def _create(self, arrays: dict[str, Floats | Ints]) -> None:
        row = max(values[0].nbytes for values in arrays.values() if len(values))
        self._rows = int(np.clip(CHUNK_BYTES // row, 1, ROWS))
        for name, values in arrays.items():
            self._group.create_array(
                name,
                shape=(0, *values.shape[1:]),
                chunks=(self._rows, *values.shape[1:]),
                dtype=values.dtype,
                compressors=ZstdCodec(level=1, checksum=True),
                dimension_names=("forecast", *INNER.get(name, ())),
            )

    def _write(self, rows: int) -> None:
        rest = {}
        for name in list(self._held[0]):
            values = np.concatenate([part.pop(name) for part in self._held])
            array = self._group[name]
            assert isinstance(array, zarr.Array)
            array.append(values[:rows])
            rest[name] = values[rows:].copy()  # a view would keep all values in memory
        self._count -= rows
        self._held = [rest] * bool(self._count)


def _coded(codes: dict[str, int], names: Iterable[str]) -> Ints:
    """The number of each name, [N]; new ones are added to those known."""
    return np.array([codes.setdefault(name, len(codes)) for name in names])


def _is_forecast(path: Path) -> bool:
    if is_remote(path):
        return b"trajflow_forecast" in read_remote(path / "zarr.json", MAX_BYTES)
    try:
        return "trajflow_forecast" in zarr.open_group(str(path), mode="r").attrs
    except (FileNotFoundError, zarr.errors.GroupNotFoundError):
        return False
