"""Losses and validation scores of a training for CSV, TensorBoard, Weights & Biases and MLflow."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from trajflow.errors import ConfigError, MissingExtra, TrajflowError, did_you_mean
from trajflow.text import safe
from trajflow.training.events import Evaluated, Event, Step, TemperatureChosen

Log = Callable[[int, Mapping[str, float]], None]
"""Writes the values of a step, by name."""


def log_events(events: Iterable[Event], names: Sequence[str], folder: Path) -> Iterator[Event]:
    """Yield the events of a training, and write their numbers to loggers.

    Args:
        events: From `Trainer.run`.
        names: Names in `LOGGERS`: "csv" writes `FOLDER/log.csv` (step, name, value), "tensorboard"
            `FOLDER/tensorboard`; "wandb" and "mlflow" follow their own environment variables
            (`WANDB_MODE=offline`, `MLFLOW_TRACKING_URI`). "wandb" keeps its files in `FOLDER`, and
            so does "mlflow" without a tracking URI, in `FOLDER/mlruns`.
        folder: The run folder; it exists by the first event.

    Raises:
        MissingExtra: The package of a logger is not installed.
        ConfigError: A logger cannot be opened, for example without an account.
    """
    with ExitStack() as stack:
        logs = [stack.enter_context(_open(name, folder)) for name in dict.fromkeys(names)]
        for event in events:
            if values := _scalars(event):
                for log in logs:
                    log(event.step, values)
            yield event


def check_loggers(names: Sequence[str]) -> None:
    """Check the names of loggers before a training.

    Raises:
        ConfigError: There is no such logger.
        MissingExtra: Its package is not installed.
    """
    for name in names:
        if name not in LOGGERS:
            raise ConfigError(did_you_mean("logger", name, list(LOGGERS)))
        if name != "csv":
            _package(name)


@contextmanager
def _csv(folder: Path) -> Iterator[Log]:
    with (folder / "log.csv").open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if not file.tell():
            writer.writerow(["step", "name", "value"])

        def log(step: int, values: Mapping[str, float]) -> None:
            writer.writerows([step, name, value] for name, value in values.items())
            file.flush()

        yield log


@contextmanager
def _tensorboard(folder: Path) -> Iterator[Log]:
    _package("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard")) as writer:

        def log(step: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        yield log


@contextmanager
def _wandb(folder: Path) -> Iterator[Log]:
    wandb = _package("wandb")
    project = os.environ.get("WANDB_PROJECT", "trajflow")
    with wandb.init(project=project, name=folder.name, dir=str(folder)) as run:
        yield lambda step, values: run.log(dict(values), step=step)


@contextmanager
def _mlflow(folder: Path) -> Iterator[Log]:
    mlflow = _package("mlflow")
    in_folder = not mlflow.is_tracking_uri_set()
    if in_folder:  # MLflow's own default is a database, which mlflow-skinny cannot open
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        mlflow.set_tracking_uri((folder / "mlruns").absolute().as_uri())
    try:
        with mlflow.start_run(run_name=folder.name):
            yield lambda step, values: mlflow.log_metrics(dict(values), step=step)
    finally:
        if in_folder:
            mlflow.set_tracking_uri(None)


LOGGERS: Mapping[str, Callable[[Path], AbstractContextManager[Log]]] = {
    "csv": _csv,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}
"""Opens a logger in a run folder, by name."""


@contextmanager
def _open(name: str, folder: Path) -> Iterator[Log]:
    with ExitStack() as stack:
        try:
            log = stack.enter_context(LOGGERS[name](folder))
        except TrajflowError:
            raise
        except Exception as error:  # each tracker has its own errors
            why = next(iter(str(error).splitlines()), type(error).__name__)
            raise ConfigError(
                f"the logger {name} cannot be opened: {safe(why, 300)}; set it up, or leave out "
                f"--log {name}"
            ) from error
        yield log


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        extra = "log" if name == "tensorboard" else name
        raise MissingExtra(
            f"the logger {name} needs the package {name}: pip install 'trajflow[{extra}]'"
        ) from None


def _scalars(event: Event) -> dict[str, float]:
    if isinstance(event, Step):
        return {"train/loss": event.loss, "train/lambda": event.weight, "train/lr": event.lr}
    if isinstance(event, Evaluated):
        return {f"validation/{name}": value for name, value in event.metrics.items()}
    if isinstance(event, TemperatureChosen):
        return {f"final/{name}": value for name, value in event.metrics.items()}
    return {}
