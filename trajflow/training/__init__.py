"""Training: batches in, events out, a run folder on disk."""

from typing import TYPE_CHECKING, Any

from trajflow.training.events import (
    Evaluated,
    Event,
    Finished,
    Returned,
    Started,
    Step,
    TemperatureChosen,
)

if TYPE_CHECKING:
    from trajflow.training.trainer import Trainer as Trainer

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


def __getattr__(name: str) -> Any:
    """`Trainer`, which imports torch, on first use."""
    if name == "Trainer":
        from trajflow.training.trainer import Trainer

        return Trainer
    raise AttributeError(f"trajflow.training has no {name!r}")
