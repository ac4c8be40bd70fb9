"""Starts the process in which requests are answered."""

import contextlib
import multiprocessing
import sys
from multiprocessing.connection import Connection
from typing import Protocol

from trajflow.tui.worker_desk import serve


class Inside(Protocol):
    """Where requests are answered."""

    @property
    def pid(self) -> int | None:
        """Number of the process."""

    @property
    def exitcode(self) -> int | None:
        """How it ended; None while it goes on."""

    def kill(self) -> None:
        """End it at once."""

    def join(self) -> None:
        """Wait until it has ended."""


def spawned(connection: Connection, threads: int) -> Inside:
    """A process of its own that answers what comes over a connection."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=serve, args=(connection, threads), daemon=True)
    with contextlib.redirect_stderr(sys.__stderr__):  # Textual's has no file for the child
        process.start()
    return process
