"""The commands, and the exit codes of their errors."""

import errno
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from trajflow.cli.console import complain, listen
from trajflow.cli.data import data
from trajflow.cli.evaluate import evaluate
from trajflow.cli.fit import fit
from trajflow.cli.options import Loud
from trajflow.cli.predict import bench, export, plot, predict
from trajflow.cli.runs import compare, doctor, push, report, runs, tui
from trajflow.cli.train import train
from trajflow.errors import ConfigError, TrajflowError

INTERRUPTED = 130
_ELSEWHERE = "choose another place, or change its permissions"
# Errors of the disk that any command may meet, with advice.
DISK_ADVICE = {
    errno.ENOSPC: "what was there before is unchanged; free some space",
    errno.EDQUOT: "what was there before is unchanged; make room within the quota",
    errno.EFBIG: "what was there before is unchanged; raise the limit on the size of files",
    errno.EIO: "the disk may be failing; check your backups",
    errno.EMFILE: "raise the limit on open files",
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG), _ELSEWHERE),
}
# Commands of earlier versions, with their replacement.
RENAMED = {
    "calibrate": "`trajflow fit RUN DATA calibration`",
    "fit-surprise": "`trajflow fit RUN DATA ood`",
    "fit-set": "`trajflow fit RUN DATA samples`",
    "benchmark": "a script of the repository: `python examples/benchmarks/pedestrians.py DATA` for "
    "ETH/UCY, `python examples/benchmarks/drone.py DATA` for Stanford Drone",
}

app = typer.Typer(
    name="trajflow",
    help="Many plausible futures of moving agents in one network evaluation.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data, name="data", rich_help_panel="Data")

app.command(rich_help_panel="Data")(doctor)
app.command(rich_help_panel="Model")(train)
app.command(rich_help_panel="Model")(evaluate)
app.command(rich_help_panel="Model")(fit)
app.command(rich_help_panel="Model")(compare)
app.command(rich_help_panel="Model")(runs)
app.command(rich_help_panel="Model")(report)
app.command(rich_help_panel="Model")(export)
app.command(rich_help_panel="Model")(push)
app.command(rich_help_panel="Forecasts")(predict)
app.command(rich_help_panel="Forecasts")(plot)
app.command(rich_help_panel="Forecasts")(tui)
app.command(rich_help_panel="Forecasts")(bench)


def _renamed(context: typer.Context) -> None:
    """Refuse a command of an earlier version and name its replacement."""
    name = str(context.info_name)
    raise ConfigError(f"`trajflow {name}` is now {RENAMED[name]}")


for name in RENAMED:
    settings = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command(name, hidden=True, context_settings=settings)(_renamed)


def run(arguments: Sequence[str] | None = None) -> None:
    """Run a command. Our errors become one line; other errors keep their traceback."""
    listen()
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        app(args=words, prog_name="trajflow", obj=words)
    except TrajflowError as error:
        complain("error", error)
        raise SystemExit(error.exit_code) from None
    except OSError as error:
        if error.errno not in DISK_ADVICE:
            raise
        path = f"{error.filename}: " if error.filename is not None else ""
        complain("error", f"{path}{error.strerror}; {DISK_ADVICE[error.errno]}")
        raise SystemExit(TrajflowError.exit_code) from None
    except MemoryError as error:
        complain("error", f"out of memory; {error}" if str(error) else "out of memory")
        raise SystemExit(TrajflowError.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def _print_version(requested: bool) -> None:
    if requested:
        from trajflow import __version__

        sys.stdout.write(f"trajflow {__version__}\n")
        raise typer.Exit


def _load_plugins(names: list[str] | None) -> list[str] | None:
    if names:
        from trajflow.workers import load_plugins

        load_plugins(names)
    return names


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE|FILE.py",
            help="Import a module that registers encoders or readers; repeatable.",
            callback=_load_plugins,
        ),
    ] = None,
    loud: Loud = None,
) -> None:
    pass
