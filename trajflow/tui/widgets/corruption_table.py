"""What an OOD report says: a row for each corruption, and words about its windows.

The names of the report's scores stand here alone.
"""

import math
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import numpy as np
from rich.text import Text

from trajflow.ood.report import cost, flagged_share, hidden_cost, is_hidden
from trajflow.text import safe
from trajflow.tui.format import number, percent
from trajflow.tui.widgets.metrics_panel import THRESHOLD
from trajflow.tui.widgets.plots import CostPoint
from trajflow.tui.widgets.tables import Cell, RecordTable, TableColumn, number_column, word_column

Values = Mapping[str, Any]
SCORE, EXPECTED_ERROR = "ood_score", "expected_error"


class CorruptionTable(RecordTable[Values]):
    """A row for original windows, and one for each corruption; the cursor chooses."""

    HELP = """\
**cost**: energy score under the corruption, as a multiple of that of original windows.

**flagged**: share of windows whose OOD score is above the threshold that 95 % of validation people
stay below.

**hidden**: (cost - 1) x (1 - flagged), the cost that no flag tells of.

**!**: the corruption hurts (energy score higher or coverage@90 lower than of original windows, the
95 % intervals do not overlap) and is flagged in less than half of the windows.

**AUROC**: of the OOD score between corrupted and original windows; 0.5 is chance.

**cov@90**: share of true positions in the region that should hold 90 % of them.
"""

    def __init__(self) -> None:
        super().__init__(
            [
                word_column("corruption", 18, _name),
                TableColumn("cost", 7, _cost_cell, itemgetter("cost")),
                number_column("flagged", 8, itemgetter("flagged"), percent),
                TableColumn("hidden", 7, _hidden_cell, itemgetter("hidden")),
                number_column("AUROC", 6, itemgetter("AUROC"), "{:.3f}".format, empty=""),
                number_column("cov@90", 7, itemgetter("cov@90"), percent),
                number_column("energy", 8, itemgetter("energy")),
            ],
            lambda one: str(one["key"]),
            order="hidden",
        )

    def show_report(self, report: Values) -> None:
        original = report["ordinary"] | {"key": "", "name": "original"}
        rows = [report_row(one, original) for one in (original, *report["corruptions"])]
        self.show(rows, pinned=1)


def report_row(corruption: Values, ordinary: Values) -> dict[str, Any]:
    """What the table shows of a corruption, by the name of the column."""
    row = {"key": corruption["key"], "name": corruption["name"], "danger": False}
    row |= {"level": corruption.get("level", "windows")}
    row |= dict.fromkeys(("cost", "flagged", "hidden", "AUROC", "cov@90", "energy"), math.nan)
    if not corruption["windows"]:
        return row
    accuracy, detection = corruption["accuracy"], corruption.get("detection")
    row |= {
        "cost": cost(corruption, ordinary) + 1,
        "flagged": flagged_share(corruption),
        "cov@90": _value(accuracy["coverage_90"]),
        "energy": _value(accuracy["energy_score"]),
    }
    if detection is None:
        return row
    return row | {
        "hidden": hidden_cost(corruption, ordinary),
        "AUROC": _value(detection[SCORE]["auroc"]),
        "danger": is_hidden(corruption, ordinary),
    }


def cost_points(report: Values) -> list[CostPoint]:
    """Where each corruption is on the map of cost over flagged."""
    rows = [report_row(one, report["ordinary"]) for one in report["corruptions"] if one["windows"]]
    return [
        CostPoint(one["key"], one["flagged"], one["cost"], one["danger"], safe(_name(one), 24))
        for one in rows
        if np.isfinite(one["cost"])
    ]


def _name(row: Values) -> str:
    return f"{row['name']:10}{row['level']}"


def _cost_cell(row: Values) -> Cell:
    if math.isnan(row["cost"]):
        return "nobody"
    text = f"×{number(row['cost'])}"
    return (f"! {text}", "error") if row["danger"] else text


def _hidden_cell(row: Values) -> Cell:
    text = "" if math.isnan(row["hidden"]) else f"{row['hidden']:.2f}"
    return (text, "error") if row["danger"] else text


def _value(estimate: Values) -> float:
    return math.nan if estimate["value"] is None else float(estimate["value"])


def corruption_facts(report: Values, corruption: Values | None) -> list[Text]:
    """What a corruption does, how well it is detected, and what it costs; None: no corruption."""
    original = report["ordinary"]
    if corruption is None:
        alarms = _interval(original["alarms"][SCORE])
        size = f"{original['windows']} of {original['people']} people"
        lines = [Text.assemble(("in distribution  ", "bold"), f"{size}; false alarms {alarms}")]
        labels = {SCORE: "OOD score", EXPECTED_ERROR: "expected error"}
        for name, label in labels.items():
            if name in original["retention"]:
                drop = _interval(original["retention"][name]["drop80"])
                lines.append(Text(f"80 % of lowest {label} kept: energy score {drop} lower"))
        return lines
    learned = "  (the run was trained on these recordings)" if corruption.get("trained_on") else ""
    name = safe(f"{corruption['name']} {corruption['level']}")
    head = Text.assemble((f"{name}  ", "bold"), safe(corruption["what"], 200) + learned)
    if not corruption["windows"]:
        return [head, Text("no window is left under this corruption")]
    detection, after, before = (
        corruption["detection"][SCORE],
        corruption["accuracy"],
        original["accuracy"],
    )
    changes = (
        f"{label} {_score(before, key)} → {_score(after, key)}"
        for key, label in (
            ("energy_score", "energy score"),
            ("coverage_90", "coverage@90"),
            ("conformal_90", "calibrated"),
        )
    )
    return [
        head,
        Text(
            f"AUROC {number(_value(detection['auroc']))}  "
            f"FPR95 {number(_value(detection['fpr95']))}  "
            f"flagged {_interval(corruption['alarms'][SCORE])}"
        ),
        Text("  ".join(changes)),
    ]


def window_facts(window: Values, order: int, count: int, highest: bool, unit: str) -> list[Text]:
    """Whose window of a report it is, its OOD score, and why."""
    score, energy = window[SCORE], window.get("energy_score")
    error = "" if energy is None else f"  energy score {energy:.2f} {safe(unit, 8)}"
    kind = "highest" if highest else "lowest"
    return [
        Text.assemble(
            (f"{kind} OOD score {order + 1} of {count}  ", "bold"),
            f"{safe(window['scene'], 24)}, agent {safe(str(window['label']), 14)}, "
            f"step {window['start']}",
        ),
        Text.assemble("OOD score ", (f"{score:.2f}{' high' * (score > THRESHOLD)}", "bold"), error),
        Text.assemble("why: ", safe(window["reasons"], 200) or "in distribution"),
    ]


def _score(accuracy: Values, name: str) -> str:
    value = _value(accuracy[name])
    return f"{value:.2f}" if name == "energy_score" else percent(value)


def _interval(estimate: Values) -> str:
    if estimate["value"] is None:
        return "-"
    ends = estimate["interval"]
    between = "" if ends is None else f" [{100 * ends[0]:.0f}-{100 * ends[1]:.0f}]"
    return f"{100 * estimate['value']:.0f} %{between}"
