"""Rows sorted by trajectory with bounded memory: sorted runs on disk, read back a part at a time.

An external sort: whenever enough rows are held they are sorted by trajectory and written as one
run; a part of the data is later gathered from its slice of every run. Memory holds one run while
writing and one part while reading, whatever the size of the input.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Ints
from trajflow.datasets.claims import Claim

Table = NDArray[np.void]


@contextmanager
def working_folder(beside: Path) -> Iterator[Path]:
    """A folder for temporary files beside a path, gone afterwards whatever happens.

    What a killed process left there is removed.

    Raises:
        DataError: Another process is working for the same path.
    """
    beside = Path(os.path.realpath(beside))
    beside.parent.mkdir(parents=True, exist_ok=True)
    claim = Claim(beside, "spill")
    folder = claim.take()
    try:
        yield folder
    finally:
        claim.release()


def row_type(dims: int) -> np.dtype[np.void]:
    """One observation as it is spilled."""
    return np.dtype(
        [
            ("scene", "<i4"),
            ("track", "<i4"),
            ("time", "<f8"),
            ("position", "<f8", (dims,)),
            ("split", "<i2"),
            ("file", "<i4"),
            ("row", "<i8"),
        ]
    )


def write_rows(path: Path, rows: NDArray[Any], mode: Literal["wb", "ab"] = "wb") -> None:
    """Write the bytes of rows [N]; `tofile` would not say why a disk refuses them."""
    with path.open(mode) as file:
        file.write(np.ascontiguousarray(rows).view(np.uint8).data)


@dataclass(frozen=True)
class Span:
    """Trajectories first to last (included) of a scene; in between only its own are counted."""

    scene: int
    first: int
    last: int


@dataclass
class Spill:
    """Rows on disk in sorted runs.

    Attributes:
        folder: Where the runs lie.
        dims: Coordinates of a position, D.
        hold: Rows held in memory before a run is written.
    """

    folder: Path
    dims: int
    hold: int
    _held: list[Table] = field(default_factory=list)
    _waiting: int = 0
    _runs: list["_Run"] = field(default_factory=list)

    def add(self, rows: Table) -> None:
        """Take rows in any order, [N]."""
        self._held.append(rows)
        self._waiting += len(rows)
        if self._waiting >= self.hold:
            self.flush()

    def flush(self) -> None:
        """Write what is held as one sorted run."""
        if self._waiting:
            rows = np.concatenate(self._held)
            self._held, self._waiting = [], 0
            path = self.folder / f"run-{len(self._runs)}"
            self._runs.append(_Run.write(path, rows[np.argsort(_keys(rows), kind="stable")]))

    def read(self, spans: list[Span]) -> Table:
        """All rows of some trajectories, [N], grouped by run, not sorted."""
        pieces = [run.read(span, self.dims) for span in spans for run in self._runs]
        return np.concatenate(pieces)


@dataclass(frozen=True)
class _Run:
    path: Path
    keys: Ints
    starts: Ints

    @classmethod
    def write(cls, path: Path, rows: Table) -> "_Run":
        keys = _keys(rows)
        starts = np.flatnonzero(np.concatenate(([True], np.diff(keys) > 0)))
        write_rows(path, rows)
        index = {".keys": keys[starts], ".starts": np.append(starts, len(rows))}
        for suffix, values in index.items():
            write_rows(path.with_suffix(suffix), values)
        return cls(path, *(np.memmap(path.with_suffix(name), np.int64, "r") for name in index))

    def read(self, span: Span, dims: int) -> Table:
        kind = row_type(dims)
        ends = (span.scene << 32 | span.first, (span.scene << 32 | span.last) + 1)
        first, last = self.starts[np.searchsorted(self.keys, ends)].tolist()
        return np.fromfile(self.path, kind, last - first, offset=first * kind.itemsize)


def _keys(rows: Table) -> Ints:
    return np.asarray(rows["scene"].astype(np.int64) << 32 | rows["track"])
