"""What a training has said so far, put together from its events."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Value = float


@dataclass(frozen=True)
class Point:
    """A step of a training and what was said of it; NaN where it was not."""

    step: int
    epoch: float = math.nan
    loss: float = math.nan
    weight: float = math.nan
    rate: float = math.nan


@dataclass(frozen=True)
class Judged:
    """A validation: scores by name at a step, and whether its weights are the best so far."""

    step: int
    epoch: float
    metrics: Mapping[str, float]
    best: bool


@dataclass
class History:
    """The course of a training; a resumed one goes on from the step it was resumed at.

    Attributes:
        points: Steps that were reported.
        judged: Validations.
        steps: Steps in all; 0 if unknown.
        steps_per_epoch: Steps of an epoch; 0 if unknown.
        parameters: Weights of the model.
        device: Where it is computed.
        seconds: Seconds since it began or was resumed.
        eta: Seconds that are left; NaN if unknown.
        reason: Why it ended, "done" or "stopped"; empty while it has not.
        temperature: Deviation of the noise that was chosen; NaN before it was.
        final: Scores of the weights that are kept.
    """

    points: list[Point] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    steps: int = 0
    steps_per_epoch: int = 0
    parameters: int = 0
    device: str = ""
    seconds: float = 0.0
    eta: float = math.nan
    reason: str = ""
    temperature: float = math.nan
    final: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Iterable[Mapping[str, Any]]) -> "History":
        """All events at once."""
        history = cls()
        history.add(events)
        return history

    @property
    def step(self) -> int:
        """The last step known."""
        last = [each[-1].step for each in (self.points, self.judged) if each]
        return max(last, default=0)

    @property
    def epoch(self) -> float:
        """Epochs done."""
        return self.step / self.steps_per_epoch if self.steps_per_epoch else math.nan

    @property
    def epochs(self) -> float:
        """Epochs in all."""
        return self.steps / self.steps_per_epoch if self.steps_per_epoch else math.nan

    @property
    def share(self) -> float:
        """Share of the steps that is done, 0 to 1."""
        return min(1.0, self.step / self.steps) if self.steps else 0.0

    def scores(self, name: str) -> list[float]:
        """A validation score at each validation; those that have none are left out."""
        return [each.metrics[name] for each in self.judged if name in each.metrics]

    def best(self, name: str) -> float:
        """The score of the weights that are kept; NaN before there are any."""
        if name in self.final:
            return self.final[name]
        kept = [each for each in self.judged if each.best]
        return kept[-1].metrics.get(name, math.nan) if kept else math.nan

    @property
    def best_epoch(self) -> float:
        """The epoch of the weights that are kept; NaN before there are any."""
        return next((one.epoch for one in reversed(self.judged) if one.best), math.nan)

    def add(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take notice of events, in their order; unknown ones and odd values are passed over."""
        for event in events:
            self.seconds = _number(event, "seconds", self.seconds)
            if heard := HEARD.get(str(event.get("event"))):
                heard(self, event)

    def _started(self, event: Mapping[str, Any]) -> None:
        step = _whole(event, "step")
        self.points = [each for each in self.points if each.step <= step]
        self.judged = [each for each in self.judged if each.step <= step]
        self.steps, self.steps_per_epoch = _whole(event, "steps"), _whole(event, "steps_per_epoch")
        self.parameters, self.device = _whole(event, "parameters"), str(event.get("device", ""))
        self.reason, self.final, self.eta = "", {}, math.nan

    def _step(self, event: Mapping[str, Any]) -> None:
        names = ("epoch", "loss", "weight", "rate")
        self.points.append(Point(_whole(event, "step"), *(_number(event, name) for name in names)))
        self.eta = _number(event, "eta")

    def _evaluated(self, event: Mapping[str, Any]) -> None:
        metrics, best = _scores(event), event.get("best") is True
        self.judged.append(Judged(_whole(event, "step"), _number(event, "epoch"), metrics, best))

    def _tempered(self, event: Mapping[str, Any]) -> None:
        self.temperature, self.final = _number(event, "temperature"), _scores(event)

    def _finished(self, event: Mapping[str, Any]) -> None:
        self.reason, self.eta = str(event.get("reason", "")), 0.0


HEARD: Mapping[str, Callable[[History, Mapping[str, Any]], None]] = {
    "started": History._started,
    "step": History._step,
    "evaluated": History._evaluated,
    "tempered": History._tempered,
    "finished": History._finished,
}
"""What is done with an event, by the name that its file gives it."""


def _number(event: Mapping[str, Any], name: str, otherwise: float = math.nan) -> float:
    value = event.get(name)
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if plain and abs(value) < 1e300 else otherwise  # type: ignore[arg-type]


def _whole(event: Mapping[str, Any], name: str) -> int:
    value = _number(event, name, 0.0)
    return int(value) if math.isfinite(value) else 0


def _scores(event: Mapping[str, Any]) -> dict[str, float]:
    metrics = event.get("metrics")
    if not isinstance(metrics, dict):
        return {}
    found = {str(name): _number(metrics, name) for name in metrics}
    return {name: value for name, value in found.items() if math.isfinite(value)}
