"""What surprise looks at as a graph: pasts and fixed noise in, contexts and futures out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram

from trajflow.errors import RunError
from trajflow.export.graph import ContextGraph, carried
from trajflow.export.inputs import AGREED, SIZES, random_inputs, tensors
from trajflow.export.tracing import traced
from trajflow.model import TrajectoryModel
from trajflow.predictor import Predictor
from trajflow.runtime.golden import scale
from trajflow.surprise.sight import AGAIN, DRAWS, View, Viewer
from trajflow.surprise.viewing import NetworkViewer, evaluations, looking_noise


class SightGraph(nn.Module):
    """What a model makes of the first agents of each scene, as surprise looks at it."""

    def __init__(self, model: TrajectoryModel) -> None:
        super().__init__()
        self.context, self.model = ContextGraph(model), model
        self.steps = evaluations(model)

    def forward(self, past: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Contexts [B, K, H], futures [S, B, K, F, D], and again in twice the evaluations.

        Args:
            past: World positions about a point near each scene, [B, A, T, D]; not finite where
                unseen.
            noise: Noise of the first K agents of each scene, [S, B, K, N] with N = F * D, the same
                for all of them.
        """
        context, frame = self.context(past, noise.shape[2])
        once = carried(self.model, past, context, frame, noise, self.steps)
        twice = carried(self.model, past, context, frame, noise[:AGAIN], 2 * self.steps)
        return context, once, twice


def sight_program(predictor: Predictor) -> ExportedProgram:
    """The program of what surprise looks at, with scenes and agents left open."""
    inputs = random_inputs(predictor, (3, 19, 2, DRAWS), seed=0)
    given = {name: inputs[name] for name in ("past", "noise")}
    axes = {"past": (0, 1), "noise": (1, 2)}
    return traced(SightGraph(predictor.model), tensors(given), axes)


def check_views(predictor: Predictor, viewer: Viewer) -> None:
    """Let a graph look at pasts of sizes it was not traced with.

    Raises:
        RunError: It cannot, or does not see what the run does.
    """
    right = NetworkViewer(predictor.model)
    for number, size in enumerate(SIZES):
        past = random_inputs(predictor, size, seed=2 + number)["past"].astype(np.float64)
        target = np.asarray(np.isfinite(past).all(-1).any(-1))
        target[:, size[2] :] = False
        try:
            apart = _apart(viewer(past, target), right(past, target))
        except Exception as error:  # what computes a graph has kinds of errors of its own
            raise RunError(f"surprise cannot look at sizes {size}: {error}") from None
        if not apart <= AGREED:
            raise RunError(
                f"what surprise looks at is {apart:.2g} away from the run's own at sizes {size}, "
                f"{AGREED:g} allowed; this run cannot be exported with its surprise"
            )


def _apart(found: View, right: View) -> float:
    """Largest difference of futures over the motion, and of contexts over their size."""
    pairs = [(getattr(found, name), getattr(right, name)) for name in ("once", "twice")]
    moved = [np.linalg.norm(one - other, axis=-1).max() / scale(other) for one, other in pairs]
    usual = np.sqrt(np.square(right.context).mean())
    return float(max(*moved, np.abs(found.context - right.context).max() / usual))


def sight_noise(predictor: Predictor) -> NDArray[np.float32]:
    """The noise of every agent, [S, N] with N = F * D: none but what the network moves."""
    kept = looking_noise(predictor.model).numpy()
    full = np.zeros((DRAWS, predictor.model.scaling.size), np.float32)
    full[:, : kept.shape[1]] = kept
    return full
