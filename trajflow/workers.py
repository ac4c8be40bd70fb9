"""Work shared by several processes: of this machine, or Dask workers on any number of machines.

The work itself is a function that can be pickled; it does not know which of them calls it.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

from trajflow.errors import ConfigError, MissingExtra, TrajflowError

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

log = logging.getLogger("trajflow")
Item = TypeVar("Item")
Result = TypeVar("Result")

ATTEMPTS = 3
"""How often processes are started before giving up, if they are killed each time."""
SECONDS_TO_END = 3.0
"""How long processes may take to end after a signal."""
_busy, _leaving = threading.Lock(), threading.Lock()
_plugins: list[str] = []


def load_plugins(names: Sequence[str]) -> None:
    """Import modules, or files FILE.py, that register encoders or readers, here and in workers.

    Raises:
        ConfigError: One cannot be imported.
    """
    for name in names:
        path = Path(name).absolute()
        try:
            if path.suffix != ".py":
                import_module(name)
            else:
                spec = spec_from_file_location(path.stem, path)
                assert spec is not None
                assert spec.loader is not None
                sys.modules[path.stem] = module = module_from_spec(spec)
                spec.loader.exec_module(module)
        except (ImportError, OSError, SyntaxError) as error:
            raise ConfigError(
                f"--plugin {name} cannot be imported: {error}; give a module or a file FILE.py"
            ) from None
        _plugins.append(str(path) if path.suffix == ".py" else name)


@dataclass(frozen=True)
class Dask:
    """Workers of Dask distributed, in place of a number of processes.

    Attributes:
        workers: How many are started on this machine, one thread each; not used with an address.
        address: A running scheduler, such as "tcp://host:8786", whose workers are used.

    Raises:
        MissingExtra: Dask is not installed.
    """

    workers: int = 1
    address: str | None = None

    def __post_init__(self) -> None:
        if find_spec("distributed") is None:
            raise MissingExtra("--engine dask needs distributed: pip install 'trajflow[dask]'")


Jobs = int | Dask
"""Number of processes on this machine, or the workers of Dask."""


def compute(
    work: Callable[[Item], Result], items: Sequence[Item], jobs: Jobs
) -> Iterator[tuple[int, Result]]:
    """Call a function with each item in several processes; what a killed one did is done again.

    Args:
        work: The function; can be pickled.
        items: What it is called with, once each.
        jobs: The processes.

    Yields:
        The index of an item and its result, in the order in which they are finished.

    Raises:
        TrajflowError: `work` raised it, processes were killed again and again, or no scheduler
            answers.
    """
    if not items:
        return
    if isinstance(jobs, Dask):
        yield from _by_dask(work, items, jobs)
    else:
        yield from _by_processes(work, items, jobs)


def in_order(
    work: Callable[[Item], Result], items: Sequence[Item], jobs: Jobs
) -> Generator[Result, None, None]:
    """As `compute`, but the results in the order of the items."""
    ready: dict[int, Result] = {}
    first = 0
    for index, result in compute(work, items, jobs):
        ready[index] = result
        while first in ready:
            yield ready.pop(first)
            first += 1


def _by_processes(
    work: Callable[[Item], Result], items: Sequence[Item], jobs: int
) -> Iterator[tuple[int, Result]]:
    left = dict(enumerate(items))
    for _ in range(ATTEMPTS):
        pool = ProcessPoolExecutor(min(jobs, len(left) or 1), get_context("spawn"), _begin)
        try:
            running: dict[Future[Result], int] = {
                pool.submit(_in_process, _plugins, work, item): index
                for index, item in left.items()
            }
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    index = running.pop(future)
                    result = future.result()
                    del left[index]
                    yield index, result
            return
        except BrokenProcessPool:
            continue
        except BaseException:
            _end(list(pool._processes.values()))
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    raise TrajflowError(
        f"processes were killed {ATTEMPTS} times, {len(left)} parts are left: memory may be too "
        "small; run the command again with fewer --jobs"
    )


def _end(processes: Sequence[BaseProcess]) -> None:
    """End processes, by force if they do not hear: a signal may reach a thread of a library."""
    for process in processes:
        process.terminate()
    last = time.monotonic() + SECONDS_TO_END
    for process in processes:
        if not wait_for_any([process.sentinel], max(0.0, last - time.monotonic())):
            process.kill()


def _begin() -> None:
    """Use one thread, and end soon after a signal or with the process that started this one."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _leave(number: int, frame: FrameType | None) -> None:
    if _leaving.acquire(blocking=False):  # The next signal must not interrupt the cleaning up.
        sys.exit(128 + number)


