"""An ONNX graph in ONNX Runtime: one thread, no spinning, no other files, bounded work."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import MissingExtra, RunError
from trajflow.text import safe

MEMORY = 384 * 2**20
"""Bytes that the graphs of a process may hold beside their weights, however many agents there are.
The predictor cuts calls that need more into smaller ones."""
TRIAL_SECONDS, CALL_SECONDS = 1.0, 60.0
"""Seconds that one call may take, while a file is loaded and afterwards."""
FATAL = 4
"""The severity below which ONNX Runtime logs nothing: it prints names of nodes as they are."""
SHORT = ("smaller than requested bytes", "llocate memory", "bad_alloc", "bad allocation")
"""How ONNX Runtime says that memory does not suffice."""


class OutOfMemory(RunError):
    """A call needs more memory than `MEMORY`."""


class Engine(Protocol):
    """What computes a graph."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""

    def __call__(self, *outputs: str, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs of those names."""


class Session:
    """A graph that ONNX Runtime computes on the processor."""

    def __init__(self, content: bytes, threads: int = 1, *, trial: bool = False) -> None:
        """Prepare it.

        Args:
            content: The graph as ONNX.
            threads: How many threads compute; more than one may be much slower on a busy machine.
            trial: Whether it is a stranger's, to be tried as it stands and with little time:
                constants are folded while a graph is optimised, for as long as that takes.

        Raises:
            MissingExtra: There is no onnxruntime.
            RunError: The graph cannot be run.
        """
        try:
            import onnxruntime as ort
        except ImportError:
            raise MissingExtra(
                "exported models need onnxruntime; install it with: pip install onnxruntime"
            ) from None
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = FATAL
        if trial:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        _bound_memory()
        for name, value in (
            ("session.intra_op.allow_spinning", "0"),
            ("session.use_env_allocators", "1"),
            ("session.use_device_allocator_for_initializers", "1"),
        ):
            options.add_session_config_entry(name, value)
        try:
            self._session = ort.InferenceSession(content, options, ["CPUExecutionProvider"])
        except Exception as error:  # its own kinds of error have no common name
            raise RunError(f"ONNX Runtime cannot run it: {_said(error)}") from None
        self.inputs = tuple(one.name for one in self._session.get_inputs())
        self._options, self._trial = ort.RunOptions, trial

    def __call__(self, *outputs: str, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs of those names.

        Raises:
            OutOfMemory: It needs more than `MEMORY`.
            RunError: It fails, takes longer than it may, or gives something else than numbers.
        """
        options = self._options()
        options.log_severity_level = FATAL
        limit = TRIAL_SECONDS if self._trial else CALL_SECONDS
        if self._trial:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        deadline = time.monotonic() + limit
        _watchdog.watch(options, deadline)
        try:
            found: list[NDArray[Any]] = self._session.run(outputs, inputs, options)
        except Exception as error:  # its own kinds of error have no common name
            if isinstance(error, MemoryError) or any(sign in str(error) for sign in SHORT):
                raise OutOfMemory(f"it needs more memory than {MEMORY >> 20} MiB") from None
            if options.terminate or time.monotonic() > deadline:
                raise RunError(f"one call took longer than {limit:g} s") from None
            raise RunError(f"ONNX Runtime failed: {_said(error)}") from None
        finally:
            _watchdog.forget(options)
        if not all(isinstance(one, np.ndarray) and one.dtype == np.float32 for one in found):
            raise RunError("it gives something else than arrays of single precision")
        return found


def _said(error: Exception) -> str:
    """What ONNX Runtime says, in one line that a terminal does not obey."""
    return safe(" ".join(str(error).split()), 300)


class _Watchdog:
    """Ends calls whose time is up: a timer for each would be a thread for each."""

    TICK, REST = 0.1, 50
    """Seconds between two looks, and looks without a call after which its thread ends."""

    def __init__(self) -> None:
        self._calls: dict[int, tuple[float, Any]] = {}
        self._thread: threading.Thread | None = None

    def watch(self, options: Any, deadline: float) -> None:
        """End the call of some options when the clock shows `deadline`."""
        self._calls[id(options)] = deadline, options
        thread = self._thread
        if thread is None or not thread.is_alive():  # none lives on in the child of a fork
            thread = threading.Thread(target=self._look, name="trajflow-onnx", daemon=True)
            self._thread = thread
            thread.start()

    def forget(self, options: Any) -> None:
        """The call of these options is over."""
        self._calls.pop(id(options), None)

    def _look(self) -> None:
        idle = 0
        while True:
            time.sleep(self.TICK)
            now = time.monotonic()
            for deadline, options in list(self._calls.values()):
                if now > deadline:
                    options.terminate = True
            idle = 0 if self._calls else idle + 1
            if idle > self.REST:
                self._thread = None
                if not self._calls:  # a call that comes now starts a thread of its own
                    return
                idle = 0


_watchdog = _Watchdog()


@cache
def _bound_memory() -> None:
    """Give the graphs of this process one bounded store of memory."""
    import onnxruntime as ort

    kind = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    grow = {"max_mem": MEMORY, "arena_extend_strategy": 1}
    grow |= {"initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1}
    with suppress(Exception):  # whoever has set one up in this process has bounded it as they like
        ort.create_and_register_allocator(kind, ort.OrtArenaCfg(grow))
