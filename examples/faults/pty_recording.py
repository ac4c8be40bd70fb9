"""Run a command on a pseudo-terminal, press keys, and keep every byte that it writes there."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

CSI = rb"\x1b\[[0-?]*[ -/]*[@-~]"
STRINGS = rb"\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
OTHERS = rb"\x1b[ -/]*[0-~]?"
SEQUENCE = re.compile(rb"|".join((STRINGS, CSI, OTHERS)))
SIZE = (40, 120)


class Recording:
    """A command on a terminal of 120 by 40.

    Attributes:
        raw: Every byte so far.
    """

    def __init__(self, words: Sequence[object], cwd: Path, env: dict[str, str]) -> None:
        self.raw = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        self._child = subprocess.Popen(
            [sys.executable, "-m", "trajflow", *map(str, words)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**os.environ, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1", **env},
            start_new_session=True,
        )
        os.close(slave)

    @property
    def text(self) -> str:
        """What was written, without what only moves and colours."""
        return SEQUENCE.sub(b"", self.raw).decode("utf-8", "backslashreplace")

    def press(self, keys: str) -> None:
        """Type some keys."""
        os.write(self._master, keys.encode())

    def until(self, pattern: str, seconds: float) -> bool:
        """Wait until a pattern was written since the call, or the time is up."""
        start, end = len(self.raw), time.monotonic() + seconds
        while time.monotonic() < end:
            if not self._take(0.1):
                break
            since = SEQUENCE.sub(b"", self.raw[start:]).decode("utf-8", "replace")
            if re.search(pattern, since):
                return True
        return False

    def rest(self, seconds: float) -> None:
        """Take what is written for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._take(0.1):
            pass

    def leave(self, *keys: str) -> int | None:
        """Press keys, one after the other and again, until the command ends; its exit code."""
        for key in keys * 5:
            if self._child.poll() is not None:
                break
            with suppress(OSError):
                self.press(key)
            self.rest(3.0)
        return self.finish(5)

    def finish(self, seconds: float) -> int | None:
        """Take what is written until the end; the exit code, None if it had to be killed."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._take(0.1):
            pass
        try:
            code: int | None = self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            code = None
        os.close(self._master)
        return code

    def _take(self, seconds: float) -> bool:
        """Read what is there; whether there may be more."""
        if not select.select([self._master], [], [], seconds)[0]:
            return self._child.poll() is None
        try:
            found = os.read(self._master, 1 << 16)
        except OSError:
            return False
        self.raw += found
        return bool(found)


def kinds(raw: bytes) -> set[str]:
    """The kinds of escape sequences in what was written, their numbers left out."""
    found = {SEQUENCE_NUMBERS.sub(rb"N", one) for one in SEQUENCE.findall(raw)}
    return {one.decode("latin-1").replace("\x1b", "ESC") for one in found}


def controls(raw: bytes) -> set[str]:
    """Letters beside the sequences that a terminal obeys or does not draw."""
    from trajflow.text import needs_escape

    left = SEQUENCE.sub(b"", raw).decode("utf-8", "surrogateescape")
    return {f"U+{ord(letter):04X}" for letter in set(left) if needs_escape(letter)}


SEQUENCE_NUMBERS = re.compile(rb"[0-9]+(?:[;:][0-9]+)*")
