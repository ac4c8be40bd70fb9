"""Import tracks of any size: read in chunks, sort on disk, judge every row, write a store.

Memory holds one run of rows while reading and one part while judging, plus a few numbers per
trajectory; temporary files lie beside the output and are gone afterwards, whatever happens.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from trajflow.datasets.header import is_store
from trajflow.datasets.import_report import ImportReport
from trajflow.datasets.inputs import describe_inputs, names_of
from trajflow.datasets.passes import Limits, Passes, Progress
from trajflow.datasets.placing import Placing
from trajflow.datasets.problems import policies
from trajflow.datasets.quality import Judge
from trajflow.datasets.reading import ReadOptions
from trajflow.datasets.reporting import report_on
from trajflow.datasets.room import room_for
from trajflow.datasets.settling import Settled, settle
from trajflow.datasets.sifting import Sift
from trajflow.datasets.sources import check_settings
from trajflow.datasets.sources import load as load_source
from trajflow.datasets.spill import working_folder
from trajflow.datasets.writer import StoreWriter
from trajflow.errors import DataError, DataProblem
from trajflow.text import safe


def import_tracks(
    source: str,
    path: str | PathLike[str],
    out: str | PathLike[str],
    *,
    columns: Mapping[str, str] | None = None,
    dt: float | None = None,
    unit: str | None = None,
    scale: float | None = None,
    dims: int | None = None,
    speed_limit: float | None = None,
    on_problem: Mapping[str, str] | str | None = None,
    settings: Mapping[str, str] | None = None,
    licence: str = "",
    history: str = "",
    overwrite: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    limits: Limits | None = None,
) -> ImportReport:
    """Read tracks from files into a new store.

    Every row of the input is in the store, dropped on purpose and counted, or set apart with a
    reason in the store's table "quarantine"; the problems and their rules are in problems.py and
    teleports.py.

    Args:
        source: Name of an importer; see sources.available().
        path: File or folder to read.
        out: Store to write.
        columns: Name in the file of each canonical column ("agent", "x", "y", "time", "frame",
            "z", "scene", "type", "split"), for importers that read tables.
        dt: Seconds per step; by default what the format fixes or most rows have.
        unit: Unit of the coordinates; by default what the format or the columns tell.
        scale: Metres per unit of the file; positions are multiplied by it.
        dims: Coordinates that are read of a table, 2 or 3; by default z where there is one.
        speed_limit: Speed above which a step is a jump, in units per second; inf for no limit; by
            default guessed.
        on_problem: "quarantine" or "refuse", for all problems or by problem.
        settings: Choices that one importer alone knows, such as {"eth-time": "true"} of ethucy.
        licence: Terms of the data, stored with it.
        history: The command that asks for this, stored with the data.
        overwrite: Whether a store at `out` may be replaced.
        progress: Told how far the import is, after each chunk or part.
        limits: What bounds the memory.

    Returns:
        What was found and done; also stored with the tracks.

    Raises:
        DataError: The files cannot be read as what they are said to be.
        DataProblem: There is a problem that `on_problem` refuses; nothing is written.
        ConfigError: A problem or policy is unknown.
    """
    limits = limits or Limits()
    refused = [name for name, policy in policies(on_problem).items() if policy == "refuse"]
    _check_numbers(dt=dt, scale=scale, speed_limit=speed_limit)
    Placing(Path(out), overwrite, is_store)
    importer = load_source(source)
    chosen = check_settings(source, importer, settings or {})
    options = ReadOptions(
        dict(columns or {}), dt, unit, scale, dims, chunk_rows=limits.chunk, settings=chosen
    )
    reading = importer.read(Path(path), options)
    target = _Target(Path(out), source, licence, history, overwrite)
    with room_for(target.out), working_folder(target.out) as folder:
        job = Passes.begin(folder, reading, limits, progress)
        settled = settle(job.survey(), job.roster, reading, dt is not None, speed_limit)
        return _write(job, settled, target, Path(path), scale, refused)


@dataclass(frozen=True)
class _Target:
    out: Path
    source: str
    licence: str
    history: str
    overwrite: bool


def _write(
    job: Passes,
    settled: Settled,
    target: _Target,
    path: Path,
    scale: float | None,
    refused: list[str],
) -> ImportReport:
    sift = Sift(Judge(settled.rules), job.roster, job.quarantine)
    writer = StoreWriter(
        target.out,
        dims=job.reading.dims,
        dt=settled.dt,
        unit=settled.unit,
        source=target.source,
        licence=target.licence,
        inputs=describe_inputs(path, job.reading.files),
        history=target.history,
        overwrite=target.overwrite,
    )
    with writer:
        for part in job.load("writing"):
            for block in sift.blocks(part):
                writer.append(block)
        report = report_on(job.reading, job.rows, settled, sift)
        report = replace(
            report, source=target.source, path=str(path), out=str(target.out), scale=scale
        )
        _refuse(report, refused)
        job.quarantine.store(writer, names_of(path, job.reading.files))
        writer.folds = _folds(job.reading.folds, sift.scenes)
        writer.report = report.to_dict()
    return report


def _refuse(report: ImportReport, refused: list[str]) -> None:
    """Raise if rows have a problem that is not accepted, or if none is good."""
    found = {p: n for p, n in report.quarantined.items() if p in refused}
    if report.cuts and "teleport" in refused:
        found["teleport"] = found.get("teleport", 0) + report.cuts
    counts = ", ".join(f"{name} {count}" for name, count in found.items())
    if found:
        worst = "".join(
            f"; first look at agent {safe(w.agent)} of {safe(w.scene)}"
            for w in report.worst_agents[:1]
        )
        raise DataProblem(
            f"refused, nothing was written: {counts} of {report.rows_read} rows{worst}; "
            "repair the data or set these rows apart with 'quarantine'"
        )
    if not report.rows_kept:
        apart = ", ".join(f"{name} {count}" for name, count in report.quarantined.items())
        raise DataError(
            f"none of {report.rows_read} rows can be used: {apart or 'all were dropped'}; "
            "check the columns, dt and the speed limit"
        )


def _folds(folds: Mapping[str, list[str]], kept: Mapping[str, None]) -> dict[str, list[str]] | None:
    """The folds without scenes of which no row was kept."""
    found = {name: [s for s in tests if s in kept] for name, tests in folds.items()}
    return {name: tests for name, tests in found.items() if tests} or None


def _check_numbers(**given: float | None) -> None:
    for name, value in given.items():
        endless = value == float("inf") and name == "speed_limit"
        if value is not None and not endless and not 0 < value < float("inf"):
            raise DataError(f"{name} must be a positive number, got {value}")
