"""`trajflow data check`: is every byte of a store what was written, and what can be saved?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trajflow.cli.console import log, say, say_json
from trajflow.cli.findings import show
from trajflow.cli.options import DataPath, Json, Loud, Overwrite
from trajflow.cli.tables import table

if TYPE_CHECKING:
    from trajflow.datasets.salvage import Salvage


def check(
    data: DataPath,
    repair: Annotated[
        Path | None,
        typer.Option(metavar="OUT.zarr", help="Save what can be read of it into a new store."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Read every file of a store and compare it with its checksum.

    A damaged store names its first damaged file; the exit code is then 3. With --repair every
    trajectory that can be read whole is copied into a new store and the rest is told; a store that
    is not damaged is not copied.
    """
    from trajflow.datasets.doctor import check as read_all

    findings = read_all(data)
    if repair is None or all(finding.level == "ok" for finding in findings):
        show(findings, as_json)
        return
    from trajflow.datasets.salvage import salvage

    told = salvage(data, repair, overwrite=overwrite)
    if as_json:
        say_json(told.to_dict())
    else:
        _tell(told)
    log.info("wrote %s; %s stays as it is", repair, data)


def _tell(told: "Salvage") -> None:
    """Print what was saved, and what was lost and why."""
    say(f"saved {told.trajectories} trajectories, {told.rows} rows")
    say(f"lost {told.lost_trajectories} trajectories, {told.lost_rows} rows")
    if told.lost:
        rows = [[scene or "(unknown)", count] for scene, count in told.lost.items()]
        say(table(["scene", "lost trajectories"], rows))
    for file, what in told.faults.items():
        say(f"{file}: {what}")
    for note in told.notes:
        say(note)
