"""Imports tracks of any size: read and sorted by DuckDB, cleaned part by part, written to a store.

Memory holds what DuckDB is allowed and one part of the rows, plus a few numbers per trajectory;
temporary files lie beside the output and are gone afterwards, whatever happens.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from trajflow.datasets.cleaning import (
    BETWEEN,
    KEPT,
    PROBLEMS,
    REASONS,
    Cleaner,
    Rules,
    decide_rules,
    on_lines,
    policies,
    scenes_of,
)
from trajflow.datasets.ingest import Ingest, Part, ReadOptions, Source, label_of
from trajflow.datasets.motion import MotionSurvey
from trajflow.datasets.readers import check_settings, load_reader, read_files
from trajflow.datasets.report import QUARANTINE, REPLACED, ImportReport, TroubledAgent
from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.store import is_store
from trajflow.datasets.writer import OutputFolder, StoreWriter, room_for
from trajflow.errors import DataError, DataProblem
from trajflow.remote import local_copy
from trajflow.text import safe
from trajflow.types import Bools, Ints

PART_ROWS = 500_000
LONG_GAP = 10
MANY_CONFLICTS = 0.05
MANY_OFF_GRID = 0.1
DEGREES = "coordinates stay in degrees; --project makes them metres around each scene's centre"
WORST_SCENES, WORST_AGENTS = 50, 10


@dataclass(frozen=True)
class Progress:
    """How far an import is.

    Attributes:
        stage: What is being done.
        rows: Rows done in this stage.
        total: Rows to do, or None while that is not known.
    """

    stage: Literal["reading", "surveying", "writing"]
    rows: int
    total: int | None


def import_tracks(
    source: str | None,
    path: str | PathLike[str] | Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    *,
    columns: Mapping[str, str] | None = None,
    dt: float | None = None,
    unit: str | None = None,
    scale: float | None = None,
    dims: int | None = None,
    factors: Mapping[str, float] | None = None,
    project: bool = False,
    where: str = "",
    types: Sequence[str] = (),
    resample: float | None = None,
    max_gap: float | None = None,
    speed_limit: float | None = None,
    on_problem: Mapping[str, str] | str | None = None,
    settings: Mapping[str, str] | None = None,
    licence: str = "",
    history: str = "",
    overwrite: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    part_rows: int = PART_ROWS,
) -> ImportReport:
    """Read tracks from files into a new store.

    Every row of the input is in the store, dropped on purpose and counted, or quarantined with a
    reason in the store's table "quarantine"; the problems and their rules are in cleaning.py.

    Args:
        source: Name of a format, see readers.available(); None: found from the files.
        path: File or folder to read, or several of one format.
        out: Store to write.
        columns: Name in the file of each canonical column ("agent", "x", "y", "time", "frame",
            "z", "scene", "type", "split"), for readers of tables.
        dt: Seconds per step; by default what the format fixes or most rows have.
        unit: Unit of the coordinates; by default what the format or the columns name.
        scale: Metres per unit of the file; positions are multiplied by it.
        dims: Coordinates that are read of a table, 2 or 3; by default z where there is one.
        factors: What an axis of a table, such as {"z": 0.3048} for feet, is multiplied by.
        project: Whether longitudes and latitudes become metres around the centre of each scene;
            the store keeps the centres, so that forecasts come back in degrees.
        where: Condition of the rows that are kept, a DuckDB expression of their columns (scene,
            agent, type, split, time, x, y, z, and those of a table); it reads no file.
        types: Types of agents that are kept; none for all.
        resample: Step of the store in seconds; the place at each whole step lies on the straight
            line between the row before it and the first row after it, never a later one.
        max_gap: Seconds between two rows above which no such line is drawn; by default 2.5 steps,
            or 2.5 times the usual time between rows if that is longer.
        speed_limit: Speed above which a step is a jump, in units per second; inf for no limit; by
            default guessed.
        on_problem: "quarantine" or "refuse", for all problems or by problem.
        settings: Choices that one reader alone knows, such as {"eth-time": "true"} of ethucy or
            {"encoding": "latin-1"} of table.
        licence: Terms of the data, stored with it.
        history: The command that asks for this, stored with the data.
        overwrite: Whether a store at `out` may be replaced.
        progress: Called with how far the import is, after each file or part.
        part_rows: Rows cleaned at once; with DuckDB's own limit it bounds the memory.

    Returns:
        What was found and done; also stored with the tracks.

    Raises:
        DataError: The files cannot be read as what they are said to be.
        DataProblem: There is a problem that `on_problem` refuses; nothing is written.
        ConfigError: A problem or policy is unknown.
    """
    refused = [name for name, policy in policies(on_problem).items() if policy == "refuse"]
    lines = "off-grid" not in (refused if isinstance(on_problem, str) else on_problem or {})
    _check_numbers(dt=dt, scale=scale, resample=resample, max_gap=max_gap, speed_limit=speed_limit)
    if max_gap is not None and resample is None:
        raise DataError("max_gap is that of a resampling; give --resample SECONDS with it")
    paths, out = [local_copy(file) for file in _paths(path)], Path(out)
    output = OutputFolder(out, overwrite, is_store)
    if source is not None:
        load_reader(source)
        check_settings(source, settings or {})
    with room_for(out), output, closing(Ingest(output.scratch)) as rows:
        options = ReadOptions(
            folder=output.scratch,
            columns=dict(columns or {}),
            dt=dt,
            unit=unit,
            scale=scale,
            dims=dims,
            factors=dict(factors or {}),
            project=project,
            where=where,
            types=types,
            settings=dict(settings or {}),
        )
        source, result = read_files(rows.db, source, paths, options)
        names = _names(paths, result.files)
        if project:
            _project(result)
        _take_in(rows, result, options, progress)
        if not rows.label:
            error = _useless(rows, rows.reasons(), names)
            if rows.reasons().keys() & set(refused):
                raise DataProblem(f"refused, nothing was written: {error}")
            raise error
        survey = _survey(rows, result, part_rows, progress)
        grid = None if resample is None else (resample, max_gap)
        rules = decide_rules(survey, rows, result, dt is not None, speed_limit, lines, grid)
        writer = StoreWriter(
            output,
            dims=result.dims,
            dt=rules.dt,
            unit=rules.unit,
            source=source,
            licence=licence,
            inputs=_describe_inputs(names, result.files),
            history=history,
        )
        with writer:
            counts = _Counts()
            cleaner = Cleaner(rules)
            for part in _parts(rows, rows.parts(), "writing", progress):
                for block in _blocks(part, cleaner, rows, counts):
                    writer.append(block)
            report = replace(
                _report(rows, result, cleaner, counts),
                source=source,
                path=", ".join(map(str, paths)),
                out=str(out),
                scale=scale,
                settings=dict(settings or {}),
                max_gap=grid and rules.max_gap,
                projected=project,
                factors=dict(factors or {}),
            )
            _refuse(report, refused)
            if not report.rows_kept:
                hints = _restart_notes(rows, result, rules)
                raise _useless(rows, report.quarantined, names, hints)
            for batch in rows.quarantined(names):
                writer.append_table(QUARANTINE, batch)
            writer.folds = _folds(result.folds, counts.scenes)
            if rows.centres is not None:
                centres = dict(zip(rows.scenes, rows.centres.tolist(), strict=True))
                writer.centres = {scene: tuple(centres[scene]) for scene in counts.scenes}
            writer.report = report.to_dict()
    return report


def _project(source: Source) -> None:
    if source.unit != "degree":
        raise DataError(
            f"only degrees are projected, the unit is {source.unit or 'unknown'}; name the columns "
            "of longitude and latitude, --columns x=lon,y=lat --unit degree, or leave out --project"
        )
    source.unit = "m"
    source.notes.append(
        "longitudes and latitudes are projected to metres around the centre of each scene, on a "
        "sphere: lengths differ from WGS84 by at most 0.6 %, and 0.4 % more at 1000 km"
    )


def _take_in(
    rows: Ingest, source: Source, options: ReadOptions, progress: Callable[[Progress], None]
) -> None:
    for count in rows.read(source, options):
        progress(Progress("reading", count, None))
    if source.dates:
        moment = np.datetime64(int(rows.count_from_midnight()), "s").astype(str).replace("T", " ")
        source.notes.append(f"time counts from {moment} UTC")


def _parts(
    rows: Ingest,
    parts: Iterator[Part],
    stage: Literal["surveying", "writing"],
    progress: Callable[[Progress], None],
) -> Iterator[Part]:
    done, total = 0, int(rows.rows.sum())
    for part in parts:
        yield part
        done += len(part.row)
        progress(Progress(stage, done, total))


def _survey(
    rows: Ingest, source: Source, most: int, progress: Callable[[Progress], None]
) -> MotionSurvey:
    survey = MotionSurvey(len(rows.label), source.dims, source.unit)
    for part in _parts(rows, rows.sorted_parts(most), "surveying", progress):
        survey.add(part.track, part.time, part.position)
    return survey


@dataclass
class _Counts:
    """What was kept so far, and what was not.

    Attributes:
        scenes: Scenes with at least one kept row, in order.
        types, splits: Trajectories of each type and rows of each split, kept.
        steps: Steps of dt between consecutive kept rows.
        gaps: Gaps that no straight line bridges.
        kept, between, replaced, moved, cuts, turned: Rows kept, dropped between steps, replaced
            by places on straight lines, moved in time; tracks cut; rows whose longitude was
            turned by 360 degrees.
    """

    scenes: dict[str, None] = field(default_factory=dict)
    types: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    steps: Counter[int] = field(default_factory=Counter)
    gaps: int = 0
    kept: int = 0
    between: int = 0
    replaced: int = 0
    moved: int = 0
    cuts: int = 0
    turned: int = 0


def _blocks(part: Part, cleaner: Cleaner, rows: Ingest, counts: _Counts) -> Iterator[TrackBlock]:
    """Clean whole trajectories; bad rows go to the quarantine, the others come scene by scene."""
    cleaned = cleaner(part)
    bad = cleaned.reason >= 0
    if bad.any():
        rows.quarantine(part.take(bad), [REASONS[code] for code in cleaned.reason[bad]])
    kept = cleaned.reason == KEPT
    counts.between += int((cleaned.reason == BETWEEN).sum())
    counts.moved += cleaned.moved
    good = replace(part, position=cleaned.position).take(kept)
    if cleaned.position is not part.position:
        counts.turned += int((good.position[:, 0] != part.position[kept, 0]).sum())
    step, cut = cleaned.step[kept], cleaned.cut[kept]
    if cleaner.rules.max_gap is not None and len(step):
        counts.replaced += len(step)
        far = np.diff(good.time) * cleaner.rules.seconds > cleaner.rules.max_gap
        counts.gaps += int((far & (np.diff(good.track) == 0) & ~cut[1:]).sum())
        good, step, cut = on_lines(good, cut, cleaner.rules)
    counts.kept += len(step)
    for _, own in scenes_of(good.scene):
        yield _block(good.take(own), step[own], cut[own], cleaner.rules, rows, counts)


def _block(
    part: Part, step: Ints, cut: Bools, rules: Rules, rows: Ingest, counts: _Counts
) -> TrackBlock:
    begins, number = pieces(part.track, cut)
    tracks = part.track[begins].tolist()
    types = [rows.types[rows.kind[track]] for track in tracks]
    scene = rows.scenes[int(part.scene[0])]
    labels = [_label(rows, t, n) for t, n in zip(tracks, number.tolist(), strict=True)]
    splits = np.bincount(part.split, minlength=len(rows.splits)).tolist()
    counts.cuts += int((number > 1).sum())
    counts.scenes[scene] = None
    counts.types.update(types)
    counts.splits.update({name: n for name, n in zip(rows.splits, splits, strict=True) if n})
    gaps = np.delete(np.diff(step), begins[1:] - 1)
    counts.steps.update(dict(enumerate(np.bincount(np.minimum(gaps, LONG_GAP + 1)).tolist())))
    return TrackBlock(
        scene=scene,
        labels=cast(list[int] | list[str], labels),
        types=types,
        rowsize=np.diff(np.append(begins, len(step))),
        time=np.asarray(step * rules.dt, np.float64),
        position=part.position,
        split=np.array(rows.splits)[part.split] if len(rows.splits) > 1 else rows.splits[0],
    )


def pieces(track: Ints, cut: Bools) -> tuple[Ints, Ints]:
    """Number the pieces of each kept trajectory from 1.

    Args:
        track: Trajectory of each row, sorted by trajectory, [N].
        cut: Rows at which a new piece begins, [N].

    Returns:
        First row of each piece, and its number inside its trajectory.
    """
    new = np.concatenate(([True], np.diff(track) != 0))
    begins = np.flatnonzero(new | cut)
    own = np.cumsum(new)[begins]
    return begins, np.arange(len(begins)) - np.searchsorted(own, own) + 1


def _label(rows: Ingest, track: int, number: int) -> int | str:
    """The source's label; "LABEL#2" for what follows after a jump."""
    label = rows.label[track]
    if number == 1:
        return label_of(label)
    name = f"{label}#{number}"
    while rows.has(int(rows.scene[track]), name):
        name += "'"
    return name


