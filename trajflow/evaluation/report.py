"""The report of an evaluation as values, as JSON, and as files in run folders."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trajflow.errors import RunError
from trajflow.evaluation.scores import RATIO, EvaluationOptions
from trajflow.runs import RunFolder
from trajflow.statistics import People
from trajflow.text import file_name, with_unit

PREFIX = "evaluation-"
TABLE, PEOPLE = "table.json", "people.json"
COVERAGES = ("coverage_50", "coverage_90")
# Below this sensitivity to the seed, samples count as a fixed set of paths.
FIXED = 0.1


@dataclass(frozen=True)
class GroupScore:
    """Scores of a group of recordings.

    Attributes:
        windows: Number of forecasts; each is of one agent at one moment.
        people: Number of agents. Windows of an agent overlap, so agents are the independent units.
        means: Mean of each score.
        intervals: Ends of its 95 % interval by bootstrap over people.
    """

    windows: int
    people: int
    means: dict[str, float]
    intervals: dict[str, tuple[float, float]]

    def to_json(self) -> dict[str, Any]:
        """The scores as values that JSON can hold; None in place of NaN and infinity."""
        ends = {name: [_number(end) for end in two] for name, two in self.intervals.items()}
        counts = {"windows": self.windows, "people": self.people}
        return {**counts, **_numbers(self.means), "intervals": ends}


@dataclass(frozen=True)
class Report:
    """Scores of a forecaster, and how it was evaluated.

    Attributes:
        options: How it was evaluated.
        scenes: Scores of each group of recordings.
        overall: Mean over the groups, not over windows.
        seconds_per_batch: Median time to forecast a batch.
        seconds_per_forecast: Median time to draw all samples of one agent, in a batch.
        sample_sensitivity: How much the samples depend on the seed; see `sample_sensitivity`.
        by_motion: Scores of agents that stood and of agents that moved, if `options.standing` is
            set.
        by_type: Scores of the agents of each type, if there are several; means over the groups
            that have some.
        people: People of each group with the sums of their energy scores, for paired comparisons.
    """

    options: EvaluationOptions
    scenes: dict[str, GroupScore]
    overall: GroupScore
    seconds_per_batch: float
    seconds_per_forecast: float
    sample_sensitivity: float
    by_motion: Mapping[str, GroupScore] = field(default_factory=dict)
    by_type: Mapping[str, GroupScore] = field(default_factory=dict)
    people: Mapping[str, People] = field(default_factory=dict)

    @property
    def mean(self) -> dict[str, float]:
        """Mean of each score over the groups; every group weighs the same."""
        return self.overall.means

    @property
    def window_mean(self) -> dict[str, float]:
        """Mean of each score over all windows."""
        groups = self.scenes.values()
        windows = np.array([score.windows for score in groups], float)
        result = {
            name: float(np.average([score.means[name] for score in groups], weights=windows))
            for name in self.mean
        }
        if RATIO in result:
            width, error = result["spread"], result["mean_ade"]
            result[RATIO] = width / error if error > 0 else math.nan
        return result

    @property
    def set_regressor(self) -> bool:
        """Whether the samples are a fixed set of paths; coverage and spread mean nothing then."""
        return self.sample_sensitivity < FIXED

    @property
    def energy_score_kind(self) -> str:
        """How the energy score is estimated.

        "draws": without bias, from pairs of different draws; "weighted": of the weighted samples.
        """
        return "draws" if self.options.selection == "plain" else "weighted"

    @property
    def coverage_kind(self) -> str:
        """How coverage is measured: by the "rank" of the truth among draws, or "weighted"."""
        return "rank" if self.options.selection == "plain" else "weighted"

    def to_json(self) -> dict[str, Any]:
        """The report as values that JSON can hold."""
        options, overall = self.options, self.overall.to_json()
        heads = {key: overall.pop(key) for key in ("windows", "people", "intervals")}
        return {
            **heads,
            **{k: v for k, v in asdict(options).items() if k not in ("split", "fold")},
            "draws": options.draws or options.samples,
            "energy_score_kind": self.energy_score_kind,
            "coverage_kind": self.coverage_kind,
            "scenes": {name: score.to_json() for name, score in self.scenes.items()},
            "mean": overall,
            "window_mean": _numbers(self.window_mean),
            "by_motion": {name: score.to_json() for name, score in self.by_motion.items()},
            "by_type": {name: score.to_json() for name, score in self.by_type.items()},
            "seconds_per_batch": self.seconds_per_batch,
            "seconds_per_forecast": self.seconds_per_forecast,
            "sample_sensitivity": self.sample_sensitivity,
            "set_regressor": self.set_regressor,
            "per_person": {name: _per_person(people) for name, people in self.people.items()},
        }


def _per_person(people: People) -> dict[str, list[Any]]:
    """Agents, their windows and their mean energy score, to seven digits."""
    means = people.sums[:, 0] / people.windows
    return {
        "agent": people.agent.tolist(),
        "windows": people.windows.tolist(),
        "energy_score": [float(f"{mean:.7g}") for mean in means],
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in values.items()}


def report_name(where: Mapping[str, Any], terms: Mapping[str, Any]) -> str:
    """Name of the file of a report; a report with the same protocol and options replaces it.

    Args:
        where: "split", "fold", "fingerprint" and possibly "watched" of the protocol.
        terms: "samples", "steps", "selection", "draws", "clocks" and "min_agents" of the report.
    """
    fold = where["fold"]
    if fold and "/" in fold:  # other names stay as they are, so that old reports are found
        fold = file_name(fold)
    parts = [where["split"], fold, where["fingerprint"][:8]]
    name = "-".join(str(part) for part in parts if part)
    chosen = terms.get("selection") or "plain"
    kind = "" if chosen == "plain" else f"-{chosen}-of-{terms['draws']}"
    watched = where.get("watched")
    kind += "" if not watched else "-watched" if watched == "yes" else "-earlier-paths"
    if (least := terms.get("min_agents") or 1) > 1:
        kind += f"-of-{least}-agents"
    if clocks := terms.get("clocks"):
        kind += f"-clocks-{hashlib.sha256(clocks.encode()).hexdigest()[:8]}"
    return f"{PREFIX}{name}-{terms['samples']}x{terms['steps']}{kind}.json"


def threshold_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The distances of a miss and of a collision in words, and why they are so."""
    reasons = report.get("protocol", {}).get("thresholds") or {}
    for option, plural, side in (("miss", "misses", "beyond"), ("collide", "collisions", "below")):
        if option in reasons and report[option] is None:
            yield f"{plural} are left out: {reasons[option]}"
        elif option in reasons:
            bound = with_unit(report[option], report["protocol"]["unit"])
            yield f"{plural} are {side} {bound}: {reasons[option]}"


