"""Reads the rows of an import with DuckDB, sorts them on disk and yields them part by part.

Memory holds DuckDB's buffers, one part of the sorted rows and a few numbers per trajectory,
whatever the size of the input. With several processes, each reads and sorts some of the files,
and the first one merges them.
"""

import glob
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path
from socket import gethostname
from tempfile import mkdtemp
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from trajflow.datasets.projection import project, unproject
from trajflow.datasets.schema import AXES, MAX_SPLITS
from trajflow.datasets.sources import (
    BATCH,
    MAX_NAME,
    ImportOptions,
    Source,
    check_expression,
    clean_label,
    connect,
    is_name,
    label,
    label_key,
    natural,
    quoted,
    reading,
    real,
    storage_errors,
)
from trajflow.errors import DataError
from trajflow.types import Bools, Floats, Ints
from trajflow.workers import Jobs, in_order

SORTED, QUARANTINE = "sorted", "quarantine"  # Files of rows
TEXTS = ("reason", "scene", "agent", "text")  # Columns of the quarantine
RUN_BATCH = 1 << 14  # Rows of a sorted run that are held while it is merged
MAX_RUNS = 64  # All of them may be open at once
MAX_TEXTS = 1000  # Unreadable rows that are stored with their text
MAX_RESTARTS = 20  # A file whose time goes back more often is not ordered by time
NO_TYPE, NO_SPLIT = "agent", "all"


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
class TimeReversal:
    """A row of a file whose time is before that of the row above it."""

    file: int
    row: int
    same_agent: bool
    before: float
    after: float


