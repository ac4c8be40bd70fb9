"""Processes that take the cores, and let go of them when asked to."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator


class Hogs:
    """So many busy processes; they pause when they begin."""

    def __init__(self, count: int) -> None:
        loop = [sys.executable, "-S", "-E", "-c", "while True: pass"]
        self._processes = [subprocess.Popen(loop) for _ in range(count)]
        self.pause()

    def pause(self) -> None:
        """Let the cores be free."""
        self._tell(signal.SIGSTOP)

    def go_on(self) -> None:
        """Take the cores."""
        self._tell(signal.SIGCONT)

    def close(self) -> None:
        """End them."""
        for process in self._processes:
            process.kill()
            process.wait()

    def _tell(self, what: int) -> None:
        for process in self._processes:
            os.kill(process.pid, what)


@contextlib.contextmanager
def hogs(count: int) -> Iterator[Hogs]:
    """So many processes that are gone afterwards."""
    some = Hogs(count)
    try:
        yield some
    finally:
        some.close()
