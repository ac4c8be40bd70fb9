"""What a training says while it runs; each event is also a line in the run's events.jsonl."""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from trajflow.errors import RunError
from trajflow.runs import RunFolder


@dataclass(frozen=True)
class Event:
    """Something that happened at a step of the training; `seconds` counts from its start."""

    step: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON values, with its kind."""
        return {"event": type(self).__name__.lower(), **asdict(self)}


@dataclass(frozen=True)
class Started(Event):
    """The training begins, or goes on after a resume."""

    steps: int
    steps_per_epoch: int
    parameters: int
    device: str
    threads: int
    processes: int = 1


@dataclass(frozen=True)
class Step(Event):
    """Progress, about once a second: mean loss since the last one."""

    epoch: float
    loss: float
    weight: float
    lr: float
    eta: float


@dataclass(frozen=True)
class Evaluated(Event):
    """The averaged weights were judged on the validation split.

    In the `metrics` every window weighs the same, and so in the choice of weights by the lowest
    energy score; in `energy_score_by_recording` every recording does.
    """

    epoch: float
    metrics: dict[str, float]
    best: bool


@dataclass(frozen=True)
class Returned(Event):
    """A loss was not finite at the step `since`; the training goes on from the last checkpoint."""

    since: int
    loss: float
    lr: float


@dataclass(frozen=True)
class Tempered(Event):
    """The deviation of the noise was chosen on the validation split, for the weights kept.

    With `at_bound` the search ended there, and a better one may lie beyond.
    """

    temperature: float
    metrics: dict[str, float]
    at_bound: bool = False


@dataclass(frozen=True)
class Finished(Event):
    """The training ended; `reason` is "done" or "stopped"."""

    reason: str
    best_energy_score: float
    best_step: int

    @classmethod
    def of(cls, folder: RunFolder) -> "Finished | None":
        """How a run came to its end; None where it has not.

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
