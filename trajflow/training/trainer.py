"""The training loop: a generator of events that leaves a run folder it can go on from."""

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.errors import TrajflowError
from trajflow.flow import MeanFlowObjective
from trajflow.io import Lock
from trajflow.models.serialization import pack, unpack
from trajflow.models.tensors import memory_tensor, to_tensor, type_tensor
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.runs import WEIGHTS, RunFolder
from trajflow.training import distributed
from trajflow.training.augment import Augmentation
from trajflow.training.checkpoint import Checkpoint, TrainingProgress
from trajflow.training.divergence import SLOWED, Diverged, NotFinite
from trajflow.training.events import Evaluated, Event, Finished, Returned, Started, Step, Tempered
from trajflow.training.parts import Share, shares
from trajflow.training.plan import seconds_after
from trajflow.training.reproducible import each_reproducible, reproducible, reseed
from trajflow.training.temper import at_bound, tempered
from trajflow.training.validation import validate
from trajflow.types import Batch, Floats, scene_centres

OVERRUN = 1.1
"""A time limit may be exceeded by a tenth: what would end later is left out."""
SLOWER = 0.97
"""Updates are replanned where fewer than this share of them fit the time limit."""
MEASURED_WINDOWS = 500
"""Windows of the validation that is timed where a time limit bounds the measuring too."""
log = logging.getLogger("trajflow")

Tensors = list[Tensor] | tuple[Tensor, ...]


