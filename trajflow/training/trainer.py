"""The training loop: a generator of events that writes a run folder and can be resumed."""

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.errors import TrajflowError
from trajflow.flow import MeanFlowObjective
from trajflow.io import Lock
from trajflow.models.serialization import pack, unpack
from trajflow.models.tensors import memory_tensor, to_tensor, type_tensor
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.runs import WEIGHTS, RunFolder
from trajflow.training import distributed, events
from trajflow.training.augment import Augmentation
from trajflow.training.checkpoint import Checkpoint, TrainingProgress
from trajflow.training.events import Event, Finished
from trajflow.training.microbatches import MicroBatch, split_batch
from trajflow.training.optimizer import AdamW, moving_average, weight_groups
from trajflow.training.reproducible import each_reproducible, reproducible, reseed
from trajflow.training.schedule import Schedule
from trajflow.training.temperature import at_bound, search_temperature
from trajflow.training.validation import validate
from trajflow.types import Batch, Floats, scene_centres

LR_FACTOR = 0.3
"""Multiplies the learning rate after the first loss that is not finite."""
TIMED_WINDOWS = 500
"""Windows of the validation that `measure` times when there is a time limit."""
log = logging.getLogger("trajflow")


class Diverged(TrajflowError):
    """The loss was not finite for the second time."""

    exit_code = 1


@dataclass(eq=False)
class NotFinite(Exception):
    """A loss, gradient or validation score is not finite.

    Attributes:
        loss: Its value.
        step: Number of the update, from 1.
    """

    loss: float
    step: int


