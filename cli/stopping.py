"""Ctrl-C, asked politely first: the job may save, a second one leaves at once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from trajflow.cli.streams import log

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def asking(stop: Callable[[], None]) -> Iterator[None]:
    """Inside, the first interrupt calls `stop`; the next one is an ordinary interrupt."""
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def ask(number: int, frame: FrameType | None) -> None:
        stop()
        restore()
        log.warning("stopping after this step, to save; Ctrl-C again leaves at once")

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in SIGNALS:
        signal.signal(number, ask)
    try:
        yield
    finally:
        restore()
