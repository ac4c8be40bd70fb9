"""Run trajflow commands from the benchmark scripts."""

import subprocess
import sys
from pathlib import Path


def trajflow(*arguments: str | Path) -> str:
    """Run a trajflow command; its stdout.

    Raises:
        RuntimeError: The command failed.
    """
    command = [sys.executable, "-m", "trajflow", *map(str, arguments)]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode} of {' '.join(command)}")
    return process.stdout
