"""The command line: each command parses options, calls one library function and prints."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; `arguments` default to those of the shell."""
    try:
        import typer  # noqa: F401
    except ImportError:
        sys.stderr.write("the command line needs typer; install it with: pip install typer\n")
        raise SystemExit(2) from None
    from trajflow.cli.app import run

    run(arguments)
