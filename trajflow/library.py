"""Runs and stores below a folder, recognized by their files and read as plain JSON and TOML.

The terminal UI and `trajflow runs` list what is here; nothing of it imports torch.
"""

import json
import math
import os
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Literal

from trajflow.errors import DataError, RunError
from trajflow.history import SILENT_AFTER, EventReader, TrainingHistory
from trajflow.jobs import last_job, open_regular, running_job

State = Literal["training", "stopped", "done", "damaged"]
PRESETS = ("mmf", "mmf-paper", "meanflow", "consistency", "terminal", "energy", "flow")
RUN_SCORES = ("energy_score", "min_ade", "min_fde", "coverage_90")
"""Scores of a run in a table of runs."""
DEPTH = 5
MAX_FOLDERS = 20_000
MAX_BYTES = 16 * 2**20
"""Bytes of a description that are read at most."""
SKIPPED = {"node_modules", "__pycache__", "site-packages", "proc", "sys", "dev"}
FILES = ("zarr.json", "config.toml", "run.json", "events.jsonl")
ABOVE = 3
"""Folders above a run below which its store is looked for."""
DAMAGE = (OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True)
class RunEntry:
    """A run folder.

    Attributes:
        path: Where it is.
        modified: When it was last written, seconds since 1970.
        encoder: Encoder of the model.
        preset: Preset of the objective.
        fold: The fold that was left out, if any.
        fingerprint: Fingerprint of the store it was trained on.
        dt, dims: Seconds per step and coordinates of a position.
        split: The split that is shown first.
        weights: Whether there are any.
        history: The course of its training.
        state: Whether it is being trained.
        problem: What is wrong with it; empty if nothing is.
    """

    path: Path
    modified: float
    encoder: str = ""
    preset: str = ""
    fold: str | None = None
    fingerprint: str = ""
    dt: float = math.nan
    dims: int = 0
    split: str = "test"
    weights: bool = False
    history: TrainingHistory = field(default_factory=TrainingHistory)
    state: State = "stopped"
    problem: str = ""

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.path.name

    def refreshed(self) -> "RunEntry":
        """The same run with its present state: a killed training stops without writing."""
        if self.state == "damaged":
            return self
        state: State = "stopped"
        if self.history.reason:
            state = "done" if self.history.reason == "done" else "stopped"
        elif running_job(self.path) or time.time() - self.modified < SILENT_AFTER:
            state = "training"
        return replace(self, state=state)


@dataclass(frozen=True)
class StoreEntry:
    """A store of tracks.

    Attributes:
        path: Where it is.
        modified: When it was last written, seconds since 1970.
        fingerprint: Equal for two stores of the same tracks.
        about: Its attributes.
        dt, dims: Seconds per step and coordinates of a position.
        problem: What is wrong with it; empty if nothing is.
    """

    path: Path
    modified: float
    fingerprint: str = ""
    about: Mapping[str, Any] | None = None
    dt: float = math.nan
    dims: int = 0
    problem: str = ""

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.path.name


Entry = RunEntry | StoreEntry


@dataclass(frozen=True)
class Library:
    """What lies below a folder.

    Attributes:
        runs: Runs, newest first.
        stores: Stores, newest first.
        complete: Whether every folder was scanned.
        demo: Run folder of the demo, if this is the demo because the folder has nothing.
        seconds: How long the scan took.
        problem: Why there is not even a demo.
    """

    runs: tuple[RunEntry, ...] = ()
    stores: tuple[StoreEntry, ...] = ()
    complete: bool = True
    demo: Path | None = None
    seconds: float = 0.0
    problem: str = ""

    @property
    def entries(self) -> list[Entry]:
        """Runs and stores, newest first."""
        entries: list[Entry] = [*self.runs, *self.stores]
        return sorted(entries, key=lambda entry: -entry.modified)

    def entry(self, path: Path) -> Entry | None:
        """The run or store at a path."""
        return next((one for one in self.entries if one.path == path), None)

    def row(self, run: RunEntry) -> dict[str, Any]:
        """What a table of runs shows of one, by column; None where it is unknown.

        Epochs are those done and those in all, scores are those of the weights that are kept,
        `data` is the name of a store in this library, `age` is in seconds.
        """
        history, store = run.history, self.store_of(run)
        numbers = {"epoch": history.epoch, "epochs": history.epochs}
        numbers |= {name: history.best(name) for name in RUN_SCORES}
        finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        return {
            "name": run.name,
            "path": str(run.path),
            "state": run.state,
            **finite,
            "data": store.name if store else None,
            "split": f"{run.split} {run.fold}" if run.fold else run.split,
            "age": max(0.0, time.time() - run.modified),
            "problem": run.problem,
        }

    def store_of(self, run: RunEntry) -> StoreEntry | None:
        """The store a run was trained on, or one that fits it; None if there is none."""
        same = [
            one for one in self.stores if one.fingerprint and one.fingerprint == run.fingerprint
        ]
        like = [one for one in self.stores if (one.dt, one.dims) == (run.dt, run.dims)]
        return next(iter([*same, *like]), None)


