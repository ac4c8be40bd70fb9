"""An ONNX graph in ONNX Runtime: one thread, no spinning, no other files, bounded work."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import MissingExtra, RunError
from trajflow.inference.scenes import OutOfMemory
from trajflow.text import safe

MEMORY = 384 * 2**20
"""Bytes that the graphs of a process may hold beside their weights, however many agents there are.
The predictor cuts calls that need more into smaller ones."""
CALL_SECONDS = 60.0
"""Seconds that one call may take."""
FATAL = 4
"""The severity below which ONNX Runtime logs nothing: it prints names of nodes as they are."""
SHORT_OF_MEMORY = ("smaller than requested bytes", "llocate memory", "bad_alloc", "bad allocation")
"""How ONNX Runtime says that memory does not suffice."""


class GraphSession:
    """A graph that ONNX Runtime computes on the processor.

    Attributes:
        inputs: Names of the inputs.
        metadata: The texts that the file carries beside its graph, by key.
    """

    def __init__(self, content: bytes, threads: int = 1) -> None:
        """Prepare a graph.

        Constants are not folded: that takes as long as the author of a file wants. `trajflow
        export` has folded them.

        Args:
            content: The graph as ONNX.
            threads: How many threads compute; more than one may be much slower on a busy machine.

        Raises:
            MissingExtra: onnxruntime is not installed.
            RunError: The graph cannot be run.
        """
        try:
            import onnxruntime as ort
        except ImportError:
            raise MissingExtra(
                "exported models need onnxruntime; install it with: pip install onnxruntime"
            ) from None
        self._made_of = content, threads
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = FATAL
        _bound_memory()
        for name, value in (
            ("session.intra_op.allow_spinning", "0"),
            ("session.use_env_allocators", "1"),
            ("session.use_device_allocator_for_initializers", "1"),
        ):
            options.add_session_config_entry(name, value)
        try:
            self._session = ort.InferenceSession(
                content,
                options,
                ["CPUExecutionProvider"],
                disabled_optimizers=["ConstantFolding"],
            )
        except Exception as error:  # its exceptions have no common base
            raise RunError(f"ONNX Runtime cannot run it: {_one_line(error)}") from None
        self.inputs = tuple(one.name for one in self._session.get_inputs())
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self._options = ort.RunOptions

    def __reduce__(self) -> tuple[Any, ...]:
        return GraphSession, self._made_of

    def run(
        self,
        outputs: Sequence[str],
        inputs: Mapping[str, NDArray[Any]],
        seconds: float | None = None,
    ) -> list[NDArray[np.float32]]:
        """Compute outputs, arrays of any shape.

        Args:
            outputs: Their names.
            inputs: Arrays by the names of the graph's inputs.
            seconds: Most time that the call may take; None: `CALL_SECONDS`.

        Raises:
            OutOfMemory: It needs more than `MEMORY`.
            RunError: It fails, takes too long, or gives something else than float32 arrays.
        """
        options, seconds = self._options(), seconds or CALL_SECONDS
        options.log_severity_level = FATAL
        deadline = time.monotonic() + seconds
        _watchdog.watch(options, deadline)
        try:
            result: list[NDArray[Any]] = self._session.run(list(outputs), dict(inputs), options)
        except Exception as error:  # its exceptions have no common base
            if isinstance(error, MemoryError) or any(s in str(error) for s in SHORT_OF_MEMORY):
                raise OutOfMemory(f"it needs more memory than {MEMORY >> 20} MiB") from None
            if time.monotonic() > deadline:
                raise RunError(f"one call took longer than {seconds:g} s") from None
            raise RunError(f"ONNX Runtime failed: {_one_line(error)}") from None
        finally:
            _watchdog.forget(options)
        if not all(isinstance(one, np.ndarray) and one.dtype == np.float32 for one in result):
            raise RunError("it gives something else than arrays of float32")
        return result


def _one_line(error: Exception) -> str:
    """An error of ONNX Runtime in one line that a terminal does not obey."""
    return safe(" ".join(str(error).split()), 300)


class _Watchdog:
    """Ends calls whose time is up. A timer per call would start a thread per call."""

    TICK, REST = 0.1, 50
    """Seconds between two looks, and looks without a call after which its thread ends."""

    def __init__(self) -> None:
        self._calls: dict[int, tuple[float, Any]] = {}
        self._thread: threading.Thread | None = None

    def watch(self, options: Any, deadline: float) -> None:
        """End the call with these options when the monotonic clock shows `deadline`."""
        self._calls[id(options)] = deadline, options
        thread = self._thread
        if thread is None or not thread.is_alive():  # a fork leaves none in the child
            thread = threading.Thread(target=self._look, name="trajflow-onnx", daemon=True)
            self._thread = thread
            thread.start()

    def forget(self, options: Any) -> None:
        """The call with these options is over."""
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
                if not self._calls:  # a call that comes now starts a new thread
                    return
                idle = 0


_watchdog = _Watchdog()


@cache
def _bound_memory() -> None:
    """Give the graphs of this process one bounded arena."""
    import onnxruntime as ort

    kind = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    # Regions double (strategy 0): of regions as large as requested (1), no later call with one more
    # agent can use any, and a loop with many agents grows to the bound.
    arena = {"max_mem": MEMORY, "arena_extend_strategy": 0}
    arena |= {"initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1}
    with suppress(Exception):  # the process may have registered an allocator of its own
        ort.create_and_register_allocator(kind, ort.OrtArenaCfg(arena))
