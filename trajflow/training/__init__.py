"""Training: batches in, events out, a run folder on disk."""

from trajflow.training.events import (
    Evaluated,
    Event,
    Finished,
    Returned,
    Started,
    Step,
    TemperatureChosen,
)
from trajflow.training.trainer import Trainer

__all__ = [
    "Evaluated",
    "Event",
    "Finished",
    "Returned",
    "Started",
    "Step",
    "TemperatureChosen",
    "Trainer",
]