class LibraryScanner:
    """Scans a folder again and again; what has not changed is not read again."""

    def __init__(self, folder: Path, depth: int = DEPTH) -> None:
        self.folder, self.depth = folder, depth
        self._read: dict[Path, tuple[tuple[float, ...], Entry]] = {}

    def scan(self) -> Library:
        """What lies there now; folders that may not be read are skipped."""
        began, walk = time.perf_counter(), _Walk(self.depth)
        entries = [self._entry(path, kind) for path, kind in walk.below(self.folder)]
        entries.sort(key=lambda one: (-one.modified, str(one.path)))
        present = {one.path for one in entries}
        self._read = {path: read for path, read in self._read.items() if path in present}
        return Library(
            tuple(one for one in entries if isinstance(one, RunEntry)),
            tuple(one for one in entries if isinstance(one, StoreEntry)),
            walk.left > 0,
            seconds=time.perf_counter() - began,
        )

    def _entry(self, path: Path, kind: type[Entry]) -> Entry:
        signature = tuple(part for name in FILES for part in _signature(path / name))
        before = self._read.get(path)
        if before and before[0] == signature and isinstance(before[1], kind):
            entry = before[1]
        else:
            entry = read_run(path) if kind is RunEntry else read_store(path)
        self._read[path] = (signature, entry)
        return entry.refreshed() if isinstance(entry, RunEntry) else entry


class _Walk:
    def __init__(self, depth: int) -> None:
        self.depth, self.left = depth, MAX_FOLDERS
        self._visited: set[tuple[int, int]] = set()

    def below(self, folder: Path) -> Iterator[tuple[Path, type[Entry]]]:
        """Runs and stores, breadth first, so that what is near is found first."""
        level = [folder]
        for _ in range(self.depth + 1):
            deeper: list[Path] = []
            for place in level:
                self.left -= 1
                if self.left <= 0:
                    return
                if self._visited_before(place):
                    continue
                files, folders = _list(place)
                kind = _kind(place, files, folders)
                if kind is not None:
                    yield place, kind
                elif "zarr.json" not in files:
                    deeper += [place / name for name in sorted(folders)]
            level = deeper

    def _visited_before(self, place: Path) -> bool:
        """Whether a link has led here before."""
        try:
            status = place.stat()
        except OSError:
            return True
        identity = (status.st_dev, status.st_ino)
        visited = identity in self._visited
        self._visited.add(identity)
        return visited


def kind_of(folder: Path) -> type[Entry] | None:
    """Whether a folder is a run or a store; None if neither."""
    return _kind(folder, *_list(folder))


def read_entry(path: Path) -> Entry:
    """A run folder or a store, by what it is."""
    return read_store(path) if kind_of(path) is StoreEntry else read_run(path)


def read_run(path: Path) -> RunEntry:
    """A run folder; a damaged one says what is wrong."""
    history = TrainingHistory.of(EventReader(path / "events.jsonl").read().events)
    modified = max(_mtime(path / name) for name in ("events.jsonl", "run.json", "config.toml"))
    try:
        settings = tomllib.loads(_text(path / "config.toml"))
        record = json.loads(_text(path / "run.json"))
        run = RunEntry(
            path,
            modified,
            encoder=str(settings["model"]["encoder"]),
            preset=str(settings["flow"]["preset"]),
            fold=settings.get("data", {}).get("fold"),
            fingerprint=str(record.get("store", "")),
            dt=float(record.get("dt", math.nan)),
            dims=int(record.get("dims", 0)),
            split=_first_split(record),
            weights=(path / "weights.safetensors").is_file(),
            history=history,
        )
    except (*DAMAGE, RecursionError) as error:
        return RunEntry(path, modified, history=history, state="damaged", problem=_message(error))
    return run.refreshed()


