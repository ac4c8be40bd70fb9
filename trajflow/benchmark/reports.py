"""The reports of evaluations on disk: their names, and the protocol that each repeats."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from trajflow.errors import RunError

PREFIX = "evaluation-"
COVERAGES = ("coverage_50", "coverage_90")


def report_name(where: Mapping[str, Any], terms: Mapping[str, Any]) -> str:
    """The file that a report is kept in; one of the same question replaces the other.

    Args:
        where: "split", "fold" and "fingerprint" of what was judged.
        terms: "samples", "steps", "selection", "draws" and "clocks" of how.
    """
    parts = [where["split"], where["fold"], where["fingerprint"][:8]]
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
