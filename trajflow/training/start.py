"""Start a training on a store, or resume or extend one."""

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
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store, open_store
from trajflow.errors import ConfigError, DataError, RunError, TrajflowError
from trajflow.models.tensors import device_of
from trajflow.remote import refuse_url
from trajflow.runs import CONFIG, RunFolder, facts_of, run_data, track_data
from trajflow.training import distributed
from trajflow.training.plan import Plan, fit_time_limit, plan_settings, seconds_after
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
"""Kinds of splits, for the line that describes one."""
RACE_VALIDATIONS = 10
"""About how many validations a race takes beside its updates."""
CHECKED = {"store": "tracks", "hash": "splits"}
"""Entries of a run's record that its tracks must match, and their names in an error."""


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
        data: A store, or a table, which is imported to a store beside it; see `open_data`.
        config: Settings; those that are not set are chosen from the tracks, see `plan.py`.
        out: The run folder; None: runs/STORE-ENCODER-PRESET, with a number if it exists.
        device: Where to train.
        began: `time.monotonic()` from which a time limit counts; None: now.
        init: A run whose weights and architecture the training starts from.

    Raises:
        ConfigError: The settings do not fit the tracks or the architecture of `init`.
        RunError: `out` exists.

    Example:
        >>> from trajflow.config import Config
        >>> from trajflow.training.start import start_training
        >>> trainer = start_training("tracks.csv", Config(), "runs/walk")  # doctest: +SKIP
        >>> *_, last = trainer.run()  # doctest: +SKIP
    """
    began = time.monotonic() if began is None else began
    if out is not None:
        refuse_url(out)
    store_path, store = distributed.main_first(lambda: open_data(data))
    if init is not None:
        config = with_architecture_of(init, config)
    name = f"{store_path.stem}-{config.model.encoder}-{config.flow.preset}"
    path = distributed.from_main(
        lambda: free_path(Path("runs") / name) if out is None else Path(out)
    )
    races = path.with_name(f"{path.name}.race")
    plan, tracks, race = make_plan(config, store, device, began, None if path.exists() else races)
    description = tracks.describe()
    record = description | {"plan": plan.to_dict()} | ({"race": race} if race else {})
    trainer = new_trainer(
        plan.config, tracks, str(path), record, facts_of(store), device_of(device), init
    )
    trainer.schedule.seconds_before = time.monotonic() - began
    shutil.rmtree(races, ignore_errors=True)
    log.info(split_line(description))
    for line in plan.lines():
        log.info(line)
    if "skipped" in race:
        log.info("no race between settings: %s", race["skipped"])
    log.info("run folder %s", path)
    return trainer


def plan_training(
    data: str | Path, config: Config, device: str = "auto", init: str | Path | None = None
) -> dict[str, Any]:
    """What `start_training` would do, and how long it would take on this machine; writes nothing.

    Args:
        data: A store, or a table.
        config: Settings.
        device: Where to train.
        init: A run whose weights the training would start from.

    Returns:
        "lines" that describe the split and the chosen settings; "plan", the chosen settings as
        values; "parts", the splits; "settings", all of them by section; "updates", "epochs",
        "weights" and "device"; "seconds_per_update" and "seconds_per_validation", measured;
        "seconds", an estimate for the whole training.

    Raises:
        ConfigError: The settings do not fit the tracks.
        DataError: There are no tracks, or too few windows.
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
            from trajflow.datasets.importing import import_tracks

            import_tracks(None, path, Path(folder) / "tracks.zarr")
            path = Path(folder) / "tracks.zarr"
        store = distributed.main_first(lambda: open_data(path))[1]
        if init is not None:
            config = with_architecture_of(init, config)
        plan, tracks, _ = make_plan(config, store, device)
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
        speed = measure_speed(config, tracks, store, device)
        yield result | {
            "weights": speed.weights,
            "device": speed.device,
            "seconds_per_update": speed.seconds_per_update,
            "seconds_per_validation": speed.seconds_per_validation,
            "seconds": speed.seconds(config, updates),
        }


