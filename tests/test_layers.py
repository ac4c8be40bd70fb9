"""Who may import whom: downhill only, and no heavy package where it has no business."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [
    {
        "errors",
        "flow",
        "io",
        "remote",
        "manifest",
        "observations",
        "scene_image",
        "earlier_paths",
        "lookup",
        "place",
        "text",
        "types",
        "workers",
    },
    {"baselines", "calibration", "config", "config_help", "config_renamed", "datasets"}
    | {"metrics", "nn", "regions", "reliability", "selection", "statistics"},
    {"forecast", "history", "jobs", "library", "models", "ood", "plotting", "runs"},
    {"inference", "training"},
    {"doctor", "evaluation", "export", "latency", "runtime", "sklearn"},
    {"browse", "fitting", "html_report", "hub"},
    {"cli", "tui"},
]
"""Rooms import from lower floors only; of those on one floor only files know each other."""
ONLY = {
    "flow": set(),
    "datasets": {"errors", "types", "text", "io", "remote", "place", "workers"},
    "baselines": {"errors", "types"},
}
STARTS = {("cli", "tui")}
"""Commands start the screens."""
TORCH = {"export", "flow", "latency", "models", "nn", "selection", "sklearn"}
TORCH |= {"training"}
TORCH_FILES = {f"trajflow/inference/{name}.py" for name in ("predictor", "ensemble")}
"""Files that may import torch in a room that otherwise may not."""
FOREIGN = {
    "cli": {"torch", "textual"},
    "tui": {"torch", "zarr", "typer"},
}
FOREIGN |= {
    file: {"typer", "textual", "rich", "zarr", "pandas", "sklearn", "matplotlib"}
    for file in (*TORCH_FILES, "trajflow/inference/base.py", "trajflow/inference/inputs.py")
}
AT_ONCE = {"typer", "trajflow.errors", "trajflow.text", "trajflow.cli"}
"""What a command may import before it runs, beside the standard library."""


@dataclass(frozen=True)
class Import:
    """One imported name, where it stands and whether it is imported with its file."""

    path: Path
    line: int
    name: str
    at_once: bool

    @property
    def source(self) -> str:
        return room_of(self.path)

    @property
    def file(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def top(self) -> str:
        return self.name.split(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.name}"


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "trajflow" else parts[0]


def files() -> list[Path]:
    tops = [ROOT / "datasets", ROOT / "cli"]
    tops += [p for p in (ROOT / "trajflow").iterdir() if not p.is_symlink()]
    found = [p for top in tops for p in ([top] if top.is_file() else top.rglob("*.py"))]
    entrance = {"__init__", "__main__", "py"}
    return sorted(p for p in found if p.suffix == ".py" and room_of(p) not in entrance)


@cache
def imports_of(path: Path, source: str | None = None) -> list[Import]:
    found: list[Import] = []
    tree = ast.parse(source or path.read_text(encoding="utf-8"))
    later = {inner for outer in ast.walk(tree) if postponed(outer) for inner in ast.walk(outer)}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            found.append(Import(path, node.lineno, name, node not in later))
    return found


def postponed(node: ast.AST) -> bool:
    """Whether what stands inside is not run with the file: a function, or types for checkers."""
    typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    return typing or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def ours(one: Import) -> str | None:
    """The room an import leads to; None if it stays in its room or leaves the house."""
    parts = one.name.split(".")
    if one.top != "trajflow" or parts[1] == one.source:
        return None
    return parts[1]


def are_files(*rooms: str) -> bool:
    return all((ROOT / "trajflow" / f"{room}.py").is_file() for room in rooms)


def faults(one: Import) -> Iterator[str]:
    target = ours(one)
    if target in floor:
        beside = floor[target] == floor[one.source] and are_files(target, one.source)
        starts = (one.source, target) in STARTS
        if floor[target] >= floor[one.source] and not (beside or starts):
            yield f"{one}: not downhill"
        if target not in ONLY.get(one.source, {target}):
            yield f"{one}: {one.source} knows only {sorted(ONLY[one.source])}"
    elif target not in (None, "__version__") and one.source != "cli":
        yield f"{one}: public names are for users and commands"
    if one.top == "torch" and one.source not in TORCH and one.file not in TORCH_FILES:
        yield f"{one}: no torch in {one.source}"
    if one.top in FOREIGN.get(one.source, set()) | FOREIGN.get(one.file, set()):
        yield f"{one}: no {one.top} in {one.source}"
    if one.source == "cli" and one.at_once and not light(one.name):
        yield f"{one}: import it inside the function"


def light(name: str) -> bool:
    at_once = any(name == known or name.startswith(f"{known}.") for known in AT_ONCE)
    return at_once or name.split(".")[0] in sys.stdlib_module_names


floor = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}


def test_every_room_stands_on_a_floor():
    assert {room_of(path) for path in files()} <= set(floor)


def test_imports_run_downhill():
    found = [fault for path in files() for one in imports_of(path) for fault in faults(one)]
    assert not found, "\n".join(found)


def test_no_files_of_a_floor_import_each_other_in_a_circle():
    known: dict[str, set[str]] = {}
    for path in files():
        for one in imports_of(path):
            if (target := ours(one)) in floor and one.at_once and are_files(one.source, target):
                known.setdefault(one.source, set()).add(target)
    for room in known:
        seen, found = set(), set(known[room])
        while found - seen:
            seen |= found
            found = {far for near in found for far in known.get(near, ())}
        assert room not in seen, f"{room} imports itself through {sorted(seen)}"


@pytest.mark.parametrize(
    ("path", "planted"),
    [
        ("trajflow/flow/path.py", "from trajflow.models.trajectory_model import TrajectoryModel"),
        ("trajflow/flow/path.py", "import trajflow.models.frames"),
        ("trajflow/metrics.py", "def f():\n    import torch"),
        (
            "trajflow/calibration.py",
            "from trajflow.inference.predictor import TorchPredictor",
        ),
        ("trajflow/inference/predictor.py", "import zarr"),
        ("trajflow/training/trainer.py", "from trajflow.inference import predictor"),
        ("datasets/store.py", "from trajflow.config import Config"),
        ("datasets/store.py", "from trajflow import Forecast"),
        ("cli/train.py", "from trajflow.datasets import open_store"),
        ("cli/train.py", "import numpy as np"),
        ("cli/train.py", "def f():\n    import torch.cuda"),
        ("trajflow/nn/encoders/gru.py", "from trajflow.models.frames import Frame"),
    ],
)
def test_a_planted_import_is_caught(path, planted):
    assert [fault for one in imports_of(ROOT / path, planted) for fault in faults(one)]


def test_no_encoder_is_imported_by_name():
    folder = ROOT / "trajflow" / "nn" / "encoders"
    names = {p.stem for p in folder.glob("*.py")} - {"__init__"}
    for one in imports_of(folder / "__init__.py"):
        assert one.name.split(".")[-1] not in names, f"{one}: list the folder"
