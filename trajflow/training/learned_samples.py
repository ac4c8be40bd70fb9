"""Trains learned samples: K noises of each agent, for a generator whose weights are frozen."""

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.errors import ConfigError
from trajflow.models.learned_samples import (
    LearnedSamples,
    LearnedSamplesShape,
    sample_errors,
    samples_loss,
)
from trajflow.models.serialization import pack_samples
from trajflow.models.tensors import memory_tensor, to_tensor, type_tensor
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.runs import WEIGHTS, RunFolder
from trajflow.training.augment import Augmentation
from trajflow.training.optimizer import AdamW, weight_groups
from trajflow.training.reproducible import each_reproducible, reproducible, reseed
from trajflow.types import Batch, Floats, scene_centres

WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class LearnedSamplesProgress:
    """Progress after an epoch.

    Attributes:
        epoch: Epochs done; 0 before the first.
        epochs: Epochs in all.
        seconds: Time since the start.
        min_ade, min_fde: Means over validation windows, in the unit of the tracks.
        best: Whether this is the best epoch so far.
    """

    epoch: int
    epochs: int
    seconds: float
    min_ade: float
    min_fde: float
    best: bool


class LearnedSamplesTrainer:
    """Trains learned samples of a model on the training split; keeps the best on validation.

    Example:
        >>> for progress in LearnedSamplesTrainer(model, data, config, device).run():
        ...     print(progress.epoch, progress.min_ade)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: TrajectoryModel,
        data: TrackData,
        config: Config,
        device: torch.device,
    ) -> None:
        """Prepare a training.

        Args:
            model: The generator; its weights are not changed.
            data: Source of the batches.
            config: Settings of the generator's training, with those of learned samples in
                `samples`.
            device: Where to train.

        Raises:
            ConfigError: The model draws the agents of a scene jointly.
        """
        shape, settings = model.architecture, config.samples
        if shape.joint:
            raise ConfigError(
                "learned samples are for one agent, and a joint model draws all agents of a scene "
                "together; train with model.joint=false"
            )
        self.model = model.to(device).eval().requires_grad_(False)
        self.data, self.settings, self.device = data, settings, device
        self.validation_windows = config.train.validation_windows
        # As for the generator, but forwards: people do not walk backwards to their goals.
        scale = float(model.normalizer.displacement_scale)
        augmentation = Augmentation.of(config, scale, bool(shape.types))
        self.augmentation = replace(augmentation, reverse_prob=0.0)
        if shape.memory:
            data.watch(shape.memory, scale)
        self.threads = config.train.threads
        with reproducible(self.threads, device):
            reseed(settings.seed, device)
            self.noises = LearnedSamples(
                LearnedSamplesShape(
                    shape.width, model.normalizer.components, settings.count, settings.width
                )
            ).to(device)
        self.best: dict[str, torch.Tensor] = {}
        self.scores: dict[str, float] = {}

    def run(self) -> Iterator[LearnedSamplesProgress]:
        """Train; yields the validation scores before the first and after each epoch."""
        return each_reproducible(self._epochs(), self.threads, self.device)

    def _epochs(self) -> Iterator[LearnedSamplesProgress]:
        settings, began = self.settings, time.monotonic()
        optimiser = AdamW(weight_groups(self.noises, WEIGHT_DECAY), settings.lr)
        batches = self.data.steps(settings.batch_size)
        total, step, least = settings.epochs * batches, 0, math.inf
        for epoch in range(settings.epochs + 1):
            if epoch:
                for batch in self.data.training(settings.batch_size, epoch):
                    for group in optimiser.param_groups:
                        group["lr"] = settings.lr * 0.5 * (1 + math.cos(math.pi * step / total))
                    self._advance(batch, optimiser, step)
                    step += 1
            ade, fde = self._validate()
            best = ade + settings.endpoint_weight * fde < least
            if best:
                least = ade + settings.endpoint_weight * fde
                self.best = {k: v.clone() for k, v in self.noises.state_dict().items()}
                self.scores = {"min_ade": ade, "min_fde": fde, "epoch": epoch}
            seconds = time.monotonic() - began
            yield LearnedSamplesProgress(epoch, settings.epochs, seconds, ade, fde, best)

    def result(self) -> tuple[LearnedSamples, dict[str, Any]]:
        """The learned samples with the best validation scores, and facts to store with them."""
        self.noises.load_state_dict(self.best)
        return self.noises, {"settings": self.settings.model_dump(), "validation": self.scores}

    def _advance(self, batch: Batch, optimiser: torch.optim.Optimizer, step: int) -> None:
        rng = np.random.default_rng([self.settings.seed, 1, step])
        batch = _subsample(batch, rng, self.settings.window_share)
        mean, last, log_weight = self._errors(*self.augmentation(batch, rng))
        loss = samples_loss(mean, last, log_weight, self.settings.endpoint_weight).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.noises.parameters(), 1.0)
        optimiser.step()

    def _errors(
        self, batch: Batch, dt_ratio: Floats | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean and last error of each sample in typical steps, and its log-probability, [K, N]."""
        centre = scene_centres(batch.past)
        target = torch.as_tensor(batch.target, device=self.device)
        past, future = (
            to_tensor(points, centre, self.device) for points in (batch.past, batch.future)
        )
        with torch.no_grad():
            ratio = None if dt_ratio is None else torch.as_tensor(dt_ratio, device=self.device)
            context, frame = self.model.context(past, target, ratio)
            memory = memory_tensor(batch.memory_window, centre, self.device)
            types = type_tensor(batch.types, self.model.architecture.types, self.device)
            full_context = self.model.with_types(
                self.model.with_memory(context, frame, memory), types
            )
        # As the OOD detector, learned samples read contexts without memory and types.
        noise, log_weight = self.noises(context[target])
        own = frame.take(target)
        samples = self.model.futures(full_context[target], own, noise)
        unit = self.model.normalizer.displacement_scale * own.dt_ratio
        mean, last = (e / unit for e in sample_errors(samples, future[target]))
        return mean, last, log_weight

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        ade, fde = [], []
        for batch in self.data.validation(self.settings.batch_size, self.validation_windows):
            mean, last, _ = self._errors(batch)
            ade.append(mean.amin(0))
            fde.append(last.amin(0))
        unit = float(self.model.normalizer.displacement_scale)
        return unit * float(torch.cat(ade).mean()), unit * float(torch.cat(fde).mean())


def _subsample(batch: Batch, rng: np.random.Generator, share: float) -> Batch:
    """The batch with a random share of its targets."""
    rows = np.flatnonzero(batch.target)
    target = np.zeros(batch.target.size, bool)
    target[rng.permutation(rows)[: max(1, round(share * len(rows)))]] = True
    return replace(batch, target=target.reshape(batch.target.shape))


def keep_samples(folder: RunFolder, trainer: LearnedSamplesTrainer) -> Path:
    """Write learned samples into a run, with the digest of the weights they belong to."""
    noises, facts = trainer.result()
    content = folder.read(WEIGHTS, "train it first")
    facts["weights"] = hashlib.sha256(content).hexdigest()
    name = f"set-{noises.shape.count}.safetensors"
    folder.write(name, pack_samples(noises, facts))
    return folder.path / name
