"""Start a training on a store, or go on with one that stopped."""

from __future__ import annotations

import hashlib
import logging
import math
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from trajflow.config import Config
from trajflow.datasets.importing import import_tracks
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store, open_store
from trajflow.errors import ConfigError, DataError, RunError, TrajflowError
from trajflow.models.tensors import device_of
from trajflow.remote import refuse_url
from trajflow.runs import CONFIG, RunFolder, facts_of, run_data, track_data
from trajflow.training import distributed
from trajflow.training.plan import Plan, plan_settings, seconds_after, within
from trajflow.training.pretrained import with_architecture_of
from trajflow.training.race import SHARE, affordable, challengers, run_race
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
RACE_VALIDATIONS = 10
"""Validations that a race takes beside its updates, about."""
SAME = {"store": "tracks", "hash": "parts of the tracks"}
"""Facts of a run that its tracks must agree with, and what they are called."""


def start_training(
    data: str | Path,
    config: Config,
    out: str | Path | None = None,
    device: str = "auto",
    began: float | None = None,
    init: str | Path | None = None,
) -> Trainer:
    """A trainer at its first step, with a new run folder.

    Args:
        data: A store, or a table that is imported beside itself; see `open_data`.
        config: All settings; what is not set in them is chosen from the tracks, see `plan.py`.
        out: The run folder; None: runs/STORE-ENCODER-PRESET, or the first such name that is free.
        device: Where to train.
        began: Reading of `time.monotonic` from which a time limit counts; None: now.
        init: A run whose weights the training starts from, and whose network it has.

    Raises:
        ConfigError: The settings do not fit the tracks, or the network of `init`.
        RunError: There is something at `out`.
    """
    began = time.monotonic() if began is None else began
    if out is not None:
        refuse_url(out)
    place, store = distributed.first_then_all(lambda: open_data(data))
    if init is not None:
        config = with_architecture_of(init, config)
    name = f"{place.stem}-{config.model.encoder}-{config.flow.preset}"
    path = distributed.from_first(
        lambda: free_path(Path("runs") / name) if out is None else Path(out)
    )
    beside = path.with_name(f"{path.name}.race")
    plan, tracks, outcome = planned(config, store, device, began, None if path.exists() else beside)
    description = tracks.describe()
    record = description | {"plan": plan.to_dict()} | ({"race": outcome} if outcome else {})
    trainer = new_trainer(
        plan.config, tracks, str(path), record, facts_of(store), device_of(device), init
    )
    trainer.before = time.monotonic() - began
    shutil.rmtree(beside, ignore_errors=True)
    log.info(split_line(description))
    for line in plan.lines():
        log.info(line)
    if "skipped" in outcome:
        log.info("no race between settings: %s", outcome["skipped"])
    log.info("run folder %s", path)
    return trainer


def plan_training(
    data: str | Path, config: Config, device: str = "auto", init: str | Path | None = None
) -> dict[str, Any]:
    """What `start_training` would do, and how long it would take here; nothing is written.

    Args:
        data: A store, or a table.
        config: All settings.
        device: Where to train.
        init: A run whose weights the training would start from.

    Returns:
        "lines" that say the split and what was chosen; "plan", what was chosen, as values; "parts"
        of the split; "settings", all of them by section;
        "updates", "epochs", "weights" and "device"; "seconds_per_update" and
        "seconds_per_validation", measured; "seconds", what the whole training will take, about.

    Raises:
        ConfigError: The settings do not fit the tracks.
        DataError: There is nothing, or too little to learn from.
    """
    *_, plan = plan_stages(data, config, device, init)
    return plan