def make_plan(
    config: Config,
    store: Store,
    device: str = "auto",
    began: float | None = None,
    race_folder: Path | None = None,
) -> tuple[Plan, TrackData, dict[str, Any]]:
    """Choose the settings that the user leaves open, and split the tracks accordingly.

    A race decides some settings if there is time for it. A time limit becomes a number of updates,
    from a few timed ones, unless the user has set epochs or updates.

    Args:
        config: Settings, of which those that are set were set by the user.
        store: The tracks.
        device: Where to train.
        began: `time.monotonic()` from which a time limit counts; None: now.
        race_folder: Where the candidates of a race train; None: no race.

    Returns:
        The plan, the splits, and the result of the race; empty without one.
    """
    began = time.monotonic() if began is None else began
    plan = distributed.from_main(lambda: plan_settings(config, store))
    tracks, limit = track_data(store, plan.config), plan.config.train.time_limit
    speed = measure_speed(plan.config, tracks, store, device) if limit is not None else None

    def time_left() -> float:
        return (limit or math.inf) - (time.monotonic() - began)

    result: dict[str, Any] = {}
    if distributed.world_size() > 1:
        result = {"skipped": "it needs a training in one process"}
    elif race_folder is not None and config.train.race:
        race = affordable(plan, _race_updates(plan, tracks, speed, time_left()))
        if race is not None:
            deadline = time.monotonic() + 1.5 * SHARE * time_left()
            before = plan
            try:
                plan, result = run_race(
                    plan, race, tracks, store, race_folder, device_of(device), deadline
                )
            except TrajflowError as error:
                log.warning("no race between settings: %s", error)
                result = {"error": str(error)}
            if plan is not before and speed is not None:
                speed = measure_speed(plan.config, tracks, store, device)
        elif challengers(plan):
            result = {"skipped": "it needs a longer --time-limit or more --updates"}
    if speed is not None and plan.is_open("train.updates"):
        open_plan, update = plan, speed.seconds_per_update
        validation, per_epoch = speed.seconds_per_validation, speed.updates_per_epoch
        plan = distributed.from_main(
            lambda: fit_time_limit(open_plan, time_left(), update, validation, per_epoch)
        )
    return plan, tracks, result


def _race_updates(plan: Plan, tracks: TrackData, speed: Speed | None, time_left: float) -> float:
    """Updates that all candidates of a race may make together."""
    train = plan.config.train
    updates = SHARE * (train.updates or train.epochs * tracks.steps(train.batch_size))
    if speed is None:
        return updates
    seconds = SHARE * time_left - RACE_VALIDATIONS * speed.seconds_per_validation
    in_time = seconds / speed.seconds_per_update
    return in_time if plan.is_open("train.updates") else min(in_time, updates)


