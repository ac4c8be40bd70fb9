"""Whether a graph still does what it did when it was exported."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import RunError
from trajflow.inference.onnx.artifact import Artifact, ModelSpec
from trajflow.inference.onnx.session import Session
from trajflow.surprise.sight import Viewer, look
from trajflow.surprise.surprise import Surprise
from trajflow.types import Floats

LOAD_SECONDS = 1.0
"""Most time that the forecast from golden inputs may take."""
NUMBERS = 1 << 22
"""Most numbers of golden inputs and outputs."""
SURPRISE_TOLERANCE = 0.05
"""Most difference of contexts and of what surprise is made of: a tree may take another branch."""


def check_golden(artifact: Artifact, spec: ModelSpec, session: Session) -> None:
    """Forecast from the inputs that a file carries.

    Raises:
        RunError: It fails, or the futures are farther from those in the file than it allows.
    """
    golden = artifact.group("golden")
    inputs = {name: golden[name] for name in session.inputs if name in golden}
    try:
        if sum(one.size for one in golden.values()) > NUMBERS:
            raise ValueError("they are too many")
        past, futures, known = golden["past"], golden["futures"], spec.format
        if past.shape[2:] != (known.history, known.dims):
            raise ValueError(f"the past has shape {past.shape}")
        if futures.shape[3:] != (known.horizon, known.dims):
            raise ValueError(f"the futures have shape {futures.shape}")
        (found,) = session.run(["futures"], inputs, LOAD_SECONDS)
        off = difference(found, futures, past)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(f"it cannot forecast from the inputs it carries: {error}") from None
    if not off <= spec.tolerance:
        raise RunError(
            f"it no longer forecasts as it did when it was made: {off:.2g} of the motion apart, "
            f"{spec.tolerance:.2g} allowed; export the run again on this machine"
        )


def check_sight(artifact: Artifact, surprise: Surprise, viewer: Viewer) -> None:
    """Let what tells surprise judge the pasts that a file carries.

    Raises:
        RunError: It fails, or it judges otherwise than when it was made.
    """
    golden = artifact.group("golden")
    try:
        found = judged(surprise, viewer, golden["past"], golden["noise"].shape[2])
        off = max(_off(one, artifact.arrays[name]) for name, one in found.items())
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise RunError(f"it cannot judge the pasts it carries: {error}") from None
    if not off <= SURPRISE_TOLERANCE:
        raise RunError(
            f"it no longer finds strange what it did when it was made: {off:.2g} apart, "
            f"{SURPRISE_TOLERANCE:g} allowed; export the run again on this machine"
        )


def judged(
    surprise: Surprise, viewer: Viewer, past: NDArray[Any], agents: int
) -> dict[str, NDArray[np.float64]]:
    """What is told of the first `agents` of golden pasts [B, A, T, D], by name."""
    target = np.asarray(np.isfinite(past).all(-1).any(-1))
    target[:, agents:] = False
    sight = look(viewer, past.astype(np.float64), target)
    told = surprise.judge(sight)
    numbers = [sight.spread, sight.agreement, sight.foretold, told.score, told.usual]
    numbers.append(np.log(told.risk / viewer.usual))
    return {"golden/context": sight.context, "golden/judged": np.stack(numbers)}


def _off(found: Floats, truth: Floats) -> float:
    """Largest difference of numbers of order one; infinite where they are not known alike."""
    if found.shape != truth.shape or (np.isfinite(found) != np.isfinite(truth)).any():
        return float("inf")
    return float(np.nan_to_num(np.abs(found - truth)).max(initial=0))


def difference(found: NDArray[Any], truth: NDArray[Any], past: NDArray[Any]) -> float:
    """Largest distance between two positions, over the scale of motion.

    Args:
        found: Futures, [S, B, K, F, D].
        truth: What they should be, [S, B, K, F, D].
        past: The pasts, [B, A, T, D], of whose first K agents they are.
    """
    if found.shape != truth.shape:
        return float("inf")
    known = np.asarray(np.isfinite(past).all(-1).any(-1))[:, : truth.shape[2]]
    right = truth[:, known].astype(np.float64)
    if not right.size:
        return 0.0
    return float(np.sqrt(np.square(found[:, known] - right).sum(-1)).max() / path_length(right))


def path_length(futures: Floats) -> float:
    """Root mean square length of futures [S, N, F, D]: no origin of the world changes it."""
    path = np.sqrt(np.square(np.diff(futures, axis=-2)).sum(-1)).sum(-1)
    return float(np.sqrt(np.square(path).mean()) + np.finfo(np.float32).tiny)
