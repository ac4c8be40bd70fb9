"""The table of a benchmark as a picture."""

from collections.abc import Mapping
from textwrap import shorten
from typing import Any

from matplotlib.figure import Figure
from table_text import ERRORS

from trajflow.text import plain

PANELS = {"min_ade": "minADE", "min_fde": "minFDE", "energy_score": "energy score"}
MAX_NOTE = 76
"""Characters of the note about another method."""


def plot_table(table: Mapping[str, Any]) -> Figure:
    """Plot the mean of each row with its interval, folds as grey dots, and other methods below.

    Other methods are shown if they have as many samples, and the rows have all folds.
    """
    rows = table["rows"]
    lines = [_row_line(row) for row in rows]
    samples = 0 if table["partial"] else max(row["samples"] for row in rows)
    peers = [peer for peer in table["peers"] if peer["samples"] == samples]
    lines += map(_peer_line, sorted(peers, key=lambda peer: str(peer["kind"])))
    figure = Figure(figsize=(15, 1.3 + 0.21 * len(lines)), layout="constrained")
    axes = figure.subplots(1, len(PANELS), sharey=True)
    for panel, (name, title) in zip(axes, PANELS.items(), strict=True):
        for y, line in enumerate(lines):
            folds = [fold[name] for fold in line["folds"] if name in fold]
            panel.plot(folds, [y] * len(folds), ".", color="#9ca3af", ms=3)
            interval = line["intervals"].get(name, ())
            panel.plot(interval, [y] * len(interval), color=line["color"], lw=2.5, alpha=0.5)
            if name in line["mean"]:
                panel.plot(line["mean"][name], y, "o", color=line["color"], ms=4)
        panel.set_xlabel(f"{title} ({rows[0]['protocol']['unit']})")
        panel.grid(axis="x", color="#e5e7eb")
        panel.set_xlim(0, None)
    for y, line in enumerate(lines):
        axes[-1].annotate(
            line["note"],
            (1.02, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=6.5,
            annotation_clip=False,
        )
    axes[0].set_yticks(range(len(lines)), [line["label"] for line in lines], fontsize=7.5)
    axes[0].invert_yaxis()
    over = f"over {', '.join(table['folds'])} only" if table["partial"] else "over all folds"
    legend = f"mean {over} (grey: folds; bar: 95 % interval; black: other methods, not ranked)"
    figure.suptitle(plain(f"{table['title']}: {legend}"), fontsize=10)
    return figure


def _row_line(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "label": row["label"] if row["baseline"] else f"{row['label']}, {row['steps']} step(s)",
        "color": "#0f766e" if row["baseline"] else "#ea580c",
        "mean": row["mean"],
        "intervals": row["intervals"],
        "folds": [fold["mean"] for fold in row["folds"].values()],
        "note": f"{row['selection']}, {row['seeds']} seed(s)",
    }


def _peer_line(peer: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "label": peer["method"],
        "color": "black",
        "mean": peer["mean"],
        "intervals": {},
        "folds": [dict(zip(ERRORS, errors, strict=True)) for errors in peer["folds"].values()],
        "note": shorten(f"{peer['kind']}: {peer['difference']}", MAX_NOTE, placeholder="…"),
    }
