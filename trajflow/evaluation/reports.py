"""What is kept of how well runs forecast: reports of evaluations, tables, validations."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from trajflow.errors import RunError
from trajflow.runs import RunFolder
from trajflow.text import file_name

PREFIX = "evaluation-"
TABLE, PEOPLE = "table.json", "people.json"
COVERAGES = ("coverage_50", "coverage_90")


def report_name(where: Mapping[str, Any], terms: Mapping[str, Any]) -> str:
    """The file that a report is kept in; one of the same question replaces the other.

    Args:
        where: "split", "fold" and "fingerprint" of what was judged.
        terms: "samples", "steps", "selection", "draws" and "clocks" of how.
    """
    fold = where["fold"]
    if fold and "/" in fold:  # a name that is no name of a file; others stay as they were
        fold = file_name(fold)
    parts = [where["split"], fold, where["fingerprint"][:8]]
    name = "-".join(str(part) for part in parts if part)
    chosen = terms.get("selection") or "plain"
    kind = "" if chosen == "plain" else f"-{chosen}-of-{terms['draws']}"
    if clocks := terms.get("clocks"):
        kind += f"-clocks-{hashlib.sha256(clocks.encode()).hexdigest()[:8]}"
    return f"{PREFIX}{name}-{terms['samples']}x{terms['steps']}{kind}.json"


def read_report(path: Path) -> dict[str, Any]:
    """A report as it was written.

    Raises:
        RunError: It is none.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        report["mean"].items(), report["protocol"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise RunError(f"{path} is not a report of `trajflow evaluate --json`") from None
    return without_old_coverage({"clocks": "", **report})


def without_old_coverage(report: dict[str, Any]) -> dict[str, Any]:
    """A report or row without the coverage of draws that earlier versions took.

    They ranked a truth among distances of the samples to a mean that leans on these samples, and
    found less (.837 of a perfect forecaster for 20 samples at level .9). Nothing else differs.
    """
    if "coverage_kind" in report or (report.get("selection") or "plain") != "plain":
        return report
    rest = {name: value for name, value in report["mean"].items() if name not in COVERAGES}
    return {**report, "mean": rest}


@lru_cache(4096)
def _is_current(path: Path, when: int) -> bool:
    return b'"coverage_kind"' in path.read_bytes()


def is_current(path: Path) -> bool:
    """Whether a report exists and was taken by today's definitions of its scores."""
    try:
        return _is_current(path, path.stat().st_mtime_ns)
    except OSError:
        return False


def reports_in(folder: Path) -> list[dict[str, Any]]:
    """All reports of a folder: plain draws first, fewer steps first."""
    found = [read_report(file) for file in sorted(folder.glob(f"{PREFIX}*.json"))]
    return sorted(found, key=_order)


def _order(report: Mapping[str, Any]) -> tuple[str, bool, str, int]:
    kind = report.get("selection") or "plain"
    return report["clocks"], kind != "plain", kind, int(report.get("steps") or 1)


def best_validation(folder: RunFolder) -> dict[str, Any]:
    """The validation whose weights are kept, with the noise they draw from; empty before it."""
    best: dict[str, Any] = {}
    for event in folder.events():
        if event["event"] == "evaluated" and event["best"]:
            best = event
        elif event["event"] == "tempered" and best:
            best = best | {"metrics": event["metrics"], "temperature": event["temperature"]}
    return best


def write_report(folder: RunFolder, report: dict[str, Any]) -> None:
    """Store a report in its run; one of the same tracks, part and terms is replaced."""
    name = report_name(report["protocol"], report)
    folder.write(name, json.dumps(report, indent=2).encode())


def results_of(path: Path) -> list[dict[str, Any]]:
    """The results of a run or of a results folder of a benchmark, or a report of `evaluate --json`.

    A run without an evaluation gives its best validation.

    Raises:
        RunError: It is none of these.
    """
    if path.is_file() and path.suffix == ".json" and path.name != TABLE:
        return [read_report(path)]
    table = path / TABLE if path.is_dir() else path
    if table.name == TABLE and table.is_file():
        return _rows(table)
    folder = RunFolder.open(path)
    return reports_in(folder.path) or [_validation(folder)]


def _rows(table: Path) -> list[dict[str, Any]]:
    """The rows of a benchmark that are whole."""
    try:
        rows = json.loads(table.read_text(encoding="utf-8"))["rows"]
        people = _people(table.with_name(PEOPLE), len(rows))
        whole = [{**row, "per_person": who} for row, who in zip(rows, people, strict=True)]
        return [without_old_coverage(row) for row in whole if row["mean"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(f"{table} is not a table of a benchmark (examples/benchmarks)") from None


def _people(path: Path, rows: int) -> list[Any]:
    """The people of each row, for comparisons in pairs; nobody where they are not kept."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    return found if isinstance(found, list) and len(found) == rows else [{}] * rows


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
