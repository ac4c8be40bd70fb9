"""Imports files of tracks into a store: DuckDB reads and sorts, then parts are cleaned and written.

Memory holds DuckDB's buffers, one part of the rows and a few numbers per trajectory. Temporary
files lie beside the output and are always removed afterwards.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from trajflow.datasets.cleaning import (
    BETWEEN,
    KEPT,
    REASONS,
    Cleaner,
    Rules,
    decide_rules,
    resample,
    scenes_of,
)
from trajflow.datasets.formats import FORMATS, check_settings, load_reader, read_files
from trajflow.datasets.ingest import Ingest
from trajflow.datasets.motion import MotionSurvey
from trajflow.datasets.output import OutputFolder, disk_errors
from trajflow.datasets.projection import stretch
from trajflow.datasets.report import (
    LONG_GAP,
    QUARANTINE,
    Counts,
    ImportReport,
    compose_report,
    no_usable_rows,
    policies,
    refuse_problems,
    restart_notes,
)
from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.sorting import SortedRows, TrackRows, read_sorted
from trajflow.datasets.sources import ImportOptions, Source, label_of
from trajflow.datasets.store import is_store
from trajflow.datasets.writer import StoreWriter
from trajflow.errors import ConfigError, DataError, DataProblem, did_you_mean
from trajflow.remote import local_copy
from trajflow.types import Bools, Ints
from trajflow.workers import Jobs

MAX_DISTORTION = 5.0  # Percent by which projected lengths may be wrong without a note


@dataclass(frozen=True)
class Progress:
    """Progress of an import."""

    stage: Literal["reading", "surveying", "writing"]  # the current stage
    rows: int  # rows done in this stage
    total: int | None  # rows of this stage; None if unknown


def import_tracks(
    format: str | None,
    path: str | PathLike[str] | Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    options: ImportOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    jobs: Jobs = 1,
    **changes: Any,
) -> ImportReport:
    r"""Read tracks from files into a new store.

    Every input row is written to the store, dropped on purpose and counted, or quarantined with a
    reason in the store's table "quarantine". `report.PROBLEMS` lists the reasons.

    Args:
        format: Name of a format, see `formats.available()`; None detects it from the files.
        path: File or folder to read, or several of one format.
        out: Store to write.
        options: How to read and clean the files.
        overwrite: Whether to replace an existing store at `out`.
        progress: Called after each file or part.
        jobs: How many processes read and sort the files, if there are several, or Dask workers,
            which must see the files and the folder of `out` under the same paths. The store is the
            same.
        **changes: Fields of `options` to replace; None keeps a field.

    Returns:
        Counts, decisions and notes; the same report is stored with the tracks.

    Raises:
        DataError: The files cannot be read in this format, or an option does not fit them.
        DataProblem: The data has a problem that `on_problem` refuses; nothing is written.
        ConfigError: An option, problem or policy is unknown, or a reader of another package is
            to work in several processes.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from trajflow.datasets import import_tracks
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = Path(folder) / "walk.csv"
        ...     _ = table.write_text("id,t,x,y\n7,0.0,1,2\n7,0.4,1.5,2\n")
        ...     report = import_tracks("table", table, Path(folder) / "walk.zarr", unit="m")
        >>> report.rows_kept, report.dt
        (2, 0.4)
    """
    options = _changed(options or ImportOptions(), changes)
    refused = [name for name, policy in policies(options.on_problem).items() if policy == "refuse"]
    _check_numbers(options)
    paths, out = [local_copy(file) for file in _paths(path)], Path(out)
    output = OutputFolder(out, overwrite, is_store)
    if format is not None:
        load_reader(format)
        check_settings(format, options.settings)
    with disk_errors(out), output, closing(Ingest(output.scratch)) as ingest:
        options = replace(options, folder=output.scratch)
        format, source = read_files(ingest.db, format, paths, options)
        names = _names(paths, source.files)
        if jobs != 1 and format not in FORMATS:
            raise ConfigError(
                f"format {format!r} of another package is read in one process; leave out --jobs "
                "and --engine"
            )
        if options.project is None:
            options = replace(options, project=source.unit == "degree")
        if options.project:
            _project(source)
        rows = read_sorted(
            ingest, source, options, jobs, lambda n: progress(Progress("reading", n, None))
        )
        if source.dates:
            source.notes.append(f"time counts from {rows.count_from_midnight()} UTC")
        if not rows.label:
            error = no_usable_rows(ingest, ingest.reasons(), names)
            if ingest.reasons().keys() & set(refused):
                raise DataProblem(f"refused, nothing was written: {error}")
            raise error
        survey = MotionSurvey(len(rows.label), source.dims, source.unit)
        for part in _with_progress(rows, "surveying", progress):
            survey.add(part.track, part.time, part.position)
        rules = decide_rules(survey, rows, source, options)
        if options.project:
            rules.notes += _distortion(survey)
        writer = StoreWriter(
            output,
            dims=source.dims,
            dt=rules.dt,
            unit=rules.unit,
            source=format,
            licence=options.licence,
            inputs=_describe_inputs(names, source.files),
            history=options.history,
        )
        with writer:
            counts, cleaner = Counts(), Cleaner(rules)
            for part in _with_progress(rows, "writing", progress):
                for block in _blocks(part, cleaner, rows, counts):
                    writer.append(block)
            report = replace(
                compose_report(rows, source, options, cleaner, counts),
                source=format,
                path=", ".join(map(str, paths)),
                out=str(out),
            )
            refuse_problems(report, refused)
            if not report.rows_kept:
                hints = restart_notes(ingest, source, rules)
                raise no_usable_rows(ingest, report.quarantined, names, hints)
            for batch in ingest.quarantined(names):
                writer.append_table(QUARANTINE, batch)
            writer.folds = _folds(source.folds, counts.scenes)
            if rows.centres is not None:
                centres = dict(zip(rows.scenes, rows.centres.tolist(), strict=True))
                writer.centres = {scene: tuple(centres[scene]) for scene in counts.scenes}
            writer.report = report.to_dict()
    return report


def _changed(options: ImportOptions, changes: Mapping[str, Any]) -> ImportOptions:
    names = [field.name for field in fields(ImportOptions)]
    for name in changes:
        if name not in names:
            raise ConfigError(did_you_mean("import option", name, names))
    return replace(options, **{name: v for name, v in changes.items() if v is not None})


def _check_numbers(options: ImportOptions) -> None:
    for name in ("dt", "scale", "resample", "max_gap", "speed_limit"):
        value = getattr(options, name)
        unlimited = value == float("inf") and name == "speed_limit"
        if value is not None and not unlimited and not 0 < value < float("inf"):
            raise DataError(f"{name} must be a positive number, got {value}")
    if options.max_gap is not None and options.resample is None:
        raise DataError("max_gap needs a resampling step; give --resample SECONDS with it")


def _project(source: Source) -> None:
    if source.unit != "degree":
        raise DataError(
            f"--project needs degrees, the unit is {source.unit or 'unknown'}; name the columns of "
            "longitude and latitude, --columns x=lon,y=lat --unit degree, or leave out --project"
        )
    source.unit = "m"
    source.notes.append(
        "longitudes and latitudes are projected to metres around the centre of each scene, on a "
        "sphere: lengths differ from WGS84 by at most 0.6 %, and 0.4 % more at 1000 km; "
        "--no-project keeps degrees"
    )


def _distortion(survey: MotionSurvey) -> list[str]:
    """A note about projected recordings that reach so far that lengths are wrong."""
    reach = float(np.nan_to_num(np.abs([survey.low, survey.high])[..., :2]).max(initial=0.0))
    excess = 100 * (stretch(reach) - 1)
    if excess < MAX_DISTORTION:
        return []
    return [
        f"a recording reaches {reach / 1000:.0f} km from its centre, where projected lengths are "
        f"up to {excess:.0f} % too large: import parts of it as recordings of their own "
        "(--scene-column NAME), or keep degrees (--no-project)"
    ]


def _with_progress(
    rows: SortedRows, stage: Literal["surveying", "writing"], progress: Callable[[Progress], None]
) -> Iterator[TrackRows]:
    done, total = 0, int(rows.rows.sum())
    for part in rows.parts():
        yield part
        done += len(part.row)
        progress(Progress(stage, done, total))


def _blocks(
    part: TrackRows, cleaner: Cleaner, rows: SortedRows, counts: Counts
) -> Iterator[TrackBlock]:
    """Clean whole trajectories: quarantine bad rows and yield the others scene by scene."""
    cleaned = cleaner(part)
    bad = cleaned.reason >= 0
    if bad.any():
        rows.quarantine(part.take(bad), [REASONS[code] for code in cleaned.reason[bad]])
    good = cleaned.reason == KEPT
    counts.between += int((cleaned.reason == BETWEEN).sum())
    counts.moved += cleaned.moved
    clean = replace(part, position=cleaned.position).take(good)
    if cleaned.position is not part.position:
        counts.turned_longitudes += int((clean.position[:, 0] != part.position[good, 0]).sum())
    step, starts = cleaned.step[good], cleaned.starts[good]
    if cleaner.rules.max_gap is not None and len(step):
        counts.resampled += len(step)
        wide = np.diff(clean.time) * cleaner.rules.seconds > cleaner.rules.max_gap
        counts.wide_gaps += int((wide & (np.diff(clean.track) == 0) & ~starts[1:]).sum())
        clean, step, starts = resample(clean, starts, cleaner.rules)
    counts.kept += len(step)
    for _, chosen in scenes_of(clean.scene):
        yield _block(clean.take(chosen), step[chosen], starts[chosen], cleaner.rules, rows, counts)


def _block(
    part: TrackRows, step: Ints, starts: Bools, rules: Rules, rows: SortedRows, counts: Counts
) -> TrackBlock:
    begins, number = _pieces(part.track, starts)
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


def _pieces(track: Ints, starts: Bools) -> tuple[Ints, Ints]:
    """First row of each piece of a trajectory, and its number inside the trajectory, from 1."""
    new = np.concatenate(([True], np.diff(track) != 0))
    begins = np.flatnonzero(new | starts)
    trajectory = np.cumsum(new)[begins]
    return begins, np.arange(len(begins)) - np.searchsorted(trajectory, trajectory) + 1


def _label(rows: SortedRows, track: int, number: int) -> int | str:
    """The label in the file, plus "#2", "#3", ... for the pieces after a jump."""
    label = rows.label[track]
    if number == 1:
        return label_of(label)
    name = f"{label}#{number}"
    while rows.has(int(rows.scene[track]), name):
        name += "'"
    return name


def _folds(
    folds: Mapping[str, list[str]], scenes: Mapping[str, None]
) -> dict[str, list[str]] | None:
    result = {name: [s for s in tests if s in scenes] for name, tests in folds.items()}
    return {name: tests for name, tests in result.items() if tests} or None


def _paths(path: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[Path]:
    paths = [path] if isinstance(path, (str, PathLike)) else path
    if not paths:
        raise DataError("no file given; name the files of tracks")
    return [Path(path) for path in dict.fromkeys(map(Path, paths))]


def _names(paths: Sequence[Path], files: list[Path]) -> list[str]:
    """The name of each file relative to the folder that the user gave."""
    folders = [path for path in paths if path.is_dir()]
    inside = ((f, next((p for p in folders if f.is_relative_to(p)), f.parent)) for f in files)
    return [file.relative_to(folder).as_posix() for file, folder in inside]


def _describe_inputs(names: list[str], files: list[Path]) -> list[dict[str, Any]]:
    inputs = []
    for name, file in zip(names, files, strict=True):
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        inputs.append({"name": name, "sha256": digest, "bytes": file.stat().st_size})
    return inputs
