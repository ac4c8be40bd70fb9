"""An ONNX graph in ONNX Runtime: one thread, no spinning, no other files."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import cache
from typing import Any, Protocol

from numpy.typing import NDArray

from trajflow.errors import MissingExtra, RunError

ROOM, PATIENCE = 384 * 2**20, 1.0
"""Bytes and seconds that a graph may take while it is tried."""


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
            trial: Whether it is a stranger's, to be tried with little memory and time: a small file
                may hold a graph that fills any memory.

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
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4 if trial else 3
        if trial:
            # Constants are folded while a graph is optimised, for as long as that takes.
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            _bound_memory()
            options.add_session_config_entry("session.use_env_allocators", "1")
        try:
            self._session = ort.InferenceSession(content, options, ["CPUExecutionProvider"])
        except Exception as error:  # its own kinds of error have no common name
            raise RunError(f"ONNX Runtime cannot run it: {error}") from None
        self.inputs = tuple(one.name for one in self._session.get_inputs())
        self._trial = trial

    def __call__(self, *outputs: str, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs of those names."""
        if self._trial:
            return self._tried(outputs, inputs)
        found: list[NDArray[Any]] = self._session.run(outputs, inputs)
        return found

    def _tried(
        self, outputs: tuple[str, ...], inputs: dict[str, NDArray[Any]]
    ) -> list[NDArray[Any]]:
        import onnxruntime as ort

        options = ort.RunOptions()
        options.log_severity_level = 4
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        timer = threading.Timer(PATIENCE, setattr, (options, "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            found: list[NDArray[Any]] = self._session.run(outputs, inputs, options)
        finally:
            timer.cancel()
        return found


@cache
def _bound_memory() -> None:
    """Give graphs that are tried one bounded store of memory, for this process."""
    import onnxruntime as ort

    kind = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    grow = {"max_mem": ROOM, "arena_extend_strategy": 1}
    grow |= {"initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1}
    with suppress(Exception):  # whoever has set one up in this process has bounded it as they like
        ort.create_and_register_allocator(kind, ort.OrtArenaCfg(grow))
