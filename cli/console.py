"""Prints results to stdout and progress, warnings and errors to stderr; handles signals."""

import errno
import json
import logging
import math
import os
import shutil
import signal
import stat
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from io import TextIOWrapper
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, TextIO

import typer

from trajflow.errors import DataProblem, TrajflowWarning
from trajflow.text import plain, safe

if TYPE_CHECKING:
    from trajflow.datasets.doctor import Finding

log = logging.getLogger("trajflow")

RED, YELLOW = "31", "33"
MAX_LINE = 2000


def say(text: str = "", mark: tuple[str, str] | None = None) -> None:
    """Print a result to stdout, escaped for a terminal."""
    word = paint(*mark, sys.stdout) if mark else ""
    put(sys.stdout, f"{word}{plain(text)}\n")


def say_json(value: object) -> None:
    """Print a JSON object to stdout, in ASCII; numbers that are not finite become null."""
    say(json.dumps(_plain(value), indent=2, allow_nan=False).replace("\x7f", "\\u007f"))


def put(stream: TextIO, text: str, now: bool = False) -> None:
    """Write to a stream, and flush if `now`; ignore the errors of a closed terminal.

    They come a moment before the hangup signal, which ends the command.
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
    """Redirect streams of a closed terminal to the null device."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        with suppress(OSError, ValueError):
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                os.dup2(devnull, stream.fileno())
    os.close(devnull)


def complain(kind: str, message: object, color: str = RED) -> None:
    """Print an error or a warning as one line on stderr."""
    line = f"{kind}: {'; '.join(part.strip() for part in str(message).splitlines() if part)}"
    _whole_line(paint(safe(line, MAX_LINE), color, sys.stderr))


def listen(level: int = logging.INFO) -> None:
    """Print the library's log messages of at least a level, and its warnings, on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    log.handlers = [_Stderr()]
    log.propagate = False
    log.setLevel(level)
    warnings.showwarning = _warn
    sys.excepthook = _trace


def paint(text: str, color: str, stream: TextIO) -> str:
    """Color a text, if the stream is a terminal and NO_COLOR is not set."""
    plain_only = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return f"\x1b[{color}m{text}\x1b[0m" if stream.isatty() and not plain_only else text


class _Stderr(logging.Handler):
    """Writes to the current `sys.stderr`, which may be redirected."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            complain(record.levelname.lower(), record.getMessage(), YELLOW)
        else:
            _whole_line(safe(record.getMessage(), MAX_LINE))


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
        text = warnings.formatwarning(message, category, filename, lineno, line)
        _whole_line(plain(text.rstrip()))


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


LIVE_INTERVAL = 0.1
LOG_INTERVAL = 15.0


class ProgressBar:
    """Progress of a job on one line; silent with --quiet.

    Examples:
        >>> from trajflow.cli.console import ProgressBar
        >>> ProgressBar("epoch", 4).line(done=1, elapsed=30.0, note="loss 0.5")
        'epoch 1/4  25 %  1:30 left  loss 0.5'
    """

    def __init__(
        self,
        label: str,
        total: int | None = None,
        *,
        start: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label, self.total, self.start = label, total, start
        self._stream = stream or sys.stderr
        self._clock = clock
        self._live = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._began = self._last = clock()
        self._shown = False

    def update(self, done: int, note: str = "", remaining: float | None = None) -> None:
        """Show progress, unless the last update was very recent.

        Args:
            done: Units done so far, including `start`.
            note: Further text.
            remaining: Remaining seconds; None: estimated from the speed so far.
        """
        if not log.isEnabledFor(logging.INFO):
            return
        now = self._clock()
        if now - self._last >= (LIVE_INTERVAL if self._live else LOG_INTERVAL):
            self._last = now
            self._show(self.line(done, now - self._began, note, remaining))

    def report(self, label: str, done: int, total: int | None = None) -> None:
        """Show progress of units with another label and total; with the label the pace changes."""
        if label != self.label:
            self.start, self._began = done, self._clock()
        self.label, self.total = label, total
        self.update(done)

    def line(
        self, done: int, elapsed: float, note: str = "", remaining: float | None = None
    ) -> str:
        """The text of the line after `elapsed` seconds."""
        parts = [f"{self.label} {done}"]
        if self.total:
            parts = [f"{self.label} {done}/{self.total}", f"{100 * done // self.total} %"]
            if remaining is None and done > self.start:
                remaining = elapsed / (done - self.start) * (self.total - done)
            if remaining is not None and done < self.total:
                parts.append(f"{span(remaining)} left")
        return "  ".join([*parts, note] if note else parts)

    def _show(self, line: str) -> None:
        line = safe(line, MAX_LINE)
        if self._live:
            columns = shutil.get_terminal_size().columns - 1
            put(self._stream, f"\r\x1b[K{line[:columns]}", now=True)
        else:
            put(self._stream, line + "\n", now=True)
        self._shown = True

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """Erase the line from the terminal."""
        if self._live and self._shown:
            put(self._stream, "\r\x1b[K", now=True)


def span(seconds: float) -> str:
    """A duration as text: 42 s, 1:30, 2:05:00.

    Examples:
        >>> from trajflow.cli.console import span
        >>> span(7500)
        '2:05:00'
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minute:02d}:{second:02d}"
    return f"{minute}:{second:02d}" if minute else f"{second} s"


# Handlers for a second signal, which ends the process even if a shell ignores interrupts.
SECOND_SIGNAL: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


@dataclass
class StopRequest:
    """The signal that stopped a job; 0 if there was none."""

    signal: int = 0

    @property
    def exit_code(self) -> int:
        """Exit code of a job ended by a signal: 130, 143 or 129."""
        return 128 + (self.signal or signal.SIGINT)


@contextmanager
def stop_on_signal(stop: Callable[[], None]) -> Iterator[StopRequest]:
    """Call `stop` on the first signal to end; a second one ends the process."""
    request, before = StopRequest(), {number: signal.getsignal(number) for number in SECOND_SIGNAL}

    def ask(number: int, frame: FrameType | None) -> None:
        request.signal = number
        stop()
        for other, handler in SECOND_SIGNAL.items():
            if _is_handled(other, before[other]):
                signal.signal(other, handler)
        if number == signal.SIGHUP:
            let_go(sys.stdout, sys.stderr)
        log.warning("stopping after this step, to save; Ctrl-C again leaves at once")

    for number, handler in before.items():
        if _is_handled(number, handler):
            signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_handled(number: signal.Signals, before: Any) -> bool:
    """Whether to handle a signal; under nohup, SIGHUP stays ignored."""
    return not (number == signal.SIGHUP and before == signal.SIG_IGN)


COLORS = {"error": RED, "warning": YELLOW, "note": "36", "ok": "32"}


def show_findings(findings: Sequence["Finding"], as_json: bool) -> None:
    """Print the findings; exit with the code of a data problem if one is an error."""
    if as_json:
        say_json({"findings": [asdict(finding) for finding in findings]})
    else:
        widest = max(len(finding.code) for finding in findings)
        for finding in findings:
            words = f"  {finding.code:{widest}}  {safe(finding.message, MAX_LINE)}"
            say(words, (f"{finding.level:7}", COLORS[finding.level]))
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(DataProblem.exit_code)
