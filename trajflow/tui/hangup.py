"""An end with its terminal: also where nobody sends the signal that a closed one should."""

import os
import select
import threading

GONE = 129
"""Exit code of a process whose terminal hung up."""


def end_with(terminal: int) -> None:
    """End this process when the terminal behind a file descriptor is gone.

    Without it an application that leads no session would wait for ever to write, and ask a dead
    terminal for keys as fast as it can.
    """
    if hasattr(select, "poll"):
        threading.Thread(target=_wait, args=(terminal,), daemon=True, name="hangup").start()


def _wait(terminal: int) -> None:
    poll = select.poll()
    poll.register(terminal, 0)
    if any(told & select.POLLHUP for _, told in poll.poll()):
        os._exit(GONE)