def plan_stages(
    data: str | Path, config: Config, device: str = "auto", init: str | Path | None = None
) -> Iterator[dict[str, Any]]:
    """The same in two stages: first without weights, device and seconds, which take longest."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(data)
        if path.is_file() and not store_beside(path).exists():
            import_tracks("table", path, Path(folder) / "tracks.zarr")
            path = Path(folder) / "tracks.zarr"
        store = distributed.first_then_all(lambda: open_data(path))[1]
        if init is not None:
            config = with_architecture_of(init, config)
        plan, tracks, _ = planned(config, store, device)
        config, description = plan.config, tracks.describe()
        per_epoch = tracks.steps(config.train.batch_size)
        updates = config.train.updates or config.train.epochs * per_epoch
        result = {
            "lines": [split_line(description), *plan.lines()],
            "plan": plan.to_dict(),
            "parts": description["parts"],
            "settings": config.model_dump(mode="json"),
            "updates": updates,
            "epochs": updates / per_epoch,
        }
        yield result
        pace = measure(config, tracks, store, device)
        yield result | {
            "weights": pace.weights,
            "device": pace.device,
            "seconds_per_update": pace.update,
            "seconds_per_validation": pace.validation,
            "seconds": pace.seconds(config, updates),
        }


def planned(
    config: Config,
    store: Store,
    device: str = "auto",
    began: float | None = None,
    race_folder: Path | None = None,
) -> tuple[Plan, TrackData, dict[str, Any]]:
    """The settings with what the user left open chosen from the tracks, and the splits by them.

    A race decides some of them where there is time for it. A time limit is turned into a number of
    updates, by timing some of them, unless epochs or updates are given.

    Args:
        config: Settings; what is set in them is what the user gave.
        store: The tracks.
        device: Where to train.
        began: Reading of `time.monotonic` from which a time limit counts; None: now.
        race_folder: Where candidates of a race train; None: there is no race.

    Returns:
        The plan, the splits, and what came out of the race; empty without one.
    """
    began = time.monotonic() if began is None else began
    plan = distributed.from_first(lambda: plan_settings(config, store))
    tracks, limit = track_data(store, plan.config), plan.config.train.time_limit
    pace = measure(plan.config, tracks, store, device) if limit is not None else None

    def left() -> float:
        return (limit or math.inf) - (time.monotonic() - began)

    outcome: dict[str, Any] = {}
    if distributed.world() > 1:
        outcome = {"skipped": "it is for a training in one process"}
    elif race_folder is not None and config.train.race:
        race = affordable(plan, _race_updates(plan, tracks, pace, left()))
        if race is not None:
            deadline = time.monotonic() + 1.5 * SHARE * left()
            place = device_of(device)
            raced, outcome = _raced(plan, race, tracks, store, race_folder, place, deadline)
            if raced is not plan and pace is not None:
                pace = measure(raced.config, tracks, store, device)
            plan = raced
        elif challengers(plan):
            outcome = {"skipped": "it needs a longer --time-limit or more --updates"}
    if pace is not None and any(one.name == "train.updates" for one in plan.chosen):
        timed, measured = plan, pace
        plan = distributed.from_first(
            lambda: within(timed, left(), measured.update, measured.validation, measured.per_epoch)
        )
    return plan, tracks, outcome


def _race_updates(plan: Plan, tracks: TrackData, pace: Pace | None, left: float) -> float:
    """Updates that a race may make, of all candidates together."""
    train = plan.config.train
    updates = SHARE * (train.updates or train.epochs * tracks.steps(train.batch_size))
    if pace is None:
        return updates
    timed = (SHARE * left - RACE_VALIDATIONS * pace.validation) / pace.update
    is_open = any(one.name == "train.updates" for one in plan.chosen)
    return timed if is_open else min(timed, updates)


def _raced(plan: Plan, *race: Any) -> tuple[Plan, dict[str, Any]]:
    """The plan after a race; as it is where a candidate cannot be trained."""
    try:
        return run_race(plan, *race)
    except TrajflowError as error:
        log.warning("no race between settings: %s", error)
        return plan, {"error": str(error)}


@dataclass(frozen=True)
class Pace:
    """How fast a training is here: seconds of an update and of a validation, measured."""

    update: float
    validation: float
    per_epoch: int
    weights: int
    device: str

    def seconds(self, config: Config, updates: int) -> float:
        """What so many updates, their validations and what follows them will take."""
        every = max(1, round(config.train.validate_every * self.per_epoch))
        validations = (-(-updates // every) - 1) * self.validation
        return updates * self.update + validations + seconds_after(config.train, self.validation)


def measure(config: Config, tracks: TrackData, store: Store, device: str) -> Pace:
    """Time a few updates and a validation of a training whose folder is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run")
        trainer = new_trainer(config, tracks, run, {}, facts_of(store), device_of(device))
        update, validation = trainer.measure()
        weights = sum(p.numel() for p in trainer.model.parameters())
        pace = Pace(update, validation, trainer.per_epoch, weights, str(trainer.device))
        return distributed.from_first(lambda: pace)


def resume_training(data: str | Path, out: str | Path, device: str = "auto") -> Trainer:
    """A trainer where an earlier one stopped, with the settings of its run.

    Args:
        data: The store that the run was trained on.
        out: The run folder.
        device: Where to train.

    Raises:
        RunError: There is no run, or it was trained on other tracks.
    """
    folder, tracks, store = distributed.first_then_all(lambda: _opened(data, out))
    trainer = resumed_trainer(folder, tracks, facts_of(store), device_of(device))
    if trainer.finished:
        log.info("%s has been trained to its end; nothing is left to train", out)
    return trainer


