"""The report of an import, as text and as attributes of the store."""

import csv
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError

from trajflow.datasets.schema import AXES, Canonical
from trajflow.errors import ConfigError, DataError, DataProblem, RunError, did_you_mean
from trajflow.text import no_formula, safe

if TYPE_CHECKING:
    from trajflow.datasets.cleaning import Cleaner, Rules
    from trajflow.datasets.ingest import Ingest
    from trajflow.datasets.sorting import SortedRows
    from trajflow.datasets.sources import ImportOptions, Source
    from trajflow.datasets.store import Store

# What each problem means, in the order in which rows are judged
PROBLEMS = {
    "malformed": "a line with fewer or more columns than the others",
    "no-label": "no name for the scene or the agent",
    "not-a-number": "a time or coordinate that is no finite decimal number",
    "filler": "a position that stands for 'not seen': agents jump to exactly there, or its "
    "latitude is beyond 90 degrees",
    "mixed-units": "a scene or agent whose steps and positions are of another order of magnitude",
    "duplicate": "a repeated row: same agent, time and position",
    "conflict": "one agent at two positions at one time; all of them are quarantined",
    "off-grid": "a time further than a quarter of dt from a whole step, or a second row in a step",
    "teleport": "a position that the agent cannot have reached",
}
POLICIES = ("quarantine", "refuse")
LONG_GAP = 10
MANY_CONFLICTS = 0.05
MANY_OFF_GRID = 0.1
WORST_SCENES, WORST_AGENTS = 50, 10
DECIDED = ("dt", "dt_from", "unit", "unit_from", "speed_limit", "speed_limit_from", "row_interval")
"""Fields of the rules that the report repeats."""
MAX_WORST = 5  # Scenes and agents with most quarantined rows in the text
REPLACED = "replaced by places on straight lines"
QUARANTINE = "quarantine"  # Table of the quarantined rows in a store