def _end_with_parent() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # of this thread
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _in_process(plugins: Sequence[str], work: Callable[[Item], Result], item: Item) -> Result:
    try:
        return _alone(plugins, work, item)
    finally:
        if _leaving.locked():  # The pool would take the next item, and DuckDB hides SystemExit.
            os._exit(1)


def _by_dask(
    work: Callable[[Item], Result], items: Sequence[Item], dask: Dask
) -> Iterator[tuple[int, Result]]:
    from distributed import KilledWorker, as_completed
    from distributed.client import FutureCancelledError

    with ExitStack() as stack:
        client = _client(dask, stack)
        futures = client.map(partial(_alone, _plugins, work), items, pure=False, key="part")
        index = {future.key: number for number, future in enumerate(futures)}
        finished = as_completed(futures)
        del futures  # Dask keeps a result for as long as there is a future of it.
        try:
            for future in finished:
                yield index[future.key], future.result()
        except KilledWorker as error:
            raise TrajflowError(
                f"a part of the work ended its worker {error.allowed_failures + 1} times, the last "
                f"one was {error.last_worker.address}: memory may be too small; run the command "
                "again with fewer workers on each machine"
            ) from None
        except FutureCancelledError:
            raise TrajflowError(
                f"the Dask scheduler {dask.address or ''} ended; run the command again"
            ) from None


def _client(dask: Dask, stack: ExitStack) -> "Client":
    """A client of the scheduler, or of workers that are started here and end with the context."""
    from distributed import Client, LocalCluster

    if dask.address is None:
        cluster = LocalCluster(
            n_workers=dask.workers,
            threads_per_worker=1,
            memory_limit=None,
            silence_logs=logging.CRITICAL,  # an error of the work is ours to report
            dashboard_address="127.0.0.1:8787",
        )
        client = stack.enter_context(Client(stack.enter_context(cluster)))
        stack.push(partial(_kill, cluster))
        log.info("dashboard: %s", client.dashboard_link)
        return client
    try:
        client = stack.enter_context(Client(dask.address, timeout="5s"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no Dask scheduler answers at {dask.address} ({error}); start one: `dask scheduler`, "
            "or use --workers N"
        ) from None
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        log.warning("no worker has joined yet: `dask worker --nthreads 1 %s`", dask.address)
    for name, worker in workers.items():
        if worker["nthreads"] > 1:
            log.warning("%s uses one of its %d threads: --nthreads 1", name, worker["nthreads"])
    return client


def _kill(cluster: "LocalCluster", kind: type[BaseException] | None, *_: object) -> None:
    """Kill the workers after an error, where Dask waits some seconds for the parts in progress."""
    if kind is not None:
        # Connections to killed workers would be reported after `silence_logs` has ended.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        for nanny in cluster.workers.values():
            nanny.auto_restart = False
            os.kill(nanny.pid, signal.SIGKILL)


def _alone(plugins: Sequence[str], work: Callable[[Item], Result], item: Item) -> Result:
    """Do the work when no other thread of this process does: predictors are not for two threads."""
    with _busy:
        load_plugins([name for name in plugins if name not in _plugins])
        return work(item)
