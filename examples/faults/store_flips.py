"""Damage a store in one place, many times: no damage may be read as data.

    python examples/faults/store_flips.py [STORE] [--times 200] [--seed 0] [--json]

Each time a random file of a copy is flipped in one bit, cut short, emptied or deleted. Reading all
tracks and tables must then fail with an error that names the file and, if it holds rows, a scene
that has rows in it. Afterwards `data check --repair` saves what it can, and every trajectory that
it saves must be bit for bit that of the undamaged store.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from trajflow.datasets.repair import repair_store
from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.store import Store, open_store
from trajflow.datasets.writer import StoreWriter
from trajflow.errors import DataError

KINDS = ("flip", "cut", "empty", "delete")
ROW_FILES = ("x/c/", "y/c/", "z/c/", "time/c/", "split/c/")


def generated(path: Path) -> Path:
    """A store of twelve scenes over three chunks, with labels that are text."""
    random = np.random.default_rng(0)
    with StoreWriter(path, dims=2, dt=0.4, unit="m") as writer:
        for scene in range(12):
            sizes = random.integers(20, 400, size=60)
            steps = np.concatenate([np.arange(size) for size in sizes])
            labels = [f"person {number}" for number in range(60)]
            position = random.normal(size=(len(steps), 2)).cumsum(0)
            block = TrackBlock(
                f"scene {scene}", labels, ["walker"] * 60, sizes, steps * 0.4, position
            )
            writer.append(block)
        writer.append_table("quarantine", {"agent": ["7"], "x": [float("nan")]})
    return path


def damage(store: Path, kind: str, random: np.random.Generator) -> str:
    """Hurt one file of a store; returns its path inside."""
    files = sorted(path for path in store.rglob("*") if path.is_file())
    file = files[random.integers(len(files))]
    raw = bytearray(file.read_bytes())
    if kind == "delete":
        file.unlink()
    elif kind == "flip":
        raw[random.integers(len(raw))] ^= 1 << random.integers(8)
        file.write_bytes(raw)
    else:
        file.write_bytes(raw[: random.integers(1, len(raw))] if kind == "cut" else b"")
    return file.relative_to(store).as_posix()


def read_all(path: Path) -> Store:
    """Read every track and table of a store."""
    store = open_store(path)
    store.tracks()
    for name in store.tables:
        store.table(name)
    return store


def agents(path: Path) -> dict[tuple[str, str], tuple[bytes, ...]]:
    """What a store says of each agent, by scene and label."""
    store = open_store(path)
    tracks = store.tracks()
    begins = np.flatnonzero(np.diff(tracks.track, prepend=-1))
    found = {}
    for begin, end, label, scene in zip(
        begins, [*begins[1:], len(tracks.track)], store.labels(tracks.agent), tracks.scene,
        strict=True,
    ):  # fmt: skip
        rows = slice(begin, end)
        parts = (tracks.step[rows], tracks.position[rows], tracks.split[rows])
        found[tracks.scenes[scene], label] = tuple(part.tobytes() for part in parts)
    return found


def once(source: Path, folder: Path, kind: str, random: np.random.Generator) -> dict[str, object]:
    """Damage a copy, read it, repair it, and say what happened."""
    copy, saved = folder / "hurt.zarr", folder / "saved.zarr"
    for old in (copy, saved):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(source, copy)
    file = damage(copy, kind, random)
    try:
        read_all(copy)
        return {"kind": kind, "file": file, "outcome": "silent"}
    except DataError as error:
        told = str(error)
    named = file in told or (file == "zarr.json" and "zarr.json" in told)
    if file.startswith(ROW_FILES):
        named = named and "scene" in told
    result: dict[str, object] = {"kind": kind, "file": file, "told": told}
    result["outcome"] = "named" if named else "not named"
    try:
        result["saved"] = repair_store(copy, saved).trajectories
        result["true"] = agents(saved).items() <= agents(source).items()
    except DataError as error:
        result["saved"], result["refused"] = 0, str(error)
    return result


def main() -> None:
    """Damage, read, repair; exit code 1 if any damage was silent."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", nargs="?", type=Path)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    random = np.random.default_rng(asked.seed)
    with tempfile.TemporaryDirectory() as place:
        source = asked.store or generated(Path(place, "whole.zarr"))
        total = open_store(source).trajectories
        tried = [
            once(source, Path(place), KINDS[number % len(KINDS)], random)
            for number in range(asked.times)
        ]
    outcomes = Counter(str(one["outcome"]) for one in tried)
    told = {
        "damages": asked.times,
        "silent": outcomes["silent"],
        "without_the_file": outcomes["not named"],
        "repaired": sum(bool(one.get("saved")) for one in tried),
        "repaired_whole": sum(one.get("saved") == total for one in tried),
        "repaired_wrongly": sum(one.get("true") is False for one in tried),
    }
    if asked.json:
        print(json.dumps({**told, "tries": tried}, indent=2))
    else:
        print(", ".join(f"{name} {count}" for name, count in told.items()))
    sys.exit(1 if told["silent"] or told["without_the_file"] or told["repaired_wrongly"] else 0)


if __name__ == "__main__":
    main()