class TableLayout(BaseModel):
    """How a table was read, which a run was trained on."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    # Name in the table of each canonical column
    columns: dict[Canonical, Annotated[str, Field(max_length=1000)]]
    scale: PositiveFloat | None = None  # factor of all positions, or None
    # Typical time between two rows of an agent, in seconds, or in frames if the table counts frames
    row_interval: PositiveFloat | None = None
    # Longest gap in seconds interpolated across; None without resampling
    max_gap: PositiveFloat | None = None
    source: Annotated[str, Field(max_length=100)] = "table"  # the format
    projected: bool = False  # whether longitudes and latitudes were converted to metres per scene
    # Factor by axis for axes with a unit of their own
    factors: dict[Literal["x", "y", "z"], PositiveFloat] = {}
    # Settings of the reader: "encoding", "dates"
    settings: dict[str, Annotated[str, Field(max_length=100)]] = {}

    @classmethod
    def of_store(cls, store: "Store") -> Self | None:
        """How the table of a store was read; None if the store was not imported from a table."""
        report = store.header.report
        if not report.get("columns"):
            return None
        try:
            return cls.model_validate(report)
        except ValidationError:
            return None

    @classmethod
    def of_run(cls, facts: Mapping[str, Any]) -> Self:
        """How the table of a run was read; without columns if it was not trained on a table.

        Raises:
            RunError: The record of the run is invalid.
        """
        try:
            return cls.model_validate(facts.get("table") or {"columns": {}})
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise RunError(f"the run does not say how its table was read ({why})") from None


def policies(chosen: Mapping[str, str] | str | None) -> dict[str, str]:
    """The policy for each problem, from one for all problems or from some by problem."""
    if isinstance(chosen, str):
        chosen = dict.fromkeys(PROBLEMS, chosen)
    for problem, policy in (chosen or {}).items():
        if problem not in PROBLEMS:
            raise ConfigError(did_you_mean("problem", problem, tuple(PROBLEMS)))
        if policy not in POLICIES:
            raise ConfigError(did_you_mean("policy", policy, POLICIES))
    return dict.fromkeys(PROBLEMS, POLICIES[0]) | dict(chosen or {})


@dataclass(frozen=True)
class TroubledAgent:
    """An agent with quarantined rows."""

    scene: str
    agent: str
    rows: int
    reasons: dict[str, int]


@dataclass(frozen=True)
class ImportReport:
    """The result of an import.

    Attributes:
        source: The format.
        path: The file or folder that was read.
        out: The store that was written.
        files: Number of files read.
        rows_read: Rows of all files, including those dropped on purpose.
        rows_kept: Rows in the store.
        trajectories, scenes: Numbers of both in the store.
        types: Trajectories of each type.
        splits: Rows of each split.
        dropped: Rows dropped on purpose, by reason ("lost", "between steps", or replaced by
            interpolated rows, which `rows_kept` counts).
        quarantined: Quarantined rows by problem.
        by_scene: Quarantined rows by scene and problem; the fifty worst scenes.
        worst_agents: The ten agents with most quarantined rows.
        cuts: How often a track was split at a jump.
        moved: Rows whose time was moved to a whole step.
        steps: Counts of steps of dt between consecutive rows; more than one is a gap.
        clocks: Seconds by which the clock of a scene was shifted to whole steps.
        dt, dt_from: Seconds per step, and how it was determined.
        unit, unit_from: Unit of the coordinates, and how it was determined.
        speed_limit, speed_limit_from: Speed above which a step is a jump, in units per second, None
            for no limit, and how it was determined.
        columns: Column of the file behind each canonical column.
        scale: Factor of all positions, or None.
        row_interval: Typical time between two rows of an agent, in seconds, or in frames if the
            file counts frames; None if no agent has two rows.
        origin: The moment of time 0, seconds since 1970, if the files have dates.
        settings: Settings of the reader.
        max_gap: Longest gap in seconds interpolated across, if resampling was requested.
        time_unit: Seconds per unit of the times in the files.
        projected: Whether longitudes and latitudes were converted to metres per scene.
        factors: Factor by axis for axes with a unit of their own.
        notes: Further sentences for the user.
    """

    source: str
    path: str
    out: str
    files: int
    rows_read: int
    rows_kept: int
    trajectories: int
    scenes: int
    types: dict[str, int]
    splits: dict[str, int]
    dropped: dict[str, int]
    quarantined: dict[str, int]
    by_scene: dict[str, dict[str, int]]
    worst_agents: list[TroubledAgent]
    cuts: int
    moved: int
    steps: dict[str, int]
    clocks: dict[str, float]
    dt: float
    dt_from: str
    unit: str
    unit_from: str
    speed_limit: float | None
    speed_limit_from: str
    columns: dict[str, str] = field(default_factory=dict)
    scale: float | None = None
    row_interval: float | None = None
    origin: float | None = None
    settings: dict[str, str] = field(default_factory=dict)
    max_gap: float | None = None
    time_unit: float = 1.0
    projected: bool = False
    factors: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """The report as text; names from the data are escaped for a terminal."""
        rows = (
            f"{self.rows_kept} interpolated positions from {self.rows_read} rows"
            if REPLACED in self.dropped
            else f"{self.rows_kept} of {self.rows_read} rows kept"
        )
        yield (
            f"{rows}: {self.trajectories} trajectories in "
            f"{self.scenes} scenes ({_counts(self.types)})"
        )
        yield f"splits: {_counts(self.splits)}"
        yield f"dt {self.dt:g} s ({self.dt_from}); unit {safe(self.unit)} ({self.unit_from})"
        yield f"steps between rows: {_counts(self.steps)}"
        if self.dropped:
            yield f"dropped on purpose: {_counts(self.dropped)}"
        if self.moved:
            yield f"{self.moved} rows moved in time to a whole step"
        if self.speed_limit is not None:
            limit = f"{self.speed_limit:.4g} {safe(self.unit)}/s"
            yield f"speed limit {limit} ({self.speed_limit_from})"
        if self.cuts:
            yield f"{self.cuts} tracks split at a jump; the pieces are named LABEL#2, LABEL#3, ..."
        yield from self._quarantine_lines()
        yield from (safe(note, 400) for note in self.notes)

    def _quarantine_lines(self) -> Iterator[str]:
        if not self.quarantined:
            yield "no rows quarantined"
            return
        count = sum(self.quarantined.values())
        yield f"{count} rows quarantined, see the store's table 'quarantine':"
        for problem, rows in self.quarantined.items():
            yield f"  {problem}: {rows} ({PROBLEMS.get(problem, 'named by the importer')})"
        for scene, reasons in list(self.by_scene.items())[:MAX_WORST]:
            yield f"  scene {safe(scene)}: {_counts(reasons)}"
        for agent in self.worst_agents[:MAX_WORST]:
            yield f"  agent {safe(agent.agent)} of {safe(agent.scene)}: {_counts(agent.reasons)}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{safe(name)} {count}" for name, count in counts.items()) or "none"


@dataclass
class Counts:
    """What is counted while blocks are written."""

    scenes: dict[str, None] = field(default_factory=dict)  # those with a kept row, in order
    types: Counter[str] = field(default_factory=Counter)  # kept trajectories
    splits: Counter[str] = field(default_factory=Counter)  # kept rows
    steps: Counter[int] = field(default_factory=Counter)  # steps of dt between kept rows
    kept: int = 0
    between: int = 0
    resampled: int = 0
    moved: int = 0
    cuts: int = 0
    wide_gaps: int = 0
    turned_longitudes: int = 0


def compose_report(
    rows: "SortedRows",
    source: "Source",
    options: "ImportOptions",
    cleaner: "Cleaner",
    counts: Counts,
) -> ImportReport:
    """The report of an import; source, path and out are set by the caller."""
    ingest, rules = rows.ingest, cleaner.rules
    dropped = {name: count for name, count in ingest.dropped.items() if count}
    if counts.between:
        dropped["between steps"] = dropped.get("between steps", 0) + counts.between
    if counts.resampled:
        dropped[REPLACED] = counts.resampled
    clocks = {rows.scenes[code]: shift for code, shift in cleaner.clock.items() if shift}
    steps = {
        (str(n) if n <= LONG_GAP else f">{LONG_GAP}"): c for n, c in sorted(counts.steps.items())
    }
    return ImportReport(
        source="",
        path="",
        out="",
        files=len(source.files),
        rows_read=ingest.rows_read,
        rows_kept=counts.kept,
        trajectories=sum(counts.types.values()),
        scenes=len(counts.scenes),
        types=dict(counts.types),
        splits=dict(counts.splits),
        dropped=dropped,
        quarantined=_ordered(ingest.reasons()),
        by_scene={
            s: _ordered(result) for (s,), result in ingest.worst("scene", WORST_SCENES).items()
        },
        worst_agents=[
            TroubledAgent(scene, agent, result.total(), _ordered(result))
            for (scene, agent), result in ingest.worst("scene, agent", WORST_AGENTS).items()
        ],
        cuts=counts.cuts,
        moved=counts.moved,
        steps={name: count for name, count in steps.items() if count},
        clocks=clocks,
        **{name: getattr(rules, name) for name in DECIDED},
        columns=dict(source.columns),
        scale=options.scale,
        settings=dict(options.settings),
        max_gap=rules.max_gap if options.resample else None,
        projected=bool(options.project),
        factors=dict(options.factors),
        origin=rows.origin if source.dates else None,
        time_unit=source.time_unit,
        notes=[
            *source.notes,
            *rules.notes,
            *restart_notes(ingest, source, rules),
            *_grid_notes(ingest, rules, counts),
            *_coordinate_notes(rules, len(clocks), counts.turned_longitudes),
        ],
    )


def restart_notes(ingest: "Ingest", source: "Source", rules: "Rules") -> list[str]:
    """Ask why the time of a file goes back, or why many rows conflict."""
    conflicts = ingest.reasons()["conflict"]
    restarts = ingest.restarts(LONG_GAP * (rules.row_interval or 0.0))
    if restarts:
        first = restarts[0]
        back = (first.before - first.after) * rules.seconds
        why = (
            "does daylight saving time end there? Write times in UTC or with their zone"
            if source.dates and 1800 < back <= 3600
            else "do hours pass midnight? Write them with their dates"
            if not source.dates and 82_800 < back <= 86_400
            else "do several recordings follow one another? Name a column of scenes "
            "(--columns scene=NAME) or use one file for each"
        )
        return [
            f"the clock goes back by {back:.6g} s at row {first.row} of "
            f"{source.files[first.file].name}: {why}"
        ]
    if conflicts > MANY_CONFLICTS * ingest.rows_read:
        return [
            f"{conflicts} rows have another position of the same agent at the same time: is the "
            "clock coarser than the rows (if so, name a column of frames: --columns frame=NAME "
            "--dt SECONDS), or do recordings share ids (--columns scene=NAME)?"
        ]
    return []


def _grid_notes(ingest: "Ingest", rules: "Rules", counts: Counts) -> list[str]:
    off = ingest.reasons()["off-grid"]
    if rules.max_gap is None and off > MANY_OFF_GRID * (off + counts.kept):
        return [
            f"{off} of {off + counts.kept} rows lie between steps of {rules.dt:g} s: --resample "
            f"{rules.dt:g}s interpolates positions at whole steps on straight lines between rows"
        ]
    if rules.max_gap is not None and counts.wide_gaps:
        return [f"{counts.wide_gaps} gaps of more than {rules.max_gap:.3g} s are not interpolated"]
    return []


def _coordinate_notes(rules: "Rules", clocks: int, turned: int) -> list[str]:
    notes = []
    if rules.unit == "degree":
        notes.append("coordinates stay in degrees; --unit degree --project converts them to metres")
    if clocks:
        notes.append(f"the clocks of {clocks} scenes were shifted to whole steps of dt")
    if turned:
        notes.append(
            f"{turned} longitudes were turned by 360 degrees, so that tracks continue across "
            "the date line"
        )
    return notes


def _ordered(reasons: Counter[str]) -> dict[str, int]:
    ordered = {name: reasons[name] for name in PROBLEMS if reasons[name]}
    return ordered | {name: count for name, count in reasons.items() if name not in ordered}


def refuse_problems(report: ImportReport, refused: list[str]) -> None:
    """Raise DataProblem if rows were quarantined for a refused problem."""
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
            "repair the data, or accept it with --on-problem quarantine"
        )


def no_usable_rows(
    ingest: "Ingest", reasons: Mapping[str, int], files: list[str], hints: Sequence[str] = ()
) -> DataError:
    """The error of an import without a usable row, with the reasons and an example."""
    why = ", ".join(f"{name} {count}" for name, count in (dict(reasons) | ingest.dropped).items())
    first = ingest.fetch(
        """select file, "row", text from quarantine where text <> '' order by file, "row" limit 1"""
    )
    example = "".join(
        f"; row {row} of {files[file]} is {safe(text, 200)!r}; times must be numbers or dates, "
        "coordinates numbers"
        for file, row, text in first
    )
    return DataError(
        f"none of {ingest.rows_read} rows can be used: {why or 'all were dropped'}{example}"
        f"{''.join(f'; {hint}' for hint in hints)}; check "
        "--columns, --dt and --speed-limit"
    )


def write_quarantine(store: "Store", path: Path, overwrite: bool = False) -> int:
    """Write the quarantined rows of a store as CSV, each with its reason, file and row.

    Columns: reason, scene, agent, text (the row as in the file, if it was unreadable), time, x,
    y[, z], file, row (from 1). Texts that a spreadsheet would evaluate are prefixed with a '.

    Args:
        store: The store.
        path: The file to write.
        overwrite: Whether to replace an existing file.

    Returns:
        Number of rows.

    Raises:
        DataError: The file exists already or its folder does not, or the store is damaged.
    """
    if path.is_dir() or (path.exists() and not overwrite):
        raise DataError(f"{path} exists already; choose another path or use --overwrite")
    if not path.parent.is_dir():
        raise DataError(f"no folder {path.parent} for {path.name}; make it first")
    names = ["reason", "scene", "agent", "text", "time", *AXES[: store.dims], "file", "row"]
    table = store.table(QUARANTINE) if QUARANTINE in store.tables else {}
    columns = [table[name].tolist() for name in names if name in table]
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            writer.writerows(map(_cells, zip(*columns, strict=True)))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return len(columns[0]) if columns else 0


def _cells(row: tuple[Any, ...]) -> list[Any]:
    """A row without formulas, and with an empty cell for a missing number."""
    texts = [no_formula(value) if isinstance(value, str) else value for value in row]
    return ["" if value != value else value for value in texts]
