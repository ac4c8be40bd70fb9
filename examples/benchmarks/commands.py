"""Run trajflow commands from the benchmark scripts."""

import subprocess
import sys
from pathlib import Path


def trajflow(*arguments: str | Path) -> str:
    """What a trajflow command printed.

    Raises:
        RuntimeError: The command failed.
    """
    command = [sys.executable, "-m", "trajflow", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode} of {' '.join(command)}")
    return done.stdout
