"""A trained network as what looks at pasts."""

import numpy as np
import torch
from torch import Tensor

from trajflow.flow import sample
from trajflow.models.frames import Frame
from trajflow.models.learned_samples import spread_normals
from trajflow.models.tensors import to_tensor
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.surprise.sight import AGAIN, DRAWS, View
from trajflow.types import Bools, Floats, scene_centres


class NetworkViewer:
    """A network that looks at pasts, with nothing left to chance."""

    def __init__(self, model: TrajectoryModel) -> None:
        """Look with a model, where it is."""
        self.model = model
        self.usual = float(model.normalizer.displacement_scale)
        self.horizon = model.architecture.horizon

    @torch.inference_mode()
    def __call__(self, past: Floats, target: Bools) -> View:
        """What it makes of the targets [B, A] of pasts [B, A, T, D], in world coordinates."""
        device, centre = self.model.normalizer.displacement_scale.device, scene_centres(past)
        wanted = torch.as_tensor(target, device=device)
        context, frame = self.model.context(to_tensor(past, centre, device), wanted)
        noise = looking_noise(self.model).to(context)
        once = evaluations(self.model)
        there = centre[np.nonzero(target)[0], None]
        one = self._futures(context, frame, wanted, noise, once)
        two = self._futures(context, frame, wanted, noise[:AGAIN], 2 * once)
        return View(_plain(context[wanted]), _plain(one) + there, _plain(two) + there)

    def _futures(
        self, context: Tensor, frame: Frame, target: Tensor, noise: Tensor, steps: int
    ) -> Tensor:
        """Futures of the targets, [S, N, F, D], each agent's from the same noise [S, ...]."""
        model = self.model
        if not model.architecture.joint:
            each = noise[:, None].expand(-1, int(target.sum()), -1)
            return model.futures(context[target], frame.take(target), each, steps)
        whole = noise[:, None, None].expand(-1, *target.shape, -1)
        event: Tensor = sample(model.velocity(context, target), whole, steps, axes=2)[:, target]
        rest = event.new_zeros(*event.shape[:-1], model.normalizer.size)
        return model.normalizer.unnormalize(frame.take(target), event, rest)


def looking_noise(model: TrajectoryModel) -> Tensor:
    """Noise of the components that a model moves, [S, ...] with S = `DRAWS`; always the same."""
    return spread_normals(DRAWS, model.normalizer.components)


def evaluations(model: TrajectoryModel) -> int:
    """Network evaluations of a draw that is looked at."""
    return 1 if model.architecture.average else 4


def _plain(values: Tensor) -> Floats:
    return np.asarray(values.double().cpu().numpy())
