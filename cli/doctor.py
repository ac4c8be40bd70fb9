"""`trajflow doctor`: what is probably wrong with tracks, before an hour is spent on them."""

from typing import Annotated

import typer

from trajflow.cli.findings import show
from trajflow.cli.options import DataPath, Json, Loud


def doctor(
    data: DataPath,
    history: Annotated[int, typer.Option(min=1, help="Past steps of the windows counted.")] = 8,
    horizon: Annotated[int, typer.Option(min=1, help="Future steps of these windows.")] = 12,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Examine tracks: units, clock, gaps, jumps, reused ids, standing agents, leaks.

    The exit code is 3 if something is an error.
    """
    from trajflow.datasets.doctor import doctor as examine
    from trajflow.datasets.store import open_store

    show(examine(open_store(data), history, horizon), as_json)
