"""The command line: reads arguments, calls one library function, prints."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code; `arguments` default to the shell's."""
    try:
        import typer  # noqa: F401
    except ImportError:
        sys.stderr.write("the command line needs typer; install it with: pip install typer\n")
        raise SystemExit(2) from None
    from trajflow.cli.app import run

    run(arguments)
