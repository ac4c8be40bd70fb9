"""Where words go: results to stdout, progress, warnings and signals to stderr."""

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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from io import TextIOWrapper
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import typer

from trajflow.errors import DataProblem, TrajflowWarning
from trajflow.text import plain, safe

if TYPE_CHECKING:
    from trajflow.datasets.doctor import Finding

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


Item = TypeVar("Item")
TICK = 0.1
CALM = 15.0


class ProgressBar:
    """A job that reports how much of it is done; silent under -q.

    Example:
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

    def update(self, done: int, note: str = "", left: float | None = None) -> None:
        """Say that `done` units are done, if the last word was long enough ago.

        Args:
            done: Units done so far, those before `start` included.
            note: What else is to be seen on the line.
            left: Seconds left, where the job knows better than a constant pace.
        """
        if not log.isEnabledFor(logging.INFO):
            return
        now = self._clock()
        if now - self._last >= (TICK if self._live else CALM):
            self._last = now
            self._show(self.line(done, now - self._began, note, left))

    def report(self, label: str, done: int, total: int | None = None) -> None:
        """Say that `done` of `total` units of another kind are done."""
        self.label, self.total = label, total
        self.update(done)

    def line(self, done: int, elapsed: float, note: str = "", left: float | None = None) -> str:
        """What is shown after `elapsed` seconds."""
        parts = [f"{self.label} {done}"]
        if self.total:
            parts = [f"{self.label} {done}/{self.total}", f"{100 * done // self.total} %"]
            if left is None and done > self.start:
                left = elapsed / (done - self.start) * (self.total - done)
            if left is not None and done < self.total:
                parts.append(f"{span(left)} left")
        return "  ".join([*parts, note] if note else parts)

    def _show(self, line: str) -> None:
        line = safe(line, LONGEST)
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
        """Take the moving line off the terminal."""
        if self._live and self._shown:
            put(self._stream, "\r\x1b[K", now=True)


def counted(
    label: str, items: Iterable[Item], size: Callable[[Item], int], total: int | None = None
) -> Iterator[Item]:
    """The items as they come, with a word on how many units were dealt with, of how many."""
    done = 0
    with ProgressBar(label, total) as progress:
        for item in items:
            yield item
            done += size(item)
            progress.update(done)


def span(seconds: float) -> str:
    """A duration as a person reads it: 42 s, 1:30, 2:05:00.

    Example:
        >>> from trajflow.cli.console import span
        >>> span(7500)
        '2:05:00'
    """
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}" if minutes else f"{rest} s"


AT_ONCE: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
"""What a second signal does, also where a shell started the job with interrupts ignored."""


@dataclass
class StopRequest:
    """Which signal asked a job to stop; 0 if none has."""

    signal: int = 0

    @property
    def exit_code(self) -> int:
        """What a shell expects of a job that such a signal has ended: 130, 143 or 129."""
        return 128 + (self.signal or signal.SIGINT)


@contextmanager
def stop_on_signal(stop: Callable[[], None]) -> Iterator[StopRequest]:
    """Inside, the first interrupt calls `stop`; the next one is an ordinary interrupt."""
    request, before = StopRequest(), {number: signal.getsignal(number) for number in AT_ONCE}

    def ask(number: int, frame: FrameType | None) -> None:
        request.signal = number
        stop()
        for each, handler in AT_ONCE.items():
            if _wanted(each, before[each]):
                signal.signal(each, handler)
        if number == signal.SIGHUP:
            let_go(sys.stdout, sys.stderr)
        log.warning("stopping after this step, to save; Ctrl-C again leaves at once")

    for each, handler in before.items():
        if _wanted(each, handler):
            signal.signal(each, ask)
    try:
        yield request
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _wanted(number: signal.Signals, before: Any) -> bool:
    """Whether a signal is heard: under nohup, the end of a terminal is none of our business."""
    return not (number == signal.SIGHUP and before == signal.SIG_IGN)


COLORS = {"error": RED, "warning": YELLOW, "note": "36", "ok": "32"}


def show_findings(findings: Sequence["Finding"], as_json: bool) -> None:
    """Print the findings; leave with a data problem's exit code if one is an error."""
    if as_json:
        say_json({"findings": [asdict(finding) for finding in findings]})
    else:
        widest = max(len(finding.code) for finding in findings)
        for finding in findings:
            words = f"  {finding.code:{widest}}  {safe(finding.message, LONGEST)}"
            say(words, (f"{finding.level:7}", COLORS[finding.level]))
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(DataProblem.exit_code)
