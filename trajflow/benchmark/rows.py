"""Reports of trials gathered into rows: one forecaster under one protocol, over folds and seeds."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from trajflow.benchmark.commands import command_of
from trajflow.benchmark.plan import Plan
from trajflow.evaluation.report import reports_in
from trajflow.statistics import seed_width, widened

Report = Mapping[str, Any]
Means = Callable[[Report], Mapping[str, Any]]
SAME = ("samples", "draws", "selection", "joint", "steps", "clocks")
SHARED = ("benchmark", "data", "fingerprint", "split", "history", "horizon", "stride", "unit")


@dataclass(frozen=True)
class Spread:
    """A score over the seeds: its mean, the least and the most, and the value of each seed."""

    mean: float
    least: float
    most: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of one value per seed."""
        ends = float(np.min(values)), float(np.max(values))
        return cls(float(np.mean(values)), *ends, tuple(map(float, values)))


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        method: The preset or the floor.
        floor: Whether it is a floor.
        protocol: What was asked, and how; rows with another protocol are not ranked with it.
        folds: Of each fold the windows, the people, and the mean of each score over the seeds.
        scores: Mean over the folds of each score; empty where no seed has all folds.
        intervals: Ends of the 95 % interval of each of these means, over people and, where there
            are several, over seeds.
        people: People of each fold and group with their mean energy score over the seeds; empty
            where reports of earlier versions do not tell.
        facts: Seeds, seconds, machine and the command that makes the row again.
    """

    method: str
    floor: bool
    protocol: dict[str, Any]
    folds: dict[str, dict[str, Any]]
    scores: dict[str, Spread] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    people: dict[str, dict[str, list[Any]]] = field(default_factory=dict)

    @property
    def window_mean(self) -> dict[str, float]:
        """Mean of each score over all windows of the folds, every window weighing the same."""
        folds = list(self.folds.values())
        windows = [fold["windows"] for fold in folds]
        names = [name for name in self.scores if all(name in fold["window_mean"] for fold in folds)]
        return {
            name: float(np.average([fold["window_mean"][name] for fold in folds], weights=windows))
            for name in names
        }

    @property
    def label(self) -> str:
        """What it is called in a table."""
        chosen, draws = self.protocol["selection"], self.protocol["draws"]
        many = f" of {draws}" if draws > self.protocol["samples"] else ""
        told = " told clocks" if self.protocol["clocks"] else ""
        return f"{self.method}{told}" + ("" if chosen == "plain" else f" {chosen}{many}")

    @property
    def fixed(self) -> bool:
        """Whether plain draws were asked for and another seed gives the same ones."""
        return bool(self.facts["set_regressor"]) and self.protocol["selection"] == "plain"

    def to_json(self) -> dict[str, Any]:
        """The row in the shape of a report, so that `trajflow compare` reads it."""
        return {
            "name": f"{self.label} ({self.facts['seeds']} seed(s))",
            "label": self.label,
            "method": self.method,
            "floor": self.floor,
            "protocol": self.protocol,
            **{name: self.protocol[name] for name in SAME},
            "windows": sum(fold["windows"] for fold in self.folds.values()),
            "people": sum(fold["people"] for fold in self.folds.values()),
            "mean": {name: spread.mean for name, spread in self.scores.items()},
            "window_mean": self.window_mean,
            "seed_means": {name: list(spread.values) for name, spread in self.scores.items()},
            "seeds_range": {name: [s.least, s.most] for name, s in self.scores.items()},
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "folds": self.folds,
            "per_person": self.people,
            **self.facts,
        }


def rows_of(plan: Plan, results: Path) -> list[Row]:
    """A row for each forecaster and protocol that has a report, in the order of the plan."""
    groups: dict[tuple[Any, ...], list[Report]] = {}
    for trial in plan.trials:
        for report in reports_in(trial.folder(results)):
            key = (trial.method, trial.floor, *(report[name] for name in SAME))
            groups.setdefault(key, []).append(report)
    return [_row(plan, reports) for reports in groups.values()]


def _row(plan: Plan, reports: Sequence[Report]) -> Row:
    first = reports[0]
    trial = first["trial"]
    expected = [t.fold for t in plan.trials if t.method == trial["method"]]
    folds = list(dict.fromkeys(expected))
    seeds = {r["trial"]["seed"] for r in reports}
    whole = [
        {r["trial"]["fold"]: r for r in reports if r["trial"]["seed"] == seed} for seed in seeds
    ]
    whole = [one for one in whole if set(one) == set(folds)]
    each = {fold: [r for r in reports if r["trial"]["fold"] == fold] for fold in folds}
    found = {fold: _fold(some) for fold, some in each.items() if some}
    scores = _scores(whole)
    return Row(
        method=trial["method"],
        floor=trial["floor"],
        protocol=_protocol(first, each),
        folds=found,
        scores=scores,
        intervals=_intervals([_fold(some, seeds=False) for some in each.values() if some], scores),
        people=_people(whole),
        facts={
            "seeds": len(whole),
            "missing_folds": [fold for fold in folds if fold not in found],
            "milliseconds_per_agent": 1e3 * _median(r["seconds_per_forecast"] for r in reports),
            "training_seconds": sum(_seconds(reports)),
            "evaluation_seconds": sum(r["evaluation_seconds"] for r in reports),
            "set_regressor": any(r["set_regressor"] for r in reports),
            "energy_score_kind": first.get("energy_score_kind", "draws"),
            **({"coverage_kind": first["coverage_kind"]} if "coverage_kind" in first else {}),
            "machine": first["machine"],
            "command": command_of(plan, trial["method"], first),
        },
    )


def _protocol(first: Report, each: Mapping[str, Sequence[Report]]) -> dict[str, Any]:
    asked = first["protocol"]
    hashes = {fold: some[0]["protocol"]["hash"] for fold, some in each.items() if some}
    return {
        **{name: asked[name] for name in SHARED},
        **{name: first[name] for name in SAME},
        "fold": "each of " + ", ".join(each) if len(each) > 1 else asked["fold"],
        "hash": hashes if len(each) > 1 else asked["hash"],
        "selected_on": asked["selected_on"],
        "validation": asked["validation"],
        "miss": first["miss"],
        "collide": first["collide"],
        "resamples": first["resamples"],
    }


def _fold(reports: Sequence[Report], seeds: bool = True) -> dict[str, Any]:
    """What reports of several seeds say of a fold; intervals with the seeds' own, or of people."""
    first = reports[0]
    means = {name: [r["mean"][name] for r in reports] for name in _names(reports)}
    ends = {
        name: widened(
            float(np.mean([r["intervals"][name][0] for r in reports])),
            float(np.mean(some)),
            float(np.mean([r["intervals"][name][1] for r in reports])),
            seed_width(some) if seeds else 0.0,
        )
        for name, some in means.items()
        if all(None not in r["intervals"][name] for r in reports)
    }
    known = _names(reports, _window_mean)
    return {
        "windows": first["windows"],
        "people": first["people"],
        "mean": {name: float(np.mean(some)) for name, some in means.items()},
        "window_mean": {n: float(np.mean([_window_mean(r)[n] for r in reports])) for n in known},
        "intervals": {name: list(two) for name, two in ends.items()},
        "seeds": [r["trial"]["seed"] for r in reports],
    }


