"""The report as a picture: how well each shift is found, what it costs, and what to keep."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trajflow.ood.floor import FLOORS
from trajflow.ood.marks import UNAWARE
from trajflow.text import safe

OURS, FLOOR, PLAIN, FAINT = "#ea580c", "#0f766e", "#1f2937", "#9ca3af"
Values = Mapping[str, Any]


def draw(report: Values) -> Figure:
    """AUROC with its interval beside the floors, the energy score, and error-retention curves.

    Args:
        report: As `trajflow.ood.asking.report_on` gives it.
    """
    shifts = [one for one in report["shifts"] if one["windows"]]
    figure = Figure(figsize=(13, max(4.5, 1.6 + 0.19 * len(shifts))), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.4, 1, 1))
    _detection(left, shifts)
    _energy(middle, shifts, report["ordinary"], report["protocol"]["unit"])
    _retention(right, report["ordinary"], report["protocol"]["unit"])
    where = report["protocol"]
    fold = f", fold {where['fold']}" if where["fold"] else ""
    people = report["ordinary"]["people"]
    figure.suptitle(safe(f"{report['name']}: part {where['split']}{fold}, {people} people", 120))
    return figure


def _detection(axes: Axes, shifts: Sequence[Values]) -> None:
    rows = np.arange(len(shifts))
    for name, marker in zip(FLOORS, "|x+", strict=True):
        each = [one["detection"][name]["auroc"]["value"] for one in shifts]
        axes.plot(each, rows, marker, color=FLOOR, ms=6, label=name, lw=0)
    if shifts and UNAWARE in shifts[0]["detection"]:
        each = [one["detection"][UNAWARE]["auroc"]["value"] for one in shifts]
        axes.plot(each, rows, "D", color=FAINT, ms=4, label="without known faults", lw=0)
    ours = [one["detection"]["surprise"]["auroc"] for one in shifts]
    for row, one in zip(rows, ours, strict=True):
        axes.plot(one["interval"] or [one["value"]] * 2, [row, row], color=OURS, lw=2.5, alpha=0.5)
    axes.plot([one["value"] for one in ours], rows, "o", color=OURS, ms=5, label="surprise")
    axes.axvline(0.5, color=FAINT, lw=1, ls=":")
    labels = [safe(f"{one['name']} {one['level']}", 40) for one in shifts]
    axes.set(xlim=(-0.02, 1.02), yticks=rows, xlabel="AUROC against ordinary windows")
    axes.set_yticklabels(labels, fontsize=7.5)
    axes.set_ylim(len(shifts) - 0.5, -0.5)
    axes.legend(fontsize=7, loc="lower left", bbox_to_anchor=(-0.1, 1.0), ncols=5, frameon=False)
    _calm(axes)


def _energy(axes: Axes, shifts: Sequence[Values], ordinary: Values, unit: str) -> None:
    for row, one in enumerate(shifts):
        error = one["accuracy"]["energy_score"]
        if error["value"] is not None:
            ends = error["interval"] or [error["value"]] * 2
            axes.plot(ends, [row, row], color=PLAIN, lw=2.5, alpha=0.4)
            axes.plot(error["value"], row, "o", color=PLAIN, ms=4)
    usual = ordinary["accuracy"]["energy_score"]["value"]
    if usual:
        axes.axvline(usual, color=OURS, lw=1, ls="--", label="ordinary windows")
        axes.set_xscale("log")
        axes.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False)
    axes.set(yticks=range(len(shifts)), yticklabels=[], xlabel=f"energy score ({safe(unit)})")
    axes.set_ylim(len(shifts) - 0.5, -0.5)
    _calm(axes)


def _retention(axes: Axes, ordinary: Values, unit: str) -> None:
    curves = ordinary["curves"]
    styles = {"surprise": (OURS, "-"), "risk": (PLAIN, "--"), "oracle": (FAINT, ":")}
    for name, (color, dash) in styles.items():
        if name in curves:
            axes.plot(curves["kept"], curves[name], color=color, ls=dash, label=name)
    axes.set(
        xlabel="share of ordinary windows kept, least first",
        ylabel=f"mean energy score of those kept ({safe(unit)})",
        xlim=(0, 1),
        ylim=(0, None),
    )
    axes.legend(fontsize=8)
    _calm(axes)


def _calm(axes: Axes) -> None:
    axes.grid(color="#e5e7eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
