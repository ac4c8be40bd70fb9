"""Everything a training needs to go on exactly where it stopped."""

import io
import pickle
from dataclasses import dataclass
from typing import Any

import torch

from trajflow.errors import RunError
from trajflow.model import TrajectoryModel
from trajflow.runs import RESUME, RunFolder
from trajflow.training.average import Average


@dataclass(frozen=True)
class Checkpoint:
    """State of a training after `step` steps.

    The order of the data, the noise and the changes to the scenes are functions of the seed and
    the step, so no state of chance is needed.
    """

    step: int
    best: float
    best_step: int
    seconds: float
    states: dict[str, Any]

    @classmethod
    def take(
        cls,
        model: TrajectoryModel,
        average: Average,
        optimiser: torch.optim.Optimizer,
        **progress: Any,
    ) -> "Checkpoint":
        """The state of these three, and `step`, `best`, `best_step`, `seconds`."""
        states = {
            "model": model.state_dict(),
            "average": average.model.state_dict(),
            "optimiser": optimiser.state_dict(),
        }
        return cls(states=states, **progress)

    def restore(
        self, model: TrajectoryModel, average: Average, optimiser: torch.optim.Optimizer
    ) -> None:
        """Put the state back into these three."""
        model.load_state_dict(self.states["model"])
        average.model.load_state_dict(self.states["average"])
        optimiser.load_state_dict(self.states["optimiser"])

    def write(self, folder: RunFolder) -> None:
        """Replace the folder's checkpoint, whole."""
        buffer = io.BytesIO()
        torch.save(vars(self), buffer)
        folder.write(RESUME, buffer.getvalue())

    @classmethod
    def read(cls, folder: RunFolder) -> "Checkpoint":
        """The folder's checkpoint.

        Raises:
            RunError: There is none, or it cannot be read.
        """
        content = folder.read(RESUME, "it was stopped before it could save once; train anew")
        try:
            return cls(**torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
        except (RuntimeError, TypeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise RunError(f"{folder.path / RESUME} is damaged: {error}") from None
