"""How far a long job is: one moving line on a terminal, a line now and then in a log."""

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, TypeVar

from trajflow.cli.streams import LONGEST, log, put
from trajflow.text import safe

Item = TypeVar("Item")
TICK = 0.1
CALM = 15.0


class Progress:
    """A job that reports how much of it is done; silent under -q.

    Example:
        >>> from trajflow.cli.progress import Progress
        >>> Progress("epoch", 4).line(done=1, elapsed=30.0, note="loss 0.5")
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

    def __enter__(self) -> "Progress":
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
    with Progress(label, total) as progress:
        for item in items:
            yield item
            done += size(item)
            progress.update(done)


def span(seconds: float) -> str:
    """A duration as a person reads it: 42 s, 1:30, 2:05:00.

    Example:
        >>> from trajflow.cli.progress import span
        >>> span(7500)
        '2:05:00'
    """
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}" if minutes else f"{rest} s"
