"""Every hostile file with the command that reads it, and what that costs over a tame one."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hostile_models
import hostile_runs
import hostile_settings
import hostile_stores
import hostile_tables
from measuring import Measured, measured

Made = tuple[list[str], Path]
"""The words of a command, and the hostile file that it reads."""


@dataclass(frozen=True)
class Case:
    """One hostile file and the command that reads it."""

    kind: str
    name: str
    words: list[str]
    file: Path


def cases(folder: Path, canary: Path, only: str) -> Iterator[Case]:
    """Make one hostile file after the other; the one before is removed."""
    for kind, (names, make) in KINDS.items():
        for name in names:
            if only in f"{kind} {name}":
                shutil.rmtree(folder)
                folder.mkdir()
                yield Case(kind, name, *make(name, folder, canary))


def _store(name: str, folder: Path, canary: Path) -> Made:
    store = folder / "data.zarr"
    hostile_stores.make(name, store, canary)
    command = ["data", "check"] if "table" in name else ["doctor"]
    return [*command, str(store)], store


def _table(name: str, folder: Path, canary: Path) -> Made:
    source, file, write = hostile_tables.MAKERS[name]
    path = folder / ("hall/video0/" if source == "sdd" else "") / file
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)
    return _import(source, path, folder), path


def _settings(name: str, folder: Path, canary: Path) -> Made:
    hostile_stores.tame(folder / "data.zarr")
    words = hostile_settings.MAKERS[name](folder / "settings.toml", canary)
    out = str(folder / "run")
    return ["train", str(folder / "data.zarr"), "--out", out, *words], folder


def _model(name: str, folder: Path, canary: Path) -> Made:
    path = folder / "model.onnx"
    hostile_models.MAKERS[name](path, canary)
    return _predict(path, folder), path


def _run(name: str, folder: Path, canary: Path) -> Made:
    path = folder / "run"
    hostile_runs.tame(path)
    hostile_runs.MAKERS[name](path, canary)
    return _predict(path, folder), path


def _predict(model: Path, folder: Path) -> list[str]:
    hostile_stores.tame(folder / "data.zarr")
    return ["predict", str(model), str(folder / "data.zarr"), "-o", str(folder / "out.csv")]


KINDS: dict[str, tuple[Iterable[str], Callable[[str, Path, Path], Made]]] = {
    "store": (hostile_stores.MAKERS, _store),
    "table": (hostile_tables.MAKERS, _table),
    "settings": (hostile_settings.MAKERS, _settings),
    # What takes hours ends after a minute, see `trajflow.inference.onnx.session.CALL_SECONDS`.
    "model": ([n for n in hostile_models.MAKERS if n != "hours for other crowds"], _model),
    "run": (hostile_runs.MAKERS, _run),
}


def _import(source: str, path: Path, folder: Path) -> list[str]:
    given = [] if source in ("sdd", "trajnet") else ["--dt", "0.4"]
    return ["data", "import", source, str(path), "-o", str(folder / "out.zarr"), *given]


def tame(folder: Path) -> dict[str, Measured]:
    """What each command costs over a file without malice."""
    store = folder / "data.zarr"
    hostile_stores.tame(store)
    table = folder / "t.csv"
    rows = [f"1,{0.4 * step},{0.1 * step},0\n" for step in range(30)]
    table.write_bytes(hostile_tables.HEAD + "".join(rows).encode())
    wrong = ["train", str(store), "--out", str(folder / "run"), "--set", "train.seed=x"]
    model, run = folder / "model.onnx", folder / "run"
    hostile_models.tame(model)
    hostile_runs.tame(run)
    return {
        "store": measured(["doctor", store]),
        "table": measured(_import("table", table, folder)),
        "settings": measured(wrong),
        "model": measured(_predict(model, folder / "model")),
        "run": measured(_predict(run, folder / "ran")),
    }
