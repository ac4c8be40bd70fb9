"""Runs and stores below a folder, recognized by their files and read as plain JSON and TOML.

The terminal UI and `trajflow runs` list them; this file never imports torch.
"""

import json
import math
import os
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal

from trajflow.errors import DataError, RunError
from trajflow.history import SILENT_AFTER, EventReader, TrainingHistory
from trajflow.jobs import last_job, open_regular, running_job

State = Literal["training", "stopped", "done", "damaged"]
PRESETS = ("mmf", "mmf-paper", "meanflow", "consistency", "terminal", "energy", "flow")
RUN_SCORES = ("energy_score", "min_ade", "min_fde", "coverage_90")
"""Scores in a table of runs."""
DEPTH = 5
MAX_FOLDERS = 20_000
MAX_BYTES = 16 * 2**20
"""Most bytes of a file of settings or a record."""
SKIPPED = {"node_modules", "__pycache__", "site-packages", "proc", "sys", "dev"}
FILES = ("zarr.json", "config.toml", "run.json", "events.jsonl")
ABOVE = 3
"""How many folders above a run are searched for its store."""
DAMAGE = (OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True)
class RunEntry:
    """A run folder.

    Attributes:
        path: The folder.
        modified: Last write, seconds since 1970.
        encoder: Encoder of the model.
        preset: Preset of the objective.
        fold: Leave-one-out fold, if any.
        fingerprint: Fingerprint of the store it was trained on.
        dt, dims: Seconds per step and coordinates of a position.
        split: The first of test, val and train that has windows.
        weights: Whether there are weights.
        history: The course of its training.
        state: Whether the run is being trained, stopped, done or damaged.
        problem: What is wrong with the run; empty if nothing is.
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
        """Name of the folder."""
        return self.path.name

    def refreshed(self) -> "RunEntry":
        """This run with its present state, because a killed training writes nothing."""
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
        path: The folder.
        modified: Last write, seconds since 1970.
        fingerprint: Equal for two stores of the same tracks.
        about: Its attributes.
        dt, dims: Seconds per step and coordinates of a position.
        problem: What is wrong with the store; empty if nothing is.
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
        """Name of the folder."""
        return self.path.name


Entry = RunEntry | StoreEntry


@dataclass(frozen=True)
class Library:
    """The runs and stores below a folder.

    Attributes:
        runs: Runs, newest first.
        stores: Stores, newest first.
        complete: Whether every folder was scanned.
        demo: Run folder of the demo, which replaces an empty folder; None: no demo.
        seconds: Duration of the scan.
        problem: Why there is no demo; empty if there is one or none is needed.
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
        return next((entry for entry in self.entries if entry.path == path), None)

    def row(self, run: RunEntry) -> dict[str, Any]:
        """The row of a run in a table of runs, by column; None where a value is unknown.

        `epoch` counts finished epochs and `epochs` planned ones, scores are those of the best
        weights, `data` is the name of a store in this library, `age` is in seconds.
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
        same = (s for s in self.stores if s.fingerprint and s.fingerprint == run.fingerprint)
        similar = (s for s in self.stores if (s.dt, s.dims) == (run.dt, run.dims))
        return next(chain(same, similar), None)


class LibraryScanner:
    """Scans a folder repeatedly and reads only what has changed."""

    def __init__(self, folder: Path, depth: int = DEPTH) -> None:
        self.folder, self.depth = folder, depth
        self._read: dict[Path, tuple[tuple[float, ...], Entry]] = {}

    def scan(self) -> Library:
        """The runs and stores that exist now; unreadable folders are skipped."""
        began, walk = time.perf_counter(), _Walk(self.depth)
        entries = [self._entry(path, kind) for path, kind in walk.below(self.folder)]
        entries.sort(key=lambda entry: (-entry.modified, str(entry.path)))
        present = {entry.path for entry in entries}
        self._read = {path: read for path, read in self._read.items() if path in present}
        return Library(
            tuple(entry for entry in entries if isinstance(entry, RunEntry)),
            tuple(entry for entry in entries if isinstance(entry, StoreEntry)),
            walk.budget > 0,
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
        self.depth, self.budget = depth, MAX_FOLDERS
        self._visited: set[tuple[int, int]] = set()

    def below(self, folder: Path) -> Iterator[tuple[Path, type[Entry]]]:
        """Runs and stores, breadth first, so that the nearest come first."""
        level = [folder]
        for _ in range(self.depth + 1):
            deeper: list[Path] = []
            for folder in level:
                self.budget -= 1
                if self.budget <= 0:
                    return
                if self._visited_before(folder):
                    continue
                files, folders = _list(folder)
                kind = _kind(folder, files, folders)
                if kind is not None:
                    yield folder, kind
                elif not files & {"zarr.json", "race.json"}:  # no arrays, no candidates of a race
                    deeper += [folder / name for name in sorted(folders)]
            level = deeper

    def _visited_before(self, folder: Path) -> bool:
        """Whether the walk was here before, through a link."""
        try:
            status = folder.stat()
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
    """The entry of a run folder or a store."""
    return read_store(path) if kind_of(path) is StoreEntry else read_run(path)


def read_run(path: Path) -> RunEntry:
    """The entry of a run folder; `problem` says what is wrong with a damaged one."""
    history = TrainingHistory.of(EventReader(path / "events.jsonl").read().events)
    modified = max(
        _signature(path / name)[0] for name in ("events.jsonl", "run.json", "config.toml")
    )
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
    """The entry of a store; `problem` says what is wrong with a damaged one."""
    from pydantic import ValidationError

    from trajflow.datasets.schema import Header
    from trajflow.datasets.store import read_attributes

    modified = _signature(path / "zarr.json")[0]
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
        RunError: The store is not near the run.
    """
    entry, job = read_run(run), last_job(run)
    if job and "train" in job.command:
        named = Path(job.command[job.command.index("train") + 1])
        if named.is_dir():
            return named
    for parent in list(run.absolute().parents)[:ABOVE]:
        store = LibraryScanner(parent, depth=ABOVE).scan().store_of(entry)
        if store is not None and store.fingerprint == entry.fingerprint:
            return store.path
    raise RunError(
        f"the store that {run.name} was trained on is not near it; resume it with "
        f"trajflow train DATA --out {run} --resume"
    )


def runs_beside(run: Path, limit: int = 200) -> list[Path]:
    """Other runs with weights in the folder of a run, or one level deeper."""
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
    files = [path for folder in folders or () for path in Path(folder).glob("**/encoders/*.py")]
    return sorted(path.stem for path in files if not path.stem.startswith("_"))


def free_run(store: Path, encoder: str, preset: str) -> Path:
    """Path of a run folder beside a store; it does not exist yet."""
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
    splits = record.get("splits", record.get("parts", {}))
    names = [name for name in ("test", "val", "train") if splits.get(name, {}).get("windows")]
    return names[0] if names else "test"


def _signature(path: Path) -> tuple[float, float]:
    try:
        status = path.stat()
    except OSError:
        return (0.0, 0.0)
    return (status.st_mtime, float(status.st_size))


def _text(path: Path) -> str:
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            raise ValueError(f"{path.name} has more than {MAX_BYTES} bytes")
        return file.read(MAX_BYTES).decode()


def _message(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
