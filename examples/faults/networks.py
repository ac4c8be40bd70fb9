"""A predictor whose network is small and drawn at random, and the crowds it is asked about."""

import numpy as np
import torch

from trajflow.inference.predictor import TorchPredictor
from trajflow.models.trajectory_model import Architecture, TrajectoryModel


def small_predictor() -> TorchPredictor:
    """A predictor of 8 + 12 steps."""
    torch.manual_seed(0)
    shape = Architecture(8, 12, width=16, decoder_width=24, decoder_depth=1)
    model = TrajectoryModel(shape)
    for parameter in model.velocity_net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return TorchPredictor(model, {"dt": 0.4, "unit": "m"})


def crowd(agents: int, seed: int) -> np.ndarray:
    """Pasts of a scene, [A, T, D]."""
    return np.random.default_rng(seed).normal(size=(agents, 8, 2)).cumsum(1)
