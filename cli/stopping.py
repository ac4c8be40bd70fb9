"""Ctrl-C, asked politely first: the job may save, a second one leaves at once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from trajflow.cli.streams import log

AT_ONCE: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
"""What a second signal does, also where a shell started the job with interrupts ignored."""


@contextmanager
def asking(stop: Callable[[], None]) -> Iterator[None]:
    """Inside, the first interrupt calls `stop`; the next one is an ordinary interrupt."""
    before = {number: signal.getsignal(number) for number in AT_ONCE}

    def ask(number: int, frame: FrameType | None) -> None:
        stop()
        for each, handler in AT_ONCE.items():
            signal.signal(each, handler)
        log.warning("stopping after this step, to save; Ctrl-C again leaves at once")

    for each in AT_ONCE:
        signal.signal(each, ask)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
