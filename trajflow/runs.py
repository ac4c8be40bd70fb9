"""A run folder: settings, events, weights and what is needed to trust or resume them."""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajflow.config import Config
from trajflow.errors import RunError
from trajflow.io import Guard, Lock, parse_json, storing, unguarded
from trajflow.manifest import (
    Manifest,
    add_line,
    check_lines,
    keep,
    read_kept,
    read_lines,
    seal_lines,
)
from trajflow.remote import local_copy, refuse_url

if TYPE_CHECKING:
    from trajflow.datasets.loader import TrackData
    from trajflow.datasets.store import Store

log = logging.getLogger("trajflow")
CONFIG, RECORD, EVENTS = "config.toml", "run.json", "events.jsonl"
WEIGHTS, RESUME = "weights.safetensors", "resume.safetensors"
FORMAT = 2
"""Runs from this format on list their files in a manifest."""
SMALL, LARGE = 1 << 24, 1 << 32
"""Most bytes of a text file, and of a file of tensors."""


@dataclass(frozen=True)
class RunFolder:
    """One training on disk; files are checked against the folder's manifest as they are read.

    Attributes:
        path: The folder.
        guard: Called before each write; raises an error if the folder was replaced.
    """

    path: Path
    guard: Guard = field(default=unguarded, compare=False, repr=False)

    @classmethod
    def create(cls, path: str | Path, config: Config, record: Mapping[str, Any]) -> "RunFolder":
        """Create a run folder with its settings and record; it appears complete or not at all.

        Raises:
            RunError: The folder exists and is not empty.
            StorageError: The folder cannot be written.
        """
        refuse_url(path)
        target = Path(os.path.realpath(path))
        partial = cls(target.with_name(f"{target.name}.{os.getpid()}.partial"))
        with storing(target):
            _refuse_existing(target, path)
            partial.path.mkdir(parents=True, exist_ok=True)
        try:
            partial.write(CONFIG, config.to_toml().encode())
            partial.record(record)
            with storing(target):
                _refuse_existing(target, path)
                partial.path.rename(target)
        finally:
            shutil.rmtree(partial.path, ignore_errors=True)
        return cls(Path(path))

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """Open a run folder by its path or by that of a file in it.

        Raises:
            RunError: There is no run, or one of its files is missing.
        """
        local = local_copy(path)
        for folder in (local, local.parent):
            missing = [name for name in (CONFIG, RECORD) if not (folder / name).is_file()]
            if not missing:
                return cls(folder)
            if folder == local and len(missing) == 1:
                raise RunError(f"{folder / missing[0]} is missing; restore it from a copy")
        raise RunError(
            f"{path} is not a run folder (no {CONFIG} and {RECORD}); "
            "`trajflow train DATA.zarr --out RUN` makes one"
        )

    def lock(self) -> Lock:
        """Lock this folder for a training; one process can hold the lock.

        Raises:
            RunError: Another process holds it.
        """
        return Lock(self.path)

    @property
    def config(self) -> Config:
        """The settings the run was started with."""
        content = self.read(CONFIG, "restore it from a copy")
        return Config.parse(content, str(self.path / CONFIG))

    def record(self, values: Mapping[str, Any]) -> None:
        """Replace the record of the data and the choices that the run was made from."""
        self.write(RECORD, json.dumps({**values, "format": FORMAT}, indent=2).encode())

    def read_record(self) -> dict[str, Any]:
        """The record of the data and the choices that the run was made from."""
        path = self.path / RECORD
        values = parse_json(self.read(RECORD, "restore it from a copy"), path)
        if not isinstance(values, dict):
            raise RunError(f"{path} is damaged: it is not the record of a run")
        return {name: value for name, value in values.items() if name != "format"}

    def append(self, event: Mapping[str, Any]) -> None:
        """Add an event as one line."""
        add_line(self.path / EVENTS, json.dumps(event).encode(), self.guard)

    def events(self) -> Iterator[dict[str, Any]]:
        """The events so far, without an incomplete last line.

        Raises:
            RunError: They are damaged or missing.
        """
        path = self.path / EVENTS
        for number, line in enumerate(read_lines(path), 1):
            event = parse_json(line, f"{path} line {number}")
            if not isinstance(event, dict) or not isinstance(event.get("event"), str):
                raise RunError(f"{path} line {number} is damaged: it is not an event")
            yield event

    def seal_events(self) -> None:
        """Add the events so far to the manifest, so that later damage to them is detected."""
        seal_lines(self.path / EVENTS, self.guard)

    def write(self, name: str, content: bytes) -> None:
        """Replace a file of the run atomically."""
        keep(self.path / name, content, self.guard)

    def read(self, name: str, otherwise: str) -> bytes:
        """The content of a file of the run.

        Raises:
            RunError: It is damaged, or it is missing and the message ends with `otherwise`.
        """
        path = self.path / name
        try:
            return read_kept(path, SMALL if name in (CONFIG, RECORD) else LARGE)
        except FileNotFoundError:
            raise RunError(f"{self.path} has no {name}: {otherwise}") from None
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}") from None

    def damages(self) -> list[str]:
        """What is wrong with the listed files, one sentence each that names the file.

        Raises:
            RunError: The list itself is damaged or missing.
        """
        result = []
        for name in Manifest.read(self.path).files:
            try:
                if name == EVENTS:
                    check_lines(self.path / name)
                else:
                    self.read(name, "it was there before")
            except RunError as error:
                result.append(str(error))
        return result


