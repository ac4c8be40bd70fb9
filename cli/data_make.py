"""`trajflow data make`: generated tracks into a store."""

from typing import Annotated

import typer

from trajflow.cli.console import Progress
from trajflow.cli.options import Json, Loud, Overwrite, Seed, StoreOut, assignments
from trajflow.cli.stores import show_store


def _generators() -> list[str]:
    from trajflow.datasets.synthetic import available

    return available()


def make(
    name: Annotated[
        str,
        typer.Argument(
            metavar="fork|crossing|ode|crowd", help="Generator.", autocompletion=_generators
        ),
    ],
    out: StoreOut,
    seed: Seed = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An option of the generator; a wrong name lists them all.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    loud: Loud = None,
) -> None:
    """Generate tracks with a known answer, or a simulated crowd.

    fork: walkers who go left or right, with a density in closed form.
    crossing: two people who give way to one another, or not.
    ode: dynamical systems inside and outside the range of parameters trained on.
    crowd: interacting pedestrians, simulated; needs the extra `sim`.
    """
    from trajflow.datasets import synthetic
    from trajflow.datasets.writer import StoreWriter

    made = synthetic.make(name, seed, **assignments(set_))
    words = "".join(f" --set {word}" for word in set_ or ())
    with (
        Progress("scenes") as progress,
        StoreWriter(
            out,
            **made.facts,
            history=f"trajflow data make {name} --seed {seed}{words}",
            overwrite=overwrite,
        ) as writer,
    ):
        for count, block in enumerate(made.blocks, 1):
            writer.append(block)
            progress.update(count)
    show_store(out, as_json)
