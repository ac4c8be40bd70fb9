"""An untrained run whose OOD detector scores long steps, for tests of what surrounds detectors."""

from dataclasses import dataclass, field

import numpy as np
import torch

from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import open_store
from trajflow.inference.predictor import TorchPredictor
from trajflow.model import Architecture, TrajectoryModel
from trajflow.ood.detector import OODScores, Origin


def length_scores(past):
    """OOD scores of pasts [N, T, D] that grow with the mean step length."""
    length = np.nan_to_num(np.linalg.norm(np.diff(past, axis=1), axis=-1)).mean(1)
    score = length / (1 + length)
    reasons = tuple(f"steps of {one:.2f}" for one in length)
    return OODScores(score, score, score, score, length, reasons)


@dataclass
class LengthDetector:
    """A detector that looks at the lengths of steps alone."""

    origin: Origin = field(default_factory=Origin)

    def score(self, past, context):
        return length_scores(past)


def untrained(path):
    """A predictor of the tracks of a store that has learned nothing but their size."""
    torch.manual_seed(3)
    shape = Architecture(8, 12, 2, width=12, decoder_width=16, decoder_depth=1, components=5)
    model, store = TrajectoryModel(shape), open_store(path)
    data = TrackData(store, **Config.load().data.model_dump())
    model.fit_scaling(
        (
            torch.as_tensor(batch.past, dtype=torch.float32),
            torch.as_tensor(batch.future, dtype=torch.float32),
            torch.as_tensor(batch.target),
        )
        for batch in data.validation(256, 500, "train")
    )
    facts = {"dt": store.dt, "unit": store.unit}
    return TorchPredictor(model, facts, detector=LengthDetector())
