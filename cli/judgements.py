"""What is known of how well runs forecast: their validations and the reports of evaluations."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajflow.errors import RunError

if TYPE_CHECKING:
    from trajflow.runs import RunFolder

PREFIX = "evaluation-"


def best_validation(folder: "RunFolder") -> dict[str, Any]:
    """The event of the validation whose weights are kept; empty before the first one."""
    best: dict[str, Any] = {}
    for event in folder.events():
        if event["event"] == "evaluated" and event["best"]:
            best = event
    return best


def keep(folder: "RunFolder", report: dict[str, Any]) -> None:
    """Store a report in its run; one of the same tracks, part, samples and steps is replaced."""
    protocol = report["protocol"]
    parts = [protocol["split"], protocol["fold"], protocol["fingerprint"][:8]]
    name = "-".join(str(part) for part in parts if part)
    name = f"{PREFIX}{name}-{report['samples']}x{report['steps']}.json"
    folder.write(name, json.dumps(report, indent=2).encode())


def judgements(path: Path) -> list[dict[str, Any]]:
    """What is known of a run, or what stands in a report written by `evaluate --json`.

    Raises:
        RunError: It is neither.
    """
    if path.is_file() and path.suffix == ".json":
        return [_read(path)]
    from trajflow.runs import RunFolder

    folder = RunFolder.open(path)
    reports = [_read(file) for file in sorted(folder.path.glob(f"{PREFIX}*.json"))]
    return reports or [_validation(folder)]


def _validation(folder: "RunFolder") -> dict[str, Any]:
    best = best_validation(folder)
    if not best:
        raise RunError(f"{folder.path} has not validated once; there is nothing to compare")
    config = folder.config
    return {
        "name": str(folder.path),
        "protocol": {"split": "val (in training)", "fold": config.data.fold},
        "samples": config.train.samples,
        "steps": 1,
        "mean": best["metrics"],
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        report["mean"].items(), report["protocol"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise RunError(f"{path} is not a report of `trajflow evaluate --json`") from None
    return dict(report)