def extend_training(
    data: str | Path,
    out: str | Path,
    *,
    epochs: int | None = None,
    updates: int | None = None,
    device: str = "auto",
) -> Trainer:
    """A trainer that goes on with a finished run, or a stopped one, to more updates.

    The learning rate follows the longer training from here on, so it rises again, and neither a
    time limit nor patience ends it.

    Args:
        data: The store that the run was trained on.
        out: The run folder.
        epochs: Passes over the training windows, with those that are done.
        updates: Updates of the weights, with those that are done, instead of epochs.
        device: Where to train.

    Raises:
        ConfigError: Neither epochs nor updates are given, or both, or they are no more than the
            run has.
        RunError: There is no run, or it was trained on other tracks.
    """
    if (epochs is None) == (updates is None):
        raise ConfigError("give how far the run shall go, in all: --epochs N or --updates N")
    folder, tracks, store = distributed.first_then_all(lambda: _opened(data, out))
    distributed.from_first(lambda: _lengthen(folder, tracks, out, epochs, updates))
    return resumed_trainer(folder, tracks, facts_of(store), device_of(device))


def _lengthen(
    folder: RunFolder,
    tracks: TrackData,
    out: str | Path,
    epochs: int | None,
    updates: int | None,
) -> None:
    """Record that a run goes on to so many epochs or updates in all."""
    train = folder.config.train
    per_epoch = tracks.steps(train.batch_size)
    done = int(max((event["step"] for event in folder.events()), default=0))
    wanted = updates if updates is not None else (epochs or 0) * per_epoch
    if wanted <= done:
        raise ConfigError(
            f"{out} has made {done} updates ({done / per_epoch:g} epochs); give more, not "
            + (f"--updates {updates}" if updates is not None else f"--epochs {epochs}")
        )
    longer = {"epochs": train.epochs if epochs is None else epochs, "updates": updates}
    longer |= {"time_limit": None, "patience": None}
    config = folder.config.model_copy(update={"train": train.model_copy(update=longer)})
    lock = folder.lock()
    try:
        folder.write(CONFIG, config.to_toml().encode())
        folder.append({"event": "extended", "step": done, "updates": wanted})
    finally:
        lock.release()


def _opened(data: str | Path, out: str | Path) -> tuple[RunFolder, TrackData, Store]:
    """A run and its tracks.

    Raises:
        RunError: There is no run, or it was trained on other tracks.
    """
    folder, (_, store) = RunFolder.open(out), open_data(data)
    tracks = run_data(store, folder)
    record, given = folder.read_record(), tracks.describe()
    for key, what in SAME.items():
        if record.get(key) != given[key]:
            raise RunError(f"{data} does not hold the {what} that {out} was trained on")
    return folder, tracks, store


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


def open_data(data: str | Path) -> tuple[Path, Store]:
    """A store, or a table that is imported into a store beside it; and the path of the store.

    A table that has been imported so before is not imported again.

    Raises:
        DataError: There is nothing, the table cannot be read, or another store is in its place.
    """
    path = Path(data)
    if not path.is_file():
        return path, open_store(path)
    place = store_beside(path)
    if place.exists():
        store, digest = open_store(place), hashlib.sha256(path.read_bytes()).hexdigest()
        if [one.get("sha256") for one in store.header.inputs] != [digest]:
            raise DataError(
                f"{place} is there already and was not made from {path} as it is now; train on "
                f"{place}, or import anew: trajflow data import {path} -o {place} --overwrite"
            )
        log.info("%s was imported before: %s", path, place)
        return place, store
    history = shlex.join(["trajflow", "data", "import", "table", path.name])
    report = import_tracks("table", path, place, history=history)
    log.info("imported %s", place)
    for line in report.lines():
        log.info("%s", line)
    return place, open_store(place)


def store_beside(table: Path) -> Path:
    """Where the store of a table is kept: tracks.zarr beside tracks.csv.gz."""
    return table.with_name(f"{table.name.split('.')[0] or 'tracks'}.zarr")


def free_path(path: Path) -> Path:
    """The path, or the first of PATH-2, PATH-3, ... that is free."""
    names = (path if n == 1 else path.with_name(f"{path.name}-{n}") for n in count(1))
    return next(name for name in names if not name.exists())
