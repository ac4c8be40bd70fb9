"""Ctrl-C, asked politely first: the job may save, a second one leaves at once."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from trajflow.cli.streams import let_go, log

AT_ONCE: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
"""What a second signal does, also where a shell started the job with interrupts ignored."""


@dataclass
class Asked:
    """Which signal asked a job to stop; 0 if none has."""

    signal: int = 0

    @property
    def exit_code(self) -> int:
        """What a shell expects of a job that such a signal has ended: 130, 143 or 129."""
        return 128 + (self.signal or signal.SIGINT)


@contextmanager
def asking(stop: Callable[[], None]) -> Iterator[Asked]:
    """Inside, the first interrupt calls `stop`; the next one is an ordinary interrupt."""
    asked, before = Asked(), {number: signal.getsignal(number) for number in AT_ONCE}

    def ask(number: int, frame: FrameType | None) -> None:
        asked.signal = number
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
        yield asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _wanted(number: signal.Signals, before: Any) -> bool:
    """Whether a signal is heard: under nohup, the end of a terminal is none of our business."""
    return not (number == signal.SIGHUP and before == signal.SIG_IGN)