class Ingest:
    """The rows of one import: good ones sorted by trajectory and time, bad ones in quarantine."""

    def __init__(self, folder: Path, own: Path | None = None) -> None:
        """Keep temporary files in a folder, or in `own` below it where several processes read."""
        self.db = connect()
        self.folder = own or folder
        self.db.execute(f"set temp_directory = {quoted(self.folder / 'spill')}")
        # `read_csv` is given paths as globs, and DuckDB compares the text of paths.
        folders = f"{quoted(folder)}, {quoted(glob.escape(str(folder)))}"
        self.db.execute(f"set allowed_directories = [{folders}]")
        self.rows_read = 0  # of all files, those dropped on purpose included
        self.dropped: Counter[str] = Counter()  # rows dropped on purpose, by reason
        self.scenes: list[str] = []  # names behind the codes, as types and splits
        self.types: list[str] = []
        self.splits: list[str] = []
        self.label: list[str] = []  # the source's id of each trajectory's agent, K of them
        # Codes of the scene and of the type in the first row, and rows of each trajectory, [K]
        self.scene = self.kind = self.rows = np.empty(0, np.int64)
        self.centres: Floats | None = None  # longitude, latitude of each projected scene, [S, 2]
        self.origin = 0.0  # subtracted from all times: 0, or the first midnight of dates
        self._tracks: dict[tuple[int, str], int] = {}
        self._codes: dict[str, dict[str, int]] = {name: {} for name in ("scene", "type", "split")}
        self._track_type: list[int] = []
        self._texts = 0
        self._reversals: list[TimeReversal] = []
        self._agent_changes, self._last = 0, (-1, 0, 0, 0.0)  # last: file, scene, track, time
        self._sizes: list[int] = []  # rows of each part
        # What other processes have read, each with the numbers that its trajectories have here
        self._runs: list[tuple[Ingest, Ints]] = []
        self._earliest: float | None = None  # of the times of such a process
        self._sums = np.zeros((0, 3))  # of the unit vectors of its trajectories, [K, 3]

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs of the rows read, which are in files of `folder`."""
        return {name: v for name, v in vars(self).items() if name not in ("db", "_writer")}

    def close(self) -> None:
        """Close the database, so that its files can be removed."""
        self.db.close()

    def read(self, source: Source, options: ImportOptions, jobs: Jobs = 1) -> Iterator[int]:
        """Read all files; yields the number of rows so far.

        Raises:
            DataError: A file cannot be read in its format, there are no rows, the condition
                `where` is invalid, or a type in `types` does not occur.
        """
        self._begin(source)
        chosen = self._condition(source, options)
        if jobs == 1 or len(source.files) == 1:
            yield from self._read(source, options, chosen, 0)
        else:
            work = partial(_read_run, self.folder, options, chosen)
            shares = _shares(source, 4 * jobs if isinstance(jobs, int) else MAX_RUNS)
            with closing(in_order(work, shares, jobs)) as runs:
                for run in runs:
                    if isinstance(run, DataError):
                        raise run
                    self._merge(run)
                    yield self.rows_read
        if not self.rows_read:
            raise DataError(f"no rows in {source.files[0]} or the files beside it; are they empty?")
        missing = [name for name in options.types if name not in self._codes["type"]]
        if missing:
            self._refuse_types(source, missing)
        for (name,) in self.fetch("select table_name from duckdb_tables()"):
            if "/" in name:  # A copy of a Parquet file, no longer needed
                self._writer.execute(f'drop table "{name}"')
        self._renumber()
        if options.project and self.label:
            self._find_centres()

    def _begin(self, source: Source) -> None:
        """Allow no access but to the files, and make the tables of rows."""
        files = ", ".join(quoted(file.resolve()) for file in source.files)
        self.db.execute(f"set allowed_paths = [{files}]")
        self.db.execute("set enable_external_access = false")
        self.db.execute("set lock_configuration = true")
        self._axes = AXES[: source.dims]
        axes = ", ".join(f"{axis} double" for axis in self._axes)
        self._writer = self.db.cursor()
        self._writer.execute(
            f"""create table good (track int, time double, {axes}, split tinyint, file int,
                "row" bigint);
            create table quarantine (reason varchar, scene varchar, agent varchar, text varchar,
                time double, {axes}, file int, "row" bigint)"""
        )

    def _read(
        self, source: Source, options: ImportOptions, chosen: Mapping[str, str], first: int
    ) -> Iterator[int]:
        """Read files that are numbered from `first`; yields the number of rows so far."""
        for index, (select, file) in enumerate(zip(source.selects, source.files, strict=True)):
            with reading(file, options.where):
                query = self._with_reason(select, source, chosen, bool(options.project))
                for batch in self.db.sql(query).to_arrow_reader(BATCH):
                    self._add_batch(batch, first + index)
                    yield self.rows_read

    def _write_run(self, project: bool) -> None:
        """Write the rows to files for `_merge`: sorted by trajectory and time, and quarantined."""
        self._renumber()
        self._earliest = self.fetch("select min(time) from good")[0][0]
        if project:
            self._sums = self._unit_vectors()
        with storage_errors():
            self._write(SORTED, self._sort(RUN_BATCH))
            self._write(QUARANTINE, self.db.sql("from quarantine").to_arrow_reader(RUN_BATCH))

    def _write(self, name: str, reader: pa.RecordBatchReader) -> None:
        with (
            (self.folder / name).open("wb") as file,
            pa.ipc.new_stream(file, reader.schema) as stream,
        ):
            for batch in reader:
                stream.write_batch(batch)

    def _merge(self, run: "Ingest") -> None:
        """Add the rows of another process, which follow those read so far."""
        self.rows_read += run.rows_read
        self.dropped.update(run.dropped)
        for name, numbers in self._codes.items():
            for text in run._codes[name]:
                numbers.setdefault(text, len(numbers))
        self._check_splits()
        tracks = []
        for scene, agent, kind in zip(
            run.scene.tolist(), run.label, run.kind.tolist(), strict=True
        ):
            key = self._codes["scene"][run.scenes[scene]], agent
            tracks.append(self._tracks.setdefault(key, len(self._tracks)))
            if tracks[-1] == len(self._track_type):
                self._track_type.append(self._codes["type"][run.types[kind]])
        self._runs.append((run, np.array(tracks, np.int64)))
        self._agent_changes += run._agent_changes
        self._reversals = [*self._reversals, *run._reversals][:MAX_TEXTS]
        with (run.folder / QUARANTINE).open("rb") as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                texts = {name: columns.pop(name).to_pylist() for name in TEXTS}
                self._add_quarantined(texts, columns)

    def _condition(self, source: Source, options: ImportOptions) -> dict[str, str]:
        """SQL conditions that rows must satisfy, by the name under which the others are counted."""
        chosen = {}
        if options.types:
            chosen["other types"] = f"type in ({', '.join(map(quoted, options.types))})"
        if options.where:
            check_expression(self.db, options.where)
            rows = _clean_names(source.selects[0])
            columns = self.db.execute(f"describe {rows}").fetchall()
            names = [name for name, *_ in columns if name not in ("row", "fault", "text")]
            try:
                self.db.execute(f"select 1 from ({rows}) where ({options.where}\n) limit 0")
            except duckdb.Error as error:
                raise DataError(
                    f"--where {options.where!r} cannot be used: {str(error).splitlines()[0]}; the "
                    f"columns are {', '.join(names)}, and those of a table that it names"
                ) from None
            chosen["by --where"] = f"({options.where}\n)"
        return chosen

    def _refuse_types(self, source: Source, missing: list[str]) -> None:
        names: set[str] = set()
        for select in source.selects:
            rows = self.db.execute(f"select distinct type from ({_clean_names(select)}) limit 20")
            names.update(name for (name,) in rows.fetchall())
        raise DataError(
            f"--types: no agent is of type {missing[0]!r}; the types are "
            f"{', '.join(sorted(names)[:20])}"
        )

    def _with_reason(
        self, select: str, source: Source, chosen: Mapping[str, str], project: bool
    ) -> str:
        """SQL: rows with the reason why each is rejected, or NULL; ":" marks intended drops."""
        select = _clean_names(select) if chosen else select
        unread = " or ".join(f"{name} is null" for name in ("time", *self._axes))
        dropped = [f"when {condition} then ':{why}'" for why, condition in source.dropped.items()]
        beyond = "when abs(y) > 90 or abs(x) > 540 then 'filler'" if project else ""
        others = [f"when not coalesce({c}, false) then ':{why}'" for why, c in chosen.items()]
        axes = ", ".join(f"{axis}::double as {axis}" for axis in self._axes)
        return f"""select "row"::bigint as "row", scene, agent, type, split, time::double as time,
            {axes}, text, case {" ".join(dropped)} when fault is not null then fault
                when {unread} then 'not-a-number' {beyond} {" ".join(others)} end as reason
            from ({select})"""

    def _add_batch(self, batch: pa.RecordBatch, file: int) -> None:
        self.rows_read += len(batch)
        reason = batch.column("reason")
        if reason.null_count < len(batch):
            self._reject(batch.filter(reason.is_valid()), file)
            batch = batch.filter(reason.is_null())
        code = {name: self._code(name, batch.column(name)) for name in ("scene", "type", "split")}
        track, named = self._track(code["scene"], code["type"], batch.column("agent"))
        named &= (code["type"] >= 0) & (code["split"] >= 0)
        if not named.all():
            batch = batch.append_column("nameless", pa.array(~named))
            self._reject(batch.filter(batch.column("nameless")), file, "no-label")
            batch = batch.filter(pa.array(named))
            track, code = track[named], {name: codes[named] for name, codes in code.items()}
        if len(batch):
            time = batch.column("time").to_numpy()
            self._note_reversals(code["scene"], track, time, batch.column("row"), file)
            columns = {
                "track": track.astype(np.int32),
                "time": batch.column("time"),
                **{axis: batch.column(axis) for axis in self._axes},
                "split": code["split"].astype(np.int8),
                "file": np.full(len(batch), file, np.int32),
                "row": batch.column("row"),
            }
            self._insert("good", pa.table(columns))

    def _code(self, name: str, column: pa.Array) -> Ints:
        """The code of each name in a column, [N]; -1 where it is no valid name."""
        values = column.dictionary_encode()
        missing = {"type": NO_TYPE, "split": NO_SPLIT}.get(name, "")
        numbers = self._codes[name]
        code = []
        for text in values.dictionary.to_pylist():
            label = clean_label(text) or missing
            code.append(numbers.setdefault(label, len(numbers)) if is_name(label) else -1)
        self._check_splits()
        codes: Ints = np.array(code, np.int64)[values.indices.to_numpy()]
        return codes

    def _check_splits(self) -> None:
        if len(names := list(self._codes["split"])) > MAX_SPLITS:
            raise DataError(
                f"the column of splits has more than {MAX_SPLITS} names, such as "
                f"{names[-1]!r}; it is no split: choose another column, or none"
            )

    def _track(self, scene: Ints, kind: Ints, agent: pa.Array) -> tuple[Ints, Bools]:
        """The trajectory of each row, by order of appearance, and whether it has a name, [N]."""
        agents = agent.dictionary_encode()
        labels = [clean_label(text) for text in agents.dictionary.to_pylist()]
        named = np.array([is_name(label) for label in labels], np.bool_)
        agent_code = agents.indices.to_numpy()
        complete = named[agent_code] & (scene >= 0)
        pairs = pa.array((scene + 1) * (len(labels) + 1) + agent_code).dictionary_encode()
        index, keys = pairs.indices.to_numpy(), pairs.dictionary.to_numpy()
        first = np.empty(len(keys), np.int64)
        first[index[::-1]] = np.arange(len(index))[::-1]
        numbers = np.full(len(keys), -1)
        for pair in np.flatnonzero(complete[first] & (kind[first] >= 0)).tolist():
            row = first[pair]
            key = (int(scene[row]), labels[agent_code[row]])
            numbers[pair] = self._tracks.setdefault(key, len(self._tracks))
            if numbers[pair] == len(self._track_type):
                self._track_type.append(int(kind[row]))
        return numbers[index], numbers[index] >= 0

    def _note_reversals(
        self, scene: Ints, track: Ints, time: Floats, row: pa.Array, file: int
    ) -> None:
        """Note where the time of a scene goes back from one row to the next."""
        last_file, last_scene, last_track, last = self._last
        continues = last_file == file
        scenes = np.append(last_scene if continues else scene[0], scene)
        tracks = np.append(last_track if continues else track[0], track)
        times = np.append(last if continues else time[0], time)
        changes = tracks[1:] != tracks[:-1]
        self._agent_changes += int(changes.sum())
        earlier = (times[1:] < times[:-1]) & (scenes[1:] == scenes[:-1])
        back = np.flatnonzero(earlier)[: MAX_TEXTS - len(self._reversals)]
        for index in back.tolist():
            before, after = float(times[index]), float(time[index])
            same_agent = not bool(changes[index])
            self._reversals.append(
                TimeReversal(file, row[index].as_py(), same_agent, before, after)
            )
        self._last = (file, int(scene[-1]), int(track[-1]), float(time[-1]))

    def restarts(self, least: float) -> list[TimeReversal]:
        """Where the time of files ordered by time goes back by at least `least`, in their unit."""
        large = [r for r in self._reversals if r.before - r.after >= least]
        sorted_by_agent = self._agent_changes < 2 * len(self._tracks)
        few = len(large) <= MAX_RESTARTS and self._agent_changes >= 10 * len(large)
        if few and not sorted_by_agent:
            return large
        of_one_agent = sum(r.same_agent for r in self._reversals)
        if MAX_RESTARTS * of_one_agent > int(self.rows.sum()):
            return []
        return [r for r in large if r.same_agent]

    def _reject(self, batch: pa.RecordBatch, file: int, reason: str = "") -> None:
        """Count the rows dropped on purpose; quarantine the others."""
        reasons = [reason] * len(batch) if reason else batch.column("reason").to_pylist()
        self.dropped.update(reason[1:] for reason in reasons if reason.startswith(":"))
        bad = [index for index, reason in enumerate(reasons) if not reason.startswith(":")]
        if not bad:
            return
        batch = batch.take(pa.array(bad))
        texts = [(text or "")[:MAX_NAME] for text in batch.column("text").to_pylist()]
        names = {
            name: [clean_label(text)[:MAX_NAME] for text in batch.column(name).to_pylist()]
            for name in ("scene", "agent")
        }
        values = {name: batch.column(name) for name in ("time", *self._axes)}
        origins = {"file": np.full(len(batch), file, np.int32), "row": batch.column("row")}
        reasons = [reasons[index] for index in bad]
        self._add_quarantined({"reason": reasons, **names, "text": texts}, values | origins)

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
        values = {"time": part.time} | dict(zip(self._axes, position.T, strict=True))
        self._add_quarantined(texts, values | {"file": part.file, "row": part.row})

    def _add_quarantined(self, texts: dict[str, list[str]], values: dict[str, Any]) -> None:
        for index, text in enumerate(texts["text"]):
            self._texts += bool(text)
            texts["text"][index] = text if self._texts <= MAX_TEXTS else ""
        columns = {name: pa.array(column, pa.string()) for name, column in texts.items()}
        self._insert("quarantine", pa.table(columns | values))

    def _insert(self, table: str, rows: pa.Table) -> None:
        self._writer.register("batch", rows)
        self._writer.execute(f"insert into {table} from batch")
        self._writer.unregister("batch")

    def _renumber(self) -> None:
        """Renumber trajectories by scene and label, so the order of rows in files has no effect."""
        scenes = list(self._codes["scene"])
        scene_key = [(natural(name), name) for name in scenes]
        keys = [(scene_key[s], label_key(agent), agent) for s, agent in self._tracks]
        order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
        rank = np.argsort(order)
        tracks = list(self._tracks)
        self.label = [tracks[i][1] for i in order]
        self.scenes = [name for name, _ in groupby(scenes[tracks[i][0]] for i in order)]
        code = {name: number for number, name in enumerate(self.scenes)}
        self.scene = np.array([code[scenes[tracks[i][0]]] for i in order], np.int64)
        self.types, self.splits = list(self._codes["type"]), list(self._codes["split"])
        self.kind = np.array(self._track_type, np.int64)[order]
        counts = dict(self.fetch("select track, count(*) from good group by track"))
        self.rows = np.array([counts.get(track, 0) for track in order.tolist()], np.int64)
        self._writer.execute("create table numbers (track int, number int)")
        self._insert("numbers", pa.table({"track": np.arange(len(rank)), "number": rank}))
        self._runs = [(run, rank[tracks]) for run, tracks in self._runs]
        for run, numbers in self._runs:
            self.rows[numbers] += run.rows

    def _unit_vectors(self) -> Floats:
        """The sum of the unit vectors of the positions of each trajectory, [K, 3]."""
        rows = self.fetch(
            """select number, sum(cos(radians(y)) * cos(radians(x))),
                sum(cos(radians(y)) * sin(radians(x))), sum(sin(radians(y)))
            from good join numbers using (track) group by number order by number"""
        )
        sums = np.zeros((len(self.label), 3))
        for number, *vector in rows:
            sums[number] = vector
        return sums

    def _find_centres(self) -> None:
        """Set the centre of each scene, rounded so that it does not depend on the order of rows."""
        sums = self._unit_vectors()
        for run, numbers in self._runs:
            sums[numbers] += run._sums
        x, y, z = (np.bincount(self.scene, column) for column in sums.T)
        angles = np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))
        self.centres = np.rad2deg(np.stack(angles, 1)).round(3)

    def count_from_midnight(self) -> str:
        """Count times from the midnight before the first, and return that moment as text."""
        firsts = [run._earliest for run, _ in self._runs]
        firsts += [first for (first,) in self.fetch("select min(time) from good")]
        first = min((first for first in firsts if first is not None), default=0.0)
        self.origin = float(first) // 86_400.0 * 86_400.0
        return str(np.datetime64(int(self.origin), "s")).replace("T", " ")

    def _sort(self, batch: int) -> pa.RecordBatchReader:
        """The rows sorted by trajectory and time, in batches."""
        axes = ", ".join(self._axes)
        return self.db.sql(
            f"""select number, time - {real(self.origin)} as time, {axes}, split, file, "row"
            from good join numbers using (track) order by number, time, file, "row" """
        ).to_arrow_reader(batch)

    def sorted_parts(self, most: int) -> Iterator[TrackRows]:
        """Sort all rows and yield whole trajectories, at most `most` rows at once.

        A scene that fits stays whole; only a single longer trajectory exceeds the bound. The parts
        are also written to a file, from which `parts` reads them again; the unsorted rows are then
        deleted.
        """
        self._sizes = self._part_sizes(most)
        if self._runs:
            yield from self.parts()
            return
        with storage_errors(), (self.folder / SORTED).open("wb") as file:
            reader = self._sort(BATCH)
            with pa.ipc.new_stream(file, reader.schema) as stream:
                for table in _slices(reader, self._sizes):
                    stream.write_table(table)
                    yield self._part(table)
        self._writer.execute("drop table good")

    def parts(self) -> Iterator[TrackRows]:
        """Yield the same parts again."""
        if self._runs:
            yield from map(self._part, self._merged())
            return
        with (self.folder / SORTED).open("rb") as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                yield self._part(pa.Table.from_batches([batch]))

    def _merged(self) -> Iterator[pa.Table]:
        """The sorted rows of all processes, one part after the other."""
        part = np.searchsorted(np.cumsum(self._sizes), np.cumsum(self.rows))  # of each trajectory
        streams = []
        for run, numbers in self._runs:
            sizes = np.bincount(part[numbers], run.rows, len(self._sizes)).astype(int)
            streams.append(self._renumbered(run, numbers, sizes.tolist()))
        for tables in zip(*streams, strict=True):
            table = pa.concat_tables(tables)
            number, time = table["number"].to_numpy(), table["time"].to_numpy()
            same = np.diff(number) == 0
            if (np.diff(number) < 0).any() or (np.diff(time)[same] < 0).any():
                # Rows of equal time stay in the order of the files: the sort is stable.
                table = table.take(np.lexsort((time, number)))
            yield table

    def _renumbered(self, run: "Ingest", numbers: Ints, sizes: list[int]) -> Iterator[pa.Table]:
        """The sorted rows of another process, with numbers and times as here."""
        codes = np.array([self._codes["split"][name] for name in run.splits], np.int8)
        with (run.folder / SORTED).open("rb") as file, pa.ipc.open_stream(file) as stream:
            for table in _slices(stream, sizes):
                columns = {name: table[name].to_numpy() for name in table.column_names}
                columns["number"] = numbers[columns["number"]]
                columns["time"] = columns["time"] - self.origin
                columns["split"] = codes[columns["split"]]
                yield pa.table(columns)

    def _part(self, table: pa.Table) -> TrackRows:
        column = {name: table[name].to_numpy() for name in table.column_names}
        track = column["number"].astype(np.int64)
        position = np.stack([column[axis] for axis in self._axes], 1)
        if self.centres is not None:
            position = project(position, self.centres[self.scene[track]])
        return TrackRows(
            track=track,
            scene=self.scene[track],
            time=column["time"],
            position=position,
            split=column["split"].astype(np.int64),
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
        return (self._codes["scene"][self.scenes[scene]], label) in self._tracks

    def _part_sizes(self, most: int) -> list[int]:
        sizes: list[int] = []
        free = 0
        if not self.label:
            return sizes
        for scene_rows in np.split(self.rows, np.flatnonzero(np.diff(self.scene)) + 1):
            for rows in _groups(scene_rows, most):
                if rows > free:
                    sizes.append(0)
                    free = most
                sizes[-1] += rows
                free -= rows
        return sizes

    def quarantined(self, files: list[str]) -> Iterator[dict[str, Any]]:
        """The quarantined rows as columns, in batches; `files` are the names of the files."""
        for batch in self.db.sql("from quarantine").to_arrow_reader(BATCH):
            columns: dict[str, Any] = {}
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if pa.types.is_string(column.type):
                    columns[name] = column.to_pylist()
                else:
                    columns[name] = np.array(column.to_numpy(zero_copy_only=False))
            columns["file"] = [files[index] for index in columns["file"].tolist()]
            yield columns

    def reasons(self) -> Counter[str]:
        """Rows in quarantine by problem."""
        query = "select reason, count(*) from quarantine group by reason order by min(rowid)"
        return Counter(dict(self.fetch(query)))

    def worst(self, by: str, most: int) -> dict[tuple[str, ...], Counter[str]]:
        """Quarantined rows by problem, of the `most` groups of columns `by` with most of them."""
        result = self.fetch(
            f"""with counts as (select {by}, reason, count(*) as n, min(rowid) as earliest
                from quarantine group by all)
            select {by}, reason, n from counts order by sum(n) over (partition by {by}) desc,
            min(earliest) over (partition by {by}), earliest"""
        )
        worst: dict[tuple[str, ...], Counter[str]] = {}
        for *key, reason, count in result:
            if tuple(key) not in worst and len(worst) == most:
                break
            worst.setdefault(tuple(key), Counter())[reason] += count
        return worst

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return self.db.execute(query).fetchall()


def _clean_names(select: str) -> str:
    """SQL: the rows of a reader with names cleaned as in the store."""
    kind = f"coalesce(nullif({label('type')}, ''), '{NO_TYPE}')"
    names = f"{label('scene')} as scene, {label('agent')} as agent, {kind} as type"
    return f"select * replace ({names}) from ({select})"


def _groups(rows: Ints, most: int) -> Iterator[int]:
    if rows.sum() <= most:
        yield int(rows.sum())
        return
    total = 0
    for count in rows.tolist():
        if total and total + count > most:
            yield total
            total = 0
        total += count
    yield total


def _slices(reader: pa.RecordBatchReader, sizes: Sequence[int]) -> Iterator[pa.Table]:
    """The next rows of a reader, so many at a time."""
    batches: list[pa.RecordBatch] = []
    for size in sizes:
        while sum(map(len, batches)) < size:
            batches.append(reader.read_next_batch())
        table = pa.Table.from_batches(batches, reader.schema)
        batches = table.slice(size).to_batches()
        yield table.slice(0, size).combine_chunks()


def _shares(source: Source, most: int) -> list[tuple[int, Source]]:
    """At most `most` shares of the files, similar in bytes, with the number of their first file."""
    sizes = np.array([file.stat().st_size + 1 for file in source.files])
    share = (np.cumsum(sizes) - sizes / 2) * min(most, MAX_RUNS) // sizes.sum()
    begins = np.flatnonzero(np.diff(share, prepend=-1)).tolist()
    return [
        (
            begin,
            replace(
                source,
                selects=source.selects[begin:end],
                files=source.files[begin:end],
                loads=source.loads[begin:end],
            ),
        )
        for begin, end in pairwise([*begins, len(sizes)])
    ]


def _read_run(
    folder: Path, options: ImportOptions, chosen: Mapping[str, str], share: tuple[int, Source]
) -> Ingest | DataError:
    """Read and sort a share of the files in a process of its own; an error is for the first one."""
    first, source = share
    if not folder.exists():
        return DataError(
            f"{folder} is not there on {gethostname()}: all workers need the files and the folder "
            "of the output under the same paths"
        )
    rows = Ingest(folder, Path(mkdtemp(dir=folder)))
    with closing(rows):
        try:
            for load in source.loads:
                load(rows.db)
            rows._begin(source)
            for _ in rows._read(source, options, chosen, first):
                pass
            rows._write_run(bool(options.project))
        except DataError as error:
            return error
    return rows
