"""Draws the report of an OOD evaluation: detection, errors and retention curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trajflow.ood.report import BASELINES, DISTANCE, EXPECTED, OOD_SCORE
from trajflow.text import safe

OURS, BASELINE, PLAIN, FAINT = "#ea580c", "#0f766e", "#1f2937", "#9ca3af"
Values = Mapping[str, Any]


def draw(report: Values) -> Figure:
    """Draw AUROC with intervals beside the baselines, energy scores, and error-retention curves.

    Args:
        report: As `trajflow.ood.evaluate.evaluate_ood` returns it.
    """
    corruptions = [row for row in report["corruptions"] if row["windows"]]
    figure = Figure(figsize=(13, max(4.5, 1.6 + 0.19 * len(corruptions))), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.4, 1, 1))
    _detection(left, corruptions)
    _energy(middle, corruptions, report["ordinary"], report["protocol"]["unit"])
    _retention(right, report["ordinary"], report["protocol"]["unit"])
    where = report["protocol"]
    fold = f", fold {where['fold']}" if where["fold"] else ""
    people = report["ordinary"]["people"]
    figure.suptitle(safe(f"{report['name']}: split {where['split']}{fold}, {people} people", 120))
    return figure


def _detection(axes: Axes, corruptions: Sequence[Values]) -> None:
    rows = np.arange(len(corruptions))
    for name, marker in zip(BASELINES, "|x+", strict=True):
        each = [corruption["detection"][name]["auroc"]["value"] for corruption in corruptions]
        axes.plot(each, rows, marker, color=BASELINE, ms=6, label=name, lw=0)
    if corruptions and DISTANCE in corruptions[0]["detection"]:
        each = [corruption["detection"][DISTANCE]["auroc"]["value"] for corruption in corruptions]
        axes.plot(each, rows, "D", color=FAINT, ms=4, label="without known corruptions", lw=0)
    ours = [corruption["detection"][OOD_SCORE]["auroc"] for corruption in corruptions]
    for row, auroc in zip(rows, ours, strict=True):
        ends = auroc["interval"] or [auroc["value"]] * 2
        axes.plot(ends, [row, row], color=OURS, lw=2.5, alpha=0.5)
    axes.plot([auroc["value"] for auroc in ours], rows, "o", color=OURS, ms=5, label="OOD score")
    axes.axvline(0.5, color=FAINT, lw=1, ls=":")
    labels = [safe(f"{corruption['name']} {corruption['level']}", 40) for corruption in corruptions]
    axes.set(xlim=(-0.02, 1.02), yticks=rows, xlabel="AUROC against ordinary windows")
    axes.set_yticklabels(labels, fontsize=7.5)
    axes.set_ylim(len(corruptions) - 0.5, -0.5)
    axes.legend(fontsize=7, loc="lower left", bbox_to_anchor=(-0.1, 1.0), ncols=5, frameon=False)
    _style(axes)


def _energy(axes: Axes, corruptions: Sequence[Values], ordinary: Values, unit: str) -> None:
    for row, corruption in enumerate(corruptions):
        error = corruption["accuracy"]["energy_score"]
        if error["value"] is not None:
            ends = error["interval"] or [error["value"]] * 2
            axes.plot(ends, [row, row], color=PLAIN, lw=2.5, alpha=0.4)
            axes.plot(error["value"], row, "o", color=PLAIN, ms=4)
    typical = ordinary["accuracy"]["energy_score"]["value"]
    if typical:
        axes.axvline(typical, color=OURS, lw=1, ls="--", label="ordinary windows")
        axes.set_xscale("log")
        axes.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False)
    axes.set(yticks=range(len(corruptions)), yticklabels=[], xlabel=f"energy score ({safe(unit)})")
    axes.set_ylim(len(corruptions) - 0.5, -0.5)
    _style(axes)


def _retention(axes: Axes, ordinary: Values, unit: str) -> None:
    curves = ordinary["curves"]
    styles = {OOD_SCORE: (OURS, "-"), EXPECTED: (PLAIN, "--"), "oracle": (FAINT, ":")}
    for name, (color, dash) in styles.items():
        if name in curves:
            axes.plot(
                curves["kept"], curves[name], color=color, ls=dash, label=name.replace("_", " ")
            )
    axes.set(
        xlabel="share of ordinary windows kept, least first",
        ylabel=f"mean energy score of those kept ({safe(unit)})",
        xlim=(0, 1),
        ylim=(0, None),
    )
    axes.legend(fontsize=8)
    _style(axes)


def _style(axes: Axes) -> None:
    axes.grid(color="#e5e7eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
