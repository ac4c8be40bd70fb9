"""The inside of the worker process: takes requests off a pipe, and answers them one by one."""

import contextlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Literal

from trajflow.errors import TrajflowError
from trajflow.tui.worker_requests import Request

if TYPE_CHECKING:
    from trajflow.browsing.shelf import Shelf

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Reply:
    """What the worker says; `number` is that of the request."""

    kind: Literal["ready", "answer", "finished", "failed"]
    number: int = 0
    value: Any = None
    trace: str = ""


def serve(connection: Connection, threads: int) -> None:
    """Answer until the other end of the pipe is closed.

    Args:
        connection: Where requests come from and answers go to.
        threads: Processor threads of the model; few, so that the screen stays quick.
    """
    began = time.perf_counter()
    for name in THREADS:
        os.environ[name] = str(threads)
    _stay_silent()
    desk = Desk(connection)
    threading.Thread(target=desk.read, daemon=True).start()
    from trajflow.browsing.shelf import Shelf

    desk.tell(Reply("ready", value=time.perf_counter() - began))
    desk.work(Shelf())


class Desk:
    """Requests that wait, and the rules by which they are served."""

    def __init__(self, connection: Connection, leave: Callable[[int], Any] = os._exit) -> None:
        self._connection, self._leave = connection, leave
        self._waiting: list[tuple[int, Request]] = []
        self._cancelled: set[int] = set()
        self._changed, self._telling = threading.Condition(), threading.Lock()

    def read(self) -> None:
        """Take requests off the pipe; when it is closed, end the process at once."""
        while True:
            try:
                number, request = self._connection.recv()
            except (EOFError, OSError):
                self._leave(0)
                return
            self.put(number, request)

    def put(self, number: int, request: Request | None) -> None:
        """Let a request wait; None cancels the one of this number."""
        with self._changed:
            if request is None:
                self._cancelled.add(number)
                self._drop(lambda n, _: n == number)
                return
            if request.newest:
                self._drop(lambda _, older: type(older) is type(request))
            self._waiting.append((number, request))
            self._changed.notify()

    def work(self, shelf: "Shelf") -> None:
        """Serve for ever."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                number, request = self._waiting.pop(0)
            self.serve(number, request, shelf)

    def serve(self, number: int, request: Request, shelf: "Shelf") -> None:
        """Answer one request; between the chunks of a long one, those that are quick."""
        try:
            for value in _values(request.answer(shelf)):
                if number in self._cancelled:
                    break
                self.tell(Reply("answer", number, value))
                if not request.quick:
                    self._serve_quick(shelf)
        except TrajflowError as error:
            self.tell(Reply("failed", number, str(error)))
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            self.tell(Reply("failed", number, said, traceback.format_exc()))
        else:
            self.tell(Reply("finished", number))
        self._cancelled.discard(number)

    def tell(self, reply: Reply) -> None:
        """Send something back; nobody there means that the work is over."""
        with self._telling:
            try:
                self._connection.send(reply)
            except (BrokenPipeError, ConnectionError):
                self._leave(0)

    def _serve_quick(self, shelf: "Shelf") -> None:
        while True:
            with self._changed:
                quick = next((one for one in self._waiting if one[1].quick), None)
                if quick is None:
                    return
                self._waiting.remove(quick)
            self.serve(*quick, shelf)

    def _drop(self, wanted: Callable[[int, Request], bool]) -> None:
        gone = [number for number, request in self._waiting if wanted(number, request)]
        self._waiting = [one for one in self._waiting if one[0] not in gone]
        for number in gone:
            self.tell(Reply("finished", number))


def _values(answer: Any) -> Iterator[Any]:
    """What an answer yields, or itself alone."""
    if isinstance(answer, Iterator):
        yield from answer
    else:
        yield answer


def _stay_silent() -> None:
    """The terminal belongs to the application: nothing here may write to it or be interrupted."""
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