class Trainer:
    """Trains a model on data into a run folder.

    Validates the moving average of the weights, and keeps the weights with the lowest energy score.

    Example:
        >>> from trajflow.config import Config
        >>> from trajflow.training.start import start_training
        >>> trainer = start_training("tracks.zarr", Config(), "runs/walk")  # doctest: +SKIP
        >>> for event in trainer.run():  # doctest: +SKIP
        ...     print(event)
    """

    def __init__(
        self,
        model: TrajectoryModel,
        objective: MeanFlowObjective,
        config: Config,
        data: TrackData,
        folder: RunFolder,
        facts: dict[str, Any],
        device: torch.device,
    ) -> None:
        """Prepare a training, and lock its folder; see `new_trainer` for the arguments.

        A finished run is not changed: `finished` is its last event, and `run` yields that again.
        When several processes train together, each has a trainer; only that of rank 0 writes.

        Raises:
            RunError: Another process trains in the folder.
        """
        self.finished = distributed.from_main(lambda: Finished.of(folder))
        self._lock: Lock | None = None

        def take_lock() -> None:
            self._lock = folder.lock()

        if not self.finished:
            distributed.from_main(take_lock)
        self.config, self.settings, self.data = config, config.train, data
        self.folder = replace(folder, guard=self._lock.guard()) if self._lock else folder
        self.facts = facts | _dt_range(config)
        self.model, self.objective, self.device = model.to(device), objective, device
        self.schedule = Schedule(self.settings, data.steps(self.settings.batch_size))
        self._use_scale()
        if not config.model.joint:
            self.data.divide(0 if model.social is None else model.social.limit)
        distributed.broadcast_weights(self.model)
        self.average = moving_average(self.model, self.settings.ema)
        self.optimiser = AdamW(
            weight_groups(self.model, self.settings.weight_decay),
            lr=self.settings.lr,
            betas=(0.9, 0.95),
            fused=True,
        )
        self.step = self.finished.step if self.finished else 0
        self.best, self.best_step = math.inf, 0
        self._stop_requested = self._stopping = False
        self._last_validation, self._last_save = 0, time.monotonic()

    def _use_scale(self) -> None:
        """Set what depends on the model's displacement scale."""
        scale = float(self.model.normalizer.displacement_scale)
        types = bool(self.model.architecture.types)
        self.augmentation = Augmentation.of(self.config, scale, types)
        if self.config.model.memory:
            self.data.watch(self.config.model.memory, scale)

    @property
    def total(self) -> int:
        """Updates of the whole training."""
        return self.schedule.total

    @property
    def averaged(self) -> TrajectoryModel:
        """The moving average of the model, which is validated and written."""
        assert isinstance(self.average.module, TrajectoryModel)
        return self.average.module

    def stop(self) -> None:
        """Save and end after the current update; one of several processes stops all."""
        self._stop_requested = True

    def has_time(self, seconds: float) -> bool:
        """Whether work of this duration ends within the time limit, or a tenth after it."""
        return bool(self.finished) or self.schedule.has_time(seconds)

    def measure(self, updates: int = 10) -> tuple[float, float]:
        """Seconds of an update and of a validation; the trainer cannot be used afterwards.

        With a time limit, a small validation is timed and scaled up.
        """
        settings = self.settings
        windows = settings.validation_windows
        if settings.time_limit is not None:
            windows = min(TIMED_WINDOWS, windows)
        try:
            with reproducible(settings.threads, self.device):
                seconds = []
                for batch in islice(self.data.training(settings.batch_size, 0), updates + 2):
                    began = time.monotonic()
                    self._advance(batch)
                    seconds.append(time.monotonic() - began)
                batches = list(self.data.validation(settings.batch_size, windows))
                began, evaluations = time.monotonic(), self._evaluations()
                validate(self.averaged, batches, settings.samples, evaluations)
                full = sum(batch.targets for batch in batches) >= windows
                scale = settings.validation_windows / windows if full else 1.0
                # The first two updates are slow: they allocate and warm up caches.
                return float(np.mean(seconds[2:] or seconds)), scale * (time.monotonic() - began)
        finally:
            if self._lock:
                self._lock.release()

    def resume(self) -> None:
        """Continue from the folder's last checkpoint, as if the training had not stopped.

        Raises:
            RunError: There is no checkpoint, or it is of another network.
        """
        self._restore()

    def _restore(self) -> None:
        saved = distributed.main_first(lambda: Checkpoint.read(self.folder))
        saved.restore(self.model, self.average, self.optimiser)
        self._use_scale()  # that of a new model is 1
        progress, schedule = saved.progress, self.schedule
        self.step, self.best, self.best_step = progress.step, progress.best, progress.best_step
        schedule.seconds_before, schedule.lr_factor = progress.seconds, progress.slowed
        if self.settings.time_limit is not None and progress.total:
            schedule.total = min(schedule.total, progress.total)

    def run(self) -> Iterator[Event]:
        """Train to the end, or until `stop`; every event is also written to the folder.

        Raises:
            Diverged: The loss is not finite, also after going back once with a lower learning rate.
            RunError: The folder was deleted, moved or replaced.
            StorageError: The folder cannot be written to; its last checkpoint is whole.
        """
        self._last_save = time.monotonic()
        self.schedule.start(self.step)
        if self.finished:
            yield from (self._started(), self.finished)
            return
        try:
            yield from each_reproducible(self._write_events(), self.settings.threads, self.device)
        except TrajflowError:
            self.folder.guard()  # a deleted or replaced folder is the better explanation
            raise
        finally:
            if self._lock:
                self._lock.release()

    def _write_events(self) -> Iterator[Event]:
        if not distributed.is_main():
            yield from self._events()
            return
        self.folder.seal_events()
        for event in self._events():
            self.folder.append(event.to_dict())
            if isinstance(event, Finished):
                self.folder.seal_events()
            yield event

    def _events(self) -> Iterator[Event]:
        yield self._started()
        self._check_stop()
        if not Checkpoint.exists(self.folder):
            self._save()
        while not self._done() and not self._stopping:
            try:
                yield from self._updates()
            except NotFinite as error:
                yield self._go_back(error)
        self._save()
        if self._done() and self.settings.choose_temperature:
            yield self._choose_temperature()
        reason = "done" if self._done() else "stopped"
        yield Finished(self.step, self.schedule.seconds(), reason, self.best, self.best_step)

    def _started(self) -> events.Started:
        return events.Started(
            self.step,
            self.schedule.seconds(),
            self.total,
            self.schedule.updates_per_epoch,
            sum(p.numel() for p in self.model.parameters()),
            str(self.device),
            self.settings.threads,
            distributed.world_size(),
        )

    def _updates(self) -> Iterator[Event]:
        """Updates and validations until the training ends, stops or is not finite."""
        losses: list[Tensor] = []
        reported = began = time.monotonic()
        first = self.step
        for batch in self._batches():
            losses.append(self._advance(batch))
            if time.monotonic() - reported > 1 or self.step == self.total:
                seconds_per_update = (time.monotonic() - began) / (self.step - first)
                yield self._progress(losses, seconds_per_update * (self.total - self.step))
                losses, reported = [], time.monotonic()
            if self.step % self.schedule.validate_every == 0 or self.step == self.total:
                yield self._validate()
            elif time.monotonic() - self._last_save > 60 * self.settings.save_minutes:
                self._save()
        if self._done() and self._last_validation != self.step:
            yield self._validate()
        if self._done() and self.step < self.total:
            why = "the time limit" if self.schedule.late else "patience: no better energy score"
            log.info("ended at update %d of %d by %s", self.step, self.total, why)

    def _batches(self) -> Iterator[Batch]:
        while not self._done():
            epoch, skip = divmod(self.step, self.schedule.updates_per_epoch)
            before = self.step
            for batch in self.data.training(self.settings.batch_size, epoch, skip):
                self._check_stop()
                if self._stopping or self._done():
                    return
                self.folder.guard()
                yield batch
            assert self.step > before, f"epoch {epoch} has no batch {skip}"

    def _done(self) -> bool:
        return self.schedule.ends(self.step, self.best_step)

    def _check_stop(self) -> None:
        """Stop all processes if one was requested to stop or ran out of time."""
        out_of_time = self.schedule.out_of_time(self.step)
        self._stopping, self.schedule.late = distributed.any_of(self._stop_requested, out_of_time)

    def _go_back(self, error: NotFinite) -> events.Returned:
        """Continue from the last checkpoint with a lower learning rate, once.

        Raises:
            Diverged: The learning rate has been lowered before.
        """
        schedule = self.schedule
        if schedule.lr_factor < 1:
            raise Diverged(
                f"loss is {error.loss} at step {error.step}; it was not finite before either, and "
                f"multiplying the learning rate by {LR_FACTOR:g} did not help. {self.folder.path} "
                "holds the weights of the last validation. Lower train.lr (now "
                f"{self.settings.lr}) or flow.lambda_end, and check the tracks with `trajflow "
                "doctor`"
            ) from None
        seconds = schedule.seconds()
        self._restore()
        schedule.lr_factor, schedule.seconds_before = LR_FACTOR, seconds
        schedule.start(self.step)
        return events.Returned(self.step, seconds, error.step, error.loss, schedule.lr(self.step))

    def _advance(self, batch: Batch) -> Tensor:
        """Update the weights once; returns the loss."""
        rng = np.random.default_rng([self.settings.seed, self.step])
        batch, dt_ratio = self.augmentation(batch, rng)
        seeds = int(rng.integers(2**62)), int(rng.integers(2**62))
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.lr(self.step)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._backward(batch, dt_ratio, seeds)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm)
        if not bool(torch.isfinite(norm)):
            raise NotFinite(float(loss), self.step + 1)
        self.optimiser.step()
        self.step += 1
        self.average.update_parameters(self.model)
        return loss

    def _backward(self, batch: Batch, dt_ratio: Floats, seeds: tuple[int, int]) -> Tensor:
        """The mean loss of a batch; leaves its gradient in the parameters.

        Each process computes `train.accumulate` micro-batches; the sum over all processes is the
        gradient of the whole batch.
        """
        count, loss = self.settings.accumulate, torch.zeros((), device=self.device)
        parts = split_batch(batch, count * distributed.world_size(), self.model)
        for part in parts[count * distributed.rank() :][:count]:
            if part.weight:
                weighted = part.weight * self._loss(batch, dt_ratio, part, seeds)
                if weighted.requires_grad:  # not where memory alone is trained and there is none
                    weighted.backward()  # type: ignore[no-untyped-call]
                loss = loss + weighted.detach()
        return distributed.sum_gradients(list(self.model.parameters()), loss)

    def _loss(
        self, batch: Batch, dt_ratio: Floats, part: MicroBatch, seeds: tuple[int, int]
    ) -> Tensor:
        """The mean loss of a micro-batch, with random numbers drawn for the whole batch."""
        generator = torch.Generator(self.device).manual_seed(seeds[0])
        reseed(seeds[1], self.device)  # for layers that use the global stream, such as dropout
        dt_ratio = dt_ratio if part.scenes is None else dt_ratio[part.scenes]
        batch = part.of(batch)
        centre = scene_centres(batch.past)
        # No cache: a weight that is first cast without a gradient would never get one.
        half = torch.autocast(
            self.device.type,
            torch.bfloat16,
            enabled=self.settings.precision == "bf16",
            cache_enabled=False,
        )
        with half, part.dropout():
            loss: Tensor = self.model(
                to_tensor(batch.past, centre, self.device),
                to_tensor(batch.future, centre, self.device),
                torch.as_tensor(batch.target, device=self.device),
                self.objective,
                self.step / self.total,
                self.settings.noise_samples,
                generator,
                dropout=self.settings.dropout,
                dt_ratio=torch.as_tensor(dt_ratio, dtype=torch.float32, device=self.device),
                memory=memory_tensor(batch.memory_window, centre, self.device),
                types=type_tensor(batch.types, self.model.architecture.types, self.device),
                part=part.position,
            )
        return loss

    def _progress(self, losses: list[Tensor], eta: float) -> events.Step:
        return events.Step(
            self.step,
            self.schedule.seconds(),
            self.step / self.schedule.updates_per_epoch,
            float(torch.stack(losses).mean()),
            self.objective.curriculum(self.step / self.total),
            self.schedule.lr(self.step),
            eta,
        )

    def _validate(self) -> events.Evaluated:
        """Score the averaged weights, write them if they are the best so far, and save."""
        settings, schedule, began = self.settings, self.schedule, time.monotonic()
        scores = validate(
            self.averaged, self._validation(), settings.samples, self._evaluations(), settings.seed
        )
        schedule.validation_seconds, self._last_validation = time.monotonic() - began, self.step
        schedule.replan(self.step)
        if not math.isfinite(scores["energy_score"]):
            raise NotFinite(scores["energy_score"], self.step)
        score = scores[settings.selection_score]
        best = score < self.best
        if best:
            self.best, self.best_step = score, self.step
            facts = self.facts | {"step": self.step, "validation": scores}
            if distributed.is_main():
                self.folder.write(WEIGHTS, pack(self.averaged, facts))
        self._save()
        epoch = self.step / schedule.updates_per_epoch
        return events.Evaluated(self.step, schedule.seconds(), epoch, scores, best)

    def _validation(self) -> Iterator[Batch]:
        return self.data.validation(self.settings.batch_size, self.settings.validation_windows)

    def _evaluations(self) -> int:
        """Network evaluations per draw."""
        return self.settings.evaluations(self.model.architecture.average)

    def _choose_temperature(self) -> events.TemperatureChosen:
        """Choose the temperature of the best weights on the validation split, and store it."""
        settings = self.settings
        content = distributed.from_main(lambda: self.folder.read(WEIGHTS, "nothing was validated"))
        model, facts = unpack(content, WEIGHTS)
        temperature, scores = search_temperature(
            model.to(self.device).eval(),
            self._validation,
            settings.samples,
            self._evaluations(),
            settings.seed,
            has_time=lambda: not distributed.any_of(not self.has_time(0))[0],
        )
        if distributed.is_main():
            chosen = {"temperature": temperature, "validation": scores}
            self.folder.write(WEIGHTS, pack(model, facts | chosen))
        return events.TemperatureChosen(
            self.step, self.schedule.seconds(), temperature, scores, at_bound(temperature)
        )

    def _save(self) -> None:
        if not distributed.is_main():
            return
        progress = TrainingProgress(
            self.step,
            self.best,
            self.best_step,
            self.schedule.seconds(),
            self.schedule.lr_factor,
            self.total,
        )
        Checkpoint.take(self.model, self.average, self.optimiser, progress).write(self.folder)
        self.folder.seal_events()
        self._last_save = time.monotonic()


def _dt_range(config: Config) -> dict[str, float]:
    """The dt_ratio that a model conditioned on dt is trained for; a file says "rate" for it."""
    if not config.model.condition_on_dt:
        return {}
    least, most = config.train.time_stretch
    return {"least_rate": least, "most_rate": most}