def _report(rows: Ingest, source: Source, cleaner: Cleaner, counts: _Counts) -> ImportReport:
    rules = cleaner.rules
    dropped = {name: count for name, count in rows.dropped.items() if count}
    if counts.between:
        dropped["between steps"] = dropped.get("between steps", 0) + counts.between
    if counts.replaced:
        dropped[REPLACED] = counts.replaced
    clocks = {rows.scenes[code]: shift for code, shift in cleaner.clock.items() if shift}
    steps = {
        (str(n) if n <= LONG_GAP else f">{LONG_GAP}"): c for n, c in sorted(counts.steps.items())
    }
    return ImportReport(
        source="",
        path="",
        out="",
        files=len(source.files),
        rows_read=rows.rows_read,
        rows_kept=counts.kept,
        trajectories=sum(counts.types.values()),
        scenes=len(counts.scenes),
        types=dict(counts.types),
        splits=dict(counts.splits),
        dropped=dropped,
        quarantined=_ordered(rows.reasons()),
        by_scene={
            s: _ordered(result) for (s,), result in rows.worst("scene", WORST_SCENES).items()
        },
        worst_agents=[
            TroubledAgent(scene, agent, result.total(), _ordered(result))
            for (scene, agent), result in rows.worst("scene, agent", WORST_AGENTS).items()
        ],
        cuts=counts.cuts,
        moved=counts.moved,
        steps={name: count for name, count in steps.items() if count},
        clocks=clocks,
        dt=rules.dt,
        dt_from=rules.dt_from,
        unit=rules.unit,
        unit_from=rules.unit_from,
        speed_limit=rules.speed_limit,
        speed_limit_from=rules.speed_limit_from,
        columns=dict(source.columns),
        row_interval=rules.row_interval,
        origin=rows.origin if source.dates else None,
        time_unit=source.time_unit,
        notes=[
            *source.notes,
            *rules.notes,
            *_restart_notes(rows, source, rules),
            *_grid_notes(rows, rules, counts),
            *([DEGREES] if rules.unit == "degree" else ()),
            *_notes(len(clocks), counts.turned),
        ],
    )


