"""A network of the default size that has learned nothing: its time is that of a trained one."""

import torch

from trajflow.config import Config
from trajflow.model import TrajectoryModel
from trajflow.predictor import Predictor
from trajflow.training.setup import architecture_of

FACTS = {"dt": 0.4, "unit": "m", "dims": 2}


def new_model(config: Config | None = None) -> TrajectoryModel:
    """The network that the settings describe, with random weights; by default the usual one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TrajectoryModel(architecture_of(config or Config(), 2))
        for weights in model.decoder.leave.parameters():
            torch.nn.init.normal_(weights, std=0.01)
    model.scaling.unit.fill_(0.4)
    return model


def new_predictor(device: str = "cpu") -> Predictor:
    """A predictor of the network of the default size."""
    return Predictor(new_model(), dict(FACTS), device)
