"""An ONNX graph in ONNX Runtime: one thread, no spinning, no other files."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from trajflow.errors import MissingExtra, RunError


class Engine(Protocol):
    """What computes a graph."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""

    def __call__(self, *outputs: str, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs of those names."""


class Session:
    """A graph that ONNX Runtime computes on the processor."""

    def __init__(self, content: bytes, threads: int = 1) -> None:
        """Prepare it.

        Args:
            content: The graph as ONNX.
            threads: How many threads compute; more than one may be much slower on a busy machine.

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
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(content, options, ["CPUExecutionProvider"])
        except Exception as error:  # its own kinds of error have no common name
            raise RunError(f"ONNX Runtime cannot run it: {error}") from None
        self.inputs = tuple(one.name for one in self._session.get_inputs())

    def __call__(self, *outputs: str, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs of those names."""
        found: list[NDArray[Any]] = self._session.run(outputs, inputs)
        return found