def _restart_notes(rows: Ingest, source: Source, rules: Rules) -> list[str]:
    """What a clock that goes back in a file means, and many conflicts without one."""
    conflicts = rows.reasons()["conflict"]
    restarts = rows.restarts(LONG_GAP * (rules.row_interval or 0.0))
    if restarts:
        first = restarts[0]
        back = (first.before - first.after) * rules.seconds
        why = (
            "does summer time end there? Write times in UTC, or with their zone"
            if source.dates and 1800 < back <= 3600
            else "do hours go past midnight? Write them with their dates"
            if not source.dates and 82_800 < back <= 86_400
            else "do several recordings follow one another? Give them a column of scenes "
            "(--columns scene=NAME) or a file each"
        )
        return [
            f"the clock goes back by {back:.6g} s at row {first.row} of "
            f"{source.files[first.file].name}: {why}"
        ]
    if conflicts > MANY_CONFLICTS * rows.rows_read:
        return [
            f"{conflicts} rows have another place of the same agent at the same time: is the clock "
            "coarser than the rows (then give a column of frames: --columns frame=NAME --dt "
            "SECONDS), or do recordings share ids (--columns scene=NAME)?"
        ]
    return []


def _grid_notes(rows: Ingest, rules: Rules, counts: _Counts) -> list[str]:
    off = rows.reasons()["off-grid"]
    if rules.max_gap is None and off > MANY_OFF_GRID * (off + counts.kept):
        return [
            f"{off} of {off + counts.kept} rows lie between steps of {rules.dt:g} s: --resample "
            f"{rules.dt:g}s puts places at whole steps on straight lines between rows"
        ]
    if rules.max_gap is not None and counts.gaps:
        return [f"{counts.gaps} gaps of more than {rules.max_gap:.3g} s are not bridged"]
    return []


