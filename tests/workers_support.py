"""Work for the tests of worker processes; these import nothing but this file for it."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KilledOnce:
    """Work whose process is killed when it is first called with 1."""

    folder: Path

    def __call__(self, number):
        mark = self.folder / "killed"
        if number == 1 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 10 * number


registered: list[str] = []


def registered_names(number):
    """What plugins have registered in this process."""
    return list(registered)


@dataclass(frozen=True)
class Endless:
    """Work that takes long; the name of its process is a file in a folder while it runs."""

    folder: Path

    def __call__(self, number):
        mark = self.folder / str(os.getpid())
        mark.touch()
        try:
            time.sleep(100)
        finally:
            mark.unlink()
