"""`trajflow tui`: look at runs, stores and forecasts in the terminal."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def tui(
    place: Annotated[
        Path,
        typer.Argument(metavar="FOLDER|RUN|STORE", help="Where to look; a run or a store opens."),
    ] = Path("."),
    theme: Annotated[str, typer.Option(help="dark, light, ansi-dark, or one of many more.")] = (
        "dark"
    ),
    no_mouse: Annotated[
        bool, typer.Option("--no-mouse", help="Leave the mouse to the terminal, for copying.")
    ] = False,
    keys: Annotated[
        Path | None,
        typer.Option(metavar="KEYS.toml", help="Other keys for actions; a wrong name lists all."),
    ] = None,
) -> None:
    """Browse forecasts, watch trainings and look at tracks, here in the terminal.

    Without runs or stores below the folder it opens a small generated demo.
    """
    from trajflow.errors import ConfigError

    served = "TEXTUAL_DRIVER" in os.environ  # `textual serve` stands between it and a browser
    if not (served or (sys.stdin.isatty() and sys.stdout.isatty())):
        raise ConfigError("tui needs a terminal; run it in one, not in a pipe")
    if not place.exists():
        raise ConfigError(f"no folder, run or store at {place}")
    from trajflow.tui.app import TrajflowApp
    from trajflow.tui.keymap import read_keymap
    from trajflow.tui.processes import end_with_terminal

    keymap = read_keymap(keys) if keys else {}
    if not served:
        end_with_terminal(sys.stdin.fileno())
    TrajflowApp(place, theme, keymap).run(mouse=not no_mouse)
