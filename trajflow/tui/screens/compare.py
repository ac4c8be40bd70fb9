"""Some runs beside each other: validation curves, scores, and paired differences."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual import getters, work
from textual.app import ComposeResult
from textual.containers import Grid
from textual.screen import Screen
from textual.widgets import Static

from trajflow.errors import RunError
from trajflow.library import read_run
from trajflow.text import safe
from trajflow.tui.app import TrajflowApp
from trajflow.tui.format import number, percent
from trajflow.tui.widgets.plots import CurvePlot, run_curves
from trajflow.tui.widgets.tables import RecordTable, TableColumn
from trajflow.tui.widgets.text import KeyFooter, TitleBar

CURVES = {"energy_score": "energy score", "min_ade": "minADE", "min_fde": "minFDE"}


@dataclass(frozen=True)
class ComparedRun:
    """A run in a comparison.

    Attributes:
        path: Its folder.
        scores: Its scores by name.
        split: What they are of.
        behind: Energy score less that of the best run, and its 95 % interval over people, in words.
        place: Its rank, with = where runs cannot be told apart; empty if they cannot be ranked.
    """

    path: str
    scores: dict[str, float]
    split: str
    behind: str = ""
    place: str = ""

    @property
    def name(self) -> str:
        """Its folder's name."""
        return Path(self.path).name


class CompareScreen(Screen[None]):
    """Compares runs by their reports of `trajflow evaluate`, or their best validations."""

    app = getters.app(TrajflowApp)
    DEFAULT_CSS = """
    CompareScreen Grid { grid-size: 3 1; grid-gutter: 0 1; padding: 1 1 0 1; height: 1fr; }
    CompareScreen RecordTable { height: auto; max-height: 50%; margin: 1 0 0 0; }
    CompareScreen #note { height: auto; padding: 0 1; color: $muted; }
    CompareScreen.-narrow Grid { grid-size: 1 1; }
    CompareScreen.-narrow #min_ade, CompareScreen.-narrow #min_fde { display: none; }
    """
    HELP = """\
**behind**: energy score less that of the best run, and its 95 % interval by bootstrap over the
people of both. **=**: the interval holds 0, so the runs cannot be told apart.

Scores are those of `trajflow evaluate`, or of the best validation where a run has no report.
"""

    def __init__(self, runs: Sequence[Path]) -> None:
        super().__init__()
        self.runs = tuple(runs)

    def compose(self) -> ComposeResult:
        yield TitleBar(f"{len(self.runs)} runs · validation")
        with Grid():
            for key, name in CURVES.items():
                yield CurvePlot(name, below="epoch", id=key)
        yield RecordTable(
            [
                TableColumn(
                    "run", 16, lambda one: (one.name, "bold"), lambda one: one.name, down=False
                ),
                TableColumn(
                    "rank", 5, lambda one: one.place, lambda one: one.place or None, down=False
                ),
                _score_column("energy", "energy_score"),
                TableColumn("behind", 25, lambda one: one.behind, lambda one: one.behind or None),
                _score_column("minADE", "min_ade"),
                _score_column("minFDE", "min_fde"),
                _score_column("cov@90", "coverage_90", percent),
                TableColumn("split", 18, lambda one: one.split, lambda one: one.split, down=False),
            ],
            lambda one: one.path,
        )
        yield Static("", id="note", markup=False)
        yield KeyFooter()

    def on_mount(self) -> None:
        self.query_one(RecordTable).focus()
        self._read()

    @work
    async def _read(self) -> None:
        entries = await asyncio.to_thread(lambda: [read_run(run) for run in self.runs])
        curves = {key: run_curves(entries, key) for key in CURVES}
        compared, note = await asyncio.to_thread(compare_runs, self.runs)
        self.call_later(self._show, curves, compared, note)  # not if the screen is closing

    def _show(self, curves: dict[str, Any], compared: list[ComparedRun], note: str) -> None:
        for key, some in curves.items():
            self.query_one(f"#{key}", CurvePlot).show(some)
        self.query_one(RecordTable).show(compared)
        self.query_one("#note", Static).update(safe(note, 1000))


def compare_runs(runs: Sequence[Path]) -> tuple[list[ComparedRun], str]:
    """Runs by energy score, and why they cannot be ranked if they cannot be."""
    from trajflow.evaluation.ranking import difference, differences, ranked
    from trajflow.evaluation.report import results_of

    rows, problems = [], []
    for run in runs:
        try:
            rows.append({**results_of(run)[0], "name": run.name, "path": str(run)})
        except RunError as error:
            problems.append(str(error))
    unlike = differences(rows)
    if unlike:
        fields = "; ".join(map(str, unlike))
        problems.append(f"not ranked, because their evaluations differ in {fields}")
        return [_compared(row) for row in rows], "\n".join(problems)
    places, compared = ranked(rows), []
    for place in places:
        best = places[0].row
        ends = None if place.row is best else difference(place.row, best)
        compared.append(
            _compared(place.row, best, ends, f"{place.rank}{' =' if place.tied else ''}")
        )
    return compared, "\n".join(problems)


def _compared(
    row: Any, best: Any = None, ends: tuple[float, float] | None = None, place: str = ""
) -> ComparedRun:
    where = row["protocol"]
    split = f"{where['split']} {where['fold']}" if where.get("fold") else where["split"]
    behind = ""
    if best is not None and best is not row:
        behind = f"{row['mean']['energy_score'] - best['mean']['energy_score']:+.2g}"
        behind += "" if ends is None else f" [{ends[0]:.2g}, {ends[1]:.2g}]"
    return ComparedRun(row["path"], row["mean"], split, behind, place)


def _score_column(
    name: str, key: str, write: Callable[[float], str] = number
) -> TableColumn[ComparedRun]:
    def value(one: ComparedRun) -> float:
        return float(one.scores.get(key, math.nan))

    return TableColumn(name, 7, lambda one: write(value(one)), value)
