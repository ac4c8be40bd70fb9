"""Opens stores of tracks and reads them; `open_store` is where a path becomes a store."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from trajflow.datasets.checksums import (
    Checksums,
    Index,
    check_array,
    damaged,
    read_file,
    read_runs,
    read_table,
    table_names,
)
from trajflow.datasets.schema import (
    AXES,
    CHUNK,
    FORMAT,
    GROUP,
    Header,
    Tracks,
    find_fault,
    row_columns,
    whole_steps,
)
from trajflow.errors import DataError
from trajflow.io import parse_bounded_json
from trajflow.remote import exists, located
from trajflow.text import Described
from trajflow.types import Bools, Floats, Ints

ALWAYS_ALLOWED = 256 * 2**20  # Bytes that any store may unpack to
MAX_RATIO = 500  # Tracks compress about 3 to 1; a higher ratio than this is a bomb
INDEX_COLUMNS = 5
FETCHED = 64  # Files of a remote store in memory while all are compared with their checksums
PIECE = 4 * CHUNK  # Rows that are read at once where rows are chosen by their step


def open_store(path: str | PathLike[str]) -> "Store":
    """Open a store of tracks for reading.

    Raises:
        DataError: There is no store, it has another format, or it is damaged.
    """
    folder = located(path)
    if not exists(folder):
        old = folder.with_name(f"{folder.name}.partial") / "replaced"
        hint = f"; an interrupted overwrite left the old one at {old}" if old.is_dir() else ""
        what = "store" if folder.suffix in ("", ".zarr") else "file or store"
        raise DataError(f"no {what} at {folder}{hint}; import data to make a store")
    read_attributes(folder)
    checksums = Checksums.read_from(folder)
    attrs = parse_bounded_json(checksums.read(GROUP))["attributes"]
    return Store(folder, checksums, parse_header(folder, attrs))


def read_attributes(folder: Path) -> dict[str, Any]:
    """The attributes of a store whose format this version can read.

    Raises:
        DataError: The folder is no store, or has another format.
    """
    attrs = _group_attributes(folder)
    if "trajflow_format" not in attrs:
        raise DataError(f"{folder / GROUP} is not of a store of trajflow; import the data")
    version = str(attrs["trajflow_format"])
    if version.split(".")[0] != FORMAT.split(".")[0]:
        raise DataError(
            f"{folder / GROUP} has format {version}, this trajflow reads {FORMAT}; "
            "update trajflow or import the data again"
        )
    return attrs


def parse_header(folder: Path, attrs: dict[str, Any]) -> Header:
    """Validate the attributes of a store, whether or not they match the checksum."""
    try:
        return Header.model_validate(attrs)
    except (ValidationError, RecursionError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "too deep"
        raise damaged(folder / GROUP, f"has impossible attributes ({why})") from error


def is_store(path: Path) -> bool:
    """Whether a folder is a store of trajflow, damaged or not."""
    try:
        return "trajflow_format" in _group_attributes(path)
    except DataError:
        return False


def _group_attributes(folder: Path) -> dict[str, Any]:
    file = folder / GROUP
    if not file.is_file():
        raise DataError(f"{folder} is not a store of trajflow: it has no {GROUP}; import the data")
    try:
        attrs = parse_bounded_json(read_file(file))["attributes"]
    except (ValueError, KeyError, TypeError):
        attrs = None
    if not isinstance(attrs, dict):
        raise damaged(file, "does not describe a group")
    return attrs


def check_extent(folder: Path, header: Header, packed: int) -> None:
    """Refuse a store that claims far more rows than its files of `packed` bytes can hold.

    A store whose index does not fit into memory is refused too.
    """
    index = 8 * INDEX_COLUMNS * max(header.trajectories, CHUNK)
    claimed = index + (8 * header.dims + 9) * header.rows
    if claimed > ALWAYS_ALLOWED and claimed > MAX_RATIO * packed:
        what = f"claims {claimed:.3g} bytes of numbers in {packed:.3g} bytes of files"
        raise damaged(folder / GROUP, what)
    free = free_memory()
    if free is not None and 2 * index > free:
        raise DataError(
            f"{folder} has {header.trajectories} trajectories, whose index needs "
            f"{2 * index / 2**30:.1f} GiB of memory; {free / 2**30:.1f} are free: "
            "divide it or use a larger machine"
        )


def free_memory() -> int | None:
    """Bytes of available memory, or None if the system does not report it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    result = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(result[0]) if result else None


