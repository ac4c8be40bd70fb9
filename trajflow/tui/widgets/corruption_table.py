"""What an OOD report says: a line for each corruption, its curves, and words about its windows.

The names of the report's scores stand here alone.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from trajflow.text import safe
from trajflow.tui.format import bar
from trajflow.tui.widgets.metrics_panel import THRESHOLD
from trajflow.tui.widgets.plots import Curve

Values = Mapping[str, Any]
SCORE, EXPECTED_ERROR, DISTANCE = "ood_score", "expected_error", "distance"
BASELINE = "baseline "
"""Prefix of the scores that need no network."""
BAR = 8
NARROW = {"corruption": 10, "": 10, "AUROC": 6, "0 to 1": BAR + 1, "95 %": 8}
WIDE = {"baseline": 10, "flagged": 8, "energy": 8, "cov@90": 7}
MIN_KEPT = 0.1
"""Fewer windows than this share are too few for a mean."""


class CorruptionTable(DataTable[Text]):
    """One line for windows in distribution and one for each corruption; the cursor chooses."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Cursor down", show=False, id="ood.down"),
        Binding("k", "cursor_up", "Cursor up", show=False, id="ood.up"),
    ]

    def __init__(self) -> None:
        super().__init__(cursor_type="row", cell_padding=0)
        self.keys: tuple[str, ...] = ()

    @property
    def chosen(self) -> str:
        """The corruption under the cursor; "" for windows in distribution."""
        return self.keys[self.cursor_row] if 0 <= self.cursor_row < len(self.keys) else ""

    def fill(self, report: Values, wide: bool) -> None:
        """Write all lines, and leave the cursor where it was.

        Args:
            report: As `trajflow evaluate --ood` writes it.
            wide: Whether there is room for all columns.
        """
        row = self.cursor_row
        self.clear(columns=True)
        for name, width in {**NARROW, **(WIDE if wide else {})}.items():
            self.add_column(Text(name, "bold"), width=width)
        self.keys = ("", *(corruption["key"] for corruption in report["corruptions"]))
        self.add_row(*_original_cells(report["ordinary"], wide))
        for corruption in report["corruptions"]:
            self.add_row(*_cells(corruption, wide))
        self.move_cursor(row=min(max(0, row), len(self.keys) - 1))


def best_baseline(corruption: Values) -> tuple[str, float]:
    """The score without a network that detects a corruption best, and its AUROC."""
    result = corruption["detection"]
    aurocs = {name: result[name]["auroc"]["value"] for name in result if name.startswith(BASELINE)}
    best = max(aurocs, key=lambda name: aurocs[name])
    return best.removeprefix(BASELINE), aurocs[best]


def threshold_of(report: Values) -> float | None:
    """OOD score that 95 % of the validation people stay below."""
    value: float | None = report["ordinary"]["threshold"].get(SCORE)
    return value


def histogram_of(corruption: Values) -> Values | None:
    """Histogram of the OOD scores of a corruption."""
    histogram: Values | None = corruption.get("histogram", {}).get(SCORE)
    return histogram


def roc_curves(corruption: Values) -> list[Curve]:
    """Share of corrupted windows detected over that of original ones flagged; chance is faint."""
    names = {SCORE: "OOD", DISTANCE: "distance", f"{BASELINE}steps": "baseline"}
    diagonal = np.array([0.0, 1.0])
    curves = [Curve("chance", diagonal, diagonal, faint=True)]
    for name, label in names.items():
        if name in corruption.get("roc", {}):
            x, y = np.array(corruption["roc"][name]).T
            curves.append(Curve(label, x, y))
    return curves


def retention_curves(values: Values) -> list[Curve]:
    """Mean energy score of the windows kept over the share that is kept, lowest scores first."""
    names = {SCORE: "OOD", EXPECTED_ERROR: "error", "oracle": "oracle"}
    curves = values.get("curves", {})
    if "kept" not in curves:
        return []
    kept = np.array(curves["kept"])
    late = kept >= MIN_KEPT
    return [
        Curve(label, kept[late], np.array(curves[name])[late])
        for name, label in names.items()
        if name in curves
    ]


