"""`trajflow data info`: what is in a store."""

from typing import Annotated

import typer

from trajflow.cli.options import DataPath, Json, Loud
from trajflow.cli.stores import show_scenes, show_store


def info(
    data: DataPath,
    every: Annotated[bool, typer.Option("--all", help="Show every recording.")] = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Show what a store holds: tracks, recordings, splits, unit, where it came from."""
    store = show_store(data, as_json)
    if not as_json:
        show_scenes(store, every)
