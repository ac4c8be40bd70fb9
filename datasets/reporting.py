"""Gather what the stages of an import counted into one report."""

from collections import Counter

from trajflow.datasets.import_report import SHOWN, ImportReport, Troubled
from trajflow.datasets.problems import PROBLEMS
from trajflow.datasets.quarantine import Quarantine
from trajflow.datasets.reading import Reading
from trajflow.datasets.settling import Settled
from trajflow.datasets.sifting import LONG_GAP, Sift

SCENES = 50


def report_on(reading: Reading, rows: int, settled: Settled, sift: Sift) -> ImportReport:
    """The report of an import that is complete but for its names.

    Args:
        reading: The exhausted reading.
        rows: Rows that came from it.
        settled: What held for all rows.
        sift: What became of the rows.
    """
    dropped = {name: count for name, count in reading.dropped.items() if count}
    rows_read = rows + sum(dropped.values())
    if sift.between:
        dropped["between steps"] = dropped.get("between steps", 0) + sift.between
    apart = sift.quarantine
    clocks = {c: s for c, s in sift.judge.clock.items() if s}
    names = sift.roster.scenes.names
    return ImportReport(
        source="",
        path="",
        out="",
        files=len(reading.files),
        rows_read=rows_read,
        rows_kept=sift.kept,
        trajectories=sum(sift.types.values()),
        scenes=len(sift.scenes),
        types=dict(sift.types),
        splits=dict(sift.splits),
        dropped=dropped,
        quarantined=_ordered(apart.reasons),
        by_scene=_worst_scenes(apart),
        worst_agents=_worst_agents(apart),
        cuts=sift.cuts,
        moved=sift.moved,
        steps=_steps(sift.steps),
        clocks={names[code]: shift for code, shift in list(clocks.items())[:SCENES]},
        dt=settled.dt,
        dt_from=settled.dt_from,
        unit=settled.unit,
        unit_from=settled.unit_from,
        speed_limit=settled.speed_limit,
        speed_limit_from=settled.speed_limit_from,
        columns=dict(reading.columns),
        row_interval=settled.row_interval,
        notes=[*reading.notes, *settled.notes, *_notes(len(clocks), sift.turned)],
    )


def _notes(clocks: int, turned: int) -> list[str]:
    notes = []
    if clocks:
        notes.append(f"the clocks of {clocks} scenes were shifted onto whole steps of dt")
    if turned:
        notes.append(
            f"{turned} longitudes were turned by 360 degrees, so that tracks go on across the "
            "date line and neighbours lie beside each other"
        )
    return notes


def _steps(counts: Counter[int]) -> dict[str, int]:
    found = {(str(n) if n <= LONG_GAP else f">{LONG_GAP}"): c for n, c in sorted(counts.items())}
    return {name: count for name, count in found.items() if count}


def _ordered(reasons: Counter[str]) -> dict[str, int]:
    known = {name: reasons[name] for name in PROBLEMS if reasons[name]}
    return known | {name: count for name, count in reasons.items() if name not in known}


def _worst_scenes(apart: Quarantine) -> dict[str, dict[str, int]]:
    ranked = sorted(apart.by_scene.items(), key=lambda pair: -pair[1].total())
    return {scene: _ordered(reasons) for scene, reasons in ranked[:SCENES]}


def _worst_agents(apart: Quarantine) -> list[Troubled]:
    ranked = sorted(apart.by_agent.items(), key=lambda pair: -pair[1].total())
    return [
        Troubled(scene, agent, reasons.total(), _ordered(reasons))
        for (scene, agent), reasons in ranked[:SHOWN]
    ]