def _notes(clocks: int, turned: int) -> list[str]:
    notes = []
    if clocks:
        notes.append(f"the clocks of {clocks} scenes were shifted onto whole steps of dt")
    if turned:
        notes.append(
            f"{turned} longitudes were turned by 360 degrees, so that tracks go on across the "
            "date line and neighbors lie beside each other"
        )
    return notes


def _ordered(reasons: Counter[str]) -> dict[str, int]:
    ordered = {name: reasons[name] for name in PROBLEMS if reasons[name]}
    return ordered | {name: count for name, count in reasons.items() if name not in ordered}


def _refuse(report: ImportReport, refused: list[str]) -> None:
    result = {p: n for p, n in report.quarantined.items() if p in refused}
    if report.cuts and "teleport" in refused:
        result["teleport"] = result.get("teleport", 0) + report.cuts
    counts = ", ".join(f"{name} {count}" for name, count in result.items())
    if result:
        worst = "".join(
            f"; first look at agent {safe(w.agent)} of {safe(w.scene)}"
            for w in report.worst_agents[:1]
        )
        raise DataProblem(
            f"refused, nothing was written: {counts} of {report.rows_read} rows{worst}; "
            "repair the data or accept it with 'quarantine'"
        )


def _useless(
    rows: Ingest, reasons: Mapping[str, int], files: list[str], hints: Sequence[str] = ()
) -> DataError:
    """The error for files of which no row can be used, with the first that cannot be read."""
    why = ", ".join(f"{name} {count}" for name, count in (dict(reasons) | rows.dropped).items())
    first = rows.fetch(
        """select file, "row", text from quarantine where text <> '' order by file, "row" limit 1"""
    )
    shown = "".join(
        f"; row {row} of {files[file]} is {safe(text, 200)!r}; times must be numbers or dates, "
        "coordinates numbers"
        for file, row, text in first
    )
    return DataError(
        f"none of {rows.rows_read} rows can be used: {why or 'all were dropped'}{shown}"
        f"{''.join(f'; {hint}' for hint in hints)}; check "
        "--columns, --dt and --speed-limit"
    )


