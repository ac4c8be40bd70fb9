"""A run and a store as the home screen tells of them; damaged ones say what is wrong."""

import json
import math
import os
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from trajflow.tui.jobs.files import open_plain
from trajflow.tui.jobs.history import History
from trajflow.tui.jobs.processes import job_of
from trajflow.tui.jobs.tail import Tail

State = Literal["training", "stopped", "done", "damaged"]
QUIET = 90.0
"""Seconds without a word after which a training that nobody is known to run has stopped."""
LONGEST = 16 * 2**20
"""Bytes of a description that are read at most."""


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        path: Where it is.
        changed: When it was last written, seconds since 1970.
        encoder: What reads its pasts.
        preset: Which objective it was trained by.
        fold: The fold that it left out, if any.
        learned: Fingerprint of the tracks that it learned from.
        dt, dims: Seconds per step and coordinates of a position.
        part: The part whose windows are looked at first.
        weights: Whether there are any.
        history: What its training said.
        state: Whether it is being trained.
        problem: What is wrong with it; empty if nothing is.
    """

    path: Path
    changed: float
    encoder: str = ""
    preset: str = ""
    fold: str | None = None
    learned: str = ""
    dt: float = math.nan
    dims: int = 0
    part: str = "test"
    weights: bool = False
    history: History = field(default_factory=History)
    state: State = "stopped"
    problem: str = ""

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.path.name

    def aged(self) -> "Run":
        """The same run, its state told anew: a training falls silent without a change."""
        if self.state == "damaged":
            return self
        return replace(self, state=state_of(self.history, self.path, self.changed))


@dataclass(frozen=True)
class Tracks:
    """A store of tracks.

    Attributes:
        path: Where it is.
        changed: When it was last written, seconds since 1970.
        fingerprint: What two stores of the same tracks share.
        about: Its attributes.
        dt, dims: Seconds per step and coordinates of a position.
        problem: What is wrong with it; empty if nothing is.
    """

    path: Path
    changed: float
    fingerprint: str = ""
    about: Mapping[str, Any] | None = None
    dt: float = math.nan
    dims: int = 0
    problem: str = ""

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.path.name


_DAMAGE = (
    OSError,
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
)


def read_run(path: Path) -> Run:
    """What a run folder says of itself."""
    history = History.of(Tail(path / "events.jsonl").read().events)
    changed = max(_changed(path / name) for name in ("events.jsonl", "run.json", "config.toml"))
    try:
        settings = tomllib.loads(_text(path / "config.toml"))
        record = json.loads(_text(path / "run.json"))
        dt, dims = float(record.get("dt", math.nan)), int(record.get("dims", 0))
        run = Run(
            path,
            changed,
            encoder=str(settings["model"]["encoder"]),
            preset=str(settings["flow"]["preset"]),
            fold=settings.get("data", {}).get("fold"),
            learned=str(record.get("store", "")),
            dt=dt,
            dims=dims,
            part=_part(record),
            weights=(path / "weights.safetensors").is_file(),
            history=history,
        )
    except _DAMAGE as error:
        return Run(path, changed, history=history, state="damaged", problem=_told(error))
    return run.aged()


def read_tracks(path: Path) -> Tracks:
    """What a folder with a zarr.json says of itself."""
    from pydantic import ValidationError

    from trajflow.datasets.header import Header, read_attributes
    from trajflow.errors import DataError

    changed = _changed(path / "zarr.json")
    try:
        header = Header.model_validate(read_attributes(path))
    except (DataError, ValidationError, RecursionError) as error:
        return Tracks(path, changed, problem=_told(error))
    about = header.summary() | {"scene_names": header.scenes, "folds": header.folds}
    about |= {"source": header.source, "made_by": header.history, "licence": header.licence}
    return Tracks(path, changed, header.fingerprint(), about, header.dt, int(header.dims))


def is_ours(path: Path) -> bool:
    """Whether a folder says that it is a store of trajflow."""
    from trajflow.datasets.header import is_store

    return is_store(path)


def state_of(history: History, path: Path, changed: float) -> State:
    """Whether a training goes on: it says when it ends, unless it was killed."""
    if history.reason:
        return "done" if history.reason == "done" else "stopped"
    if job_of(path) is not None or time.time() - changed < QUIET:
        return "training"
    return "stopped"


def _part(record: Mapping[str, Any]) -> str:
    """The first of test, val and train that has windows."""
    parts = record.get("parts", {})
    held = [name for name in ("test", "val", "train") if parts.get(name, {}).get("windows")]
    return held[0] if held else "test"


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _text(path: Path) -> str:
    with open_plain(path) as file:
        if os.fstat(file.fileno()).st_size > LONGEST:
            raise ValueError(f"{path.name} is larger than it can be")
        return file.read(LONGEST).decode()


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
