"""Builds a trainer from settings and data: model, normalizer, objective and run folder."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trajflow import __version__
from trajflow.config import Config, FlowConfig
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import free_memory
from trajflow.errors import ConfigError, DataError, RunError, did_you_mean
from trajflow.flow import PRESETS, LogitNormalTimes, MeanFlowObjective, Preset
from trajflow.models.serialization import MOST
from trajflow.models.tensors import to_tensor
from trajflow.models.trajectory_model import Architecture, TrajectoryModel
from trajflow.runs import RunFolder
from trajflow.training import distributed
from trajflow.training.checkpoint import Checkpoint, TrainingProgress
from trajflow.training.events import Finished
from trajflow.training.pretrained import load_weights, train_memory_alone
from trajflow.training.reproducible import reproducible, reseed
from trajflow.training.trainer import Trainer
from trajflow.types import scene_centres

NORMALIZER_BATCHES = 200
OLD_CHECKPOINT = "resume.pt"


def preset_of(settings: FlowConfig) -> Preset:
    """The preset, changed by the settings that are not None.

    Raises:
        ConfigError: There is no such preset.
    """
    if settings.preset not in PRESETS:
        raise ConfigError(did_you_mean("preset", settings.preset, list(PRESETS)))
    preset = PRESETS[settings.preset]
    values = {name: value for name, value in settings if value is not None}
    changes = {name: values[name] for name in ("flow_ratio", "tangent") if name in values}
    lambdas = {
        name: values[f"lambda_{name}"]
        for name in ("start", "end", "warmup")
        if f"lambda_{name}" in values
    }
    return replace(preset, **changes, curriculum=replace(preset.curriculum, **lambdas))


def objective_of(settings: FlowConfig) -> MeanFlowObjective:
    """The objective that the settings describe."""
    preset = preset_of(settings)
    times = LogitNormalTimes(
        preset.flow_ratio,
        settings.t_mean,
        settings.t_std,
        settings.r_mean,
        settings.r_std,
        rows=True,
    )
    return preset.objective(times, settings.loss_power)


def architecture_of(config: Config, dims: int, types: Sequence[str] = ()) -> Architecture:
    """The architecture that the settings describe, for tracks of D coordinates and some types."""
    values = dict(config.model) | {
        "encoder_options": tuple(sorted(config.model.encoder_options.items())),
        "types": tuple(types) if config.model.types else (),
    }
    return Architecture(
        history=config.data.history,
        horizon=config.data.horizon,
        dims=dims,
        average=preset_of(config.flow).average,
        **values,
    )


def new_model(config: Config, data: TrackData, dims: int) -> TrajectoryModel:
    """A model with seeded weights, its normalizer fitted to the training split."""
    cpu = torch.device("cpu")

    def scenes() -> Any:
        for batch in islice(data.training(config.train.batch_size, 0), NORMALIZER_BATCHES):
            centre = scene_centres(batch.past)
            past, future = (to_tensor(p, centre, cpu) for p in (batch.past, batch.future))
            yield past, future, torch.as_tensor(batch.target)

    with reproducible(config.train.threads, cpu):
        reseed(config.train.seed, cpu)
        model = TrajectoryModel(architecture_of(config, dims, _types(config, data)))
        model.fit_normalizer(scenes())
    return model


def _types(config: Config, data: TrackData) -> Sequence[str]:
    """The agent types that the model distinguishes: those of the store, if there are several."""
    return data.store.types if config.model.types and len(data.store.types) > 1 else ()


def _check_data(config: Config, data: TrackData, dims: int) -> None:
    """Refuse data that cannot be trained on, before anything is written."""
    train = config.train
    steps = data.steps(train.batch_size)
    if next(iter(data.validation(train.batch_size, 1)), None) is None:
        raise DataError(
            "the validation split is empty, and weights are chosen on it; change data.split, "
            "data.fold or data.fractions"
        )
    size = config.data.horizon * dims
    rows = min(steps, NORMALIZER_BATCHES) * train.batch_size
    # The covariance, its eigenvectors and their work space, and twice the futures, in float64.
    needed, free = 8 * (4 * size**2 + 2 * size * rows), free_memory()
    if 4 * size**2 > MOST or (free is not None and needed > free):
        has = "" if free is None else f", and {free / 2**30:.1f} GiB are free"
        raise ConfigError(
            f"data.horizon={config.data.horizon} with {dims} coordinates needs a normaliser of "
            f"{size} by {size} numbers, {needed / 2**30:.1f} GiB to fit{has}; at most "
            f"{MOST >> 30} GiB can be stored. Shorten the horizon, or import with a longer --dt"
        )


def new_trainer(
    config: Config,
    data: TrackData,
    out: str,
    record: dict[str, Any],
    facts: dict[str, Any],
    device: torch.device,
    init: str | Path | None = None,
) -> Trainer:
    """A trainer with a new model and a new run folder at `out`.

    Args:
        config: All settings.
        data: Source of the batches.
        out: Path of the run folder.
        record: Description of the data, stored with the run.
        facts: What a predictor needs to know, stored with the weights: dims, dt, unit.
        device: Where to train.
        init: A run whose weights the training starts from; None: random weights.

    Raises:
        ConfigError: The horizon needs too much memory, or `init` has another architecture.
        DataError: There are too few windows, or none to validate on.
        RunError: The folder exists.
    """
    distributed.main_first(lambda: _check_data(config, data, facts["dims"]))
    model = new_model(config, data, facts["dims"])
    if init is not None:
        origin = load_weights(model, init, facts["unit"])
        record = record | {"init": origin}
        if "added" in origin:
            facts = facts | {"temperature": origin["temperature"]}
            _check_memory(config, data, float(model.normalizer.displacement_scale))
    distributed.barrier()  # if any process fails so far, there is no folder
    folder = distributed.from_main(
        lambda: RunFolder.create(out, config, record | facts | {"trajflow": __version__})
    )
    trainer = Trainer(model, objective_of(config.flow), config, data, folder, facts, device)
    if init is not None and distributed.is_main():
        # If it is killed before its first checkpoint, it must not resume from random weights.
        Checkpoint.take(model, trainer.average, trainer.optimiser, TrainingProgress()).write(folder)
    return trainer


def _check_memory(config: Config, data: TrackData, scale: float) -> None:
    """Refuse tracks that give memory nothing to learn from."""
    data.watch(config.model.memory, scale)
    batches = islice(data.training(config.train.batch_size, 0), NORMALIZER_BATCHES)
    if not any(np.isfinite(batch.memory).any() for batch in batches if batch.memory is not None):
        raise DataError(
            "no earlier tracks of others pass near the agents of the training windows, so memory "
            "has nothing to learn from; leave model.memory out"
        )


def resumed_trainer(
    folder: RunFolder, data: TrackData, facts: dict[str, Any], device: torch.device
) -> Trainer:
    """The trainer of a run folder where it stopped; at its first step if it never saved.

    A finished run is not changed; see `Trainer.finished`.

    Raises:
        RunError: The folder is damaged or in use, or its checkpoint is of another network.
    """
    config, dims = folder.config, facts["dims"]
    finished = distributed.from_main(lambda: Finished.of(folder))
    if finished:
        for damage in folder.damages():
            raise RunError(damage)
    elif (folder.path / OLD_CHECKPOINT).exists() and not Checkpoint.exists(folder):
        raise RunError(
            f"{folder.path / OLD_CHECKPOINT} is a checkpoint of an earlier version and cannot be "
            "read; train again"
        )
    saved = not finished and distributed.from_main(lambda: Checkpoint.exists(folder))
    if finished or saved:
        with reproducible(config.train.threads, device):
            model = TrajectoryModel(architecture_of(config, dims, _types(config, data)))
    else:
        model = new_model(config, data, dims)
    origin = folder.read_record().get("init") or {}
    if "added" in origin:
        train_memory_alone(model)
        facts = facts | {"temperature": origin["temperature"]}
    trainer = Trainer(model, objective_of(config.flow), config, data, folder, facts, device)
    if saved:
        trainer.resume()
    return trainer
