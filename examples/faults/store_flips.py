"""Damage one file of a store, many times: damaged data must never be read as data.

    python examples/faults/store_flips.py [STORE] [--count 200] [--seed 0] [--json]

Each time one random file of a copy gets a flipped bit, or is truncated, emptied or deleted. Reading
all tracks and tables must then fail with an error that names the file and, if the file holds rows,
a scene with rows in it. Then `repair_store` saves what it can, and every saved trajectory must be
equal, bit for bit, to that of the undamaged store.
"""

import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from report import option_parser, print_report
from run_flips import WAYS, damage

from trajflow.datasets.repair import repair_store
from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.store import open_store
from trajflow.datasets.writer import StoreWriter
from trajflow.errors import DataError

ROW_FILES = ("x/c/", "y/c/", "z/c/", "time/c/", "split/c/")
Agents = dict[tuple[str, str], tuple[bytes, ...]]


def generate(path: Path) -> Path:
    """Write a store of twelve scenes over three chunks, with text labels."""
    rng = np.random.default_rng(0)
    with StoreWriter(path, dims=2, dt=0.4, unit="m") as writer:
        for scene in range(12):
            sizes = rng.integers(20, 400, size=60)
            steps = np.concatenate([np.arange(size) for size in sizes])
            labels = [f"person {number}" for number in range(60)]
            position = rng.normal(size=(len(steps), 2)).cumsum(0)
            block = TrackBlock(
                f"scene {scene}", labels, ["walker"] * 60, sizes, steps * 0.4, position
            )
            writer.append(block)
        writer.append_table("quarantine", {"agent": ["7"], "x": [float("nan")]})
    return path


def read_all(path: Path) -> None:
    """Read every track and table of a store."""
    store = open_store(path)
    store.tracks()
    for name in store.tables:
        store.table(name)


def read_agents(path: Path) -> Agents:
    """Steps, positions and splits of each agent as bytes, by scene and label."""
    store = open_store(path)
    tracks = store.tracks()
    starts = np.flatnonzero(np.diff(tracks.track, prepend=-1))
    ends = [*starts[1:], len(tracks.track)]
    labels = store.labels(tracks.agent)
    agents = {}
    for start, end, label, scene in zip(starts, ends, labels, tracks.scene, strict=True):
        rows = slice(start, end)
        values = (tracks.step[rows], tracks.position[rows], tracks.split[rows])
        agents[tracks.scenes[scene], label] = tuple(value.tobytes() for value in values)
    return agents


def error_of(store: Path) -> str | None:
    """The error message of reading a store, None if there is none."""
    try:
        read_all(store)
    except DataError as error:
        return str(error)
    return None


def try_damage(source: Path, original: Agents, way: str, rng: random.Random) -> Counter[str]:
    """Damage, read and repair a copy of a store; what happened."""
    copy, saved = source.with_name("damaged.zarr"), source.with_name("saved.zarr")
    for path in (copy, saved):
        shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(source, copy)
    path = rng.choice(sorted(path for path in copy.rglob("*") if path.is_file()))
    file = path.relative_to(copy).as_posix()
    damage(path, way, rng)
    error = error_of(copy)
    if error is None:
        print(f"silent: {way} in {file}")
        return Counter(["silent"])
    outcome: Counter[str] = Counter()
    if file not in error or (file.startswith(ROW_FILES) and "scene" not in error):
        print(f"not named: {way} in {file}: {error}")
        outcome["not named"] += 1
    try:
        repair_store(copy, saved)
    except DataError:
        return outcome
    agents = read_agents(saved)
    outcome["repaired"] += len(agents) > 0
    outcome["repaired completely"] += len(agents) == len(original)
    outcome["repaired wrongly"] += not agents.items() <= original.items()
    return outcome


def main() -> None:
    """Damage, read and repair; exit code 1 if any damage was not reported or repaired wrongly."""
    parser = option_parser(__doc__, 200)
    parser.add_argument("store", nargs="?", type=Path, help="a store; generated if left out")
    options = parser.parse_args()
    ways, rng = [*WAYS, "empty"], random.Random(options.seed)
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "original.zarr")
        if options.store:
            shutil.copytree(options.store, source)
        else:
            generate(source)
        original = read_agents(source)
        for number in range(options.count):
            total += try_damage(source, original, ways[number % len(ways)], rng)
    names = ("silent", "not named", "repaired", "repaired completely", "repaired wrongly")
    print_report({"damages": options.count} | {n: total[n] for n in names}, options.json)
    sys.exit(bool(total["silent"] or total["not named"] or total["repaired wrongly"]))


if __name__ == "__main__":
    main()
