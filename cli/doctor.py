"""`trajflow doctor`: what is probably wrong with tracks, a run or the machine."""

from pathlib import Path
from typing import Annotated

import typer

from trajflow.cli.findings import show
from trajflow.cli.options import Json, Loud


def doctor(
    path: Annotated[
        Path | None, typer.Argument(metavar="[DATA|RUN]", help="A store, or a run folder.")
    ] = None,
    history: Annotated[int, typer.Option(min=1, help="Past steps of the windows counted.")] = 8,
    horizon: Annotated[int, typer.Option(min=1, help="Future steps of these windows.")] = 12,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Examine tracks, a run, or without either the machine, before an hour is spent on them.

    Tracks: units, clock, gaps, jumps, reused ids, standing agents, leaks. A run: whether every
    file is what was written, and loads. The machine: what is installed, device, threads, disk.
    The exit code is 3 if something is an error.
    """
    from trajflow.cli.checking_runs import check_machine, check_run, is_run

    if path is None:
        show(check_machine(Path()), as_json)
    elif is_run(path):
        show(check_run(path), as_json)
    else:
        from trajflow.datasets.doctor import doctor as examine
        from trajflow.datasets.store import open_store

        show(examine(open_store(path), history, horizon), as_json)