class Trainer:
    """Trains a model on data into a run folder."""

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
        """Prepare a training; `facts` (dt, unit, ...) go into the weights.

        A run that has come to its end is left as it is: `finished` says how it ended, and `run`
        says so again. Where several processes train together, each has a trainer; that of the first
        one has the folder, and the others write nothing.

        Raises:
            RunError: Another training has the folder.
        """
        self.finished = distributed.from_first(lambda: Finished.of(folder))
        self._lock: Lock | None = None

        def take_lock() -> None:
            self._lock = folder.lock()

        if not self.finished:
            distributed.from_first(take_lock)
        self.config, self.data = config, data
        self.folder = replace(folder, guard=self._lock.guard()) if self._lock else folder
        self.settings = config.train
        self.facts = facts | _rates(config)
        self.model, self.objective, self.device = model.to(device), objective, device
        self.per_epoch = data.steps(self.settings.batch_size)
        self.total = self.settings.updates or self.settings.epochs * self.per_epoch
        self.every = max(1, round(self.settings.validate_every * self.per_epoch))
        displacement_scale = float(self.model.normalizer.displacement_scale)
        self.augmentation = Augmentation(
            mirror=self.settings.mirror,
            scale_jitter=self.settings.scale_jitter,
            time_stretch=self.settings.time_stretch,
            time_stretch_share=1.0 if config.model.condition_on_dt else 0.5,
            reverse_prob=self.settings.reverse_prob,
            agent_dropout=self.settings.agent_dropout,
            history_dropout=self.settings.history_dropout,
            position_noise=self.settings.position_noise * displacement_scale,
            memory_dropout=self.settings.memory_dropout,
            type_dropout=self.settings.type_dropout if self.model.architecture.types else 0.0,
        )
        if config.model.memory:
            self.data.watch(config.model.memory, displacement_scale)
        distributed.share_weights(self.model)
        self.average = moving_average(self.model, self.settings.ema)
        self.optimiser = torch.optim.AdamW(
            weight_groups(self.model, self.settings.weight_decay),
            lr=self.settings.lr,
            betas=(0.9, 0.95),
        )
        self.step, self.best, self.best_step = 0, math.inf, 0
        self.before = 0.0  # seconds that count towards the time limit and are past
        if self.finished:
            self.step = self.finished.step
        self.slowed = 1.0
        self._stop_requested = self._stopping = self._late = False
        self._validated, self.validation_seconds = 0, 0.0

    @property
    def averaged(self) -> TrajectoryModel:
        """The moving average of the model, which is what is validated and kept."""
        assert isinstance(self.average.module, TrajectoryModel)
        return self.average.module

    def stop(self) -> None:
        """Ask the loop to save and end after the step it is in; one of several processes may."""
        self._stop_requested = True

    def measure(self, updates: int = 10) -> tuple[float, float]:
        """Seconds of an update and of a validation, from some of each; the weights are used up.

        Under a time limit the validation is a small one, whose time is scaled up.
        """
        settings = self.settings
        most = settings.validation_windows
        windows = most if settings.time_limit is None else min(MEASURED_WINDOWS, most)
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
                scale = most / windows if sum(b.targets for b in batches) >= windows else 1.0
                return float(np.mean(seconds[2:] or seconds)), scale * (time.monotonic() - began)
        finally:
            if self._lock:
                self._lock.release()

    def resume(self) -> None:
        """Go on from the folder's last checkpoint, exactly as if nothing had happened.

        Raises:
            RunError: There is none, or it does not fit.
        """
        self._go_to(self._saved_state())

    def _saved_state(self) -> Checkpoint:
        return distributed.first_then_all(lambda: Checkpoint.read(self.folder))

    def _go_to(self, saved: Checkpoint) -> None:
        saved.restore(self.model, self.average, self.optimiser)
        progress = saved.progress
        self.step, self.best, self.best_step = progress.step, progress.best, progress.best_step
        self.before, self.slowed = progress.seconds, progress.slowed
        if self.settings.time_limit is not None and progress.total:
            self.total = min(self.total, progress.total)

    def run(self) -> Iterator[Event]:
        """Train to the end, or until `stop`; every event is also written to the folder.

        Raises:
            Diverged: The loss is not finite, also after going back once and learning slower.
            RunError: The folder was deleted, moved or replaced.
            StorageError: The folder cannot be written to; its last checkpoint is whole.
        """
        self._began = self._saved = time.monotonic()
        self._first = self.step
        if self.finished:
            yield from (self._started(), self.finished)
            return
        try:
            yield from each_reproducible(self._written(), self.settings.threads, self.device)
        except TrajflowError:
            self.folder.guard()
            raise
        finally:
            if self._lock:
                self._lock.release()

    def _written(self) -> Iterator[Event]:
        """The events, each of them written to the folder."""
        if not distributed.first():
            yield from self._events()
            return
        self.folder.seal_events()
        for event in self._events():
            self.folder.append(event.to_dict())
            if isinstance(event, Finished):
                self.folder.seal_events()
            yield event

    def _started(self) -> Started:
        return Started(
            self.step,
            self._seconds(),
            self.total,
            self.per_epoch,
            sum(p.numel() for p in self.model.parameters()),
            str(self.device),
            self.settings.threads,
            distributed.world(),
        )

    def _events(self) -> Iterator[Event]:
        yield self._started()
        self._agree()
        if not Checkpoint.exists(self.folder):
            self._save()
        while not self._over() and not self._stopping:
            try:
                yield from self._steps()
            except NotFinite as error:
                yield self._go_back(error)
        self._save()
        if self._over() and self.settings.choose_temperature:
            yield self._temper()
        reason = "done" if self._over() else "stopped"
        yield Finished(self.step, self._seconds(), reason, self.best, self.best_step)

    def _steps(self) -> Iterator[Event]:
        losses: list[Tensor] = []
        spoke = began = time.monotonic()
        first = self.step
        for batch in self._batches():
            losses.append(self._advance(batch))
            if time.monotonic() - spoke > 1 or self.step == self.total:
                pace = (time.monotonic() - began) / (self.step - first)
                yield self._progress(losses, pace * (self.total - self.step))
                losses, spoke = [], time.monotonic()
            if self.step % self.every == 0 or self.step == self.total:
                yield self._validate()
            elif time.monotonic() - self._saved > 60 * self.settings.save_minutes:
                self._save()
        if self._over() and self._validated != self.step:
            yield self._validate()
        if self._over() and self.step < self.total:
            why = "the time limit" if self._late else "no better energy score for long"
            log.info("ended at update %d of %d: %s", self.step, self.total, why)

    def _go_back(self, error: NotFinite) -> Returned:
        """Go back to the last checkpoint, once, to learn more slowly from there on."""
        if self.slowed < 1:
            raise Diverged(error.advice(self.folder.path, self.settings.lr)) from None
        seconds = self._seconds()
        self._go_to(self._saved_state())
        self.slowed, self.before, self._began = SLOWED, seconds, time.monotonic()
        self._first = self.step
        return Returned(self.step, seconds, error.step, error.loss, self._rate())

    def _batches(self) -> Iterator[Batch]:
        while not self._over():
            epoch, skip = divmod(self.step, self.per_epoch)
            before = self.step
            for batch in self.data.training(self.settings.batch_size, epoch, skip):
                self._agree()
                if self._stopping or self._over():
                    return
                self.folder.guard()
                yield batch
            assert self.step > before, f"epoch {epoch} has no batch {skip} of {self.per_epoch}"

    def _over(self) -> bool:
        """Whether all updates are made, the time is up, or nothing has got better for long."""
        return self.step >= self.total or self._late or self._stale()

    def _agree(self) -> None:
        """Whether to stop, and whether the time is up, by the word of any process for all."""
        flags = distributed.any_of(self._stop_requested, self._out_of_time())
        self._stopping, self._late = flags

    def _out_of_time(self) -> bool:
        """Whether the time that is left is needed for what follows the last update."""
        return self.settings.time_limit is not None and self.step > 0 and self._left() < 0

    def _left(self) -> float:
        """Seconds of the time limit that are left for updates."""
        limit = self.settings.time_limit or math.inf
        return limit - self._seconds() - seconds_after(self.settings, self.validation_seconds)

    def has_time(self, seconds: float) -> bool:
        """Whether what takes so many seconds ends within the time limit, or a tenth after it."""
        limit = self.settings.time_limit
        if limit is None or self.finished:
            return True
        return self._seconds() + seconds <= OVERRUN * limit

    def _keep_to_time(self) -> None:
        """Make fewer updates where they are slower than planned.

        The learning rate then still falls to zero within the time limit.
        """
        done = self.step - self._first
        if self.settings.time_limit is None or done < 1 or self.step >= self.total:
            return
        pace = (time.monotonic() - self._began) / done
        total = distributed.from_first(lambda: self.step + max(0, int(self._left() / pace)))
        if total < SLOWER * self.total:
            log.info(
                "updates are slower than planned: %d instead of %d fit the time limit",
                total,
                self.total,
            )
            self.total = max(self.step + 1, total)

    def _stale(self) -> bool:
        # Not in the first half: the score often gets better only as the learning rate falls.
        patience = self.settings.patience
        since = self.step // self.every - self.best_step // self.every
        return patience is not None and since >= patience and 2 * self.step >= self.total

    def _seconds(self) -> float:
        return self.before + time.monotonic() - self._began

    def _rate(self) -> float:
        rise, peak = max(1, round(self.settings.warmup * self.total)), self.settings.lr
        if self.step < rise:
            return self.slowed * peak * (self.step + 1) / rise
        share = (self.step - rise) / max(1, self.total - rise)
        return self.slowed * peak * 0.5 * (1 + math.cos(math.pi * share))

    def _advance(self, batch: Batch) -> Tensor:
        rng = np.random.default_rng([self.settings.seed, self.step])
        batch, pace = self.augmentation(batch, rng)
        seeds = int(rng.integers(2**62)), int(rng.integers(2**62))
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._gradients(batch, pace, seeds)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm)
        if not bool(torch.isfinite(norm)):
            raise NotFinite(float(loss), self.step + 1)
        self.optimiser.step()
        self.step += 1
        self.average.update_parameters(self.model)
        return loss

    def _gradients(self, batch: Batch, pace: Floats, seeds: tuple[int, int]) -> Tensor:
        """The mean loss of a batch; its gradient is left in the parameters.

        Each process computes as many parts of the batch as `train.accumulate` says, and the sums
        over all of them are what the whole batch would have.
        """
        count, loss = self.settings.accumulate, torch.zeros((), device=self.device)
        own = shares(batch, count * distributed.world(), self.model)
        for share in own[count * distributed.rank() :][:count]:
            if share.weight:
                weighted = share.weight * self._loss(batch, pace, share, seeds)
                weighted.backward()  # type: ignore[no-untyped-call]
                loss = loss + weighted.detach()
        return distributed.sum_gradients(list(self.model.parameters()), loss)

    def _loss(self, batch: Batch, pace: Floats, share: Share, seeds: tuple[int, int]) -> Tensor:
        """The mean loss of a share of a batch, with what chance draws for the whole batch."""
        generator = torch.Generator(self.device).manual_seed(seeds[0])
        reseed(seeds[1], self.device)  # for layers that draw, such as dropout
        pace = pace if share.scenes is None else pace[share.scenes]
        batch = share.of(batch)
        centre = scene_centres(batch.past)
        # Without the cache: weights that it casts where no gradient is kept would never have one.
        half = torch.autocast(
            self.device.type,
            torch.bfloat16,
            enabled=self.settings.precision == "bf16",
            cache_enabled=False,
        )
        with half, share.dropout():
            loss: Tensor = self.model(
                to_tensor(batch.past, centre, self.device),
                to_tensor(batch.future, centre, self.device),
                torch.as_tensor(batch.target, device=self.device),
                self.objective,
                self.step / self.total,
                self.settings.noise_samples,
                generator,
                dropout=self.settings.dropout,
                dt_ratio=torch.as_tensor(pace, dtype=torch.float32, device=self.device),
                memory=memory_tensor(batch.memory_window, centre, self.device),
                types=type_tensor(batch.types, self.model.architecture.types, self.device),
                part=share.place,
            )
        return loss

    def _progress(self, losses: list[Tensor], eta: float) -> Step:
        loss = float(torch.stack(losses).mean())
        progress = self.step / self.total
        weight = self.objective.curriculum(progress)
        return Step(
            self.step,
            self._seconds(),
            self.step / self.per_epoch,
            loss,
            weight,
            self._rate(),
            eta,
        )

    def _validate(self) -> Evaluated:
        settings, began = self.settings, time.monotonic()
        scores = validate(
            self.averaged,
            self._validation(),
            settings.samples,
            self._evaluations(),
            settings.seed,
        )
        self.validation_seconds, self._validated = time.monotonic() - began, self.step
        self._keep_to_time()
        if not math.isfinite(scores["energy_score"]):
            raise NotFinite(scores["energy_score"], self.step)
        score = scores[settings.selection_score]
        best = score < self.best
        if best:
            self.best, self.best_step = score, self.step
            facts = self.facts | {"step": self.step, "validation": scores}
            if distributed.first():
                self.folder.write(WEIGHTS, pack(self.averaged, facts))
        self._save()
        return Evaluated(self.step, self._seconds(), self.step / self.per_epoch, scores, best)

    def _validation(self) -> Iterator[Batch]:
        return self.data.validation(self.settings.batch_size, self.settings.validation_windows)

    def _evaluations(self) -> int:
        return self.settings.steps or (1 if self.model.architecture.average else 8)

    def _temper(self) -> Tempered:
        """Choose the deviation of the noise for the weights that were kept."""
        settings = self.settings
        content = distributed.from_first(lambda: self.folder.read(WEIGHTS, "nothing was validated"))
        model, facts = unpack(content, WEIGHTS)
        temperature, scores = tempered(
            model.to(self.device).eval(),
            self._validation,
            settings.samples,
            self._evaluations(),
            settings.seed,
            more=lambda: not distributed.any_of(not self.has_time(0))[0],
        )
        chosen = {"temperature": temperature, "validation": scores}
        if distributed.first():
            self.folder.write(WEIGHTS, pack(model, facts | chosen))
        return Tempered(self.step, self._seconds(), temperature, scores, at_bound(temperature))

    def _save(self) -> None:
        if not distributed.first():
            return
        far = TrainingProgress(
            self.step, self.best, self.best_step, self._seconds(), self.slowed, self.total
        )
        Checkpoint.take(self.model, self.average, self.optimiser, far).write(self.folder)
        self.folder.seal_events()
        self._saved = time.monotonic()


