"""Start a training on a store, or go on with one that stopped."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from trajflow.config import Config
from trajflow.datasets.store import open_store
from trajflow.errors import RunError
from trajflow.models.tensors import device_of
from trajflow.runs import RunFolder, facts_of, run_data, track_data
from trajflow.training.setup import new_trainer, resumed_trainer
from trajflow.training.trainer import Trainer

log = logging.getLogger("trajflow")

SPLITS = {
    "stored": "as stored",
    "scene": "by recordings",
    "time": "by time in each recording",
    "agent": "by agents",
}
"""How a split was made, in words."""
SAME = {"store": "tracks", "hash": "parts of the tracks"}
"""Facts of a run that its tracks must agree with, and what they are called."""


def start_training(
    data: str | Path, config: Config, out: str | Path | None = None, device: str = "auto"
) -> Trainer:
    """A trainer at its first step, with a new run folder.

    Args:
        data: A store.
        config: All settings.
        out: The run folder; None: runs/STORE-ENCODER-PRESET, or the first such name that is free.
        device: Where to train.

    Raises:
        ConfigError: The settings do not fit the tracks.
        RunError: There is something at `out`.
    """
    store, name = open_store(data), f"{Path(data).stem}-{config.model.encoder}-{config.flow.preset}"
    path = free_path(Path("runs") / name) if out is None else Path(out)
    tracks = track_data(store, config)
    description = tracks.describe()
    log.info(split_line(description))
    trainer = new_trainer(
        config, tracks, str(path), description, facts_of(store), device_of(device)
    )
    log.info("run folder %s", path)
    return trainer


def resume_training(data: str | Path, out: str | Path, device: str = "auto") -> Trainer:
    """A trainer where an earlier one stopped, with the settings of its run.

    Args:
        data: The store that the run was trained on.
        out: The run folder.
        device: Where to train.

    Raises:
        RunError: There is no run, or it was trained on other tracks.
    """
    folder, store = RunFolder.open(out), open_store(data)
    tracks = run_data(store, folder)
    record, given = folder.read_record(), tracks.describe()
    for key, what in SAME.items():
        if record.get(key) != given[key]:
            raise RunError(f"{data} does not hold the {what} that {out} was trained on")
    trainer = resumed_trainer(folder, tracks, facts_of(store), device_of(device))
    if trainer.finished:
        log.info("%s has been trained to its end; nothing is left to train", out)
    return trainer


def split_line(description: Mapping[str, Any]) -> str:
    """The split of a store in one line, from `TrackData.describe`."""
    rule = description["split"]
    how = SPLITS[rule["kind"]] + (f", fold {rule['fold']}" if rule["fold"] else "")
    if rule["val_by"]:
        how += f", val taken from train {SPLITS[rule['val_by']]}"
    parts = (
        f"{name} {part['windows']:,} windows of {_counted(part['people'], 'agent')} in "
        f"{_counted(part['recordings'], 'recording')}"
        for name, part in description["parts"].items()
    )
    return f"split {how}: {'; '.join(parts)}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def free_path(path: Path) -> Path:
    """The path, or the first of PATH-2, PATH-3, ... that is free."""
    names = (path if n == 1 else path.with_name(f"{path.name}-{n}") for n in count(1))
    return next(name for name in names if not name.exists())
