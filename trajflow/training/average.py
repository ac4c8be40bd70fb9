"""A moving average of the weights: what is validated and kept."""

import copy

import torch

from trajflow.model import TrajectoryModel


class Average:
    """Exponential moving average of a model's floating weights and copy of the rest.

    The decay starts low and rises to `decay`, so the average is not held back by the first steps.
    """

    def __init__(self, model: TrajectoryModel, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model: TrajectoryModel, step: int) -> None:
        """Take in the weights after `step` steps, counted from 1."""
        decay = min(self.decay, step / (step + 9))
        mine, theirs = ([p.detach() for p in m.parameters()] for m in (self.model, model))
        torch._foreach_lerp_(mine, theirs, 1 - decay)