def moving_average(model: TrajectoryModel, decay: float) -> AveragedModel:
    """Exponential moving average of a model's weights, with the model's own buffers.

    The decay starts low and rises to `decay`, so the average is not held back by the first steps.
    Buffers, such as the running statistics of a batch normalisation, are those of the model.
    """

    def update(average: Tensors, weights: Tensors, updates: Tensor | int) -> None:
        step = int(updates) + 1
        torch._foreach_lerp_(average, weights, 1 - min(decay, step / (step + 9)))

    average = AveragedModel(model, multi_avg_fn=update)
    return average.requires_grad_(False).eval()


def weight_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters for an optimiser: the matrices of layers decay, everything else does not.

    Biases, scales of norms, embeddings and free parameters, such as tokens, have a meaning at any
    size; decay would only pull them to zero.
    """
    matrices = {
        id(parameter)
        for layer in module.modules()
        if not isinstance(layer, (nn.Embedding, nn.EmbeddingBag))
        for name, parameter in layer.named_parameters(recurse=False)
        if "weight" in name and parameter.ndim > 1
    }
    decayed = [p for p in module.parameters() if id(p) in matrices]
    others = [p for p in module.parameters() if id(p) not in matrices]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _rates(config: Config) -> dict[str, float]:
    """Least and most dt_ratio that a model conditioned on dt learns."""
    if not config.model.condition_on_dt:
        return {}
    return {
        "least_rate": config.train.time_stretch[0],
        "most_rate": config.train.time_stretch[1],
    }
