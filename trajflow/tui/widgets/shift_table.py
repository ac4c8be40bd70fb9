"""The shifts of a report, a line each: how well they are found, as a bar and as numbers."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text
from textual.widgets import DataTable

from trajflow.text import safe

Values = Mapping[str, Any]
BAR = 8
FLOOR, HALF = "floor ", 0.5
NARROW = {"shift": 10, "": 10, "AUROC": 6, "0 to 1": BAR + 1, "95 %": 8}
WIDE = {"floor": 10, "found": 6, "energy": 9, "in 90 %": 7}


class ShiftTable(DataTable[Text]):
    """One line for ordinary windows and one for each shift; the cursor chooses."""

    DEFAULT_CSS = "ShiftTable { scrollbar-size-vertical: 1; overflow-x: hidden; }"

    def __init__(self) -> None:
        super().__init__(cursor_type="row", cell_padding=0, zebra_stripes=False)
        self.shown: tuple[str, ...] = ()

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
        self.shown = ("", *(shift["key"] for shift in report["shifts"]))
        self.add_row(*_ordinary(report["ordinary"], wide))
        for shift in report["shifts"]:
            self.add_row(*_cells(shift, wide))
        self.move_cursor(row=min(max(0, row), len(self.shown) - 1))

    @property
    def chosen(self) -> str:
        """The shift that the cursor is on; "" for ordinary windows."""
        return self.shown[self.cursor_row] if 0 <= self.cursor_row < len(self.shown) else ""


def bar(share: float, width: int = BAR) -> str:
    """A line of so many letters, full at 1.

    Example:
        >>> from trajflow.tui.widgets.shift_table import bar
        >>> bar(0.625, 4)
        '━━╸ '
    """
    full, half = divmod(round(min(1.0, max(0.0, share)) * 2 * width), 2)
    return ("━" * full + "╸" * half).ljust(width)


def best_floor(shift: Values) -> tuple[str, float]:
    """The score without a network that finds a shift best, and its AUROC."""
    floors = {name: kinds for name, kinds in shift["detection"].items() if name.startswith(FLOOR)}
    best = max(floors, key=lambda name: floors[name]["auroc"]["value"])
    return best.removeprefix(FLOOR), floors[best]["auroc"]["value"]


def _ordinary(ordinary: Values, wide: bool) -> list[Text]:
    head = [Text("ordinary", "bold"), Text("windows"), Text(""), Text(""), Text("")]
    return [*head, *([Text(""), *_tail(ordinary)] if wide else [])]


def _cells(shift: Values, wide: bool) -> list[Text]:
    name, level = Text(safe(shift["name"], 9), "bold"), Text(safe(shift["level"], 9))
    if not shift["windows"]:
        return [name, level, Text("-"), Text("nobody"), *[Text("")] * (5 if wide else 1)]
    found = shift["detection"]["surprise"]["auroc"]
    ends = found["interval"]
    between = "" if ends is None else f"{_two(ends[0])}-{_two(ends[1])}"
    tone = "" if found["value"] > HALF else "dim"
    line = [
        name,
        level,
        Text(_three(found["value"])),
        Text(bar(found["value"]), tone),
        Text(between),
    ]
    if not wide:
        return line
    best, value = best_floor(shift)
    return [*line, Text(f"{_two(value)} {best[:5]}"), *_tail(shift)]


def _tail(one: Values) -> list[Text]:
    found, accuracy = one["alarms"]["surprise"]["value"], one["accuracy"]
    energy, inside = (accuracy[name]["value"] for name in ("energy_score", "coverage_90"))
    return [
        Text(f"{100 * found:3.0f} %"),
        Text("-" if energy is None else f"{energy:8.3g}"),
        Text("-" if inside is None else f"{100 * inside:4.0f} %"),
    ]


def _two(value: float) -> str:
    return "1.0" if value >= 0.995 else f"{value:.2f}"[1:]


def _three(value: float) -> str:
    return f"{value:.3f}"