def read_report(path: Path) -> dict[str, Any]:
    """Read a report.

    Raises:
        RunError: The file is not a report.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        report["mean"].items(), report["protocol"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise RunError(f"{path} is not a report of `trajflow evaluate --json`") from None
    defaults = {"clocks": "", "min_agents": 1, "earlier_paths": False}
    return without_old_coverage(defaults | report)


def without_old_coverage(report: dict[str, Any]) -> dict[str, Any]:
    """Remove the coverage of plain draws from reports of earlier versions.

    They compared the truth with the mean of the samples without correcting that samples are nearer
    to their own mean, and found too little (.837 for a perfect forecaster, 20 samples, level .9).
    """
    if "coverage_kind" in report or (report.get("selection") or "plain") != "plain":
        return report
    rest = {name: value for name, value in report["mean"].items() if name not in COVERAGES}
    return {**report, "mean": rest}


@lru_cache(4096)
def _is_current(path: Path, when: int) -> bool:
    return b'"coverage_kind"' in path.read_bytes()


def is_current(path: Path) -> bool:
    """Whether a report exists and was made with the current definition of coverage."""
    try:
        return _is_current(path, path.stat().st_mtime_ns)
    except OSError:
        return False


def reports_in(folder: Path) -> list[dict[str, Any]]:
    """All reports in a folder, plain draws and few steps first."""
    result = [read_report(file) for file in sorted(folder.glob(f"{PREFIX}*.json"))]
    return sorted(result, key=_order)


def _order(report: Mapping[str, Any]) -> tuple[Any, ...]:
    kind, steps = report.get("selection") or "plain", int(report.get("steps") or 1)
    protocol = (report["clocks"], report["min_agents"], report["earlier_paths"])
    return *protocol, kind != "plain", kind, steps


def best_validation(folder: RunFolder) -> dict[str, Any]:
    """The event of the validation whose weights are kept; empty if there is none."""
    best: dict[str, Any] = {}
    for event in folder.events():
        if event["event"] == "evaluated" and event["best"]:
            best = event
        elif event["event"] in ("temperature", "tempered") and best:
            best = best | {"metrics": event["metrics"], "temperature": event["temperature"]}
    return best


def write_report(folder: RunFolder, report: dict[str, Any]) -> None:
    """Write a report to its run folder."""
    name = report_name(report["protocol"], report)
    folder.write(name, json.dumps(report, indent=2).encode())


def results_of(path: Path) -> list[dict[str, Any]]:
    """Results of a run folder, of a results folder of a benchmark, or of a report file.

    A run that was not evaluated gives its best validation.

    Raises:
        RunError: The path is none of these.
    """
    if path.is_file() and path.suffix == ".json" and path.name != TABLE:
        return [read_report(path)]
    table = path / TABLE if path.is_dir() else path
    if table.name == TABLE and table.is_file():
        return _rows(table)
    folder = RunFolder.open(path)
    return reports_in(folder.path) or [_validation(folder)]


def _rows(table: Path) -> list[dict[str, Any]]:
    """The complete rows of a benchmark."""
    try:
        rows = json.loads(table.read_text(encoding="utf-8"))["rows"]
        people = _people(table.with_name(PEOPLE), len(rows))
        whole = [{**row, "per_person": p} for row, p in zip(rows, people, strict=True)]
        return [without_old_coverage(row) for row in whole if row["mean"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(f"{table} is not a table of a benchmark (examples/benchmarks)") from None


def _people(path: Path, rows: int) -> list[Any]:
    """Scores of people of each row; empty if the file is missing."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        result = None
    return result if isinstance(result, list) and len(result) == rows else [{}] * rows


def _validation(folder: RunFolder) -> dict[str, Any]:
    best = best_validation(folder)
    if not best:
        raise RunError(f"{folder.path} has not validated once; there is nothing to compare")
    config, record = folder.config, folder.read_record()
    shape = {name: getattr(config.data, name) for name in ("fold", "history", "horizon", "stride")}
    made = {"fingerprint": record.get("store"), "hash": record.get("hash")}
    return {
        "name": str(folder.path),
        "protocol": {"split": "val (in training)", **shape, **made},
        "samples": config.train.samples,
        "joint": config.model.joint,
        "steps": config.train.steps or 1,
        "mean": best["metrics"],
    }
