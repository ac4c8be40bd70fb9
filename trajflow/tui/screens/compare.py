"""Some runs beside each other: validation curves, scores, and paired differences."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from textual import getters, work
from textual.app import ComposeResult
from textual.containers import Grid
from textual.screen import Screen
from textual.widgets import Static

from trajflow.errors import RunError
from trajflow.library import RUN_SCORES, read_run
from trajflow.text import safe
from trajflow.tui.app import TrajflowApp
from trajflow.tui.format import SCORES
from trajflow.tui.widgets.plots import CurvePlot, run_curves
from trajflow.tui.widgets.tables import RecordTable, TableColumn, score_column, word_column
from trajflow.tui.widgets.text import KeyFooter, TitleBar

CURVES = RUN_SCORES[:3]
Row = dict[str, Any]
"""A row of `trajflow.evaluation.report.results_of`, with "behind" and "rank" in words."""


class CompareScreen(Screen[None]):
    """Compares runs by their reports of `trajflow evaluate`, or their best validations."""

    app = getters.app(TrajflowApp)
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
            for key in CURVES:
                yield CurvePlot(SCORES[key], key)
        energy, *others = (score_column(key, partial(_mean, key)) for key in RUN_SCORES)
        yield RecordTable[Row](
            [
                TableColumn(
                    "run", 16, lambda row: (row["name"], "bold"), lambda row: row["name"], False
                ),
                word_column("rank", 5, lambda row: row["rank"]),
                energy,
                TableColumn(
                    "behind", 25, lambda row: row["behind"], lambda row: row["behind"] or None
                ),
                *others,
                word_column("split", 18, _split),
            ],
            lambda row: row["path"],
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

    def _show(self, curves: dict[str, Any], rows: list[Row], note: str) -> None:
        for key, some in curves.items():
            self.query_one(f"#{key}", CurvePlot).show(some)
        self.query_one(RecordTable).show(rows)
        self.query_one("#note", Static).update(safe(note, 1000))


def compare_runs(runs: Sequence[Path]) -> tuple[list[Row], str]:
    """Runs by energy score, and why they cannot be ranked if they cannot be.

    "behind" is the energy score less that of the best run, and its 95 % interval over people.
    """
    from trajflow.evaluation.ranking import difference, differences, ranked
    from trajflow.evaluation.report import results_of

    rows: list[Row] = []
    problems = []
    for run in runs:
        try:
            names = {"name": run.name, "path": str(run), "behind": "", "rank": ""}
            rows.append({**results_of(run)[0], **names})
        except RunError as error:
            problems.append(str(error))
    if unlike := differences(rows):
        fields = "; ".join(map(str, unlike))
        problems.append(f"not ranked, because their evaluations differ in {fields}")
        return rows, "\n".join(problems)
    compared, ranking = [], ranked(rows)
    for place in ranking:
        best, behind = ranking[0].row, ""
        if place.row is not best:
            ends = difference(place.row, best)
            behind = f"{place.row['mean']['energy_score'] - best['mean']['energy_score']:+#.2g}"
            behind += "" if ends is None else f" [{ends[0]:#.2g}, {ends[1]:#.2g}]"
        rank = f"{place.rank}{' =' if place.tied else ''}"
        compared.append({**place.row, "behind": behind, "rank": rank})
    return compared, "\n".join(problems)


def _mean(key: str, row: Row) -> float:
    return float(row["mean"].get(key, math.nan))


def _split(row: Row) -> str:
    where = row["protocol"]
    return f"{where['split']} {where.get('fold') or ''}".rstrip()
