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
from trajflow.io import storing
from trajflow.text import no_formula
from trajflow.types import Floats, Ints

FORMAT = "1.0"
SUFFIXES = (".csv", ".parquet", ".zarr")
ROWS = 4096


def check_target(path: Path, overwrite: bool = False) -> None:
    """Refuse early what could not be written later.

    Raises:
        DataError: The suffix is unknown, the folder is missing, or something is there.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"forecasts go into {', '.join(SUFFIXES)}; got {path.name!r}")
    if not path.parent.is_dir():
        raise DataError(f"no folder {path.parent} for {path.name}; make it first")
    if path.suffix.lower() == ".zarr":
        OutputFolder(path, overwrite, _is_forecast)
    elif path.is_dir() or (path.exists() and not overwrite):
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
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    write = _write_csv if path.suffix.lower() == ".csv" else _write_parquet
    try:
        write(futures, partial, attrs)
        partial.replace(path)
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
        for some in futures:
            _append(group, "samples", some.samples.swapaxes(0, 1), ("sample", "ahead", "axis"))
            if some.weights is not None:
                _append(group, "weight", some.weights.T, ("sample",))
            if some.region is not None:
                _append(group, "centre", some.region.centre, ("ahead", "axis"))
                _append(group, "radius", some.region.radius, ("ahead",))
            if some.ood is not None:
                _append(group, "ood_score", some.ood.ood_score)
                _append(group, "ood_reason", _coded(reasons, some.ood.reasons))
                _append(group, "expected_error", some.ood.expected_error)
            _append(group, "scene", _coded(scenes, some.scene))
            _append(group, "agent", _coded(agents, some.agent))
            _append(group, "step", some.step)
            _append(group, "issued_at", some.seconds(some.step))
        names = {"scenes": list(scenes), "agents": list(agents)}
        names |= {"reasons": list(reasons)} if reasons else {}
        group.attrs.update({"trajflow_forecast": FORMAT, **attrs, **names})
        output.commit()


def _append(
    group: zarr.Group, name: str, values: Floats | Ints, inner: tuple[str, ...] = ()
) -> None:
    """Add values [N, ...] to an array of the group; the first ones make it."""
    if name not in group:
        group.create_array(
            name,
            shape=(0, *values.shape[1:]),
            chunks=(ROWS, *values.shape[1:]),
            dtype=values.dtype,
            compressors=ZstdCodec(level=3, checksum=True),
            dimension_names=("forecast", *inner),
        )
    array = group[name]
    assert isinstance(array, zarr.Array)
    array.append(values)


def _coded(codes: dict[str, int], names: Iterable[str]) -> Ints:
    """The number of each name, [N]; new ones are added to those known."""
    return np.array([codes.setdefault(name, len(codes)) for name in names])


def _is_forecast(path: Path) -> bool:
    try:
        return "trajflow_forecast" in zarr.open_group(str(path), mode="r").attrs
    except (FileNotFoundError, zarr.errors.GroupNotFoundError):
        return False
