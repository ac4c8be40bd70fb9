"""`trajflow runs`: lists the runs below a folder."""

from pathlib import Path
from typing import Annotated, Any

import typer

from trajflow.cli.console import log, say, say_json, span
from trajflow.cli.options import Json, Loud
from trajflow.cli.tables import SCORES, table
from trajflow.errors import ConfigError, did_you_mean

SCORE_COLUMNS = ("energy_score", "min_ade", "min_fde", "coverage_90")
SORTS = ("age", "name", "state", "epoch", *SCORE_COLUMNS, "data", "split")
DESCENDING = {"epoch", "coverage_90"}
"""Columns whose largest value comes first."""


def runs(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder to search, with its subfolders.")
    ] = Path("."),
    sort: Annotated[
        str, typer.Option(metavar="|".join(SORTS), help="The column to sort by.")
    ] = "age",
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """List the runs below a folder: state, epochs, validation scores, data, split and age.

    Scores are those of the best weights on the validation split. To compare runs on a test split,
    use `trajflow evaluate` and `trajflow compare`. The best or newest run comes first; runs without
    a value in the column come last.
    """
    from trajflow.library import RUN_SCORES, LibraryScanner
    from trajflow.remote import url_of

    if sort not in SORTS:
        raise ConfigError(did_you_mean("column", sort, SORTS))
    if (url := url_of(folder)) is not None:
        raise ConfigError(f"`runs` lists local folders only; copy {url} to this machine first")
    if not folder.is_dir():
        raise ConfigError(f"no folder {folder}; give a folder with runs below it")
    library = LibraryScanner(folder).scan()
    rows = _sorted([library.row(run) for run in library.runs], sort)
    if not library.complete:
        log.warning("too many folders below %s; give one nearer to the runs", folder)
    if as_json:
        say_json({"folder": str(folder), "complete": library.complete, "runs": rows})
        return
    if not rows:
        log.warning("no runs below %s; `trajflow train DATA` makes one", folder)
        return
    header = ["run", "state", "epoch", *(SCORES[name] for name in RUN_SCORES)]
    lines = [
        [
            _relative(row["path"], folder),
            row["state"],
            _epochs(row),
            *(row[name] for name in RUN_SCORES),
            row["data"],
            row["split"],
            span(row["age"]),
        ]
        for row in rows
    ]
    say(table([*header, "data", "split", "age"], lines))
    for row in rows:
        if row["problem"]:
            log.warning("%s is damaged: %s", row["path"], row["problem"])


def _sorted(rows: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """Rows ordered by a column; those without a value last."""
    valued = [row for row in rows if row[column] is not None]
    valued.sort(key=lambda row: row[column], reverse=column in DESCENDING)
    return [*valued, *(row for row in rows if row[column] is None)]


def _relative(path: str, folder: Path) -> str:
    """The path of a run relative to the folder; its name if it is the folder itself."""
    inside = Path(path).relative_to(folder)
    return str(inside) if inside.parts else Path(path).resolve().name


def _epochs(row: dict[str, Any]) -> str | None:
    if row["epoch"] is None or row["epochs"] is None:
        return None
    return f"{row['epoch']:.0f}/{row['epochs']:.0f}"
