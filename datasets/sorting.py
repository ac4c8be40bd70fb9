"""Sorts the rows of an import by trajectory and time, and yields them part by part.

Memory holds DuckDB's buffers, one part of the sorted rows and a few numbers per trajectory,
whatever the size of the input. With several processes, each reads some of the files and sorts
their rows in a file of its own; the parts merge these runs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from socket import gethostname
from tempfile import mkdtemp

import numpy as np
import pyarrow as pa

from trajflow.datasets.ingest import QUARANTINE, Ingest
from trajflow.datasets.projection import project, unproject
from trajflow.datasets.sources import (
    BATCH,
    ImportOptions,
    Source,
    label_key,
    natural,
    storage_errors,
)
from trajflow.errors import DataError
from trajflow.types import Bools, Floats, Ints
from trajflow.workers import Jobs, in_order

SORTED = "sorted"  # File of a sorted run
RUN_BATCH = 1 << 14  # Rows of a sorted run that are held while it is merged
MAX_RUNS = 64  # All of them may be open at once


@dataclass(frozen=True)
class TrackRows:
    """N rows of whole trajectories, sorted by scene, agent and time."""

    track: Ints  # number of the trajectory of each row, [N]
    scene: Ints  # code of the scene of each row, [N]
    time: Floats  # seconds, or frames before they are scaled, [N]
    position: Floats  # coordinates as the file has them, [N, D]
    split: Ints  # code of the split each row belongs to, [N]
    file: Ints  # file and row number that each row was read from, [N]
    row: Ints

    def take(self, chosen: Bools | Ints | slice) -> "TrackRows":
        """The chosen rows: a mask [N], their numbers or a slice."""
        return replace(self, **{f.name: getattr(self, f.name)[chosen] for f in fields(self)})


@dataclass(frozen=True)
class SortedRun:
    """A file of the good rows that one process has read, sorted by trajectory and time."""

    ingest: Ingest
    track: Ints  # number in the whole import of each of its trajectories, [K]
    rows: Ints  # rows of each, [K]
    earliest: float | None  # the first time
    vectors: Floats  # sum of the unit vectors of each trajectory, if projected, [K, 3]


class SortedRows:
    """The good rows of an import, sorted by scene, label of the agent and time."""

    def __init__(
        self, ingest: Ingest, order: Ints, runs: list[SortedRun], options: ImportOptions
    ) -> None:
        """Number the trajectories of `ingest`, which has merged the runs, in this order."""
        self.ingest = ingest
        self.origin = 0.0  # subtracted from all times: 0, or the first midnight of dates
        self.types, self.splits = list(ingest.codes["type"]), list(ingest.codes["split"])
        tracks, scenes = list(ingest.tracks), list(ingest.codes["scene"])
        self.label = [tracks[i][1] for i in order]  # the source's id of each agent, K of them
        code = np.array([scene for scene, _ in tracks], np.int64)[order]
        new = np.diff(code, prepend=-1) != 0
        self.scenes = [scenes[i] for i in code[new]]
        # Codes of the scene and of the type in the first row, and rows of each trajectory, [K]
        self.scene = np.cumsum(new) - 1
        self.kind = np.array([kind for _, kind in ingest.tracks.values()], np.int64)[order]
        self.rows = np.zeros(len(order), np.int64)
        rank = np.argsort(order)
        self._runs = [replace(run, track=rank[run.track]) for run in runs]
        vectors = np.zeros((len(order), 3))
        for run in self._runs:
            self.rows[run.track] += run.rows
            vectors[run.track] += run.vectors
        self._sizes = _part_sizes(self.scene, self.rows, options.part_rows)
        self.centres: Floats | None = None  # longitude, latitude of each projected scene, [S, 2]
        if options.project and self.label:
            x, y, z = (np.bincount(self.scene, column) for column in vectors.T)
            angles = np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))
            # Rounded, so that it does not depend on the order of rows
            self.centres = np.rad2deg(np.stack(angles, 1)).round(3)

    def count_from_midnight(self) -> str:
        """Count times from the midnight before the first, and return that moment as text."""
        firsts = (run.earliest for run in self._runs if run.earliest is not None)
        self.origin = min(firsts, default=0.0) // 86_400.0 * 86_400.0
        return str(np.datetime64(int(self.origin), "s")).replace("T", " ")

    def parts(self) -> Iterator[TrackRows]:
        """Yield whole trajectories, at most `part_rows` rows at once; the same each time.

        A scene that fits stays whole; only a single longer trajectory exceeds the bound.
        """
        part = np.searchsorted(np.cumsum(self._sizes), np.cumsum(self.rows))  # of each trajectory
        runs = []
        for run in self._runs:
            sizes = np.bincount(part[run.track], run.rows, len(self._sizes)).astype(int)
            runs.append(self._read_back(run, sizes.tolist()))
        for pieces in zip(*runs, strict=True):
            rows = _merged(pieces)
            if self.centres is not None:
                position = project(rows.position, self.centres[rows.scene])
                rows = replace(rows, position=position)
            yield rows

    def _read_back(self, run: SortedRun, sizes: list[int]) -> Iterator[TrackRows]:
        """The rows of a run, so many at a time."""
        codes = np.array([self.splits.index(name) for name in run.ingest.codes["split"]], np.int64)
        with (run.ingest.folder / SORTED).open("rb") as file, pa.ipc.open_stream(file) as stream:
            for table in _slices(stream, sizes):
                column = {name: table[name].to_numpy() for name in table.column_names}
                track = run.track[column["track"]]
                yield TrackRows(
                    track=track,
                    scene=self.scene[track],
                    time=column["time"] - self.origin,
                    position=np.stack([column[axis] for axis in self.ingest.axes], 1),
                    split=codes[column["split"]],
                    file=column["file"].astype(np.int64),
                    row=column["row"],
                )

    def times(self, most: int = BATCH) -> Floats:
        """The first `most` times of the scene with most rows, increasing, [N]."""
        largest = int(np.bincount(self.scene, self.rows).argmax())
        result = np.empty(0)
        for part in self.parts():
            result = np.unique(np.append(result, part.time[part.scene == largest]))[:most]
        return result

    def has(self, scene: int, label: str) -> bool:
        """Whether a scene, by code, has an agent with this label."""
        return (self.ingest.codes["scene"][self.scenes[scene]], label) in self.ingest.tracks

    def quarantine(self, part: TrackRows, reason: list[str]) -> None:
        """Quarantine rows, each with the name of its problem, N of them."""
        texts = {
            "reason": reason,
            "scene": [self.scenes[code] for code in part.scene],
            "agent": [self.label[track] for track in part.track],
            "text": [""] * len(reason),
        }
        position = part.position
        if self.centres is not None:
            position = unproject(position, self.centres[part.scene])
        values = {"time": part.time} | dict(zip(self.ingest.axes, position.T, strict=True))
        self.ingest.add_quarantined(texts, values | {"file": part.file, "row": part.row})


def read_sorted(
    ingest: Ingest,
    source: Source,
    options: ImportOptions,
    jobs: Jobs = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> SortedRows:
    """Read and sort all files; `progress` is called with the number of rows so far.

    Raises:
        DataError: A file cannot be read in its format, there are no rows, the condition `where`
            is invalid, or a type in `types` does not occur.
    """
    ingest.begin(source)
    chosen = ingest.conditions(source, options)
    runs: list[SortedRun] = []
    if jobs == 1 or len(source.files) == 1:
        for count in ingest.read(source, options, chosen):
            progress(count)
    else:
        work = partial(_read_run, ingest.folder, options, chosen)
        shares = _shares(source, 4 * jobs if isinstance(jobs, int) else MAX_RUNS)
        with closing(in_order(work, shares, jobs)) as results:
            for run in results:
                if isinstance(run, DataError):
                    raise run
                runs.append(replace(run, track=ingest.merge(run.ingest)))
                progress(ingest.rows_read)
    ingest.finish(source, options.types)
    order = _order(ingest)
    if not runs:
        runs.append(_sort(ingest, order, bool(options.project)))
    return SortedRows(ingest, order, runs, options)


def _read_run(
    folder: Path, options: ImportOptions, chosen: Mapping[str, str], share: tuple[int, Source]
) -> SortedRun | DataError:
    """Read and sort a share of the files in a process of its own; an error is for the first one."""
    first, source = share
    if not folder.exists():
        return DataError(
            f"{folder} is not there on {gethostname()}: all workers need the files and the folder "
            "of the output under the same paths"
        )
    with closing(Ingest(folder, Path(mkdtemp(dir=folder)))) as ingest:
        try:
            for load in source.loads:
                load(ingest.db)
            ingest.begin(source)
            for _ in ingest.read(source, options, chosen, first):
                pass
            run = _sort(ingest, _order(ingest), bool(options.project))
            with storage_errors():
                rows = ingest.db.sql("from quarantine").to_arrow_reader(RUN_BATCH)
                _write(ingest.folder / QUARANTINE, rows)
        except DataError as error:
            return error
    return run


def _order(ingest: Ingest) -> Ints:
    """Trajectories by scene and label, so that the order of rows in files has no effect, [K]."""
    scenes = [(natural(name), name) for name in ingest.codes["scene"]]
    keys = [(scenes[scene], label_key(agent), agent) for scene, agent in ingest.tracks]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)


def _sort(ingest: Ingest, order: Ints, project: bool) -> SortedRun:
    """Sort the good rows into a file, trajectories in this order, and delete them unsorted."""
    rows, vectors = np.zeros(len(order), np.int64), np.zeros((len(order), 3))
    earliest = ingest.fetch("select min(time) from good")[0][0]
    lon, lat = ("radians(x)", "radians(y)") if project else (0, 0)
    for track, count, *vector in ingest.fetch(
        f"""select track, count(*), sum(cos({lat}) * cos({lon})), sum(cos({lat}) * sin({lon})),
            sum(sin({lat})) from good group by track"""
    ):
        rows[track], vectors[track] = count, vector
    numbers = np.arange(len(order))
    ingest.db.register("numbers", pa.table({"track": numbers, "number": np.argsort(order)}))
    with storage_errors():
        result = ingest.db.sql(
            f"""select track, time, {", ".join(ingest.axes)}, split, file, "row"
            from good join numbers using (track) order by number, time, file, "row" """
        )
        _write(ingest.folder / SORTED, result.to_arrow_reader(RUN_BATCH))
    ingest.db.execute("drop table good")
    return SortedRun(ingest, numbers, rows, earliest, vectors)


def _shares(source: Source, most: int) -> list[tuple[int, Source]]:
    """At most `most` shares of the files, similar in bytes, with the number of their first file."""
    sizes = np.array([file.stat().st_size + 1 for file in source.files])
    share = (np.cumsum(sizes) - sizes / 2) * min(most, MAX_RUNS) // sizes.sum()
    begins = np.flatnonzero(np.diff(share, prepend=-1)).tolist()
    shares = []
    for begin, end in pairwise([*begins, len(sizes)]):
        lists = {name: getattr(source, name)[begin:end] for name in ("selects", "files", "loads")}
        shares.append((begin, replace(source, **lists)))
    return shares


def _write(path: Path, reader: pa.RecordBatchReader) -> None:
    with path.open("wb") as file, pa.ipc.new_stream(file, reader.schema) as stream:
        for batch in reader:
            stream.write_batch(batch)


def _part_sizes(scene: Ints, rows: Ints, most: int) -> list[int]:
    """The rows of each part, given the scene and the rows of each trajectory, [K]."""
    sizes: list[int] = []
    free = 0
    for scene_rows in np.split(rows, np.flatnonzero(np.diff(scene)) + 1):
        groups = [int(scene_rows.sum())]  # Rows of a scene that fits stay together
        if groups[0] > most:
            groups = [0]
            for count in scene_rows.tolist():
                if groups[-1] and groups[-1] + count > most:
                    groups.append(0)
                groups[-1] += count
        for group in filter(None, groups):
            if group > free:
                sizes.append(0)
                free = most
            sizes[-1] += group
            free -= group
    return sizes


def _slices(reader: pa.RecordBatchReader, sizes: Sequence[int]) -> Iterator[pa.Table]:
    """The next rows of a reader, so many at a time."""
    batches: list[pa.RecordBatch] = []
    for size in sizes:
        while sum(map(len, batches)) < size:
            batches.append(reader.read_next_batch())
        table = pa.Table.from_batches(batches, reader.schema)
        batches = table.slice(size).to_batches()
        yield table.slice(0, size).combine_chunks()


def _merged(pieces: Sequence[TrackRows]) -> TrackRows:
    """The rows of all runs that belong to one part."""
    if len(pieces) == 1:
        return pieces[0]
    names = [field.name for field in fields(TrackRows)]
    rows = TrackRows(**{n: np.concatenate([getattr(p, n) for p in pieces]) for n in names})
    step = np.diff(rows.track)
    if (step < 0).any() or (np.diff(rows.time)[step == 0] < 0).any():
        # Rows of equal time stay in the order of the files: the sort is stable.
        rows = rows.take(np.lexsort((rows.time, rows.track)))
    return rows
