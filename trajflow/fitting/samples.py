"""Learn which futures of a run serve best as a set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trajflow.batch import OnProgress, silent
from trajflow.config import Config
from trajflow.datasets.store import open_store
from trajflow.errors import ConfigError
from trajflow.inference.predictor import TorchPredictor
from trajflow.inference.tables import check_fit
from trajflow.run_data import run_data
from trajflow.runs import RunFolder
from trajflow.tensors import device_of
from trajflow.training.noise_sets import SetTrainer, keep_set

log = logging.getLogger("trajflow")


def fit_learned_samples(
    run: str | Path,
    data: str | Path,
    settings: Sequence[str] = (),
    *,
    device: str = "auto",
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Learn samples of a run from the training split, and keep them in its folder.

    Args:
        run: The run folder; its network stays as it is.
        data: A store.
        settings: Settings of learned samples, as "samples.count=20".
        device: Where to compute.
        on_progress: Called with "epochs", the number done and their total.

    Returns:
        The file, the number of samples, and their scores on the validation split.

    Raises:
        ConfigError: A setting is wrong, or the model draws the agents of a scene together.
        RunError: The run does not fit the tracks.
    """
    folder, store = RunFolder.open(run), open_store(data)
    config = _with_settings(folder.config, settings)
    place = device_of(device)
    predictor = TorchPredictor.load(folder.path, str(place))
    check_fit(predictor, store, data)
    trainer = SetTrainer(predictor.model, run_data(store, folder, config), config, place)
    for now in trainer.run():
        on_progress("epochs", now.epoch, config.samples.epochs)
        log.info(
            "epoch %d: minADE %.4g, minFDE %.4g on validation%s",
            now.epoch,
            now.min_ade,
            now.min_fde,
            ", kept" if now.best else "",
        )
    path = keep_set(folder, trainer)
    return {"set": str(path), "count": config.samples.count, **trainer.found}


def _with_settings(config: Config, settings: Sequence[str]) -> Config:
    """The run's settings with other ones for the learned samples."""
    others = [word for word in settings if not word.strip().startswith("samples.")]
    if others:
        raise ConfigError(
            f"--set {others[0]}: the run is trained; here only samples.NAME=VALUE can be set"
        )
    given = Config.load(None, settings).samples.model_dump(exclude_unset=True)
    return config.model_copy(update={"samples": config.samples.model_copy(update=given)})
