"""The report of an import, as text and as attributes of the store."""

import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajflow.datasets.cleaning import PROBLEMS
from trajflow.datasets.schema import AXES
from trajflow.errors import DataError
from trajflow.text import no_formula, safe

if TYPE_CHECKING:
    from trajflow.datasets.store import Store

MAX_WORST = 5  # Scenes and agents with most quarantined rows in the text
REPLACED = "replaced by places on straight lines"
QUARANTINE = "quarantine"  # Table of the quarantined rows in a store


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
