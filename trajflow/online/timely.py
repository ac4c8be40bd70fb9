"""Calls that are waited for only so long."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class Timely:
    """Runs calls one after the other in a thread of its own, so that nobody has to wait for them.

    A call that was given up goes on to its end; what comes after it waits, or is given up too.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "trajflow-online")

    def run(self, call: Callable[[], Result], seconds: float | None) -> Result | None:
        """What a call returns, or None where it takes longer than so many seconds, if any.

        Raises:
            Exception: Whatever the call raises in time.
        """
        running = self._pool.submit(call)
        try:
            return running.result(seconds if seconds is None else max(seconds, 0.0))
        except TimeoutError:
            running.cancel()
            return None
