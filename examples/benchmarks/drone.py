"""Stanford Drone (TrajNet cut, pixels): trains, judges, and writes the table.

    trajflow data import FILE -o sdd.zarr --unit px --speed-limit inf --columns split=...
    python examples/benchmarks/drone.py sdd.zarr -o results [--seeds 1]

The same command goes on where it was stopped. A tenth of the training agents, in whole recordings,
is the validation split where the store has none.
"""

from collections.abc import Sequence

import numpy as np
from harness import main
from plan import Benchmark

from trajflow.datasets import Store
from trajflow.datasets.schema import Tracks
from trajflow.errors import ConfigError

SHARE, SEED = 0.1, 0
"""Of the training agents, those of the validation split where a store has none, and their lot."""


def folds(store: Store) -> Sequence[str]:
    """The one fold."""
    return ["sdd"]


def settings(store: Store, fold: str) -> list[str]:
    """Settings that make the splits.

    Raises:
        ConfigError: The store has no test split to judge on.
    """
    if not {"train", "test"} <= set(store.splits):
        raise ConfigError(
            f"{store.path} has the parts {', '.join(store.splits)}; sdd needs train and test: "
            "name their column at the import, --columns split=..."
        )
    if {"val", "valid", "validation"} & set(store.splits):
        return []
    names = ",".join(f'"{name}"' for name in validation_recordings(store.tracks(), SHARE, SEED))
    return [f"data.validation=[{names}]"]


def validation_recordings(tracks: Tracks, share: float, seed: int) -> tuple[str, ...]:
    """Whole training recordings to choose weights by, of as many places as will do.

    In a seeded order, each recording is taken that keeps the agents within the share; one of a
    place that is there already waits until the other places had their turn. A place is what stands
    before the last "_" of a name. So nobody of them stands beside an agent who was learned from.

    Args:
        tracks: All tracks.
        share: Most of the training agents that are taken.
        seed: The order.

    Returns:
        Names in stored order; none where the smallest recording is too large.
    """
    first = np.flatnonzero(np.diff(tracks.track, prepend=-1))
    train = tracks.split[first] == tracks.splits.index("train")
    counts = np.bincount(tracks.scene[tracks.track[first]][train], minlength=len(tracks.scenes))
    order = [int(s) for s in np.random.default_rng(seed).permutation(len(counts)) if counts[s]]
    taken: list[int] = []
    places: set[str] = set()
    for again in (False, True):
        for scene in order:
            place = tracks.scenes[scene].rpartition("_")[0]
            fits = counts[[*taken, scene]].sum() <= share * counts.sum()
            if scene not in taken and fits and (again or place not in places):
                taken.append(scene)
                places.add(place)
    return tuple(tracks.scenes[scene] for scene in sorted(taken))


BENCHMARK = Benchmark(
    name="sdd",
    script="drone.py",
    title="Stanford Drone, TrajNet cut",
    windows={"sdd": 2829},
    folds=folds,
    settings=settings,
    seeds=2,
    pooled=True,
    miss=50.0,
    collide=5.0,
    note="Each agent of this cut is one window, so who walked twice counts as two people.",
)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
