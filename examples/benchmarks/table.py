"""The table of a benchmark: collects reports into rows, and writes the table files.

A row is one forecaster under one protocol, over folds and seeds. It has the format of a report, so
`trajflow compare` can read table.json.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from plan import Benchmark, Plan, Trial, command_of, settings_of
from table_plot import plot_table
from table_text import TERMS, to_csv, to_markdown

from trajflow import __version__
from trajflow.evaluation.report import reports_in
from trajflow.io import write_whole
from trajflow.statistics import seed_width, widened

Report = Mapping[str, Any]
Results = Sequence[tuple[Trial, Report]]
"""Trials of one row, with their reports."""
KINDS = ("energy_score_kind", "coverage_kind")
"""Report keys that name the definitions of the scores."""


def peers(benchmark: str) -> list[dict[str, Any]]:
    """Results of other methods on a benchmark, in the order of peers.toml."""
    text = Path(__file__).with_name("peers.toml").read_text(encoding="utf-8")
    rows = [{"folds": {}, "energy": {}} | row for row in tomllib.loads(text)["peer"]]
    return [row for row in rows if row["benchmark"] == benchmark]


def make_table(
    benchmark: Benchmark,
    plan: Plan,
    results: Path,
    missing: Sequence[str] = (),
    failed: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """All rows and facts of the table, as JSON values.

    Args:
        benchmark: The benchmark.
        plan: The plan.
        results: Results folder.
        missing: Names of unfinished trials.
        failed: Reasons of failures, by trial.
    """
    rows = make_rows(benchmark, plan, results)
    counted = {
        name: {"windows": fold["windows"], "people": fold["people"]}
        for row in sorted(rows, key=lambda row: -row["min_agents"])  # all moments last
        for name, fold in row["folds"].items()
    }
    trained = [trial for trial in plan.trials if not trial.baseline]
    return {
        "benchmark": benchmark.name,
        "title": benchmark.title,
        "note": benchmark.note,
        "trajflow": __version__,
        "data": plan.data,
        "fingerprint": plan.fingerprint,
        "folds": {n: fold | {"field": benchmark.windows.get(n)} for n, fold in counted.items()},
        "partial": set(counted) != set(benchmark.windows),
        "settings": settings_of(trained[0]) if trained else {},
        "rows": rows,
        "missing": list(missing),
        "failed": dict(failed or {}),
        "peers": peers(benchmark.name),
    }


def write_table(table: Mapping[str, Any], results: Path) -> list[Path]:
    """Write table.json, .csv, .md and .png, and people.json for paired comparisons of rows."""
    people = [row["per_person"] for row in table["rows"]]
    rows = [{k: v for k, v in row.items() if k != "per_person"} for row in table["rows"]]
    texts = {
        "people.json": json.dumps(people, separators=(",", ":")),
        "table.json": json.dumps({**table, "rows": rows}, indent=1),
        "table.csv": to_csv(table),
        "table.md": to_markdown(table),
    }
    for name, text in texts.items():
        write_whole(results / name, text.encode())
    if rows:
        plot_table(table).savefig(results / "table.png", dpi=130)
    return [results / name for name in (*list(texts)[1:], *(["table.png"] if rows else []))]


def make_rows(benchmark: Benchmark, plan: Plan, results: Path) -> list[dict[str, Any]]:
    """A row for each forecaster and protocol with a report, in the order of the plan."""
    groups: dict[tuple[Any, ...], list[tuple[Trial, Report]]] = {}
    for trial in plan.trials:
        for report in reports_in(trial.folder(results)):
            if "trial" not in report:
                continue  # of `trajflow evaluate`; `Session.missing` says that ours is not there
            key = (trial.method, *(report[name] for name in TERMS))
            groups.setdefault(key, []).append((trial, report))
    return [_row(benchmark, plan, group) for group in groups.values()]


def _row(benchmark: Benchmark, plan: Plan, results: Results) -> dict[str, Any]:
    trial, first = results[0]
    folds = list(dict.fromkeys(t.fold for t in plan.trials if t.method == trial.method))
    by_seed: dict[int, dict[str, Report]] = {}
    by_fold: dict[str, list[Report]] = {}
    for one, report in results:
        by_seed.setdefault(one.seed, {})[one.fold] = report
        by_fold.setdefault(one.fold, []).append(report)
    complete = [by_seed[seed] for seed in sorted(by_seed) if set(by_seed[seed]) == set(folds)]
    by_fold_means = {fold: _fold(by_fold[fold]) for fold in folds if fold in by_fold}
    seeds = _seed_means(complete)
    reports = [report for _, report in results]
    milliseconds = [1e3 * report["seconds_per_forecast"] for report in reports]
    label = _label(trial.method, first)
    return {
        "name": f"{label} ({len(complete)} seed(s))",
        "label": label,
        "method": trial.method,
        "baseline": trial.baseline,
        "protocol": _protocol(first, folds, by_fold),
        **{name: first[name] for name in TERMS},
        "windows": sum(fold["windows"] for fold in by_fold_means.values()),
        "people": sum(fold["people"] for fold in by_fold_means.values()),
        "mean": {name: float(np.mean(values)) for name, values in seeds.items()},
        "window_mean": _over_windows(by_fold_means, seeds),
        "seed_means": seeds,
        "intervals": mean_intervals(list(by_fold_means.values()), seeds),
        "folds": by_fold_means,
        "per_person": _people(complete),
        "seeds": len(complete),
        "milliseconds_per_agent": float(np.median(milliseconds)),
        "training_seconds": sum(float(r["training"].get("seconds", 0)) for r in reports),
        "evaluation_seconds": sum(r["evaluation_seconds"] for r in reports),
        "set_regressor": any(r["set_regressor"] for r in reports),
        **{kind: first[kind] for kind in KINDS if kind in first},
        "machine": first["machine"],
        "command": command_of(benchmark, plan, trial.method, first),
    }


def _label(method: str, report: Report) -> str:
    clocks = " real time steps" if report["clocks"] else ""
    draws = f" of {report['draws']}" if report["draws"] > report["samples"] else ""
    rule = "" if report["selection"] == "plain" else f" {report['selection']}{draws}"
    paths = " with earlier paths" if report["earlier_paths"] else ""
    least = report["min_agents"]
    few = f" moments of {least} agents or more" if least > 1 else ""
    return f"{method}{clocks}{rule}{paths}{few}"


def _protocol(
    first: Report, folds: Sequence[str], by_fold: Mapping[str, Sequence[Report]]
) -> dict[str, Any]:
    """The protocol of the first report, with the values that differ by fold."""
    shared = {k: v for k, v in first["protocol"].items() if k not in ("parts", "leakage")}
    shared |= {name: first[name] for name in (*TERMS, "miss", "collide", "resamples")}
    if len(folds) == 1:
        return shared
    hashes = {fold: reports[0]["protocol"]["hash"] for fold, reports in by_fold.items()}
    return {**shared, "fold": "each of " + ", ".join(folds), "hash": hashes}


def _fold(reports: Sequence[Report]) -> dict[str, Any]:
    """Means of a fold over the seeds, and their intervals over people."""

    def means(key: str) -> dict[str, float]:
        scores = [report.get(key, {}) for report in reports]
        return {n: float(np.mean([s[n] for s in scores])) for n in _shared(scores)}

    intervals = [report["intervals"] for report in reports]
    names = [name for name in means("mean") if all(None not in one[name] for one in intervals)]
    return {
        **{name: reports[0][name] for name in ("windows", "people")},
        "mean": means("mean"),
        "window_mean": means("window_mean"),
        "people_intervals": {n: np.mean([one[n] for one in intervals], 0).tolist() for n in names},
        "seeds": [report["trial"]["seed"] for report in reports],
    }


def _shared(means: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the scores that all means have."""
    return [name for name in means[0] if all(one.get(name) is not None for one in means)]


