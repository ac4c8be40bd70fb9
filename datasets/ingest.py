"""Reads the rows of files with DuckDB: good ones get codes for their names, bad ones a reason."""

import glob
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

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
    quoted,
    reading,
)
from trajflow.errors import DataError
from trajflow.types import Bools, Floats, Ints

QUARANTINE = "quarantine"  # File of the quarantined rows, for another process
TEXTS = ("reason", "scene", "agent", "text")  # Columns of the quarantine
MAX_TEXTS = 1000  # Unreadable rows that are stored with their text
MAX_RESTARTS = 20  # A file whose time goes back more often is not ordered by time
NO_TYPE, NO_SPLIT = "agent", "all"


@dataclass(frozen=True)
class TimeReversal:
    """A row of a file whose time is before that of the row above it."""

    file: int
    row: int
    same_agent: bool
    before: float
    after: float


class Ingest:
    """The rows of some files in a database: good ones with codes, bad ones in quarantine."""

    def __init__(self, folder: Path, own: Path | None = None) -> None:
        """Keep temporary files in a folder, or in `own` below it where several processes read."""
        self.db = connect()
        self.folder = own or folder
        self.db.execute(f"set temp_directory = {quoted(self.folder / 'spill')}")
        # `read_csv` is given paths as globs, and DuckDB compares the text of paths.
        folders = f"{quoted(folder)}, {quoted(glob.escape(str(folder)))}"
        self.db.execute(f"set allowed_directories = [{folders}]")
        self.rows_read = 0  # of all files, those dropped on purpose included
        self.rows_good = 0
        self.dropped: Counter[str] = Counter()  # rows dropped on purpose, by reason
        self.codes: dict[str, dict[str, int]] = {name: {} for name in ("scene", "type", "split")}
        # Number of each trajectory and type of its first row, by scene and agent
        self.tracks: dict[tuple[int, str], tuple[int, int]] = {}
        self._texts = 0
        self._reversals: list[TimeReversal] = []
        self._agent_changes, self._last = 0, (-1, 0, 0, 0.0)  # last: file, scene, track, time

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs of the rows read, which are in files of `folder`."""
        return {name: v for name, v in vars(self).items() if name not in ("db", "_writer")}

    def close(self) -> None:
        """Close the database, so that its files can be removed."""
        self.db.close()

    def begin(self, source: Source) -> None:
        """Allow no access but to the files, and make the tables of rows."""
        files = ", ".join(quoted(file.resolve()) for file in source.files)
        self.db.execute(f"set allowed_paths = [{files}]")
        self.db.execute("set enable_external_access = false")
        self.db.execute("set lock_configuration = true")
        self.axes = AXES[: source.dims]
        axes = ", ".join(f"{axis} double" for axis in self.axes)
        self._writer = self.db.cursor()
        self._writer.execute(
            f"""create table good (track int, time double, {axes}, split tinyint, file int,
                "row" bigint);
            create table quarantine (reason varchar, scene varchar, agent varchar, text varchar,
                time double, {axes}, file int, "row" bigint)"""
        )

    def conditions(self, source: Source, options: ImportOptions) -> dict[str, str]:
        """SQL conditions that rows must satisfy, by the name under which the others are counted."""
        chosen = {}
        if options.types:
            chosen["other types"] = f"type in ({', '.join(map(quoted, options.types))})"
        if options.where:
            check_expression(self.db, options.where)
            rows = _clean_names(source.selects[0])
            columns = [name for name, *_ in self.fetch(f"describe {rows}")]
            names = [name for name in columns if name not in ("row", "fault", "text")]
            try:
                self.db.execute(f"select 1 from ({rows}) where ({options.where}\n) limit 0")
            except duckdb.Error as error:
                raise DataError(
                    f"--where {options.where!r} cannot be used: {str(error).splitlines()[0]}; the "
                    f"columns are {', '.join(names)}, and those of a table that it names"
                ) from None
            chosen["by --where"] = f"({options.where}\n)"
        return chosen

    def read(
        self, source: Source, options: ImportOptions, chosen: Mapping[str, str], first: int = 0
    ) -> Iterator[int]:
        """Read files that are numbered from `first`; yields the number of rows so far."""
        for index, (select, file) in enumerate(zip(source.selects, source.files, strict=True)):
            with reading(file, options.where):
                query = self._with_reason(select, source, chosen, bool(options.project))
                for batch in self.db.sql(query).to_arrow_reader(BATCH):
                    self._add_batch(batch, first + index)
                    yield self.rows_read

    def finish(self, source: Source, types: Sequence[str]) -> None:
        """Refuse files without rows, and types that do not occur; drop copies of files."""
        if not self.rows_read:
            raise DataError(f"no rows in {source.files[0]} or the files beside it; are they empty?")
        if missing := [name for name in types if name not in self.codes["type"]]:
            names: set[str] = set()
            for select in source.selects:
                rows = self.fetch(f"select distinct type from ({_clean_names(select)}) limit 20")
                names.update(name for (name,) in rows)
            raise DataError(
                f"--types: no agent is of type {missing[0]!r}; the types are "
                f"{', '.join(sorted(names)[:20])}"
            )
        for (name,) in self.fetch("select table_name from duckdb_tables()"):
            if "/" in name:  # A copy of a Parquet file
                self._writer.execute(f'drop table "{name}"')

    def merge(self, other: "Ingest") -> Ints:
        """Add what another process has read, except its good rows; they follow those so far.

        Returns:
            The number here of each of its trajectories, [K].
        """
        self.rows_read += other.rows_read
        self.rows_good += other.rows_good
        self.dropped.update(other.dropped)
        self._agent_changes += other._agent_changes
        self._reversals = [*self._reversals, *other._reversals][:MAX_TEXTS]
        code = {
            name: self._code(name, pa.array(list(numbers), pa.string()))
            for name, numbers in other.codes.items()
        }
        scene = code["scene"][[scene for scene, _ in other.tracks]]
        kind = code["type"][[kind for _, kind in other.tracks.values()]]
        agents = pa.array([agent for _, agent in other.tracks], pa.string())
        track, _ = self._track(scene, kind, agents)
        with (other.folder / QUARANTINE).open("rb") as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                texts = {name: columns.pop(name).to_pylist() for name in TEXTS}
                self.add_quarantined(texts, columns)
        return track

    def _with_reason(
        self, select: str, source: Source, chosen: Mapping[str, str], project: bool
    ) -> str:
        """SQL: rows with the reason why each is rejected, or NULL; ":" marks intended drops."""
        select = _clean_names(select) if chosen else select
        unread = " or ".join(f"{name} is null" for name in ("time", *self.axes))
        dropped = [f"when {condition} then ':{why}'" for why, condition in source.dropped.items()]
        beyond = "when abs(y) > 90 or abs(x) > 540 then 'filler'" if project else ""
        others = [f"when not coalesce({c}, false) then ':{why}'" for why, c in chosen.items()]
        axes = ", ".join(f"{axis}::double as {axis}" for axis in self.axes)
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
        self.rows_good += len(batch)
        if len(batch):
            time = batch.column("time").to_numpy()
            self._note_reversals(code["scene"], track, time, batch.column("row"), file)
            columns = {
                "track": track.astype(np.int32),
                "time": batch.column("time"),
                **{axis: batch.column(axis) for axis in self.axes},
                "split": code["split"].astype(np.int8),
                "file": np.full(len(batch), file, np.int32),
                "row": batch.column("row"),
            }
            self._insert("good", pa.table(columns))

    def _code(self, name: str, column: pa.Array) -> Ints:
        """The code of each name in a column, [N]; -1 where it is no valid name."""
        values = column.dictionary_encode()
        missing = {"type": NO_TYPE, "split": NO_SPLIT}.get(name, "")
        numbers = self.codes[name]
        code = []
        for text in values.dictionary.to_pylist():
            label = clean_label(text) or missing
            code.append(numbers.setdefault(label, len(numbers)) if is_name(label) else -1)
        if name == "split" and len(numbers) > MAX_SPLITS:
            raise DataError(
                f"the column of splits has more than {MAX_SPLITS} names, such as "
                f"{list(numbers)[-1]!r}; it is no split: choose another column, or none"
            )
        codes: Ints = np.array(code, np.int64)[values.indices.to_numpy()]
        return codes

    def _track(self, scene: Ints, kind: Ints, agent: pa.Array) -> tuple[Ints, Bools]:
        """The trajectory of each row, by order of appearance, and whether it has a name, [N]."""
        agents = agent.dictionary_encode()
        labels = [clean_label(text) for text in agents.dictionary.to_pylist()]
        named = np.array([is_name(label) for label in labels], np.bool_)
        agent_code = agents.indices.to_numpy()
        complete = named[agent_code] & (scene >= 0) & (kind >= 0)
        pairs = pa.array((scene + 1) * (len(labels) + 1) + agent_code).dictionary_encode()
        index, keys = pairs.indices.to_numpy(), pairs.dictionary.to_numpy()
        first = np.empty(len(keys), np.int64)
        first[index[::-1]] = np.arange(len(index))[::-1]
        numbers = np.full(len(keys), -1)
        for pair in np.flatnonzero(complete[first]).tolist():
            row = first[pair]
            key = int(scene[row]), labels[agent_code[row]]
            numbers[pair], _ = self.tracks.setdefault(key, (len(self.tracks), int(kind[row])))
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
        sorted_by_agent = self._agent_changes < 2 * len(self.tracks)
        few = len(large) <= MAX_RESTARTS and self._agent_changes >= 10 * len(large)
        if few and not sorted_by_agent:
            return large
        of_one_agent = sum(r.same_agent for r in self._reversals)
        if MAX_RESTARTS * of_one_agent > self.rows_good:
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
        values = {name: batch.column(name) for name in ("time", *self.axes)}
        origins = {"file": np.full(len(batch), file, np.int32), "row": batch.column("row")}
        reasons = [reasons[index] for index in bad]
        self.add_quarantined({"reason": reasons, **names, "text": texts}, values | origins)

    def add_quarantined(self, texts: dict[str, list[str]], values: dict[str, Any]) -> None:
        """Quarantine rows: columns of texts, and their times, coordinates, files and rows."""
        for index, text in enumerate(texts["text"]):
            self._texts += bool(text)
            texts["text"][index] = text if self._texts <= MAX_TEXTS else ""
        columns = {name: pa.array(column, pa.string()) for name, column in texts.items()}
        self._insert("quarantine", pa.table(columns | values))

    def _insert(self, table: str, rows: pa.Table) -> None:
        self._writer.register("batch", rows)
        self._writer.execute(f"insert into {table} from batch")
        self._writer.unregister("batch")

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