def _refuse_existing(target: Path, path: str | Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunError(
            f"{path} exists; continue it with --out {path} --resume, or choose another --out"
        )


def track_data(store: "Store", config: Config, halved: bool = True) -> "TrackData":
    """The splits of a store, with windows cut as the settings say.

    Args:
        store: The tracks.
        config: The settings.
        halved: Whether half of the validation people are reserved for the calibration.
    """
    from trajflow.datasets.loader import TrackData

    return TrackData(store, **config.data.model_dump(), order=config.train.seed, halved=halved)


def run_data(store: "Store", folder: RunFolder, config: Config | None = None) -> "TrackData":
    """The splits of a store for a run, or for the run under other settings.

    If the record of the run names no people of a calibration, its weights were chosen on all
    validation people, and these are not halved.
    """
    halved = "calibration" in folder.read_record()
    return track_data(store, config or run_settings(store, folder), halved)


def run_settings(store: "Store", folder: RunFolder, fold: str | None = None) -> Config:
    """The settings of a run for a store, which may be another than the run was trained on.

    Another store may lack recordings that the settings name, in `data.validation` or `data.fold`.
    These names are dropped, with a log message.

    Args:
        store: The tracks.
        folder: The run.
        fold: Another leave-one-out fold; None: that of the run.
    """
    config, record = folder.config, folder.read_record()
    data = config.data
    if record.get("store") == store.fingerprint():
        # Earlier versions split in time where a split by agents would be chosen now.
        rule = record.get("split")
        if isinstance(rule, dict) and rule.get("kind") == "time":
            data = data.model_copy(update={"split": "time"})
    else:
        validation = tuple(name for name in data.validation if name in store.scenes)
        own = data.fold if data.fold in (store.folds or store.scenes) else None
        data = data.model_copy(update={"validation": validation, "fold": own})
        if data != config.data:
            log.info("%s lacks recordings of the settings of %s", store.path, folder.path)
    if fold is not None:
        data = data.model_copy(update={"fold": fold})
    return config.model_copy(update={"data": data})


def facts_of(store: "Store") -> dict[str, Any]:
    """What a predictor needs to know about the tracks: dims, dt, unit, and the table's layout."""
    from trajflow.datasets.report import TableLayout

    facts: dict[str, Any] = {"dims": store.dims, "dt": store.dt, "unit": store.unit}
    layout = TableLayout.of_store(store)
    return facts if layout is None else facts | {"table": layout.model_dump(mode="json")}
