"""Reports on disk: one file for each question, found and read without any of the machinery."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trajflow.errors import RunError

PREFIX = "ood-"
KEYS = ("ordinary", "shifts", "protocol")


def report_name(protocol: Mapping[str, Any]) -> str:
    """The file that a report is kept in; one of the same question replaces the other.

    Args:
        protocol: "split", "fold", "fingerprint", "against_fingerprint" and "only" of it.
    """
    parts = [protocol["split"], protocol["fold"], protocol["fingerprint"][:8]]
    if protocol.get("against_fingerprint"):
        parts += ["against", protocol["against_fingerprint"][:8]]
    if protocol.get("only"):
        parts += ["only", *protocol["only"]]
    return PREFIX + "-".join(str(part) for part in parts if part)[:120] + ".json"


def read_report(path: Path) -> dict[str, Any]:
    """A report as it was written.

    Raises:
        RunError: It is none.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not all(key in found for key in KEYS):
            raise ValueError
    except (OSError, ValueError, TypeError):
        raise RunError(f"{path} is not a report of `trajflow evaluate --ood`") from None
    return found


def newest_report(run: Path, fingerprint: str | None = None) -> dict[str, Any] | None:
    """The report of a run that was written last, with the most shifts first; None without any.

    Args:
        run: The run folder.
        fingerprint: Of the tracks that it must be of; None: of any.
    """
    found = [
        (one, path.stat().st_mtime)
        for path in run.glob(f"{PREFIX}*.json")
        if (one := read_report(path)) and fingerprint in (None, one["protocol"]["fingerprint"])
    ]
    whole = [pair for pair in found if not pair[0]["protocol"].get("only")]
    return max(whole or found, key=lambda pair: pair[1])[0] if found else None
