"""What is known of how well runs forecast: their validations and the reports of evaluations."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajflow.errors import RunError

if TYPE_CHECKING:
    from trajflow.runs import RunFolder

TABLE, PEOPLE = "table.json", "people.json"


def best_validation(folder: "RunFolder") -> dict[str, Any]:
    """The validation whose weights are kept, with the noise they draw from; empty before it."""
    best: dict[str, Any] = {}
    for event in folder.events():
        if event["event"] == "evaluated" and event["best"]:
            best = event
        elif event["event"] == "tempered" and best:
            best = best | {"metrics": event["metrics"], "temperature": event["temperature"]}
    return best


def keep(folder: "RunFolder", report: dict[str, Any]) -> None:
    """Store a report in its run; one of the same tracks, part and terms is replaced."""
    from trajflow.benchmark.reports import report_name

    name = report_name(report["protocol"], report)
    folder.write(name, json.dumps(report, indent=2).encode())


def judgements(path: Path) -> list[dict[str, Any]]:
    """What is known of a run or a benchmark, or what stands in a report of `evaluate --json`.

    Raises:
        RunError: It is none of these.
    """
    from trajflow.benchmark.reports import read_report, reports_in

    if path.is_file() and path.suffix == ".json" and path.name != TABLE:
        return [read_report(path)]
    table = path / TABLE if path.is_dir() else path
    if table.name == TABLE and table.is_file():
        return _rows(table)
    from trajflow.runs import RunFolder

    folder = RunFolder.open(path)
    return reports_in(folder.path) or [_validation(folder)]


def _rows(table: Path) -> list[dict[str, Any]]:
    """The rows of a benchmark that are whole."""
    from trajflow.benchmark.reports import without_old_coverage

    try:
        rows = json.loads(table.read_text(encoding="utf-8"))["rows"]
        people = _people(table.with_name(PEOPLE), len(rows))
        whole = [{**row, "per_person": who} for row, who in zip(rows, people, strict=True)]
        return [without_old_coverage(row) for row in whole if row["mean"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(f"{table} is not a table of `trajflow benchmark`") from None


def _people(path: Path, rows: int) -> list[Any]:
    """The people of each row, for comparisons in pairs; nobody where they are not kept."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    return found if isinstance(found, list) and len(found) == rows else [{}] * rows


def _validation(folder: "RunFolder") -> dict[str, Any]:
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
