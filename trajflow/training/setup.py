"""From settings and data to a trainer: the model, its normalizer, its objective, its folder."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

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
from trajflow.training.pretrained import load_weights
from trajflow.training.reproducible import reproducible, reseed
from trajflow.training.trainer import Trainer
from trajflow.types import scene_centres

SCALING_BATCHES = 200
OLD = "resume.pt"


def preset_of(settings: FlowConfig) -> Preset:
    """The preset with the settings' own choices in place of its own.

    Raises:
        ConfigError: There is no such preset.
    """
    if settings.preset not in PRESETS:
        raise ConfigError(did_you_mean("preset", settings.preset, list(PRESETS)))
    preset = PRESETS[settings.preset]
    given = {name: value for name, value in settings if value is not None}
    chosen = {name: given[name] for name in ("flow_ratio", "tangent") if name in given}
    ramp = {
        name: given[f"lambda_{name}"]
        for name in ("start", "end", "warmup")
        if f"lambda_{name}" in given
    }
    return replace(preset, **chosen, curriculum=replace(preset.curriculum, **ramp))


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
    """The architecture that the settings describe, for tracks of D coordinates and agent types."""
    model = config.model
    return Architecture(
        history=config.data.history,
        horizon=config.data.horizon,
        dims=dims,
        encoder=model.encoder,
        encoder_options=tuple(sorted(model.encoder_options.items())),
        social=model.social,
        joint=model.joint,
        width=model.width,
        decoder_width=model.decoder_width,
        decoder_depth=model.decoder_depth,
        components=model.components,
        average=preset_of(config.flow).average,
        speed_floor=model.speed_floor,
        heading_steps=model.heading_steps,
        own_speed=model.own_speed,
        condition_on_dt=model.condition_on_dt,
        memory=model.memory,
        types=tuple(types) if model.types else (),
    )


def new_model(config: Config, data: TrackData, dims: int) -> TrajectoryModel:
    """A model with seeded weights, its normalizer fitted to the training split."""
    cpu = torch.device("cpu")

    def scenes() -> Any:
        for batch in islice(data.training(config.train.batch_size, 0), SCALING_BATCHES):
            centre = scene_centres(batch.past)
            past, future = (to_tensor(p, centre, cpu) for p in (batch.past, batch.future))
            yield past, future, torch.as_tensor(batch.target)

    with reproducible(config.train.threads, cpu):
        reseed(config.train.seed, cpu)
        model = TrajectoryModel(architecture_of(config, dims, _types(config, data)))
        model.fit_normalizer(scenes())
    return model


def _types(config: Config, data: TrackData) -> Sequence[str]:
    """Names of the agent types that the model distinguishes: those of the store, if several."""
    return data.store.types if config.model.types and len(data.store.types) > 1 else ()


def _check_data(config: Config, data: TrackData, dims: int) -> None:
    """Refuse, before anything is written, what cannot be trained on."""
    train = config.train
    steps = data.steps(train.batch_size)
    if next(iter(data.validation(train.batch_size, 1)), None) is None:
        raise DataError(
            "the validation split is empty, and weights are chosen on it; change data.split, "
            "data.fold or data.fractions"
        )
    size = config.data.horizon * dims
    rows = min(steps, SCALING_BATCHES) * train.batch_size
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
        data: Where batches come from.
        out: Path of the run folder.
        record: What to store of the data the run is made from.
        facts: What a predictor must know and the weights carry: dims, dt, unit.
        device: Where to train.
        init: A run whose weights the training starts from; None: seeded weights.

    Raises:
        ConfigError: The horizon is too long for the memory, or the network of `init` is another.
        DataError: There is too little to learn from, or nothing to validate on.
        RunError: The folder exists.
    """
    distributed.first_then_all(lambda: _check_data(config, data, facts["dims"]))
    model = new_model(config, data, facts["dims"])
    if init is not None:
        record = record | {"init": load_weights(model, init)}
    distributed.wait()  # a process that cannot begin leaves no folder behind
    folder = distributed.from_first(
        lambda: RunFolder.create(out, config, record | facts | {"trajflow": __version__})
    )
    trainer = _trainer(model, config, data, folder, facts, device)
    if init is not None and distributed.first():
        # A training that is killed before its first checkpoint must not start from seeds.
        Checkpoint.take(model, trainer.average, trainer.optimiser, TrainingProgress()).write(folder)
    return trainer


def resumed_trainer(
    folder: RunFolder, data: TrackData, facts: dict[str, Any], device: torch.device
) -> Trainer:
    """The trainer of a run folder, where it stopped: at its beginning if it never saved.

    Of a run that has come to its end nothing changes; see `Trainer.finished`.

    Raises:
        RunError: The folder is damaged, another training has it, or it does not fit.
    """
    config, dims = folder.config, facts["dims"]
    if distributed.from_first(lambda: Finished.of(folder)):
        for damage in folder.damages():
            raise RunError(damage)
        with reproducible(config.train.threads, device):
            model = TrajectoryModel(architecture_of(config, dims, _types(config, data)))
        return _trainer(model, config, data, folder, facts, device)
    if (folder.path / OLD).exists() and not Checkpoint.exists(folder):
        raise RunError(
            f"{folder.path / OLD} is a checkpoint of an earlier version, which is not read any "
            "more; train anew"
        )
    saved = distributed.from_first(lambda: Checkpoint.exists(folder))
    if saved:
        with reproducible(config.train.threads, device):
            model = TrajectoryModel(architecture_of(config, dims, _types(config, data)))
    else:
        model = new_model(config, data, dims)
    trainer = _trainer(model, config, data, folder, facts, device)
    if saved:
        trainer.resume()
    return trainer


def _trainer(
    model: TrajectoryModel,
    config: Config,
    data: TrackData,
    folder: RunFolder,
    facts: dict[str, Any],
    device: torch.device,
) -> Trainer:
    """A trainer to which crowded scenes come in parts, unless their agents are drawn together."""
    if isinstance(data, TrackData):  # Other sources bring scenes as they are.
        limit = 0 if model.social is None else model.social.limit
        data.divide(None if config.model.joint else limit)
    return Trainer(model, objective_of(config.flow), config, data, folder, facts, device)