def corruption_facts(report: Values, corruption: Values | None) -> list[Text]:
    """What a corruption does, how well it is detected, and what it costs.

    Args:
        report: The whole report.
        corruption: One of its corruptions; None: windows in distribution.
    """
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
            f"AUROC {_value(detection['auroc'])}  FPR95 {_value(detection['fpr95'])}  "
            f"detected {_interval(corruption['alarms'][SCORE])}"
        ),
        Text("  ".join(changes)),
    ]


def window_facts(window: Values, order: int, count: int, highest: bool, unit: str) -> list[Text]:
    """Whose window it is, its OOD score, and why.

    Args:
        window: As it stands in the report.
        order: Which of the windows of its kind, from 0.
        count: How many there are.
        highest: Whether these are the windows with the highest OOD scores, or the lowest.
        unit: Unit of the energy score.
    """
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
        Text.assemble("why: ", safe(window["reasons"], 200) or _highest_parts(window)),
    ]


def _highest_parts(window: Values) -> str:
    """The parts that say most about a window that is in distribution."""
    whole = (SCORE, "typical_score", EXPECTED_ERROR)
    parts = {
        name: value
        for name, value in window["parts"].items()
        if name not in whole and not name.startswith(BASELINE.strip())
    }
    order = sorted(parts, key=lambda name: -parts[name])[:3]
    parts_said = ", ".join(f"{name} {parts[name]:.2f}" for name in order)
    return f"in distribution; highest are {parts_said}" if order else "in distribution"


def _original_cells(original: Values, wide: bool) -> list[Text]:
    head = [Text("original", "bold"), Text("windows"), Text(""), Text(""), Text("")]
    return [*head, *([Text(""), *_wide_cells(original)] if wide else [])]


def _cells(corruption: Values, wide: bool) -> list[Text]:
    name, level = Text(safe(corruption["name"], 9), "bold"), Text(safe(corruption["level"], 9))
    if not corruption["windows"]:
        return [name, level, Text("-"), Text("nobody"), *[Text("")] * (5 if wide else 1)]
    auroc = corruption["detection"][SCORE]["auroc"]
    value, ends = auroc["value"], auroc["interval"]
    between = "" if ends is None else f"{_short(ends[0])}-{_short(ends[1])}"
    tone = "" if value > 0.5 else "dim"
    line = [name, level, Text(f"{value:.3f}"), Text(bar(value, BAR), tone), Text(between)]
    if not wide:
        return line
    best, baseline = best_baseline(corruption)
    return [*line, Text(f"{_short(baseline)} {best[:6]}"), *_wide_cells(corruption)]


def _wide_cells(values: Values) -> list[Text]:
    accuracy = values["accuracy"]
    energy, coverage = (accuracy[name]["value"] for name in ("energy_score", "coverage_90"))
    return [
        Text(f"{100 * values['alarms'][SCORE]['value']:3.0f} %"),
        Text("-" if energy is None else f"{energy:7.3g}"),
        Text("-" if coverage is None else f"{100 * coverage:4.0f} %"),
    ]


def _short(value: float) -> str:
    return "1.0" if value >= 0.995 else f"{value:.2f}"[1:]


def _value(estimate: Values) -> str:
    return "-" if estimate["value"] is None else f"{estimate['value']:.3f}"


def _score(accuracy: Values, name: str) -> str:
    value = accuracy[name]["value"]
    if value is None:
        return "-"
    return f"{value:.2f}" if name == "energy_score" else f"{100 * value:.0f} %"


def _interval(estimate: Values) -> str:
    if estimate["value"] is None:
        return "-"
    ends = estimate["interval"]
    between = "" if ends is None else f" [{100 * ends[0]:.0f}-{100 * ends[1]:.0f}]"
    return f"{100 * estimate['value']:.0f} %{between}"
