"""`trajflow data plot`: the tracks of a store as a picture."""

from typing import Annotated

import typer

from trajflow.cli.console import say
from trajflow.cli.options import DataPath, Loud, PictureOut


def plot_data(
    data: DataPath,
    out: PictureOut,
    scene: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A recording; may be repeated.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Most recordings drawn.")] = 12,
    loud: Loud = None,
) -> None:
    """Draw every track of each recording, coloured by split."""
    from trajflow.datasets.store import open_store
    from trajflow.plotting import check_suffix, draw_tracks, save

    check_suffix(out)
    store = open_store(data)
    scenes = scene or store.scenes[:: -(-len(store.scenes) // most)]
    save(draw_tracks(store.tracks(scenes), scenes, store.unit), out)
    say(str(out))
