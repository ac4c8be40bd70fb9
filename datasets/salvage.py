"""Save what can still be read of a damaged store: every whole trajectory, into a new store."""

from collections import Counter
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from trajflow.datasets.extent import check_extent
from trajflow.datasets.fragments import Fragments
from trajflow.datasets.header import GROUP, Header, parse_header, read_attributes
from trajflow.datasets.salvage_blocks import saved_blocks
from trajflow.datasets.salvage_index import left_index
from trajflow.datasets.seal import SEAL, Seal
from trajflow.datasets.tables import read_table, table_names
from trajflow.datasets.writer import StoreWriter
from trajflow.errors import DataError


@dataclass
class Salvage:
    """What was saved and what was not.

    Attributes:
        path, out: The damaged store and the new one.
        rows, trajectories: Saved ones.
        lost_rows, lost_trajectories: The others.
        lost: Trajectories that were lost, by scene; "" where the scene is not known.
        faults: What is wrong with each damaged file.
        notes: What else there is to know.
    """

    path: str
    out: str
    rows: int = 0
    trajectories: int = 0
    lost_rows: int = 0
    lost_trajectories: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return dict(vars(self))


def salvage(
    path: str | PathLike[str], out: str | PathLike[str], *, overwrite: bool = False
) -> Salvage:
    """Copy every trajectory of a damaged store that can be read whole into a new store.

    A trajectory is kept if its place, scene, type and name are known and each of its rows is proven
    by the seal, or by the checksum of its chunk where the seal is lost; everything else is counted.
    Tables beside the tracks are kept if they are whole.

    Args:
        path: The damaged store; nothing in it is changed.
        out: The new store.
        overwrite: Whether a store at `out` may be replaced.

    Raises:
        DataError: Nothing can be saved, or the new store cannot be written.
    """
    folder = Path(path)
    header = parse_header(folder, read_attributes(folder))
    told = Salvage(str(path), str(out))
    names = {f.relative_to(folder).as_posix(): f.lstat().st_size for f in folder.rglob("*")}
    check_extent(folder / GROUP, header, sum(names.values()))
    fragments = Fragments(folder, _seal(folder, told))
    sealed = fragments.seal.files if fragments.seal else names
    left = left_index(fragments, header, any(name.startswith("label_") for name in sealed))
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
        kept: set[str] = set()
        for block, gone in saved_blocks(fragments, header, left):
            lost.update(gone)
            if block is not None:
                writer.append(block)
                kept.add(block.scene)
                told.rows += len(block.time)
                told.trajectories += len(block.labels)
        told.lost_rows = header.rows - told.rows
        told.lost_trajectories, told.lost = lost.total(), dict(lost)
        told.faults |= fragments.faults
        if not kept:
            raise DataError(f"nothing of {path} can be saved: {_first(told.faults)}")
        _copy_tables(fragments, writer, told)
        writer.folds = _folds(header, kept)
        writer.report = header.report | {"salvage": told.to_dict()}
    return told


def _seal(folder: Path, told: Salvage) -> Seal | None:
    try:
        seal = Seal.of(folder)
    except DataError:
        told.faults[SEAL] = "is not what was written"
        told.notes.append("the seal is lost: chunks were held to the checksums inside them")
        return None
    for name in seal.files:
        if name.endswith(GROUP):
            try:
                seal.read(name)
            except DataError:
                told.faults[name] = "is not what was written"
    if GROUP in told.faults:
        told.notes.append(f"{GROUP} was changed: look at the names, dt and unit yourself")
    return seal


def _copy_tables(fragments: Fragments, writer: StoreWriter, told: Salvage) -> None:
    if fragments.seal is None:
        return
    for name in table_names(fragments.seal):
        try:
            columns = read_table(fragments.seal, name, lambda _: "")
        except DataError as error:
            told.notes.append(f"the table {name!r} is lost: {error}")
            continue
        writer.append_table(name, {column: list(values) for column, values in columns.items()})


def _folds(header: Header, kept: set[str]) -> dict[str, list[str]] | None:
    folds = {name: [s for s in tests if s in kept] for name, tests in (header.folds or {}).items()}
    return {name: tests for name, tests in folds.items() if tests} or None


def _first(faults: dict[str, str]) -> str:
    told = [f"{file} {what}" for file, what in list(faults.items())[:3]]
    return "; ".join(told) or "no trajectory is whole"