@dataclass(frozen=True)
class Group:
    """Tracks that are loaded together."""

    scenes: list[str]  # names of the recordings
    # First step, and the step after the last, of the part of a recording that is larger than a
    # group; None: all steps
    steps: tuple[int, int] | None = None


class Store(Described):
    """A store of tracks, opened for reading; rows are loaded on demand.

    Attributes:
        path: The folder.
        header: Its attributes, checked.
        dims: Coordinates of a position, D.
        dt: Seconds per step.
        unit: Unit of the coordinates.
        scenes: Names of the recordings, in stored order.
        splits: Names of the splits that rows belong to, by code.
        types: Names of the agents' types, by code.
        folds: Test scenes of each leave-one-out fold; None where each scene is its own fold.
        rows, trajectories: Number of observations and of (scene, agent) pairs.
        tables: Names of the tables stored beside the tracks.

    Example:
        >>> from trajflow.datasets import open_store
        >>> store = open_store("walk.zarr")  # doctest: +SKIP
        >>> store.tracks(store.scenes[:1]).position.shape  # doctest: +SKIP
        (60, 2)
    """

    def __init__(self, path: Path, checksums: Checksums, header: Header) -> None:
        self.path, self.header = path, header
        self.dims, self.dt, self.unit = int(header.dims), header.dt, header.unit
        self.scenes, self.splits, self.types = header.scenes, header.splits, header.types
        self.folds, self.rows, self.trajectories = header.folds, header.rows, header.trajectories
        self.tables = table_names(checksums)
        self._checksums, self._columns = checksums, row_columns(self.dims, self.unit)
        self._spans: dict[tuple[int, int], tuple[int, int]] = {}
        result = checksums.sizes()
        check_extent(path, header, sum(result.values()))
        self._index = Index.read_from(checksums, header)
        for name in checksums.files:
            if name not in result:
                raise checksums.damaged(name, f"{self._about(name)}is missing")
        for name, spec in self._columns.items():
            check_array(checksums, name, spec, self.rows)

    def _facts(self) -> dict[str, object]:
        return {
            "path": self.path,
            "rows": self.rows,
            "tracks": self.trajectories,
            "recordings": len(self.scenes),
            "dims": self.dims,
            "unit": self.unit,
            "dt": f"{self.dt:g} s",
        }

    @cached_property
    def attrs(self) -> dict[str, Any]:
        """All attributes as stored."""
        return read_attributes(self.path)

    @cached_property
    def scene_rows(self) -> dict[str, int]:
        """Number of observations of each scene."""
        counts = np.bincount(self._index.scene, self._index.rowsize)
        return {name: int(count) for name, count in zip(self.scenes, counts, strict=True)}

    @cached_property
    def agent_splits(self) -> NDArray[np.bool_]:
        """Which splits contain rows of each agent, by number and code, [K, S]; reads one column."""
        present = np.zeros((self.trajectories, len(self.splits)), bool)
        for run in self._pieces([(0, self.rows)]):
            split = self._column("split", [run])
            if split.min() < 0 or split.max() >= len(self.splits):
                raise self._checksums.damaged("split", "contradicts the store's attributes")
            present[self._index.agents([run]), split] = True
        return present

    def fingerprint(self) -> str:
        """A sha256 that two stores share if and only if they hold the same tracks."""
        return self.header.fingerprint()

    def tracks(
        self, scenes: Sequence[str] | None = None, steps: tuple[int, int] | None = None
    ) -> Tracks:
        """Load the trajectories of some scenes, in stored order.

        Args:
            scenes: Names of scenes; None for all. Codes keep their meaning in the whole store.
            steps: Load only rows from the first of these steps up to the second, without it.

        Raises:
            DataError: A scene is unknown, a file is damaged or times do not fit dt.
        """
        runs = self._index.runs(np.flatnonzero(np.isin(self._index.scene, self._codes(scenes))))
        if steps is None:
            return self._tracks(*self._rows(runs))
        pieces = [self._rows([run], steps) for run in self._pieces(runs, steps)]
        columns = list(zip(*(pieces or [self._rows([])]), strict=True))
        del pieces
        # A column's pieces are freed before the next one is joined.
        agent, step, split, position = (np.concatenate(columns.pop(0)) for _ in range(4))
        wrong = (np.diff(agent) == 0) & (np.diff(step) <= 0)
        if wrong.any():
            self._refuse(int(agent[wrong.argmax()]), "its times do not increase")
        return self._tracks(agent, step, split, position)

    def pieces(
        self, scenes: Sequence[str] | None = None, positions: bool = True
    ) -> Iterator[Tracks]:
        """Load some scenes in stored order, a limited number of rows at a time.

        A trajectory may begin in one piece and go on in the next. Positions that are not loaded
        are NaN. Errors are those of `tracks`.
        """
        chosen = np.flatnonzero(np.isin(self._index.scene, self._codes(scenes)))
        for run in self._pieces(self._index.runs(chosen)):
            yield self._tracks(*self._rows([run], positions=positions))

    def _pieces(
        self, runs: list[tuple[int, int]], steps: tuple[int, int] | None = None
    ) -> Iterator[tuple[int, int]]:
        """Runs of at most `PIECE` rows, without those that are known to have none of the steps."""
        for first, last in runs:
            for begin in range(first - first % PIECE, last, PIECE):
                run = max(first, begin), min(last, begin + PIECE)
                low, high = self._spans.get(run, (-np.inf, np.inf))
                if steps is None or (low < steps[1] and high >= steps[0]):
                    yield run

    def _rows(
        self,
        runs: list[tuple[int, int]],
        steps: tuple[int, int] | None = None,
        positions: bool = True,
    ) -> tuple[Ints, Ints, NDArray[np.int8], Floats]:
        """Agent, step, split and position of rows, in stored order."""
        agent, time = self._index.agents(runs), self._column("time", runs)
        fault = find_fault(time, np.diff(agent, prepend=-1) != 0, self.dt)
        if fault is not None:
            self._refuse(int(agent[fault.row]), fault.what)
        step, kept = whole_steps(time, self.dt), None
        if steps is not None:
            self._spans[runs[0]] = int(step.min()), int(step.max())
            kept = (step >= steps[0]) & (step < steps[1])
            if not kept.any():
                # Copies; views would keep all rows in memory.
                runs, agent, step, kept = [], agent[kept], step[kept], None
        split = self._column("split", runs)
        position = np.full((len(split), self.dims), np.nan)
        if positions:
            for axis, name in enumerate(AXES[: self.dims]):
                position[:, axis] = self._column(name, runs)
        valid = (split >= 0) & (split < len(self.splits))
        valid &= np.isfinite(position).all(1) | (not positions)
        if not valid.all():
            self._refuse(int(agent[valid.argmin()]), "a position or a split is impossible")
        if kept is None:
            return agent, step, split, position
        return agent[kept], step[kept], split[kept], position[kept]

    def _tracks(self, agent: Ints, step: Ints, split: NDArray[np.int8], position: Floats) -> Tracks:
        begins = np.diff(agent, prepend=-1) != 0
        agents = agent[begins]
        return Tracks(
            position=position,
            step=step,
            split=split,
            track=np.cumsum(begins) - 1,
            scene=self._index.scene[agents],
            agent=agents,
            kind=self._index.kind[agents],
            scenes=list(self.scenes),
            splits=list(self.splits),
            types=list(self.types),
            dt=self.dt,
        )

    def groups(self, max_rows: int, before: int = 0, after: int = 0) -> Iterator[Group]:
        """All tracks in groups of at most `max_rows` observations.

        A group is consecutive scenes, or part of the steps of a larger one, whose times are read.
        The steps `before` and `after` a part, which are loaded with it, count too; but a part has
        at least as many steps as these.
        """
        for scenes in self.parts(max_rows):
            if sum(self.scene_rows[name] for name in scenes) <= max_rows:
                yield Group(scenes)
            else:
                steps, counts = count_steps(self.pieces(scenes, positions=False))
                for part in divide_steps(steps, counts, max_rows, before, after):
                    yield Group(scenes, part)

    def parts(self, max_rows: int) -> Iterator[list[str]]:
        """Consecutive scenes with at most max_rows observations together, or one larger scene."""
        part: list[str] = []
        total = 0
        for scene, rows in self.scene_rows.items():
            if part and total + rows > max_rows:
                yield part
                part, total = [], 0
            part.append(scene)
            total += rows
        yield part

    def labels(self, agents: Sequence[int] | Ints) -> list[str]:
        """The agents' labels in the imported files, by their numbers in the store, [N]."""
        return self._index.labels(np.asarray(agents, np.int64))

    def scenes_of(self, agents: Sequence[int] | Ints) -> list[str]:
        """Names of the recordings of agents, given by their numbers in the store, [N]."""
        return [self.scenes[code] for code in self._index.scene[np.asarray(agents, np.int64)]]

    def table(self, name: str) -> dict[str, NDArray[Any]]:
        """The columns of a table stored beside the tracks, [N] each.

        Raises:
            DataError: There is no such table or it is damaged.
        """
        if name not in self.tables:
            raise DataError(f"no table {name!r} in {self.path}; it has {self.tables}")
        return read_table(self._checksums, name)

    def summary(self) -> dict[str, Any]:
        """Counts and extents of the content; reads no rows."""
        return self.header.summary()

    def verify(self) -> None:
        """Compare every file with its checksum; a DataError names the first damaged one."""
        names = list(self._checksums.files)
        for first in range(0, len(names), FETCHED):
            self._checksums.fetch(names[first : first + FETCHED])
            for name in names[first : first + FETCHED]:
                self._checksums.read(name, self._about(name))

    def _codes(self, scenes: Sequence[str] | None) -> list[int]:
        if scenes is None:
            return list(range(len(self.scenes)))
        codes = {name: code for code, name in enumerate(self.scenes)}
        for name in scenes:
            if name not in codes:
                near = difflib.get_close_matches(name, codes, 1) or self.scenes[:1]
                raise DataError(f"no scene {name!r} in {self.path}; did you mean {near[0]!r}?")
        return [codes[name] for name in scenes]

    def _column(self, name: str, runs: list[tuple[int, int]]) -> NDArray[Any]:
        return read_runs(self._checksums, name, self._columns[name], runs, self._about)

    def _about(self, file: str) -> str:
        """The scenes with rows in a chunk, for messages."""
        name, _, index = file.partition("/c/")
        if name not in self._columns or not (index.isascii() and index.isdigit()):
            return ""
        first = min(int(index[:12]) * CHUNK, self.rows - 1)
        ends = self._index.ends
        tracks = np.searchsorted(ends, (first, min(first + CHUNK, self.rows) - 1), side="right")
        low, high = (self.scenes[code] for code in self._index.scene[tracks])
        return f"(rows of scene {low!r}) " if low == high else f"(scenes {low!r} to {high!r}) "

    def _refuse(self, number: int, what: str) -> NoReturn:
        scene = self.scenes[self._index.scene[number]]
        raise DataError(
            f"{self.path}, scene {scene!r}, agent {self.labels([number])[0]!r}: {what}; "
            "import the data again with another dt or resampled"
        )


