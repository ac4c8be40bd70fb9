"""The table of a benchmark as a picture: ours beside others, in groups named by protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trajflow.benchmark.peers import Peer
from trajflow.benchmark.rows import Row

if TYPE_CHECKING:
    from trajflow.benchmark.table import Table

PANELS = {"min_ade": "minADE", "min_fde": "minFDE", "energy_score": "energy score"}
OURS, FLOOR, OTHERS, FAINT = "#ea580c", "#0f766e", "#1f2937", "#9ca3af"
WIDEST = 76
"""Letters of a difference that are shown; the table has them all."""


@dataclass(frozen=True)
class _Dot:
    label: str
    color: str
    mean: Mapping[str, float]
    note: str = ""
    ends: Mapping[str, Sequence[float]] = field(default_factory=dict)
    folds: Sequence[Mapping[str, float]] = ()


def draw(table: "Table") -> Figure:
    """Means with their intervals, and the folds as faint dots; one line per row.

    Others are shown that are judged by as many samples; the tables have the rest too.
    """
    groups = _groups(table)
    lines = sum(len(dots) + 1 for dots in groups.values())
    figure = Figure(figsize=(15, 1.3 + 0.21 * lines), layout="constrained")
    axes = figure.subplots(1, len(PANELS), sharey=True)
    ticks: list[tuple[int, str]] = []
    place = 0
    for title, dots in groups.items():
        ticks.append((place, title))
        for dot in dots:
            place += 1
            ticks.append((place, dot.label))
            for panel, name in zip(axes, PANELS, strict=True):
                _draw(panel, place, dot, name)
            axes[-1].annotate(
                dot.note,
                (1.02, place),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=6.5,
                annotation_clip=False,
            )
        place += 1
    _frame(figure, axes, ticks, table, set(groups))
    return figure


def _groups(table: "Table") -> dict[str, list[_Dot]]:
    found: dict[str, list[_Dot]] = {}
    for row in table.rows:
        chosen = row.protocol["selection"] != "plain"
        title = f"here: {row.protocol['samples']} " + ("chosen" if chosen else "plain draws")
        found.setdefault(title, []).append(_ours(row))
    samples = max(row.protocol["samples"] for row in table.rows)
    for kind in ("measured", "published"):
        alike = [peer for peer in table.peers if (peer.kind, peer.samples) == (kind, samples)]
        some = [_theirs(peer, list(table.folds), table.partial) for peer in alike]
        if some:
            found[f"others, {kind} (not ranked with ours)"] = some
    return found


def _ours(row: Row) -> _Dot:
    steps = "" if row.floor else f", {row.protocol['steps']} step(s)"
    steps += " (a set)" if row.fixed else ""
    return _Dot(
        label=f"{'floor ' if row.floor else ''}{row.label}{steps}",
        color=FLOOR if row.floor else OURS,
        mean={name: spread.mean for name, spread in row.scores.items()},
        ends=row.intervals,
        folds=[fold["mean"] for fold in row.folds.values()],
        note=f"{row.facts['seeds']} seed(s)" if row.scores else "not all folds yet",
    )


def _theirs(peer: Peer, folds: Sequence[str], partial: bool) -> _Dot:
    """Of the folds that are known of ours too; a mean of others shows nothing of these alone."""
    cut = len(peer.difference) > WIDEST
    each = [peer.scores(fold) for fold in (folds if partial else peer.folds)]
    shared = [name for name in PANELS if all(name in scores for scores in each)]
    means = {name: float(np.mean([scores[name] for scores in each])) for name in shared}
    return _Dot(
        label=peer.method,
        color=OTHERS,
        mean=means if partial else peer.mean,
        folds=each,
        note=peer.difference[: WIDEST - 1] + "…" if cut else peer.difference,
    )


def _draw(panel: Axes, place: int, dot: _Dot, name: str) -> None:
    each = [fold[name] for fold in dot.folds if name in fold]
    panel.plot(each, [place] * len(each), ".", color=FAINT, ms=3)
    if name in dot.ends:
        panel.plot(dot.ends[name], [place, place], color=dot.color, lw=2.5, alpha=0.5)
    if name in dot.mean:
        panel.plot(dot.mean[name], place, "o", color=dot.color, ms=4)


def _frame(
    figure: Figure,
    axes: Sequence[Axes],
    ticks: Sequence[tuple[int, str]],
    table: "Table",
    titles: set[str],
) -> None:
    places, labels = zip(*ticks, strict=True)
    unit = table.rows[0].protocol["unit"]
    for panel, title in zip(axes, PANELS.values(), strict=True):
        panel.set_xlabel(f"{title} ({unit})")
        panel.grid(axis="x", color="#e5e7eb")
        panel.set_axisbelow(True)
        panel.set_xlim(0, None)
        panel.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(places, labels, fontsize=7.5)
    for tick in axes[0].get_yticklabels():
        if tick.get_text() in titles:
            tick.set_fontweight("bold")
    axes[0].invert_yaxis()
    over = f"of {', '.join(table.folds)} only" if table.partial else "of all folds"
    figure.suptitle(
        f"{table.recipe.title}: mean {over} (grey: each fold; bar: 95 % of people)", fontsize=10
    )
