"""Events of a training; each is also a line in the run's events.jsonl."""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from trajflow.errors import RunError
from trajflow.runs import RunFolder


@dataclass(frozen=True)
class Event:
    """An event after `step` updates and `seconds` of training; `kind` is its name in the file."""

    kind: ClassVar[str]
    step: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON values."""
        return {"event": self.kind, **asdict(self)}


@dataclass(frozen=True)
class Started(Event):
    """The training starts or resumes."""

    kind = "started"
    steps: int
    steps_per_epoch: int
    parameters: int
    device: str
    threads: int
    processes: int = 1


@dataclass(frozen=True)
class Step(Event):
    """Progress, about once a second.

    `loss` is the mean since the last `Step`, `weight` is lambda, `eta` the seconds that remain.
    """

    kind = "step"
    epoch: float
    loss: float
    weight: float
    lr: float
    eta: float


@dataclass(frozen=True)
class Evaluated(Event):
    """The averaged weights were scored on the validation split.

    `metrics` are means over windows; only `energy_score_by_recording` is one over recordings.
    """

    kind = "evaluated"
    epoch: float
    metrics: dict[str, float]
    best: bool


@dataclass(frozen=True)
class Returned(Event):
    """The loss of update `since` was not finite; the training continues from its checkpoint."""

    kind = "returned"
    since: int
    loss: float
    lr: float


@dataclass(frozen=True)
class TemperatureChosen(Event):
    """The temperature (deviation of the noise) of the best weights was chosen on validation.

    If `at_bound`, the search ended at its bound and a better one may lie outside.
    """

    kind = "temperature"
    temperature: float
    metrics: dict[str, float]
    at_bound: bool = False


@dataclass(frozen=True)
class Finished(Event):
    """The training ended; `reason` is "done" or "stopped"."""

    kind = "finished"
    reason: str
    best_energy_score: float
    best_step: int

    @classmethod
    def of(cls, folder: RunFolder) -> "Finished | None":
        """The last event of a finished run; None for any other.

        Raises:
            RunError: Its events are damaged.
        """
        last = deque(folder.events(), 1)
        if not last or last[0].get("reason") != "done":
            return None
        try:
            return cls(
                step=int(last[0]["step"]),
                seconds=float(last[0]["seconds"]),
                reason="done",
                best_energy_score=float(last[0]["best_energy_score"]),
                best_step=int(last[0]["best_step"]),
            )
        except (KeyError, TypeError, ValueError):
            raise RunError(f"the last event of {folder.path} is damaged") from None
