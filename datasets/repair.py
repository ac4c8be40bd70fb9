"""Copies every trajectory of a damaged store that can be read completely into a new store."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajflow.datasets.checksums import (
    CHECKSUMS,
    MAX_LABEL,
    MAX_PACKED,
    Checksums,
    read_file,
    read_table,
    table_names,
    unpack,
)
from trajflow.datasets.schema import (
    AXES,
    CHUNK,
    GROUP,
    Header,
    Spec,
    TrackBlock,
    find_fault,
    first_rows,
    row_columns,
    trajectory_columns,
)
from trajflow.datasets.store import check_extent, parse_header, read_attributes
from trajflow.datasets.writer import StoreWriter
from trajflow.errors import DataError
from trajflow.types import Bools, Ints

BATCH_ROWS = 500_000  # Rows of a scene that are processed together


@dataclass
class RepairReport:
    """What was saved and what was lost."""

    path: str  # the damaged store
    out: str
    rows: int = 0  # saved
    trajectories: int = 0
    lost_rows: int = 0
    lost_trajectories: int = 0
    # Lost trajectories by scene; "" where the scene is lost too
    lost: dict[str, int] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)  # the damage of each damaged file
    notes: list[str] = field(default_factory=list)  # further remarks for the user

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return dict(vars(self))


def repair_store(
    path: str | PathLike[str], out: str | PathLike[str], *, overwrite: bool = False
) -> RepairReport:
    """Copy every trajectory of a damaged store that can be read completely into a new store.

    A trajectory is saved if its index entry is intact and all its rows match the checksums of the
    store, or those inside the chunks if the store's are lost. The others are counted. Tables are
    saved if they are intact.

    Args:
        path: The damaged store; it is not changed.
        out: The new store.
        overwrite: Whether to replace an existing store at `out`.

    Raises:
        DataError: Nothing can be saved, or the new store cannot be written.
    """
    folder = Path(path)
    header = parse_header(folder, read_attributes(folder))
    report = RepairReport(str(path), str(out))
    names = {f.relative_to(folder).as_posix(): f.lstat().st_size for f in folder.rglob("*")}
    check_extent(folder, header, sum(names.values()))
    files = _Files(folder, _checksums(folder, report), report.faults)
    intact = files.checksums.files if files.checksums else names
    index = _read_index(files, header, any(name.startswith("label_") for name in intact))
    lost: Counter[str] = Counter()
    writer = StoreWriter(
        out,
        dims=int(header.dims),
        dt=header.dt,
        unit=header.unit,
        source=header.source,
        licence=header.licence,
        inputs=header.inputs,
        history=f"trajflow data check {folder.name} --repair; before that: {header.history}",
        overwrite=overwrite,
    )
    with writer:
        scenes: set[str] = set()
        for block, lost_here in _saved_blocks(files, header, index):
            lost.update(lost_here)
            if block is not None:
                writer.append(block)
                scenes.add(block.scene)
                report.rows += len(block.time)
                report.trajectories += len(block.labels)
        report.lost_rows = header.rows - report.rows
        report.lost_trajectories, report.lost = lost.total(), dict(lost)
        if not scenes:
            first = [f"{file} {what}" for file, what in list(report.faults.items())[:3]]
            raise DataError(
                f"nothing of {path} can be saved: {'; '.join(first) or 'no trajectory is intact'}"
            )
        _copy_tables(files, writer, report)
        folds = {n: [s for s in tests if s in scenes] for n, tests in (header.folds or {}).items()}
        writer.folds = {name: tests for name, tests in folds.items() if tests} or None
        centres = {s: point for s, point in (header.centres or {}).items() if s in scenes}
        writer.centres = centres or None
        writer.report = header.report | {"repair": report.to_dict()}
    return report


def _checksums(folder: Path, report: RepairReport) -> Checksums | None:
    try:
        checksums = Checksums.read_from(folder)
    except DataError:
        report.faults[CHECKSUMS] = "is not what was written"
        report.notes.append(
            "the checksums of the files are lost; chunks were checked with those inside them"
        )
        return None
    for name in checksums.files:
        if name.endswith(GROUP):
            try:
                checksums.read(name)
            except DataError:
                report.faults[name] = "is not what was written"
    if GROUP in report.faults:
        report.notes.append(f"{GROUP} was changed; check the names, dt and unit yourself")
    return checksums


def _copy_tables(files: "_Files", writer: StoreWriter, report: RepairReport) -> None:
    for name in table_names(files.checksums) if files.checksums else ():
        try:
            columns = read_table(files.checksums, name) if files.checksums else {}
        except DataError as error:
            report.notes.append(f"the table {name!r} is lost: {error}")
            continue
        writer.append_table(name, {column: list(values) for column, values in columns.items()})


class _Fragment(NamedTuple):
    values: NDArray[Any]  # zero where they are lost, [N]
    intact: Bools  # [N]


@dataclass
class _Files:
    """Reads chunks and collects the faults of damaged files, by path inside the store."""

    folder: Path
    checksums: Checksums | None  # None: lost; chunks are compared with the checksum inside them
    faults: dict[str, str]
    _loaded: dict[str, tuple[int, NDArray[Any] | None]] = field(default_factory=dict)

    def read(self, name: str, spec: Spec, first: int, last: int) -> _Fragment:
        """Rows of an array, [N], from `first` to before `last`."""
        values, intact = np.zeros(last - first, spec.dtype), np.zeros(last - first, np.bool_)
        for index in range(first // CHUNK, -(-last // CHUNK)):
            if self._loaded.get(name, (-1, None))[0] != index:
                self._loaded[name] = index, self._chunk(f"{name}/c/{index}", spec)
            chunk = self._loaded[name][1]
            low, high = max(first, index * CHUNK), min(last, (index + 1) * CHUNK)
            if chunk is not None:
                values[low - first : high - first] = chunk[low - index * CHUNK :][: high - low]
                intact[low - first : high - first] = True
        return _Fragment(values, intact)

    def _chunk(self, file: str, spec: Spec) -> NDArray[Any] | None:
        try:
            if self.checksums is not None:
                return unpack(self.checksums.read(file, most=MAX_PACKED), spec)
            raw = read_file(self.folder / file, most=MAX_PACKED)
            if len(raw) < 5 or not raw[4] & 4:  # the flag of a zstd frame with a checksum
                raise ValueError("has no checksum")
            return unpack(raw, spec)
        except (DataError, ValueError) as error:
            why = str(error).removeprefix(f"damaged store: {self.folder / file} ")
            self.faults.setdefault(file, why.partition(";")[0])
            return None


@dataclass(frozen=True)
class _Index:
    """The K trajectories of a damaged store, in stored order."""

    ends: Ints  # row after the last of each, [K]
    rowsize: Ints
    scene: Ints
    kind: Ints
    in_scene: Bools  # whether the scene is intact, [K]
    labels: list[int | str]  # "" if lost
    intact: Bools  # whether the whole entry is, [K]


def _read_index(files: _Files, header: Header, has_text: bool) -> _Index:
    """Read the intact parts of the index; sizes and ends of trajectories complete each other."""
    count = header.trajectories
    specs = trajectory_columns(has_text)
    text_spec = specs.pop("label_bytes", None)
    result = {name: files.read(name, spec, 0, count) for name, spec in specs.items()}
    ends, intact = _ends(result["rowsize"], result["episode_ends"])
    rowsize = ends - np.concatenate(([0], ends[:-1]))
    has_rows = (
        intact & np.concatenate(([True], intact[:-1])) & (rowsize > 0) & (ends <= header.rows)
    )
    scene, kind = result["scene"], result["agent_type"]
    in_scene = scene.intact & (scene.values >= 0) & (scene.values < len(header.scenes))
    of_kind = kind.intact & (kind.values >= 0) & (kind.values < len(header.types))
    labels: list[int | str]
    if text_spec is None:
        labels, named = result["trajectory_id"].values.tolist(), result["trajectory_id"].intact
    else:
        labels, named = _labels(files, result["label_size"], text_spec)
    intact = has_rows & in_scene & of_kind & named
    return _Index(ends, rowsize, scene.values, kind.values, in_scene, labels, intact)


def _ends(sizes: _Fragment, ends: _Fragment) -> tuple[Ints, Bools]:
    """Row after each trajectory, and whether it is intact, [K] both, from either array."""
    values, intact = ends.values.copy(), ends.intact.copy()
    for first in range(0, len(values), CHUNK):
        part = slice(first, first + CHUNK)
        has_start = not first or intact[first - 1]
        if not intact[first] and sizes.intact[first] and has_start:
            start = values[first - 1] if first else 0
            values[part] = start + np.cumsum(sizes.values[part])
            intact[part] = True
    return values, intact


def _labels(files: _Files, sizes: _Fragment, spec: Spec) -> tuple[list[int | str], Bools]:
    """K labels, and whether each is intact, [K]; a lost size shifts all that follow."""
    valid = sizes.intact & (sizes.values >= 0) & (sizes.values <= MAX_LABEL)
    placed = np.logical_and.accumulate(valid)
    ends = np.cumsum(np.where(placed, sizes.values, 0))
    text = files.read("label_bytes", spec, 0, int(ends[-1]))
    raw = text.values.tobytes()
    labels: list[int | str] = []
    named = np.zeros(len(placed), np.bool_)
    for number, (end, size) in enumerate(zip(ends.tolist(), sizes.values.tolist(), strict=True)):
        named[number] = placed[number] and text.intact[end - size : end].all()
        labels.append(raw[end - size : end].decode("utf-8", "replace") if named[number] else "")
    return labels, named


def _saved_blocks(
    files: _Files, header: Header, index: _Index
) -> Iterator[tuple[TrackBlock | None, Counter[str]]]:
    """Blocks of intact trajectories, and how many of each scene are lost with them."""
    unknown = int((~index.in_scene).sum())
    yield None, Counter({"": unknown} if unknown else {})
    rows = np.where(index.intact, index.rowsize, 0)
    for code, scene in enumerate(header.scenes):
        members = np.flatnonzero(index.in_scene & (index.scene == code))
        part = np.cumsum(rows[members]) // BATCH_ROWS
        for chosen in np.split(members, np.flatnonzero(np.diff(part)) + 1):
            block = _block(files, header, index, chosen[index.intact[chosen]])
            saved = 0 if block is None else len(block.labels)
            yield block, Counter({scene: len(chosen) - saved} if saved < len(chosen) else {})


def _block(files: _Files, header: Header, index: _Index, chosen: Ints) -> TrackBlock | None:
    """The chosen trajectories of one scene that are intact and valid in every row."""
    if not len(chosen):
        return None
    sizes, ends = index.rowsize[chosen], index.ends[chosen]
    spans = list(zip((ends - sizes).tolist(), ends.tolist(), strict=True))
    rows: dict[str, NDArray[Any]] = {}
    valid = np.ones(int(sizes.sum()), np.bool_)
    for name, spec in row_columns(int(header.dims), header.unit).items():
        pieces = [files.read(name, spec, *span) for span in spans]
        rows[name] = np.concatenate([piece.values for piece in pieces])
        valid &= np.concatenate([piece.intact for piece in pieces])
    position = np.stack([rows[axis] for axis in AXES[: int(header.dims)]], 1)
    codes = rows["split"]
    valid &= np.isfinite(position).all(1) & (codes >= 0) & (codes < len(header.splits))
    fit = np.logical_and.reduceat(valid, np.cumsum(sizes) - sizes)
    fit &= _fits_grid(rows["time"], sizes, header.dt)
    if not fit.any():
        return None
    kept = np.repeat(fit, sizes)
    return TrackBlock(
        scene=header.scenes[int(index.scene[chosen[0]])],
        labels=[index.labels[number] for number in chosen[fit]],
        types=[header.types[index.kind[number]] for number in chosen[fit]],
        rowsize=sizes[fit],
        time=rows["time"][kept],
        position=position[kept],
        split=np.array(header.splits, np.str_)[codes[kept]],
    )


def _fits_grid(time: NDArray[Any], sizes: Ints, dt: float) -> Bools:
    if find_fault(time, first_rows(sizes), dt) is None:
        return np.ones(len(sizes), np.bool_)
    tracks = np.split(time, np.cumsum(sizes)[:-1])
    return np.array([find_fault(t, np.arange(len(t)) == 0, dt) is None for t in tracks], np.bool_)
