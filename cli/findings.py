"""How the findings of an examination are shown, and the exit code they lead to."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from trajflow.cli.console import LONGEST, RED, YELLOW, say, say_json
from trajflow.errors import DataProblem
from trajflow.text import safe

if TYPE_CHECKING:
    from trajflow.datasets.findings import Finding

COLORS = {"error": RED, "warning": YELLOW, "note": "36", "ok": "32"}


def show(findings: Sequence["Finding"], as_json: bool) -> None:
    """Print the findings; leave with a data problem's exit code if one is an error."""
    if as_json:
        say_json({"findings": [asdict(finding) for finding in findings]})
    else:
        widest = max(len(finding.code) for finding in findings)
        for finding in findings:
            words = f"  {finding.code:{widest}}  {safe(finding.message, LONGEST)}"
            say(words, (f"{finding.level:7}", COLORS[finding.level]))
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(DataProblem.exit_code)
