"""Options shared by several commands."""

import logging
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trajflow.cli.console import log
from trajflow.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from trajflow.workers import Jobs

METRES = {"m": 1.0, "km": 1e3, "cm": 1e-2, "mm": 1e-3, "ft": 0.3048, "nmi": 1852.0}


def _set_loudness(loud: bool | None) -> None:
    if loud is not None:
        log.setLevel(logging.DEBUG if loud else logging.WARNING)


Loud = Annotated[
    bool | None,
    typer.Option(
        "--verbose/--quiet",
        "-v/-q",
        help="Print more messages, or only warnings and errors.",
        show_default=False,
        callback=_set_loudness,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]
DataPath = Annotated[
    Path, typer.Argument(metavar="DATA", help="A store made by `data import` or `data make`.")
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, as runs/NAME.")]
StoreOut = Annotated[
    Path, typer.Option("--out", "-o", metavar="OUT.zarr", help="The store to write.")
]
PictureOut = Annotated[
    Path, typer.Option("--out", "-o", metavar="OUT.png", help="The picture: .png, .svg or .pdf.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an existing output when the new one is done.")
]
Fold = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Leave-one-out fold; its recordings are the test split."),
]
Split = Annotated[
    str, typer.Option("--split", metavar="train|val|test", help="Split of the tracks.")
]
Samples = Annotated[int, typer.Option(min=1, help="Futures drawn of each agent.")]
Steps = Annotated[int, typer.Option(min=1, help="Network evaluations per draw.")]


def _rules() -> list[str]:
    from trajflow.inference.choosing import rules

    return rules()


Select = Annotated[
    str | None,
    typer.Option(
        metavar="RULE",
        help="Select samples from more draws: kmeans, or learned (by `trajflow fit`).",
        autocompletion=_rules,
    ),
]
Draws = Annotated[
    int | None,
    typer.Option(min=1, help="Draws to select from; default: 20 for each sample."),
]
Device = Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda or cuda:N.")]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="dask",
        help="Use Dask workers: --workers N starts some here, --address uses those of a scheduler.",
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Dask workers to start on this machine.")
]
Address = Annotated[
    str | None, typer.Option(metavar="tcp://HOST:PORT", help="Scheduler of a running Dask cluster.")
]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of all random numbers.")]


def jobs_of(jobs: int, engine: str | None, workers: int | None, address: str | None) -> "Jobs":
    """The processes that --jobs, or --engine with --workers or --address, names.

    Raises:
        ConfigError: The options do not go together.
        MissingExtra: Dask is not installed.
    """
    if engine is None:
        for name, value in (("--workers", workers), ("--address", address)):
            if value is not None:
                raise ConfigError(
                    f"{name} {value} is for --engine dask; add that, or use --jobs N for processes "
                    "of this machine"
                )
        return jobs
    if engine != "dask":
        raise ConfigError(did_you_mean("engine", engine, ["dask"]))
    if jobs > 1:
        raise ConfigError(f"--jobs {jobs} does not go with --engine dask; use --workers {jobs}")
    if (workers is None) == (address is None):
        raise ConfigError(
            "--engine dask needs either --workers N, to start workers on this machine, or "
            "--address tcp://HOST:PORT of a scheduler"
        )
    from trajflow.workers import Dask

    return Dask(workers or 1, address)


def assignments(words: Sequence[str] | None, option: str = "--set") -> dict[str, str]:
    """Parse words NAME=VALUE into a dict.

    Raises:
        ConfigError: A word has no "=", or no name before it.
    """
    pairs = [word.partition("=") for word in words or ()]
    for name, equals, value in pairs:
        if not name or not equals:
            raise ConfigError(f"{option} needs NAME=VALUE, got {name + equals + value!r}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def seconds(text: str | None, option: str) -> float | None:
    """Parse a duration such as 10s, 500ms, 2min, 1h or 0.4 into seconds.

    Raises:
        ConfigError: It is not a duration.
    """
    if text is None:
        return None
    units = {"": 1.0, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
    parts = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-z]*)\s*", text)
    if parts is None or parts[2] not in units:
        raise ConfigError(f"{option} must be a time such as 10s or 500ms, got {text!r}")
    return float(parts[1]) * units[parts[2]]


def split(words: Sequence[str] | None) -> list[str]:
    """Values of an option that may be repeated or joined by commas."""
    return ",".join(words).split(",") if words else []


def point(text: str) -> tuple[float, float]:
    """The numbers of X,Y.

    Raises:
        ConfigError: There are no two.
    """
    try:
        x, y = (float(word) for word in text.split(","))
    except ValueError:
        raise ConfigError(f"--origin must be X,Y, such as -3.5,12; got {text!r}") from None
    return x, y


def units(text: str | None) -> tuple[str | None, dict[str, float]]:
    """The unit of all coordinates, and metres per unit by axis for axes with another unit."""
    names = split([text] if text else None)
    plain = [unit for unit in names if "=" not in unit]
    factors = {}
    for axis, name in assignments([unit for unit in names if "=" in unit], "--unit").items():
        if axis not in ("x", "y", "z") or name not in METRES:
            raise ConfigError(
                f"--unit {axis}={name}: the axis must be x, y or z, its unit {', '.join(METRES)}"
            )
        factors[axis] = METRES[name]
    if len(plain) > 1:
        raise ConfigError(f"--unit takes one unit for all axes and one for each axis, got {text!r}")
    return (plain[0] if plain else None), factors


def policies(words: list[str] | None) -> dict[str, str] | str | None:
    """What to do with each problem of an import, or with all of them."""
    choices = split(words)
    if len(choices) == 1 and "=" not in choices[0]:
        return choices[0]
    return assignments(choices, "--on-problem") or None


def import_history(files: list[Path], options: Mapping[str, object]) -> str:
    """The import command for the store's attributes, without the folders of the files."""
    words = ["trajflow", "data", "import", *(path.name for path in files)]
    for name, value in options.items():
        words += [f"--no-{name}"] if value is False else [f"--{name}"] if value else []
        words += [f"{value}"] if value and value is not True else []
    return shlex.join(words)
