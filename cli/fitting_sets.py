"""How a run learns a set of futures, and where it keeps it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajflow.cli.console import Progress, log
from trajflow.errors import ConfigError

if TYPE_CHECKING:
    from trajflow.config import Config


def fit_run(run: Path, place: Path, words: Sequence[str], device: str) -> dict[str, Any]:
    """Learn a set for a run, keep it in its folder, and say how it does on validation.

    Raises:
        ConfigError: A setting is wrong, or the model is joint.
        RunError: The run does not fit the tracks.
    """
    from trajflow.datasets.store import open_store
    from trajflow.inference.tables import check_fit
    from trajflow.predictor import Predictor
    from trajflow.run_data import run_data
    from trajflow.runs import RunFolder
    from trajflow.training.noise_sets import SetTrainer, keep_set
    from trajflow.training.setup import device_of

    folder, store = RunFolder.open(run), open_store(place)
    config = _settings(folder.config, words)
    where = device_of(device)
    predictor = Predictor.load(folder.path, str(where))
    check_fit(predictor, store, place)
    trainer = SetTrainer(predictor.model, run_data(store, folder, config), config, where)
    with Progress("epochs", config.samples.epochs) as progress:
        for now in trainer.run():
            progress.update(now.epoch)
            log.info(
                "epoch %d: minADE %.4g, minFDE %.4g on validation%s",
                now.epoch,
                now.min_ade,
                now.min_fde,
                ", kept" if now.best else "",
            )
    path = keep_set(folder, trainer)
    return {"set": str(path), "count": config.samples.count, **trainer.found}


def _settings(config: "Config", words: Sequence[str]) -> "Config":
    """The run's settings with other ones for the set."""
    from trajflow.config import Config

    strange = [word for word in words if not word.strip().startswith("samples.")]
    if strange:
        raise ConfigError(
            f"--set {strange[0]}: the run is trained; here only samples.NAME=VALUE can be set"
        )
    given = Config.load(None, words).samples.model_dump(exclude_unset=True)
    chosen = config.samples.model_copy(update=given)
    return config.model_copy(update={"samples": chosen})
