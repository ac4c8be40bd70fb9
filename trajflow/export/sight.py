"""What surprise looks at as a graph: pasts and fixed noise in, contexts and futures out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram

from trajflow.export.graph import ContextGraph, carried
from trajflow.export.inputs import random_inputs, tensors
from trajflow.export.tracing import traced
from trajflow.model import TrajectoryModel
from trajflow.predictor import Predictor
from trajflow.surprise.sight import AGAIN, DRAWS
from trajflow.surprise.viewing import evaluations, looking_noise


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


def sight_noise(predictor: Predictor) -> NDArray[np.float32]:
    """The noise of every agent, [S, N] with N = F * D: none but what the network moves."""
    kept = looking_noise(predictor.model).numpy()
    full = np.zeros((DRAWS, predictor.model.scaling.size), np.float32)
    full[:, : kept.shape[1]] = kept
    return full
