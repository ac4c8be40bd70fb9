"""The Stanford Drone benchmark (TrajNet cut, pixels): train, evaluate, and write the table.

    trajflow data import FILE -o sdd.zarr --unit px --speed-limit inf --columns split=...
    python examples/benchmarks/drone.py sdd.zarr -o results [--seeds 1]

The same command continues after an interruption. If the store has no validation split, whole
training recordings with a tenth of the training agents become the validation split.
"""

from collections.abc import Sequence

import numpy as np
from harness import main
from plan import Benchmark

from trajflow.datasets import Store
from trajflow.datasets.schema import Tracks
from trajflow.errors import ConfigError

VALIDATION_SHARE, VALIDATION_SEED = 0.1, 0


def folds(store: Store) -> Sequence[str]:
    """The only fold."""
    return ["sdd"]


def settings(store: Store, fold: str) -> list[str]:
    """The settings that define the splits.

    Raises:
        ConfigError: The store has no training or test split.
    """
    if not {"train", "test"} <= set(store.splits):
        raise ConfigError(
            f"{store.path} has the splits {', '.join(store.splits)}; the benchmark needs train and "
            "test: import the table with --columns split=..."
        )
    if {"val", "valid", "validation"} & set(store.splits):
        return []
    names = ",".join(
        f'"{name}"'
        for name in validation_recordings(store.tracks(), VALIDATION_SHARE, VALIDATION_SEED)
    )
    return [f"data.validation=[{names}]"]


def validation_recordings(tracks: Tracks, share: float, seed: int) -> tuple[str, ...]:
    """Select whole training recordings for validation, from as many places as possible.

    In random order, each recording is selected that keeps the agents within the share; further
    recordings of a place come after the other places. The place of a recording is its name up to
    the last "_". Whole recordings, so that no validation agent is a neighbor of a training agent.

    Args:
        tracks: All tracks.
        share: Largest share of the training agents to select.
        seed: Seed of the order.

    Returns:
        Names in stored order; empty if the smallest recording is too large.
    """
    first = np.flatnonzero(np.diff(tracks.track, prepend=-1))
    train = tracks.split[first] == tracks.splits.index("train")
    counts = np.bincount(tracks.scene[tracks.track[first]][train], minlength=len(tracks.scenes))
    order = [int(s) for s in np.random.default_rng(seed).permutation(len(counts)) if counts[s]]
    selected: list[int] = []
    places: set[str] = set()
    for repeat_places in (False, True):
        for scene in order:
            place = tracks.scenes[scene].rpartition("_")[0]
            fits = counts[[*selected, scene]].sum() <= share * counts.sum()
            if scene not in selected and fits and (repeat_places or place not in places):
                selected.append(scene)
                places.add(place)
    return tuple(tracks.scenes[scene] for scene in sorted(selected))


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
    note="Each agent of this cut is one window, so a person with two tracks counts as two people.",
)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
