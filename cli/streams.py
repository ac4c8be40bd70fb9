"""Where words go: results to stdout, everything said along the way to stderr."""

import errno
import json
import logging
import math
import os
import stat
import sys
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from io import TextIOWrapper
from types import TracebackType
from typing import TextIO

from trajflow.errors import TrajflowWarning
from trajflow.text import plain, safe

log = logging.getLogger("trajflow")

RED, YELLOW = "31", "33"
LONGEST = 2000


def say(text: str = "", mark: tuple[str, str] | None = None) -> None:
    """Print one result, or a line of one, to stdout; nothing in it can be obeyed by a terminal.

    Args:
        text: What is said.
        mark: A word of our own before it, and its colour.
    """
    word = paint(*mark, sys.stdout) if mark else ""
    put(sys.stdout, f"{word}{plain(text)}\n")


def say_json(value: object) -> None:
    """Print one JSON object to stdout, in ASCII; a number that is not finite becomes null."""
    say(json.dumps(_plain(value), indent=2, allow_nan=False).replace("\x7f", "\\u007f"))


def put(stream: TextIO, text: str, now: bool = False) -> None:
    """Write, and `now` at once; a terminal that has just gone takes no more, and that ends nothing.

    The signal that tells of its end comes a moment later than the first word that fails.
    """
    try:
        stream.write(text)
        if now:
            stream.flush()
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        let_go(stream)


def let_go(*streams: TextIO) -> None:
    """Write no more to a terminal that is gone, nor to a pipe whose reader went with it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        with suppress(OSError, ValueError):
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def complain(kind: str, message: object, color: str = RED) -> None:
    """Print an error or a warning as one line on stderr."""
    line = f"{kind}: {'; '.join(part.strip() for part in str(message).splitlines() if part)}"
    _whole_line(paint(safe(line, LONGEST), color, sys.stderr))


def listen(level: int = logging.INFO) -> None:
    """Send what the library logs, and its warnings, to stderr from this level on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    log.handlers = [_Stderr()]
    log.propagate = False
    log.setLevel(level)
    warnings.showwarning = _warn
    sys.excepthook = _trace


def paint(text: str, color: str, stream: TextIO) -> str:
    """The text in a colour, where the stream is a terminal and NO_COLOR is not set."""
    wanted = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{color}m{text}\x1b[0m" if wanted else text


class _Stderr(logging.Handler):
    """Writes to whatever stderr is now, so that a redirected stream is respected."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            complain(record.levelname.lower(), record.getMessage(), YELLOW)
        else:
            _whole_line(safe(record.getMessage(), LONGEST))


def _trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _whole_line(plain("".join(traceback.format_exception(kind, error, trace)).rstrip()))


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, TrajflowWarning):
        complain("warning", message, YELLOW)
    elif log.isEnabledFor(logging.DEBUG):
        told = warnings.formatwarning(message, category, filename, lineno, line)
        _whole_line(plain(told.rstrip()))


def _whole_line(text: str) -> None:
    wipe = "\r\x1b[K" if sys.stderr.isatty() else ""
    put(sys.stderr, f"{wipe}{text}\n")


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)
