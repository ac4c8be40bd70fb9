"""Training: batches in, events out, a run folder on disk."""

from trajflow.training.events import Evaluated, Event, Finished, Started, Step, Tempered
from trajflow.training.trainer import Trainer, TrainingData

__all__ = [
    "Evaluated",
    "Event",
    "Finished",
    "Started",
    "Step",
    "Tempered",
    "Trainer",
    "TrainingData",
]
