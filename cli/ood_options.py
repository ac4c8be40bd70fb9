"""The options of `trajflow evaluate --ood`, and which others go with them."""

from pathlib import Path
from typing import Annotated

import typer

from trajflow.errors import ConfigError

Ood = Annotated[
    bool,
    typer.Option(
        "--ood",
        help="Look at the run under shifts: what it finds strange, and how it forecasts then.",
    ),
]
Against = Annotated[
    Path | None,
    typer.Option(metavar="OTHER.zarr", help="With --ood: other tracks, as one more shift."),
]
Shifts = Annotated[
    str | None,
    typer.Option(metavar="NAME,NAME", help="With --ood: only these shifts, as noise,glitch-2."),
]
Windows = Annotated[
    int | None,
    typer.Option(min=20, help="With --ood: ordinary windows looked at; 600 if not given."),
]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="FOLDER", help="With --ood: also gets the report and its picture."
    ),
]


def need_ood(ood: bool, **given: object) -> None:
    """Refuse options that are only for --ood.

    Raises:
        ConfigError: With the first of them.
    """
    for name, value in given.items():
        if value and not ood:
            raise ConfigError(f"--{name} is for --ood; add it or leave --{name} out")


def refuse_ood(**given: object) -> None:
    """Refuse options that have no meaning beside --ood.

    Raises:
        ConfigError: With the first of them.
    """
    for name, value in given.items():
        if value:
            raise ConfigError(
                f"--{name} does not go with --ood, which looks at plain draws of a run on the "
                "fold that it left out; leave it out"
            )
