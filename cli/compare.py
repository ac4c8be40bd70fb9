"""`trajflow compare`: runs and floors side by side."""

from pathlib import Path
from typing import Annotated, Any

import typer

from trajflow.cli.judgements import judgements
from trajflow.cli.options import Json, Loud
from trajflow.cli.scores import NAMES
from trajflow.cli.streams import log, say, say_json
from trajflow.cli.tables import table

SHOWN = ("energy_score", "min_ade", "min_fde", "mean_ade", "mean_fde", "miss_rate", "coverage_90")
PROTOCOL = ("fingerprint", "split", "fold", "history", "horizon", "stride")


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Run folders, or reports of `evaluate --json`."),
    ],
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Put runs side by side: their evaluations, or their best validation if there is none.

    Scores can be compared only if they are of the same tracks, part, samples and steps; where
    they are not, a warning says so.
    """
    rows = [judgement for path in runs for judgement in judgements(path)]
    if as_json:
        say_json({"rows": rows})
        return
    names = [NAMES[key] for key in SHOWN]
    say(table(["name", "part", "windows", "draws", "steps", *names], list(map(_row, rows))))
    kinds = {(*(row["protocol"].get(key) for key in PROTOCOL), row["samples"]) for row in rows}
    if len(kinds) > 1:
        log.warning("these were not all judged on the same tracks, part and number of samples")


def _row(judgement: dict[str, Any]) -> list[object]:
    protocol, mean = judgement["protocol"], judgement["mean"]
    part = " ".join(str(protocol[key]) for key in ("split", "fold") if protocol.get(key))
    known = [judgement.get(key) for key in ("windows", "samples", "steps")]
    return [judgement["name"], part, *known, *(mean.get(key) for key in SHOWN)]
