"""`trajflow data import`: files of tracks into a store."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trajflow.cli.console import Progress, log, say, say_json
from trajflow.cli.options import Json, Loud, Overwrite, StoreOut, assignments, split

if TYPE_CHECKING:
    from trajflow.datasets import passes


def _sources() -> list[str]:
    from trajflow.datasets.sources import available

    return available()


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="ethucy|trajnet|sdd|table", help="What the files are.", autocompletion=_sources
        ),
    ],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file, or a folder of files.")],
    out: StoreOut,
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar="x=lon,y=lat,...", help="Columns of a table, by what they hold."),
    ] = None,
    dt: Annotated[float | None, typer.Option(metavar="SECONDS", help="Seconds per step.")] = None,
    unit: Annotated[
        str | None, typer.Option(metavar="m|px|degree|...", help="Unit of the coordinates.")
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="Metres per unit of the file; makes it metres.")
    ] = None,
    speed_limit: Annotated[
        float | None, typer.Option(help="Units per second above which a step is a jump.")
    ] = None,
    on_problem: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[PROBLEM=]quarantine|refuse",
            help="Set rows with a problem apart, or refuse the file; for all problems or one.",
        ),
    ] = None,
    eth_time: Annotated[
        str | None,
        typer.Option(
            metavar="field|true",
            help="Time of biwi_eth in ethucy: 10 frames are 0.4 s, as in the field, or 2/3 s.",
        ),
    ] = None,
    licence: Annotated[str, typer.Option(help="Terms of the data, stored with it.")] = "",
    overwrite: Overwrite = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Read files of tracks into a store; no row is dropped silently.

    ethucy: four columns (frame, agent, x, y). trajnet: TrajNet++ ndjson. sdd: Stanford drone
    annotations. table: any CSV, TSV or Parquet table, also compressed, by column names.
    """
    from trajflow.datasets.importing import import_tracks

    asked = {"dt": dt, "unit": unit, "scale": scale, "speed-limit": speed_limit}
    asked |= {"eth-time": eth_time}
    with Progress("rows") as progress:
        report = import_tracks(
            source,
            path,
            out,
            columns=assignments(split(columns), "--columns"),
            dt=dt,
            unit=unit,
            scale=scale,
            speed_limit=speed_limit,
            on_problem=_policies(on_problem),
            settings={"eth-time": eth_time} if eth_time else {},
            licence=licence,
            history=_history(source, path, asked | {"columns": ",".join(columns or ())}),
            overwrite=overwrite,
            progress=lambda state: _tell(progress, state),
        )
    log.info("wrote %s", out)
    if as_json:
        say_json(report.to_dict())
    else:
        say("\n".join(report.lines()))


def _tell(progress: Progress, state: "passes.Progress") -> None:
    progress.label, progress.total = state.stage, state.total
    progress.update(state.rows)


def _policies(words: list[str] | None) -> dict[str, str] | str | None:
    each = split(words)
    if len(each) == 1 and "=" not in each[0]:
        return each[0]
    return assignments(each, "--on-problem") or None


def _history(source: str, path: Path, asked: Mapping[str, object]) -> str:
    words = ["trajflow", "data", "import", source, path.name]
    for name, value in asked.items():
        words += [f"--{name}", f"{value}"] if value else []
    return shlex.join(words)
