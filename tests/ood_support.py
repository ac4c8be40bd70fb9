"""What tests of the out-of-distribution rooms share: a run nobody trained, surprised by length."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import torch

from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import open_store
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.trajectory_model import Architecture, TrajectoryModel
from trajflow.surprise import Origin


@dataclass
class Lengths:
    """Surprised by long steps, in the manner of a fitted surprise."""

    origin: Origin = field(default_factory=Origin)

    def of(self, model, past, target):
        steps = np.diff(past[target], axis=1)
        length = np.nan_to_num(np.linalg.norm(steps, axis=-1)).mean(1)
        score = length / (1 + length)
        reasons = tuple(f"steps of {one:.2f}" for one in length)
        return SimpleNamespace(
            score=score, parts={"length": score}, reasons=reasons, risk=length, usual=score
        )


def untrained(path):
    """A predictor of the tracks of a store that has learned nothing but their size."""
    torch.manual_seed(3)
    shape = Architecture(8, 12, 2, width=12, decoder_width=16, decoder_depth=1, components=5)
    model, store = TrajectoryModel(shape), open_store(path)
    data = TrackData(store, **Config.load().data.model_dump())
    model.fit_normalizer(
        (
            torch.as_tensor(batch.past, dtype=torch.float32),
            torch.as_tensor(batch.future, dtype=torch.float32),
            torch.as_tensor(batch.target),
        )
        for batch in data.validation(256, 500, "train")
    )
    facts = {"dt": store.dt, "unit": store.unit}
    return TorchPredictor(model, facts, surprise=Lengths())
