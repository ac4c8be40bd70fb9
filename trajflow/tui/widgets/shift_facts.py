"""What a report says of one shift and of one of its windows, in words and numbers."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text
from textual.widgets import Static

from trajflow.text import safe

Values = Mapping[str, Any]
STRANGE = 0.95


class ShiftFacts(Static):
    """A few lines; the last ones are left out where there is no room."""

    DEFAULT_CSS = "ShiftFacts { padding: 0 1; height: auto; }"

    def __init__(self, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)

    def tell(self, lines: list[Text]) -> None:
        """Write other lines."""
        self.update(Text("\n").join(lines))


def told_of_shift(report: Values, shift: Values | None) -> list[Text]:
    """What a shift does, how well it is found, and what it costs.

    Args:
        report: The whole report.
        shift: One of its shifts; None: ordinary windows.
    """
    ordinary = report["ordinary"]
    if shift is None:
        kept = ordinary["retention"]
        head = Text.assemble(
            ("ordinary windows  ", "bold"),
            f"{ordinary['windows']} of {ordinary['people']} people; "
            f"false alarms {_percent(ordinary['alarms']['surprise'])}",
        )
        lines = [head]
        for name in ("surprise", "risk"):
            if name in kept:
                won = _percent(kept[name]["drop80"])
                lines.append(Text(f"least {name} 80 % kept: energy score {won} lower"))
        return lines
    learned = "  (learned from at other times)" if shift.get("learned") else ""
    name = safe(f"{shift['name']} {shift['level']}")
    head = Text.assemble((f"{name}  ", "bold"), safe(shift["what"], 200) + learned)
    if not shift["windows"]:
        return [head, Text("no window is left under this shift")]
    found, accuracy = shift["detection"]["surprise"], shift["accuracy"]
    before = ordinary["accuracy"]
    return [
        head,
        Text(
            f"AUROC {_value(found['auroc'])}  FPR95 {_value(found['fpr95'])}  "
            f"found {_percent(shift['alarms']['surprise'])}"
        ),
        Text(
            f"energy {_plain(before, 'energy_score')} → {_plain(accuracy, 'energy_score')}  "
            f"in 90 % {_plain(before, 'coverage_90')} → {_plain(accuracy, 'coverage_90')}  "
            f"calibrated {_plain(before, 'conformal_90')} → {_plain(accuracy, 'conformal_90')}"
        ),
    ]


def told_of_window(window: Values, order: int, count: int, kind: str, unit: str) -> list[Text]:
    """Who a window is of, how surprising it is, and why.

    Args:
        window: As it stands in the report.
        order: Which of the windows of its kind, from 0.
        count: How many there are.
        kind: "most" or "least".
        unit: Unit of the energy score.
    """
    score = window["surprise"]
    word = "strange" if score > STRANGE else "ordinary"
    energy = window.get("energy_score")
    error = "" if energy is None else f"  energy {energy:.2f} {safe(unit, 8)}"
    return [
        Text.assemble(
            (f"{kind} surprising {order + 1} of {count}  ", "bold"),
            f"{safe(window['scene'], 24)}, agent {safe(str(window['label']), 14)}, "
            f"step {window['start']}",
        ),
        Text.assemble("surprise ", (f"{score:.2f} {word}", "bold"), error),
        Text.assemble("why: ", safe(window["reasons"], 200) or _strongest(window)),
    ]


def _strongest(window: Values) -> str:
    """The scores that say most of a window that is not called strange."""
    parts = {
        name: value
        for name, value in window["parts"].items()
        if name not in ("surprise", "usual", "risk", "unaware") and not name.startswith("floor")
    }
    order = sorted(parts, key=lambda name: -parts[name])[:3]
    said = ", ".join(f"{name} {parts[name]:.2f}" for name in order)
    return f"nothing strange; highest are {said}" if order else "nothing strange"


def _value(one: Values) -> str:
    return "-" if one["value"] is None else f"{one['value']:.3f}"


def _plain(accuracy: Values, name: str) -> str:
    value = accuracy[name]["value"]
    if value is None:
        return "-"
    return f"{value:.2f}" if name == "energy_score" else f"{100 * value:.0f} %"


def _percent(one: Values) -> str:
    if one["value"] is None:
        return "-"
    ends = one["interval"]
    between = "" if ends is None else f" [{100 * ends[0]:.0f}-{100 * ends[1]:.0f}]"
    return f"{100 * one['value']:.0f} %{between}"
