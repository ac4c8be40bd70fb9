"""Reads the events of a training while it writes them, and sums them up as its history."""

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trajflow.jobs import Job, last_words, open_regular, running_job

MAX_READ = 32 * 2**20
"""Most bytes of one read; the rest is read the next time."""
SILENT_AFTER = 90.0
"""Seconds without an event after which a training whose process is unknown has stopped."""
Event = Mapping[str, Any]


@dataclass(frozen=True)
class NewEvents:
    """Events since the last read.

    Attributes:
        events: New events, in order.
        restarted: Whether the file was replaced or cut, so that earlier events no longer count.
    """

    events: tuple[Event, ...] = ()
    restarted: bool = False


class EventReader:
    """Follows a file of JSON lines by its offset; an incomplete last line is read later.

    Attributes:
        path: The file; it may appear later.
        invalid: Number of lines so far that are not events.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.invalid = path, 0
        self._offset, self._file = 0, (0, 0)

    def read(self) -> NewEvents:
        """The events since the last call; none if the file cannot be read."""
        try:
            with open_regular(self.path) as file:
                status = os.fstat(file.fileno())
                identity = (status.st_dev, status.st_ino)
                restarted = self._offset > 0 and (
                    identity != self._file or status.st_size < self._offset
                )
                self._file, self._offset = identity, 0 if restarted else self._offset
                file.seek(self._offset)
                raw = file.read(MAX_READ)
        except OSError:
            return NewEvents()
        complete = raw[: raw.rfind(b"\n") + 1]
        self._offset += len(complete)
        return NewEvents(tuple(self._events(complete)), restarted)

    def _events(self, raw: bytes) -> list[Event]:
        events: list[Event] = []
        for line in raw.splitlines():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, dict) and isinstance(value.get("event"), str):
                events.append(value)
            else:
                self.invalid += 1
        return events


@dataclass(frozen=True)
class StepPoint:
    """A reported training step; NaN where a value was not reported."""

    step: int
    epoch: float = math.nan
    loss: float = math.nan
    weight: float = math.nan
    lr: float = math.nan


@dataclass(frozen=True)
class ValidationPoint:
    """A validation: scores by name at a step, and whether its weights are the best so far."""

    step: int
    epoch: float
    metrics: Mapping[str, float]
    best: bool


@dataclass
class TrainingHistory:
    """The course of a training; a resumed one continues from its checkpoint.

    Attributes:
        points: Reported steps.
        validations: Validations.
        steps: Planned steps; 0 if unknown.
        steps_per_epoch: Steps of an epoch; 0 if unknown.
        parameters: Parameters of the model.
        device: Device of the training.
        seconds: Seconds since the start, or since it was resumed.
        eta: Remaining seconds; NaN if unknown.
        reason: Why the training ended, "done" or "stopped"; empty while it runs.
        temperature: Chosen standard deviation of the noise; NaN before it was chosen.
        final: Scores of the final weights.
    """

    points: list[StepPoint] = field(default_factory=list)
    validations: list[ValidationPoint] = field(default_factory=list)
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
    def of(cls, events: Iterable[Event]) -> "TrainingHistory":
        """The history of events so far."""
        history = cls()
        history.add(events)
        return history

    @property
    def step(self) -> int:
        """The last reported step."""
        last = [points[-1].step for points in (self.points, self.validations) if points]
        return max(last, default=0)

    @property
    def epoch(self) -> float:
        """Finished epochs; NaN if unknown."""
        return self.step / self.steps_per_epoch if self.steps_per_epoch else math.nan

    @property
    def epochs(self) -> float:
        """Planned epochs; NaN if unknown."""
        return self.steps / self.steps_per_epoch if self.steps_per_epoch else math.nan

    @property
    def share(self) -> float:
        """Share of the steps that are done, 0 to 1."""
        return min(1.0, self.step / self.steps) if self.steps else 0.0

    def scores(self, name: str) -> list[float]:
        """A validation score at each validation that has it."""
        return [point.metrics[name] for point in self.validations if name in point.metrics]

    def best(self, name: str) -> float:
        """A score of the best weights; NaN before the first validation."""
        if name in self.final:
            return self.final[name]
        best = self._best_validation()
        return best.metrics.get(name, math.nan) if best else math.nan

    @property
    def best_epoch(self) -> float:
        """The epoch of the best weights; NaN before the first validation."""
        best = self._best_validation()
        return best.epoch if best else math.nan

    def _best_validation(self) -> ValidationPoint | None:
        return next((point for point in reversed(self.validations) if point.best), None)

    def add(self, events: Iterable[Event]) -> None:
        """Add events, in their order; unknown ones and invalid values are ignored."""
        for event in events:
            self.seconds = _number(event, "seconds", self.seconds)
            if handler := HANDLERS.get(str(event.get("event"))):
                handler(self, event)

    def _started(self, event: Event) -> None:
        step = _integer(event, "step")
        self.points = [point for point in self.points if point.step <= step]
        self.validations = [point for point in self.validations if point.step <= step]
        self.steps, self.steps_per_epoch = (
            _integer(event, "steps"),
            _integer(event, "steps_per_epoch"),
        )
        self.parameters, self.device = _integer(event, "parameters"), str(event.get("device", ""))
        self.reason, self.final, self.eta = "", {}, math.nan

    def _step(self, event: Event) -> None:
        lr = _number(event, "lr", _number(event, "rate"))
        epoch, loss, weight = (_number(event, name) for name in ("epoch", "loss", "weight"))
        self.points.append(StepPoint(_integer(event, "step"), epoch, loss, weight, lr))
        self.eta = _number(event, "eta")

    def _evaluated(self, event: Event) -> None:
        step, epoch, best = _integer(event, "step"), _number(event, "epoch"), event.get("best")
        self.validations.append(ValidationPoint(step, epoch, _scores(event), best is True))

    def _temperature_chosen(self, event: Event) -> None:
        self.temperature, self.final = _number(event, "temperature"), _scores(event)

    def _finished(self, event: Event) -> None:
        self.reason, self.eta = str(event.get("reason", "")), 0.0


HANDLERS: Mapping[str, Callable[[TrainingHistory, Event], None]] = {
    "started": TrainingHistory._started,
    "step": TrainingHistory._step,
    "evaluated": TrainingHistory._evaluated,
    "temperature": TrainingHistory._temperature_chosen,
    "tempered": TrainingHistory._temperature_chosen,  # in runs of earlier versions
    "finished": TrainingHistory._finished,
}
"""Handler of each event, by its name in the file."""


@dataclass(frozen=True)
class RaceProgress:
    """A race between settings, which comes before the first step of a training.

    Attributes:
        candidate: Number of the candidate that trains now, from 1.
        candidates: How many candidates there are.
        settings: Settings that it changes, joined by commas; empty: none.
        step: Updates of all candidates so far.
        steps: Updates of all candidates in the whole race.
        eta: Remaining seconds of the race; NaN if unknown.
    """

    candidate: int
    candidates: int
    settings: str
    step: int
    steps: int
    eta: float


def read_race(folder: Path) -> RaceProgress | None:
    """The progress of the race in a folder; None if there is none."""
    try:
        with open_regular(folder / "race.json") as file:
            race = json.loads(file.read(MAX_READ))
        names, updates = [", ".join(map(str, each)) for each in race["names"]], race["updates"]
        first, files = int(updates[0]), [folder / f"{n}/events.jsonl" for n in range(len(names))]
        begun = [n for n, path in enumerate(files) if path.exists()] or [0]
        newest = max(begun, key=lambda n: files[n].stat().st_mtime if files[n].exists() else 0.0)
        settings = names[newest]
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
    histories = [TrainingHistory.of(EventReader(path).read().events) for path in files]
    step, seconds = sum(h.step for h in histories), sum(h.seconds for h in histories)
    # The better half of the challengers, and the settings as planned, train a second round.
    steps = first * (len(names) + 1 + len(names) // 2)
    eta = max(0, steps - step) * seconds / step if step else math.nan
    return RaceProgress(newest + 1, len(names), settings, step, steps, eta)


@dataclass(frozen=True)
class TrainingUpdate:
    """What happened in a training since the last update.

    Attributes:
        events: Events since the last update.
        restarted: Whether the file was replaced, so that earlier events no longer count.
        job: The process, if it runs and the application started it.
        recent: Whether an event was written in the last `SILENT_AFTER` seconds.
        words: The last lines of the log.
        exists: Whether the run folder exists.
        race: The race between settings, if the training has not got beyond it.
    """

    events: tuple[Event, ...]
    restarted: bool
    job: Job | None
    recent: bool
    words: tuple[str, ...]
    exists: bool
    race: RaceProgress | None = None


class TrainingWatcher:
    """Polls a run folder, which need not exist yet."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._reader = EventReader(run / "events.jsonl")

    def update(self) -> TrainingUpdate:
        """The changes since the last call."""
        new = self._reader.read()
        try:
            age = time.time() - self._reader.path.stat().st_mtime
        except OSError:
            age = SILENT_AFTER
        exists = self.run.is_dir()
        return TrainingUpdate(
            events=new.events,
            restarted=new.restarted,
            job=running_job(self.run),
            recent=age < SILENT_AFTER,
            words=tuple(last_words(self.run)),
            exists=exists,
            race=None if exists else read_race(self.run.with_name(f"{self.run.name}.race")),
        )


def _number(event: Event, name: str, default: float = math.nan) -> float:
    value = event.get(name)
    valid = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if valid and abs(value) < 1e300 else default  # type: ignore[arg-type]


def _integer(event: Event, name: str) -> int:
    value = _number(event, name, 0.0)
    return int(value) if math.isfinite(value) else 0


def _scores(event: Event) -> dict[str, float]:
    metrics = event.get("metrics")
    if not isinstance(metrics, dict):
        return {}
    values = {str(name): _number(metrics, name) for name in metrics}
    return {name: value for name, value in values.items() if math.isfinite(value)}