def count_steps(
    pieces: Iterable[Tracks], chosen: Callable[[Tracks], Bools] | None = None
) -> tuple[Ints, Ints]:
    """The distinct steps of the chosen rows of one recording, and how many are at each, [S]."""
    steps = counts = np.zeros(0, np.int64)
    for piece in pieces:
        added = piece.step if chosen is None else piece.step[chosen(piece)]
        steps, which = np.unique(np.concatenate([steps, added]), return_inverse=True)
        weights = np.concatenate([counts, np.ones(len(added))])
        counts = np.bincount(which, weights, len(steps)).astype(np.int64)
    return steps, counts


def divide_steps(
    steps: Ints, counts: Ints, max_rows: int, before: int = 0, after: int = 0
) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of steps [first, last) for `Store.groups`.

    A range has at most `max_rows` rows together with the steps `before` and `after` it; `counts`
    are the rows at each of the recording's distinct steps, [S].
    """
    ends = np.cumsum(counts)
    first, end = int(steps[0]), int(steps[-1]) + 1
    while first < end:
        skipped = np.searchsorted(steps, first - before)
        limit = max_rows + int(ends[skipped - 1] if skipped else 0)
        fitting = int(np.searchsorted(ends, limit, side="right"))
        last = end if fitting == len(steps) else int(steps[fitting]) - after
        last = min(end, max(last, first + max(1, before + after)))
        yield first, last
        first = last