@dataclass(frozen=True)
class Speed:
    """Measured speed of a training on this machine."""

    seconds_per_update: float
    seconds_per_validation: float
    updates_per_epoch: int
    weights: int
    device: str

    def seconds(self, config: Config, updates: int) -> float:
        """Estimate for a training of so many updates, with validations and the fits at the end."""
        every = max(1, round(config.train.validate_every * self.updates_per_epoch))
        validations = (-(-updates // every) - 1) * self.seconds_per_validation
        after = seconds_after(config.train, self.seconds_per_validation)
        return updates * self.seconds_per_update + validations + after


def measure_speed(config: Config, tracks: TrackData, store: Store, device: str) -> Speed:
    """Time a few updates and a validation of a training in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run")
        trainer = new_trainer(config, tracks, run, {}, facts_of(store), device_of(device))
        update, validation = trainer.measure()
        weights = sum(p.numel() for p in trainer.model.parameters())
        per_epoch = trainer.schedule.updates_per_epoch
        speed = Speed(update, validation, per_epoch, weights, str(trainer.device))
        return distributed.from_main(lambda: speed)


def resume_training(data: str | Path, out: str | Path, device: str = "auto") -> Trainer:
    """A trainer that continues a stopped run, with the settings of the run.

    Args:
        data: The store that the run was trained on.
        out: The run folder.
        device: Where to train.

    Raises:
        RunError: There is no run, or it was trained on other tracks.
    """
    folder, tracks, store = distributed.main_first(lambda: _open_run(data, out))
    trainer = resumed_trainer(folder, tracks, facts_of(store), device_of(device))
    if trainer.finished:
        log.info("%s is finished; --extend trains it on", out)
    return trainer


def extend_training(
    data: str | Path,
    out: str | Path,
    *,
    epochs: int | None = None,
    updates: int | None = None,
    device: str = "auto",
) -> Trainer:
    """A trainer that continues a finished or stopped run to more updates.

    The learning rate follows the schedule of the longer training, so it rises again; the time limit
    and patience of the run no longer apply.

    Args:
        data: The store that the run was trained on.
        out: The run folder.
        epochs: Passes over the training windows, including those already made.
        updates: Updates of the weights, including those already made, instead of epochs.
        device: Where to train.

    Raises:
        ConfigError: Not exactly one of epochs and updates is set, or it is not more than the run
            has made.
        RunError: There is no run, or it was trained on other tracks.
    """
    if (epochs is None) == (updates is None):
        raise ConfigError("set the length of the whole training: --epochs N or --updates N")
    folder, tracks, store = distributed.main_first(lambda: _open_run(data, out))
    distributed.from_main(lambda: _lengthen(folder, tracks, out, epochs, updates))
    return resumed_trainer(folder, tracks, facts_of(store), device_of(device))


def _lengthen(
    folder: RunFolder,
    tracks: TrackData,
    out: str | Path,
    epochs: int | None,
    updates: int | None,
) -> None:
    """Write the new length of a training to its run."""
    train = folder.config.train
    per_epoch = tracks.steps(train.batch_size)
    done = int(max((event["step"] for event in folder.events()), default=0))
    total = updates if updates is not None else (epochs or 0) * per_epoch
    if total <= done:
        raise ConfigError(
            f"{out} has made {done} updates ({done / per_epoch:g} epochs); set more than that, not "
            + (f"--updates {updates}" if updates is not None else f"--epochs {epochs}")
        )
    longer = {"epochs": train.epochs if epochs is None else epochs, "updates": updates}
    longer |= {"time_limit": None, "patience": None}
    config = folder.config.model_copy(update={"train": train.model_copy(update=longer)})
    lock = folder.lock()
    try:
        folder.write(CONFIG, config.to_toml().encode())
        folder.append({"event": "extended", "step": done, "updates": total})
    finally:
        lock.release()


def _open_run(data: str | Path, out: str | Path) -> tuple[RunFolder, TrackData, Store]:
    folder, (_, store) = RunFolder.open(out), open_data(data)
    tracks = run_data(store, folder)
    record, description = folder.read_record(), tracks.describe()
    for key, what in CHECKED.items():
        if record.get(key) != description[key]:
            raise RunError(f"{data} does not hold the {what} that {out} was trained on")
    return folder, tracks, store


def split_line(description: Mapping[str, Any]) -> str:
    """The split of a store in one line, from `TrackData.describe`."""
    rule = description["split"]
    how = SPLITS[rule["kind"]] + (f", fold {rule['fold']}" if rule["fold"] else "")
    if description["split_reason"]:
        how += f" ({description['split_reason']})"
    if rule["val_by"]:
        how += f", val taken from train {SPLITS[rule['val_by']]}"
    parts = (
        f"{name} {part['windows']:,} windows of {_plural(part['people'], 'agent')} in "
        f"{_plural(part['recordings'], 'recording')}"
        for name, part in description["parts"].items()
    )
    return f"split {how}: {'; '.join(parts)}"


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def open_data(data: str | Path) -> tuple[Path, Store]:
    """Open a store, or import a table to a store beside it; returns the path too.

    A table that was imported before and has not changed is not imported again.

    Raises:
        DataError: There is no data, the table cannot be read, or the store is of another table.
    """
    path = Path(data)
    if not path.is_file():
        return path, open_store(path)
    out = store_beside(path)
    if out.exists():
        store, digest = open_store(out), hashlib.sha256(path.read_bytes()).hexdigest()
        if [source.get("sha256") for source in store.header.inputs] != [digest]:
            raise DataError(
                f"{out} exists and was not made from the present {path}; train on {out}, or "
                f"import again: trajflow data import {path} -o {out} --overwrite"
            )
        log.info("%s was imported before: %s", path, out)
        return out, store
    from trajflow.datasets.importing import import_tracks
    from trajflow.datasets.sources import ImportOptions

    history = shlex.join(["trajflow", "data", "import", path.name, "-o", out.name])
    try:
        report = import_tracks(None, path, out, ImportOptions(history=history))
    except DataError as error:
        command = shlex.join(["trajflow", "data", "import", str(path), "-o", str(out)])
        raise DataError(
            f"{error}; options are for the import, so import first: {command} OPTIONS, then train "
            f"on {out}"
        ) from None
    log.info("imported %s", out)
    for line in report.lines():
        log.info("%s", line)
    return out, open_store(out)


def store_beside(table: Path) -> Path:
    """The path of the store of a table: tracks.zarr beside tracks.csv.gz."""
    return table.with_name(f"{table.name.split('.')[0] or 'tracks'}.zarr")


def free_path(path: Path) -> Path:
    """The path, or the first of PATH-2, PATH-3, ... that does not exist."""
    names = (path if n == 1 else path.with_name(f"{path.name}-{n}") for n in count(1))
    return next(name for name in names if not name.exists())
