"""Checkpoints: all that a training needs to resume exactly where it stopped."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from trajflow.errors import RunError
from trajflow.manifest import Manifest
from trajflow.models.serialization import current_names, pack_state, unpack_state
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.runs import RESUME, RunFolder

Optimiser = torch.optim.Optimizer
FORMAT = 2
"""Files without a number are older: their average has no buffers, their optimiser one group."""


class OtherVersion(RunError):
    """A checkpoint of another version of trajflow, which cannot be resumed."""


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of a training.

    Attributes:
        step: Updates done.
        best: Lowest energy score on the validation split; infinite before the first validation.
        best_step: Its update.
        seconds: Duration so far.
        slowed: Factor of the learning rate; below 1 after a loss was not finite.
        total: Updates of the whole training, lowered when time is short; 0: as in the settings.
    """

    step: int = 0
    best: float = math.inf
    best_step: int = 0
    seconds: float = 0.0
    slowed: float = 1.0
    total: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The progress as JSON values."""
        return vars(self) | {"best": self.best if math.isfinite(self.best) else None}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainingProgress":
        """The progress from the values of `to_dict`.

        Raises:
            TypeError: A value is missing or of another type.
        """
        best = values.pop("best")
        progress = cls(**values, best=math.inf if best is None else best)
        kinds = {"step": int, "best_step": int, "total": int}
        for name, value in vars(progress).items():
            if type(value) is not kinds.get(name, float):
                raise TypeError(f"{name} is {value!r}")
        return progress


@dataclass(frozen=True)
class Checkpoint:
    """State of a training: tensors by name, optimiser groups and progress.

    The order of the data, the noise and the augmentation are functions of the seed and the step, so
    no state of a random generator is stored.
    """

    progress: TrainingProgress
    tensors: dict[str, Tensor]
    groups: list[dict[str, Any]]

    @classmethod
    def take(
        cls,
        model: TrajectoryModel,
        average: AveragedModel,
        optimiser: Optimiser,
        progress: TrainingProgress,
    ) -> "Checkpoint":
        """The state of a model, its moving average and its optimiser."""
        state = optimiser.state_dict()
        tensors = _under("model", model.state_dict())
        tensors |= _under("average", average.state_dict())
        for number, values in state["state"].items():
            tensors |= _under(f"optimiser/{number}", values)
        return cls(progress, tensors, state["param_groups"])

    def restore(self, model: TrajectoryModel, average: AveragedModel, optimiser: Optimiser) -> None:
        """Load the state into a model, its moving average and its optimiser.

        Raises:
            RunError: It is of another network.
        """
        try:
            model.load_state_dict(self._of("model"))
            average.load_state_dict(self._of("average"))
            numbers = {name.split("/")[1] for name in self.tensors if name.startswith("optimiser/")}
            state = {int(n): self._of(f"optimiser/{n}") for n in numbers}
            optimiser.load_state_dict({"state": state, "param_groups": self.groups})
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunError(f"the checkpoint is of another network: {error}") from None

    def write(self, folder: RunFolder) -> None:
        """Replace the folder's checkpoint; the old one stays until the new one is verified."""
        facts = {"format": FORMAT, "progress": self.progress.to_dict(), "groups": self.groups}
        folder.write(RESUME, pack_state(self.tensors, facts))

    @classmethod
    def read(cls, folder: RunFolder) -> "Checkpoint":
        """The folder's checkpoint.

        Raises:
            OtherVersion: Another version of trajflow wrote it.
            RunError: There is none, or it is damaged.
        """
        content = folder.read(RESUME, "it stopped before its first checkpoint; train again")
        name = str(folder.path / RESUME)
        tensors, facts = unpack_state(content, name)
        if facts.get("format") != FORMAT:
            raise OtherVersion(
                f"{name} is a checkpoint of another version of trajflow, which this one cannot "
                "resume; use its weights, or train again"
            )
        try:
            progress = TrainingProgress.from_dict(facts["progress"])
            return cls(progress, current_names(tensors), list(facts["groups"]))
        except (KeyError, TypeError) as error:
            raise RunError(f"{name} is not a checkpoint: {error}") from None

    @staticmethod
    def exists(folder: RunFolder) -> bool:
        """Whether the folder has, or should have, a checkpoint."""
        return (folder.path / RESUME).exists() or RESUME in Manifest.read(folder.path).files

    def _of(self, part: str) -> dict[str, Tensor]:
        start = f"{part}/"
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}


def _under(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}/{name}": value for name, value in tensors.items()}