def _folds(folds: Mapping[str, list[str]], kept: Mapping[str, None]) -> dict[str, list[str]] | None:
    """The folds without scenes of which no row was kept."""
    result = {name: [s for s in tests if s in kept] for name, tests in folds.items()}
    return {name: tests for name, tests in result.items() if tests} or None


def _paths(path: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[Path]:
    paths = [path] if isinstance(path, (str, PathLike)) else path
    if not paths:
        raise DataError("no file is given; name the files of tracks")
    return [Path(path) for path in dict.fromkeys(map(Path, paths))]


def _names(paths: Sequence[Path], files: list[Path]) -> list[str]:
    """The name of each file as seen from the path the user gave."""
    folders = [path for path in paths if path.is_dir()]
    inside = ((f, next((p for p in folders if f.is_relative_to(p)), f.parent)) for f in files)
    return [file.relative_to(folder).as_posix() for file, folder in inside]


def _describe_inputs(names: list[str], files: list[Path]) -> list[dict[str, Any]]:
    described = []
    for name, file in zip(names, files, strict=True):
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        described.append({"name": name, "sha256": digest, "bytes": file.stat().st_size})
    return described


def _check_numbers(**given: float | None) -> None:
    for name, value in given.items():
        endless = value == float("inf") and name == "speed_limit"
        if value is not None and not endless and not 0 < value < float("inf"):
            raise DataError(f"{name} must be a positive number, got {value}")
