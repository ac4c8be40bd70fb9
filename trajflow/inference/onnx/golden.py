"""Whether a graph still does what it did when it was exported."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import RunError
from trajflow.inference.onnx.artifact import Artifact, ModelSpec
from trajflow.inference.onnx.session import GraphSession
from trajflow.types import Floats

LOAD_SECONDS = 1.0
"""Most time that the forecast from golden inputs may take."""
NUMBERS = 1 << 22
"""Most numbers of golden inputs and outputs."""


def check_golden(artifact: Artifact, spec: ModelSpec, session: GraphSession) -> int:
    """Forecast from the inputs that a file carries, and return the width of a context.

    Raises:
        RunError: It fails, or the futures are farther from those in the file than it allows.
    """
    golden = artifact.group("golden")
    inputs = {name: golden[name] for name in session.inputs if name in golden}
    try:
        if sum(one.size for one in golden.values()) > NUMBERS:
            raise ValueError("they are too many")
        past, futures, shape = golden["past"], golden["futures"], spec.format
        if past.shape[2:] != (shape.history, shape.dims):
            raise ValueError(f"the past has shape {past.shape}")
        if futures.shape[3:] != (shape.horizon, shape.dims):
            raise ValueError(f"the futures have shape {futures.shape}")
        result, context = session.run(("futures", "context"), inputs, LOAD_SECONDS)
        off = difference(result, futures, past)
        off = max(off, context_difference(context, golden["context"], past))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(f"it cannot forecast from the inputs it carries: {error}") from None
    if not off <= spec.tolerance:
        raise RunError(
            f"it no longer forecasts as it did when it was made: {off:.2g} of the motion apart, "
            f"{spec.tolerance:.2g} allowed; export the run again on this machine"
        )
    return int(context.shape[-1])


def context_difference(values: NDArray[Any], truth: NDArray[Any], past: NDArray[Any]) -> float:
    """Largest difference of contexts [B, K, H] of known pasts, over their root mean square."""
    if values.shape != truth.shape:
        return float("inf")
    seen = np.asarray(np.isfinite(past).all(-1).any(-1))[:, : truth.shape[1]]
    right = truth[seen].astype(np.float64)
    if not right.size:
        return 0.0
    size = np.sqrt(np.square(right).mean()) + np.finfo(np.float32).tiny
    return float(np.abs(values[seen] - right).max() / size)


def difference(values: NDArray[Any], truth: NDArray[Any], past: NDArray[Any]) -> float:
    """Largest distance between two positions, over the scale of motion.

    Args:
        values: Futures, [S, B, K, F, D].
        truth: What they should be, [S, B, K, F, D].
        past: The pasts, [B, A, T, D], of whose first K agents they are.
    """
    if values.shape != truth.shape:
        return float("inf")
    seen = np.asarray(np.isfinite(past).all(-1).any(-1))[:, : truth.shape[2]]
    right = truth[:, seen].astype(np.float64)
    if not right.size:
        return 0.0
    return float(np.sqrt(np.square(values[:, seen] - right).sum(-1)).max() / path_length(right))


def path_length(futures: Floats) -> float:
    """Root mean square length of futures [S, N, F, D]: no origin of the world changes it."""
    path = np.sqrt(np.square(np.diff(futures, axis=-2)).sum(-1)).sum(-1)
    return float(np.sqrt(np.square(path).mean()) + np.finfo(np.float32).tiny)
