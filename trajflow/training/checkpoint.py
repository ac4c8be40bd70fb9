"""Everything a training needs to go on exactly where it stopped."""

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
"""Those without a number had a moving average without buffers and one group of weights."""


class OtherVersion(RunError):
    """A checkpoint that another version of trajflow wrote; it cannot be gone on from."""


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training is.

    Attributes:
        step: Updates done.
        best: Lowest energy score on the validation split; infinite before the first.
        best_step: The step that had it.
        seconds: Time spent.
        slowed: What the learning rate is multiplied with, below 1 after a loss was not finite.
        total: Updates that the training makes, fewer than planned where time is short; 0: as the
            settings say.
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
        """The progress of `to_dict`'s values.

        Raises:
            TypeError: A value is missing or strange.
        """
        best = values.pop("best")
        kept = cls(**values, best=math.inf if best is None else best)
        kinds = {"step": int, "best_step": int, "total": int}
        for name, value in vars(kept).items():
            if type(value) is not kinds.get(name, float):
                raise TypeError(f"{name} is {value!r}")
        return kept


@dataclass(frozen=True)
class Checkpoint:
    """State of a training: tensors by name, and how far it is.

    The order of the data, the noise and the changes to the scenes are functions of the seed and
    the step, so no state of chance is needed.
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
        """The state of these three."""
        kept = optimiser.state_dict()
        tensors = _under("model", model.state_dict())
        tensors |= _under("average", average.state_dict())
        for number, state in kept["state"].items():
            tensors |= _under(f"optimiser/{number}", state)
        return cls(progress, tensors, kept["param_groups"])

    def restore(self, model: TrajectoryModel, average: AveragedModel, optimiser: Optimiser) -> None:
        """Put the state back into these three.

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
        """Replace the folder's checkpoint; the old one is there until the new one is verified."""
        facts = {"format": FORMAT, "progress": self.progress.to_dict(), "groups": self.groups}
        folder.write(RESUME, pack_state(self.tensors, facts))

    @classmethod
    def read(cls, folder: RunFolder) -> "Checkpoint":
        """The folder's checkpoint.

        Raises:
            OtherVersion: Another version of trajflow wrote it.
            RunError: There is none, or it is damaged.
        """
        content = folder.read(RESUME, "it was stopped before it could save once; train anew")
        name = str(folder.path / RESUME)
        tensors, facts = unpack_state(content, name)
        if facts.get("format") != FORMAT:
            raise OtherVersion(
                f"{name} is a checkpoint of another version of trajflow, which this one cannot go "
                "on from; its weights can be used, or train anew"
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