def _window_mean(report: Report) -> Mapping[str, Any]:
    """The means over windows; those of earlier reports are known where there is one group."""
    alone = len(report["scenes"]) == 1
    found: Mapping[str, Any] = report.get("window_mean") or (report["mean"] if alone else {})
    return found


def _names(reports: Sequence[Report], means: Means = itemgetter("mean")) -> list[str]:
    """Scores that all reports have a number for."""
    first, *rest = map(means, reports)
    return [
        n for n, v in first.items() if v is not None and all(r.get(n) is not None for r in rest)
    ]


def _scores(whole: Sequence[Mapping[str, Report]]) -> dict[str, Spread]:
    if not whole:
        return {}
    names = _names([report for one in whole for report in one.values()])
    return {
        name: Spread.of([float(np.mean([r["mean"][name] for r in one.values()])) for one in whole])
        for name in names
    }


def _intervals(
    folds: Sequence[Mapping[str, Any]], scores: Mapping[str, Spread]
) -> dict[str, tuple[float, float]]:
    """Intervals of means over folds, whose people are others, from the intervals of each.

    What the choice of seeds adds is taken from the means over the folds under each seed: the
    people are the same for all seeds, so these differ by the seeds alone.

    Source: Zou and Donner 2008, "Construction of confidence limits about effect measures", eq. 2:
    the distances of the ends to the mean add up in squares.
    """
    found = {}
    for name, spread in scores.items():
        if all(name in fold["intervals"] for fold in folds):
            mean = np.array([fold["mean"][name] for fold in folds])
            low, high = np.array([fold["intervals"][name] for fold in folds]).T
            down, up = (np.sqrt(np.square(end - mean).sum()) / len(mean) for end in (low, high))
            ends = spread.mean - down, spread.mean, spread.mean + up
            found[name] = widened(*ends, seed_width(spread.values))
    return found


def _people(whole: Sequence[Mapping[str, Report]]) -> dict[str, dict[str, list[Any]]]:
    """The people of all folds and groups, with their mean energy scores over the seeds."""
    reports = [report for one in whole for report in one.values()]
    if not reports or not all(report.get("per_person") for report in reports):
        return {}
    found = {}
    for fold in whole[0]:
        for group, first in whole[0][fold]["per_person"].items():
            some = [one[fold]["per_person"][group]["energy_score"] for one in whole]
            name = group if len(whole[0][fold]["per_person"]) == 1 else f"{fold}: {group}"
            mean = [float(f"{value:.7g}") for value in np.mean(some, 0)]
            found[name] = {**first, "energy_score": mean}
    return found


def _seconds(reports: Sequence[Report]) -> Iterable[float]:
    for report in reports:
        yield float(report["training"].get("seconds", 0.0))


def _median(values: Iterable[float]) -> float:
    return float(np.median(list(values)))
