"""The one process that does the model work, and the threads that speak with it."""

from __future__ import annotations

import itertools
import multiprocessing
import queue
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, ClassVar

from trajflow.tui.messages import Complain
from trajflow.tui.worker_desk import Reply
from trajflow.tui.worker_messages import Answered, Failed, Finished, WorkerDied, WorkerReady
from trajflow.tui.worker_process import Inside, spawned
from trajflow.tui.worker_requests import Request

if TYPE_CHECKING:
    from textual.app import App
    from textual.message import Message
    from textual.message_pump import MessagePump

Waiting = tuple[Request, "MessagePump"]
LOST = "the worker process has ended too often; restart the application"


class Worker:
    """Asks a process and lets whoever asked hear of the answer; no call here ever waits.

    Answers come as messages: `Answered` once or often, then `Finished`, or `Failed`. If the process
    dies, whoever waits hears `Failed`, the app `Complain` and `WorkerDied`, and it starts again.

    Attributes:
        ready: Whether the process has loaded what it needs.
    """

    DEATHS: ClassVar[int] = 3
    """Deaths in a row, none of them after an answer, after which it is not started again."""

    def __init__(
        self,
        app: App[Any],
        threads: int = 1,
        begin: Callable[[Connection, int], Inside] = spawned,
    ) -> None:
        """A worker that is not started yet.

        Args:
            app: Hears what nobody else asked for.
            threads: Processor threads of the model; one leaves the others to the screen.
            begin: Starts what answers.
        """
        self.ready = False
        self._app, self._threads, self._begin = app, threads, begin
        self._numbers, self._deaths = itertools.count(1), 0
        self._waiting: dict[int, Waiting] = {}
        self._out: queue.SimpleQueue[tuple[int, Request | None] | None] = queue.SimpleQueue()
        self._lock, self._opened, self._closed = threading.Lock(), threading.Condition(), False
        self._connection: Connection | None = None
        self._keeper: threading.Thread | None = None
        self._process: Inside | None = None

    @property
    def pid(self) -> int | None:
        """Number of the process, once there is one."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process in the background; a second call does nothing."""
        if self._keeper is None and not self._closed:
            self._keeper = threading.Thread(target=self._keep, name="worker", daemon=True)
            self._keeper.start()
            threading.Thread(target=self._send, name="worker-out", daemon=True).start()

    def ask(self, request: Request, to: MessagePump | None = None) -> int:
        """Ask for something.

        Args:
            request: What.
            to: Screen or widget that hears the answer; None: the app.

        Returns:
            The number that the answer bears.
        """
        self.start()
        number = next(self._numbers)
        if self._closed:
            self._post(to or self._app, Failed(number, request, LOST))
            return number
        with self._lock:
            self._waiting[number] = (request, to or self._app)
        self._out.put((number, request))
        return number

    def cancel(self, number: int) -> None:
        """Nothing more is wanted for a request; one that runs stops after its chunk."""
        self._out.put((number, None))

    def close(self) -> None:
        """End the process; called by the app when it ends."""
        with self._opened:
            self._closed = True
            self._opened.notify()
        self._out.put(None)
        if self._process is not None and self._process.exitcode is None:
            self._process.kill()

    def _keep(self) -> None:
        while not self._closed:
            ours, theirs = multiprocessing.Pipe()
            process = self._begin(theirs, self._threads)
            theirs.close()
            self._process = process
            if self._closed:
                process.kill()
            with self._opened:
                self._connection = ours
                self._opened.notify()
            self._listen(ours)
            with self._opened:
                self._connection = None
            process.join()
            ours.close()
            if not self._closed:
                self._bury(process.exitcode)

    def _send(self) -> None:
        """Pass on what is asked; what a dead process does not take is told by `_bury`."""
        while (one := self._out.get()) is not None:
            number, request = one
            with self._opened:
                self._opened.wait_for(lambda: self._connection or self._closed)
                connection = self._connection
            if connection is None:
                return
            if number not in self._waiting:
                continue
            try:
                connection.send((number, request))
            except OSError:
                continue
            except Exception as error:
                self._hear(Reply("failed", number, f"this cannot be sent: {error}"))

    def _listen(self, connection: Connection) -> None:
        while True:
            try:
                reply: Reply = connection.recv()
            except (EOFError, OSError):
                return
            if reply.kind == "ready":
                self.ready = True
                self._post(self._app, WorkerReady(reply.value))
            else:
                self._deaths = 0
                self._hear(reply)

    def _hear(self, reply: Reply) -> None:
        with self._lock:
            known = self._waiting.get(reply.number)
            if known and reply.kind != "answer":
                del self._waiting[reply.number]
        if known is None:
            return
        request, to = known
        if reply.kind == "answer":
            self._post(to, Answered(reply.number, request, reply.value))
        elif reply.kind == "finished":
            self._post(to, Finished(reply.number, request))
        else:
            self._post(to, Failed(reply.number, request, reply.value, reply.trace))

    def _bury(self, code: int | None) -> None:
        """Tell everyone who waits that the process is gone."""
        self.ready = False
        self._deaths += 1
        again = self._deaths < self.DEATHS
        text = f"the worker process ended (exit code {code})"
        text += "; it is started again" if again else "; restart the application"
        with self._lock:
            lost, self._waiting = self._waiting, {}
        self._post(self._app, Complain(text))
        self._post(self._app, WorkerDied(text, again))
        for number, (request, to) in lost.items():
            self._post(to, Failed(number, request, text, died=True))
        if again:
            time.sleep(0.2 * self._deaths)
        else:
            self.close()

    @staticmethod
    def _post(to: MessagePump, message: Message) -> None:
        if to.is_running:
            to.post_message(message)
