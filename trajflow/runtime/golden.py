"""Whether a graph still does what it did when it was exported."""

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Floats
from trajflow.errors import RunError
from trajflow.runtime.artefact import Artefact
from trajflow.runtime.session import Engine
from trajflow.surprise.sight import Viewer, look
from trajflow.surprise.surprise import Surprise

Numbers = NDArray[np.float32] | NDArray[np.float64]
JUDGED = 0.05
"""How far contexts, and what surprise is made of, may be from those carried: a tree may turn."""
MOST = 1 << 22
"""Numbers of golden inputs and outputs at most: a stranger's file shall not take all memory."""


def check_golden(artefact: Artefact, engine: Engine) -> None:
    """Let the graph forecast from the inputs it carries.

    Raises:
        RunError: It fails, or the futures are farther from those it carries than it allows.
    """
    golden = artefact.under("golden")
    inputs = {name: golden[name] for name in engine.inputs if name in golden}
    try:
        if sum(one.size for one in golden.values()) > MOST:
            raise ValueError("they are too many")
        _check_sizes(artefact)
        allowed = float(artefact.facts["golden"])
        (found,) = engine("futures", **inputs)
        apart = difference(found, golden["futures"], golden["past"])
    except Exception as error:  # what computes a graph has kinds of errors of its own
        raise RunError(f"it cannot forecast from the inputs it carries: {error}") from None
    if not apart <= allowed:
        raise RunError(
            f"it no longer forecasts as it did when it was made: {apart:.2g} of the motion apart, "
            f"{allowed:.2g} allowed; export the run again on this machine"
        )


def check_sight(artefact: Artefact, surprise: Surprise, viewer: Viewer) -> None:
    """Let what tells surprise judge the pasts it carries.

    Raises:
        RunError: It fails, or it judges otherwise than when it was made.
    """
    golden = artefact.under("golden")
    try:
        found = judged(surprise, viewer, golden["past"], golden["noise"].shape[2])
        apart = max(_apart(one, artefact.arrays[name]) for name, one in found.items())
    except Exception as error:  # what computes a graph has kinds of errors of its own
        raise RunError(f"it cannot judge the pasts it carries: {error}") from None
    if not apart <= JUDGED:
        raise RunError(
            f"it no longer finds strange what it did when it was made: {apart:.2g} apart, "
            f"{JUDGED:g} allowed; export the run again on this machine"
        )


def judged(
    surprise: Surprise, viewer: Viewer, past: Numbers, asked: int
) -> dict[str, NDArray[np.float64]]:
    """What is told of the first `asked` agents of golden pasts [B, A, T, D], by name."""
    target = np.asarray(np.isfinite(past).all(-1).any(-1))
    target[:, asked:] = False
    sight = look(viewer, past.astype(np.float64), target)
    told = surprise.judge(sight)
    numbers = [sight.spread, sight.agreement, sight.foretold, told.score, told.usual]
    numbers.append(np.log(told.risk / viewer.usual))
    return {"golden/context": sight.context, "golden/judged": np.stack(numbers)}


def _apart(found: Floats, truth: Floats) -> float:
    """Largest difference of numbers of order one; infinite where they are not known alike."""
    if found.shape != truth.shape or (np.isfinite(found) != np.isfinite(truth)).any():
        return float("inf")
    return float(np.nan_to_num(np.abs(found - truth)).max(initial=0))


def _check_sizes(artefact: Artefact) -> None:
    told = [artefact.facts[name] for name in ("history", "dims", "horizon", "dims")]
    past, futures = (artefact.arrays[f"golden/{name}"].shape for name in ("past", "futures"))
    if [*past[2:], *futures[3:]] != told:
        raise ValueError(f"they are {past} and {futures}, and the model says {told}")


def difference(found: Numbers, truth: Numbers, past: Numbers) -> float:
    """Largest distance between two positions, over the scale of motion.

    The scale is the root mean square length of a future's path from the present to its end, taken
    over all agents and samples: positions lie about the present, whatever the world's origin is.

    Args:
        found: Futures, [S, B, K, F, D].
        truth: Those they should be, [S, B, K, F, D].
        past: The pasts, [B, A, T, D], whose first K agents they are of.
    """
    if found.shape != truth.shape:
        return float("inf")
    known = np.asarray(np.isfinite(past).all(-1).any(-1))[:, : truth.shape[2]]
    right = truth[:, known].astype(np.float64)
    if not right.size:
        return 0.0
    apart = np.sqrt(np.square(found[:, known] - right).sum(-1)).max()
    return float(apart / scale(right))


def scale(futures: Floats) -> float:
    """Root mean square length of futures [S, N, F, D] between their first and last step."""
    path = np.sqrt(np.square(np.diff(futures, axis=-2)).sum(-1)).sum(-1)
    return float(np.sqrt(np.square(path).mean()) + np.finfo(np.float32).tiny)
