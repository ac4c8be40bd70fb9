"""Runs a trajflow command on a pseudo-terminal, presses keys, and records what it writes."""

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

from trajflow.text import needs_escape

CSI = rb"\x1b\[[0-?]*[ -/]*[@-~]"
STRINGS = rb"\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
OTHERS = rb"\x1b[ -/]*[0-~]?"
SEQUENCE = re.compile(rb"|".join((STRINGS, CSI, OTHERS)))
NUMBERS = re.compile(rb"[0-9]+(?:[;:][0-9]+)*")
SIZE = (40, 120)


class Recording:
    """A command on a terminal of 120 x 40 characters.

    Attributes:
        raw: Every byte written so far.
    """

    def __init__(self, arguments: Sequence[object], cwd: Path) -> None:
        self.raw = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        cache = {"XDG_CACHE_HOME": str(cwd / "cache")}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "trajflow", *map(str, arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**os.environ, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1", **cache},
            start_new_session=True,
        )
        os.close(slave)

    def press(self, keys: str) -> None:
        """Type keys."""
        os.write(self._master, keys.encode())

    def wait_for(self, pattern: str, seconds: float) -> bool:
        """Record until new text matches a pattern; False when the time is up."""
        start, end = len(self.raw), time.monotonic() + seconds
        while time.monotonic() < end and self._read(0.1):
            text = SEQUENCE.sub(b"", self.raw[start:]).decode("utf-8", "replace")
            if re.search(pattern, text):
                return True
        return False

    def record(self, seconds: float) -> None:
        """Record for some time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._read(0.1):
            pass

    def quit(self, *keys: str) -> int | None:
        """Press keys repeatedly until the command ends; its exit code."""
        for key in keys * 5:
            if self._child.poll() is not None:
                break
            with suppress(OSError):
                self.press(key)
            self.record(3.0)
        return self.finish(5)

    def finish(self, seconds: float) -> int | None:
        """Record until the command ends; its exit code, None if it had to be killed."""
        self.record(seconds)
        try:
            code: int | None = self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            code = None
        os.close(self._master)
        return code

    def _read(self, seconds: float) -> bool:
        """Read available output; False at its end."""
        if not select.select([self._master], [], [], seconds)[0]:
            return self._child.poll() is None
        try:
            output = os.read(self._master, 1 << 16)
        except OSError:
            return False
        self.raw += output
        return bool(output)


def escape_kinds(raw: bytes) -> set[str]:
    """The kinds of escape sequences in an output, without their numbers."""
    kinds = {NUMBERS.sub(rb"N", sequence) for sequence in SEQUENCE.findall(raw)}
    return {kind.decode("latin-1").replace("\x1b", "ESC") for kind in kinds}


def control_characters(raw: bytes) -> set[str]:
    """Characters outside escape sequences that a terminal obeys or does not draw."""
    text = SEQUENCE.sub(b"", raw).decode("utf-8", "surrogateescape")
    return {f"U+{ord(character):04X}" for character in set(text) if needs_escape(character)}