def read_store(path: Path) -> StoreEntry:
    """A store of tracks by its attributes; a damaged one says what is wrong."""
    from pydantic import ValidationError

    from trajflow.datasets.schema import Header
    from trajflow.datasets.store import read_attributes

    modified = _mtime(path / "zarr.json")
    try:
        header = Header.model_validate(read_attributes(path))
    except (DataError, ValidationError, RecursionError) as error:
        return StoreEntry(path, modified, problem=_message(error))
    about = header.summary() | {"scene_names": header.scenes, "folds": header.folds}
    about |= {"source": header.source, "made_by": header.history, "licence": header.licence}
    return StoreEntry(path, modified, header.fingerprint(), about, header.dt, int(header.dims))


def store_of_run(run: Path) -> Path:
    """The store that a run was trained on.

    Raises:
        RunError: It is not near the run.
    """
    entry, job = read_run(run), last_job(run)
    if job and "train" in job.command:
        named = Path(job.command[job.command.index("train") + 1])
        if named.is_dir():
            return named
    for above in list(run.absolute().parents)[:ABOVE]:
        store = LibraryScanner(above, depth=ABOVE).scan().store_of(entry)
        if store is not None and store.fingerprint == entry.fingerprint:
            return store.path
    raise RunError(
        f"the store that {run.name} was trained on is not near it; resume it by "
        f"trajflow train DATA --out {run} --resume"
    )


def runs_beside(run: Path, limit: int = 200) -> list[Path]:
    """Other runs with weights in the folder of a run, or one level further down."""
    here = run.resolve()
    runs: list[Path] = []
    for pattern in ("*/weights.safetensors", "*/*/weights.safetensors"):
        for path in sorted(here.parent.glob(pattern)):
            if path.parent != here and path.parent not in runs:
                runs.append(path.parent)
    return runs[:limit]


def encoders() -> list[str]:
    """Names of the encoders of this package, without importing torch."""
    spec = find_spec("trajflow")
    folders = spec.submodule_search_locations if spec else None
    files = [path for place in folders or () for path in Path(place).glob("**/encoders/*.py")]
    return sorted(path.stem for path in files if not path.stem.startswith("_"))


def free_run(store: Path, encoder: str, preset: str) -> Path:
    """A run folder beside a store that does not exist yet."""
    path = store.parent / "runs" / f"{store.stem}-{encoder}-{preset}"
    names = (path if n == 1 else path.with_name(f"{path.name}-{n}") for n in count(1))
    return next(name for name in names if not name.exists())


def _kind(folder: Path, files: set[str], folders: set[str]) -> type[Entry] | None:
    if {"config.toml", "run.json"} <= files:
        return RunEntry
    if "zarr.json" not in files:
        return None
    from trajflow.datasets.store import is_store

    return StoreEntry if "seal" in folders or is_store(folder) else None


def _list(folder: Path) -> tuple[set[str], set[str]]:
    files, folders = set[str](), set[str]()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_dir():
                    files.add(entry.name)
                elif not entry.name.startswith(".") and entry.name not in SKIPPED:
                    folders.add(entry.name)
    except OSError:
        pass
    return files, folders


def _first_split(record: Mapping[str, Any]) -> str:
    """The first of test, val and train that has windows."""
    splits = record.get("splits", record.get("parts", {}))
    names = [name for name in ("test", "val", "train") if splits.get(name, {}).get("windows")]
    return names[0] if names else "test"


def _signature(path: Path) -> tuple[float, float]:
    try:
        status = path.stat()
    except OSError:
        return (0.0, 0.0)
    return (status.st_mtime, float(status.st_size))


def _mtime(path: Path) -> float:
    return _signature(path)[0]


def _text(path: Path) -> str:
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            raise ValueError(f"{path.name} is larger than it can be")
        return file.read(MAX_BYTES).decode()


def _message(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
