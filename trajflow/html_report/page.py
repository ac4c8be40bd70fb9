"""The sections of a report as HTML. Names from data are escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from trajflow import __version__
from trajflow.config import Config
from trajflow.datasets.store import Store
from trajflow.evaluation.report import threshold_lines
from trajflow.ood.report import by_hidden_cost, cost, flagged_share, hidden_summary

COLUMNS = {
    "energy_score": "energy score",
    "min_ade": "minADE",
    "min_fde": "minFDE",
    "mean_ade": "mean ADE",
    "miss_rate": "miss rate",
    "coverage_50": "coverage@50",
    "coverage_90": "coverage@90",
    "spread_ratio": "spread ratio",
}
SHARES = {"miss_rate", "coverage_50", "coverage_90"}
WITH_INTERVAL = {"energy_score", "min_ade", "min_fde", "coverage_90"}


def head(name: str, config: Config, store: Store, report: Mapping[str, Any]) -> str:
    """Title, and what was evaluated."""
    data, steps = config.data, report["steps"]
    fold = f", fold {data.fold}" if data.fold else ""
    text = (
        f"{store.path.name}, {report['protocol']['split']} split{fold}: {report['windows']} windows"
        f" of {report['people']} agents; {data.history} past and {data.horizon} future steps of "
        f"{store.dt:g} s, in {store.unit or 'no unit'}. {report['samples']} samples in {steps} "
        f"network evaluation{'s' if steps > 1 else ''}, seed {report['seed']}. Preset "
        f"{config.flow.preset}, encoder {config.model.encoder}. Data {store.fingerprint()[:12]}, "
        f"trajflow {__version__}."
    )
    return f"<h1>{escape(name)}</h1><p class=soft>{escape(text)}</p>"


def scores(evaluations: Sequence[Mapping[str, Any]], run: str, name: str, unit: str) -> str:
    """Table of the run among its baselines, lowest energy score first."""
    rows, best = [], str(evaluations[0]["name"])
    for report in evaluations:
        own = report["name"] == run
        label = name if own else f"{report['name']} (baseline)"
        cells = [escape(label), *(_score(report, key) for key in COLUMNS)]
        rows.append((cells, "run" if own else ""))
    words = "The run has the lowest energy score."
    if best != run:
        words = (
            f"<span class=bad>The baseline {escape(best)} has a lower energy score than the run."
            "</span> Train for more updates, or try other settings: <code>trajflow train "
            "--help-config</code> lists them."
        )
    missed = escape(next(threshold_lines(evaluations[0]), "")).capitalize()
    note = (
        f"Distances in {escape(unit or 'the unit of the data')}; lower is better, and coverage "
        "should equal its level. Small: the 95 % interval by bootstrap over agents. Each "
        f"recording weighs the same. {f'{missed}.' if missed else ''}"
    )
    table = _table(["", *COLUMNS.values()], rows)
    return f"<h2>Scores</h2><p>{words}</p>{table}<p class=soft>{note}</p>"


def _score(report: Mapping[str, Any], key: str) -> str:
    value, ends = report["mean"].get(key), report["intervals"].get(key)
    show = _percent if key in SHARES else digits
    if key not in WITH_INTERVAL or not ends or None in ends:
        return show(value)
    return f"{show(value)} <small>{show(ends[0])} to {show(ends[1])}</small>"


def charts(windows: int, agents: int, detector: bool) -> str:
    """Placeholders of the charts of reliability and retention."""
    kept = (
        "Mean error of the forecasts with the lowest OOD score or expected error, both of which "
        "are known before the future. Sorting by the error itself is the best possible."
        if detector
        else "The run has no OOD detector; <code>trajflow fit RUN DATA ood</code> fits one."
    )
    return (
        "<h2>Calibration and selective forecasting</h2>"
        f"<p class=soft>Of {windows} windows of {agents} agents, spread evenly over the split.</p>"
        "<div class=charts><figure id=reliability><figcaption>Share of the true positions inside "
        "prediction regions; each agent counts once. Calibrated regions lie on the dashed line."
        f"</figcaption></figure><figure id=retention><figcaption>{kept}</figcaption>"
        "</figure></div>"
    )


def out_of_distribution(report: Mapping[str, Any] | None, run: str, store: Store) -> str:
    """Table of the corruptions, highest hidden cost first."""
    title = "<h2>Out of distribution</h2>"
    if report is None:
        command = escape(f"trajflow evaluate {run} {store.path} --ood")
        return f"{title}<p>No OOD report yet; <code>{command}</code> makes one.</p>"
    ordinary = report["ordinary"]
    accuracy = ordinary["accuracy"]
    note = (
        "Ordered by the rise of the energy score times the share of windows that are not flagged. "
        "A corruption hurts if its energy score is higher or its coverage@90 lower than that of "
        "undamaged windows and the 95 % intervals do not overlap. Flagged: the OOD score is above "
        f".95. Undamaged windows: energy score {digits(accuracy['energy_score']['value'])}, "
        f"coverage@90 {_percent(accuracy['coverage_90']['value'])}."
    )
    names = ["corruption", "energy score", "flagged", "coverage@90", "AUROC", "what it is"]
    rows = [(_corruption(corruption, ordinary), "") for corruption in by_hidden_cost(report)]
    table = _table(names, rows, "ood")
    return f"{title}<p>{hidden_summary(report)}.</p>{table}<p class=soft>{note}</p>"


def _corruption(corruption: Mapping[str, Any], ordinary: Mapping[str, Any]) -> list[str]:
    rise = cost(corruption, ordinary)
    change = "-" if math.isnan(rise) else f"{rise:+.0%}"
    return [
        escape(f"{corruption['name']} {corruption['level']}".strip()),
        f"{rise + 1:.0f} times" if rise > 9 else change,
        _percent(flagged_share(corruption)),
        _percent(corruption["accuracy"]["coverage_90"]["value"]),
        digits(corruption["detection"]["ood_score"]["auroc"]["value"]),
        escape(corruption["what"]),
    ]


def maps(dims: int) -> str:
    """Placeholders of the maps."""
    flat = "" if dims == 2 else ". The first two of three coordinates are drawn."
    colors = {"past": "past", "truth": "true future", "draw": "samples", "other": "neighbors"}
    keys = "".join(
        f"<span class=key style='background:var(--{color})'></span>{words}"
        for color, words in colors.items()
    )
    names = ("agent", "minADE", "minFDE", "energy score", "OOD score", "why")
    return (
        "<h2>Windows</h2><div id=tabs role=tablist></div><div id=list></div>"
        "<p id=about class=soft></p><canvas id=map></canvas>"
        "<div id=controls><button id=play>Play</button>"
        "<input id=slider type=range min=0 value=0 aria-label='time of the window'>"
        f"<span id=time></span></div><p class=soft>{keys}{flat}</p>"
        f"<div class=scroll><table class=ood><thead><tr>{_cells(names, 'th')}</tr></thead>"
        "<tbody id=agents></tbody></table></div>"
    )


def _table(names: Sequence[str], rows: Sequence[tuple[Sequence[str], str]], kind: str = "") -> str:
    """A table from cells in HTML and the class of each row."""
    lines = "".join(f"<tr class='{row}'>{_cells(cells, 'td')}</tr>" for cells, row in rows)
    return (
        f"<div class=scroll><table class='{kind}'><thead><tr>{_cells(names, 'th')}</tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )


def _cells(cells: Sequence[str], tag: str) -> str:
    return "".join(f"<{tag}>{cell}</{tag}>" for cell in cells)


def digits(value: float | None) -> str:
    """Three significant digits."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.0f} %"
