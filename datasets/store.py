"""Read a store of tracks; every byte is checked before it is taken for data."""

import difflib
from collections.abc import Iterator, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Floats, Ints
from trajflow.datasets.chunks import check_array, read_runs
from trajflow.datasets.claims import leftovers
from trajflow.datasets.extent import check_extent
from trajflow.datasets.grid import find_fault, whole_steps
from trajflow.datasets.header import GROUP, Header, read_attributes, read_header
from trajflow.datasets.index import Index
from trajflow.datasets.schema import AXES, CHUNK, row_columns
from trajflow.datasets.seal import Seal, damaged
from trajflow.datasets.tables import read_table, table_names
from trajflow.datasets.tracks import Tracks
from trajflow.errors import DataError


def open_store(path: str | PathLike[str]) -> "Store":
    """Open a store of tracks for reading.

    Raises:
        DataError: There is no store, it has another format, or it is damaged.
    """
    folder = Path(path)
    if not folder.exists():
        left = leftovers(folder, "replaced")
        hint = f"; an interrupted overwrite left the old one at {left[0]}" if left else ""
        raise DataError(f"no store at {folder}{hint}; import data to make one")
    attrs = read_attributes(folder)
    seal = Seal.of(folder)
    return Store(folder, seal, read_header(seal, attrs))


class Store:
    """A store of tracks, opened for reading; rows are loaded only when they are asked for.

    Attributes:
        path: The folder.
        header: Its attributes, checked.
        dims: Coordinates of a position, D.
        dt: Seconds per step.
        unit: Unit of the coordinates.
        scenes: Names of the recordings, in stored order.
        splits: Names of the parts that rows belong to, by code.
        types: Names of the agents' types, by code.
        folds: Test scenes of each leave-one-out fold; None where each scene is its own fold.
        rows, trajectories: Number of observations and of (scene, agent) pairs.
        tables: Names of the tables kept beside the tracks; one without rows is not kept.
    """

    def __init__(self, path: Path, seal: Seal, header: Header) -> None:
        self.path, self.header = path, header
        self.dims, self.dt, self.unit = int(header.dims), header.dt, header.unit
        self.scenes, self.splits, self.types = header.scenes, header.splits, header.types
        self.folds, self.rows, self.trajectories = header.folds, header.rows, header.trajectories
        self.tables = table_names(seal)
        self._seal, self._columns = seal, row_columns(self.dims, self.unit)
        found = seal.sizes()
        check_extent(seal.folder / GROUP, header, sum(found.values()))
        self._index = Index.of(seal, header)
        for name in seal.files:
            if name not in found:
                raise damaged(path / name, f"{self._about(name)}is missing")
        for name, spec in self._columns.items():
            check_array(seal, name, spec, self.rows)

    @cached_property
    def attrs(self) -> dict[str, Any]:
        """All attributes as stored."""
        return read_attributes(self.path)

    @cached_property
    def scene_rows(self) -> dict[str, int]:
        """Number of observations of each scene."""
        counts = np.bincount(self._index.scene, self._index.rowsize)
        return {name: int(count) for name, count in zip(self.scenes, counts, strict=True)}

    def fingerprint(self) -> str:
        """A sha256 that two stores share if and only if they hold the same tracks."""
        return self.header.fingerprint()

    def tracks(self, scenes: Sequence[str] | None = None) -> Tracks:
        """Load the trajectories of some scenes, in stored order.

        Args:
            scenes: Names of scenes; None for all. Codes keep their meaning in the whole store.

        Raises:
            DataError: A scene is unknown, a file is damaged or times do not fit dt.
        """
        index = self._index
        chosen = np.flatnonzero(np.isin(index.scene, self._codes(scenes)))
        runs, track = index.runs(chosen), np.repeat(np.arange(len(chosen)), index.rowsize[chosen])
        time, split = self._column("time", runs), self._column("split", runs)
        self._check_times(time, chosen[track])
        position = np.stack([self._column(axis, runs) for axis in AXES[: self.dims]], 1)
        sane = np.isfinite(position).all(1) & (split >= 0) & (split < len(self.splits))
        if not sane.all():
            self._refuse(int(chosen[track[sane.argmin()]]), "a position or a part is impossible")
        return Tracks(
            position=position,
            step=whole_steps(time, self.dt),
            split=split,
            track=track,
            scene=index.scene[chosen],
            agent=chosen,
            kind=index.kind[chosen],
            scenes=list(self.scenes),
            splits=list(self.splits),
            types=list(self.types),
            dt=self.dt,
        )

    def parts(self, max_rows: int) -> Iterator[list[str]]:
        """Neighbouring scenes of at most max_rows observations together, or one larger scene."""
        part: list[str] = []
        held = 0
        for scene, rows in self.scene_rows.items():
            if part and held + rows > max_rows:
                yield part
                part, held = [], 0
            part.append(scene)
            held += rows
        yield part

    def labels(self, agents: Sequence[int] | Ints) -> list[str]:
        """The source's own ids of agents, given by their numbers in the store, [N]."""
        return self._index.labels(np.asarray(agents, np.int64))

    def scenes_of(self, agents: Sequence[int] | Ints) -> list[str]:
        """Names of the recordings of agents, given by their numbers in the store, [N]."""
        return [self.scenes[code] for code in self._index.scene[np.asarray(agents, np.int64)]]

    def table(self, name: str) -> dict[str, NDArray[Any]]:
        """The columns of a table kept beside the tracks, [N] each.

        Raises:
            DataError: There is no such table or it is damaged.
        """
        if name not in self.tables:
            raise DataError(f"no table {name!r} in {self.path}; it has {self.tables}")
        return read_table(self._seal, name, self._about)

    def summary(self) -> dict[str, Any]:
        """What is in the store, in numbers; reads no rows."""
        return self.header.summary()

    def verify(self) -> None:
        """Read every file of the store and compare it with its seal.

        Raises:
            DataError: With the first file that is damaged.
        """
        for name in self._seal.files:
            self._seal.read(name, self._about(name))

    def _codes(self, scenes: Sequence[str] | None) -> list[int]:
        if scenes is None:
            return list(range(len(self.scenes)))
        known = {name: code for code, name in enumerate(self.scenes)}
        for name in scenes:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1) or self.scenes[:1]
                raise DataError(f"no scene {name!r} in {self.path}; did you mean {near[0]!r}?")
        return [known[name] for name in scenes]

    def _column(self, name: str, runs: list[tuple[int, int]]) -> NDArray[Any]:
        return read_runs(self._seal, name, self._columns[name], runs, self._about)

    def _about(self, file: str) -> str:
        name, _, index = file.partition("/c/")
        if name not in self._columns or not (index.isascii() and index.isdigit()):
            return ""
        first = min(int(index[:12]) * CHUNK, self.rows - 1)
        low, high = (self.scenes[code] for code in self._index.scene_codes(first, first + CHUNK))
        return f"(rows of scene {low!r}) " if low == high else f"(scenes {low!r} to {high!r}) "

    def _check_times(self, time: Floats, agent: Ints) -> None:
        begins = np.diff(agent, prepend=-1) != 0
        fault = find_fault(time, begins, self.dt)
        if fault is not None:
            self._refuse(int(agent[fault.row]), fault.what)

    def _refuse(self, number: int, what: str) -> NoReturn:
        scene = self.scenes[self._index.scene[number]]
        raise DataError(
            f"{self.path}, scene {scene!r}, agent {self.labels([number])[0]!r}: {what}; "
            "import the data again with another dt or resampled"
        )
