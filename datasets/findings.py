"""What an examination of a store says: one sentence each, with how much it matters."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["ok", "note", "warning", "error"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note", "ok")


@dataclass(frozen=True)
class Finding:
    """One result of an examination.

    Attributes:
        level: "error" (cannot be used so), "warning" (probably wrong), "note" (good to know) or
            "ok".
        code: Short name of what was examined.
        message: What was found, and what to do where something is wrong.
        details: The numbers behind it, plain values.
    """

    level: Level
    code: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Findings by how much they matter, otherwise in the given order."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))