def _seed_means(complete: Sequence[Mapping[str, Report]]) -> dict[str, list[float]]:
    """Mean over the folds of each score, by seed; empty if no seed has all folds."""
    by_seed = [[report["mean"] for report in folds.values()] for folds in complete]
    names = _shared([mean for folds in by_seed for mean in folds]) if by_seed else []
    return {n: [float(np.mean([mean[n] for mean in folds])) for folds in by_seed] for n in names}


def mean_intervals(
    folds: Sequence[Mapping[str, Any]], seeds: Mapping[str, Sequence[float]]
) -> dict[str, list[float]]:
    """95 % intervals of means over folds of different people, with the variance of the seeds.

    The variance of the seeds is that of the means over the folds: all seeds have the same people.

    Args:
        folds: "mean" and "people_intervals" of each fold.
        seeds: Mean over the folds of each score, by seed.

    Source: Zou and Donner 2008, "Construction of confidence limits about effect measures", eq. 2:
    the squared distances between the limits and the mean add up.
    """
    intervals = {}
    for name, values in seeds.items():
        if all(name in fold["people_intervals"] for fold in folds):
            each = np.array([fold["mean"][name] for fold in folds])
            low, high = np.array([fold["people_intervals"][name] for fold in folds]).T
            down, up = (np.sqrt(np.square(end - each).sum()) / len(each) for end in (low, high))
            mean = float(np.mean(values))
            intervals[name] = list(widened(mean - down, mean, mean + up, seed_width(values)))
    return intervals


def _over_windows(folds: Mapping[str, Any], seeds: Mapping[str, Any]) -> dict[str, float]:
    """Mean of each score over all windows of the folds, with equal weights."""
    windows = [fold["windows"] for fold in folds.values()]
    each = [fold["window_mean"] for fold in folds.values()]
    names = [name for name in seeds if all(name in means for means in each)]
    return {n: float(np.average([means[n] for means in each], weights=windows)) for n in names}


def _people(complete: Sequence[Mapping[str, Report]]) -> dict[str, dict[str, list[Any]]]:
    """The people of all folds and groups, with their energy scores (means over the seeds)."""
    if not complete or not all(r.get("per_person") for one in complete for r in one.values()):
        return {}
    people = {}
    for fold, report in complete[0].items():
        for group, first in report["per_person"].items():
            scores = [one[fold]["per_person"][group]["energy_score"] for one in complete]
            name = group if len(report["per_person"]) == 1 else f"{fold}: {group}"
            mean = [float(f"{value:.7g}") for value in np.mean(scores, 0)]
            people[name] = {**first, "energy_score": mean}
    return people
