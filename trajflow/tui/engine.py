"""Model work in one spawned process: importing torch and forecasting never block the screen."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from trajflow.errors import TrajflowError

if TYPE_CHECKING:
    from trajflow.browse.browser import Session

P = ParamSpec("P")
T = TypeVar("T")
Task = Callable[Concatenate["Session", P], T]
_KEYS = itertools.count()
MAX_DEATHS = 3
"""Ends of the process in a row, without an answer between them, before it is not restarted."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class TaskFailed(TrajflowError):
    """A task raised an error; the message says what was wrong and what to do."""


class EngineDied(TaskFailed):
    """The process ended during a task."""


class Engine:
    """Runs tasks in one process, one at a time and in the order of the requests.

    A task is a module-level function whose first argument is the `Session` of the process. A task
    that still waits is dropped by cancelling whoever awaits it: the newest request wins where a
    `@work(exclusive=True)` method asks. If the process ends, its task raises `EngineDied` and the
    next one starts another process.

    Args:
        threads: Processor threads of the model; few, so that the screen stays quick.
        executor: Makes what runs the tasks; None: a spawned process.
    """

    def __init__(self, threads: int = 1, executor: Callable[[], Executor] | None = None) -> None:
        self._make = executor or (lambda: _process(threads))
        self._pool: Executor | None = None
        self._turn = asyncio.Lock()
        self._deaths, self._waiting = 0, 0

    @property
    def busy(self) -> bool:
        """Whether any task runs or waits."""
        return self._waiting > 0

    @property
    def pid(self) -> int | None:
        """None before the first task."""
        return next(iter(getattr(self._pool, "_processes", None) or {}), None)

    async def call(self, task: Task[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a task.

        Raises:
            TaskFailed: The task raised an error, or the process has ended too often.
            EngineDied: The process ended.
        """
        self._waiting += 1
        pool = None
        try:
            await self._turn.acquire()
            try:
                future = self._submit(_run, task, *args, **kwargs)
            except BaseException:
                self._turn.release()
                raise
            pool, result = self._pool, asyncio.wrap_future(future)
            # The turn ends with the task, not with whoever awaits it: of many requests that are
            # dropped while a task runs, none reaches the process.
            future.add_done_callback(partial(self._end_turn, asyncio.get_running_loop()))
            value: T = await result
        except BrokenProcessPool:
            if self._pool is pool:
                self._pool = None
            self._deaths += 1
            again = "it is started again" if self._deaths < MAX_DEATHS else "restart trajflow tui"
            raise EngineDied(f"the model process ended unexpectedly; {again}") from None
        finally:
            self._waiting -= 1
        self._deaths = 0
        return value

    async def stream(
        self, task: Task[P, Iterator[T]], *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[T]:
        """What a generator task yields; other tasks run between two values.

        Raises:
            TaskFailed: As `call`.
        """
        key = next(_KEYS)
        try:
            while (value := await self.call(_advance, key, task, args, kwargs)) is not None:
                yield value
        finally:
            if self._pool is not None:
                with suppress(BrokenProcessPool, RuntimeError):
                    self._pool.submit(_forget, key)

    def close(self) -> None:
        """End the process at once; for when the application ends."""
        pool, self._pool, self._deaths = self._pool, None, MAX_DEATHS
        if pool is not None:
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                process.kill()
            pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        if self._deaths >= MAX_DEATHS:
            raise TaskFailed("the model process ended too often; restart trajflow tui")
        for attempt in range(2):
            self._pool = self._pool or self._make()
            try:
                return self._pool.submit(function, *args, **kwargs)
            except BrokenProcessPool:  # it ended while nothing ran, so nothing is lost
                self._pool = None
                if attempt:
                    raise
            except OSError as error:  # no memory, or the working folder is gone
                self._pool = None
                raise TaskFailed(f"the model process cannot be started: {error}") from None
        raise AssertionError

    def _end_turn(self, loop: asyncio.AbstractEventLoop, _: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop is closed: the application has ended
            loop.call_soon_threadsafe(self._turn.release)


def _process(threads: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, context, _begin, (threads,))


# What follows runs in the process.

_GENERATORS: dict[int, Iterator[Any]] = {}
_SESSION: list[Session] = []


def _begin(threads: int) -> None:
    """Write nothing to the terminal, ignore Ctrl-C, use few cores, end with the application."""
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in THREADS:
        os.environ[name] = str(threads)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(0)


def _session() -> Session:
    if not _SESSION:
        from trajflow.browse.browser import Session

        _SESSION.append(Session())
    return _SESSION[0]


def _run(task: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a task; only a plain message travels back if it fails."""
    try:
        return task(_session(), *args, **kwargs)
    except TrajflowError as error:
        raise TaskFailed(str(error)) from None
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        at = f" ({where.name}, {os.path.basename(where.filename)}:{where.lineno})"
        raise TaskFailed(f"{type(error).__name__}: {error}{at}") from None


def _advance(
    session: Session, key: int, task: Callable[..., Iterator[T]], args: Any, kwargs: Any
) -> T | None:
    """The next value of a generator; None at its end."""
    if key not in _GENERATORS:
        _GENERATORS[key] = task(session, *args, **kwargs)
    return next(_GENERATORS[key], None)


def _forget(key: int) -> None:
    _GENERATORS.pop(key, None)
