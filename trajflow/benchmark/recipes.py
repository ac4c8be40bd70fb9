"""The benchmarks there are: which parts of which tracks, and what a result must repeat of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from trajflow.datasets.loader import TrackData
from trajflow.datasets.schema import Tracks
from trajflow.datasets.store import Store
from trajflow.errors import ConfigError, did_you_mean

SHARE, SEED = 0.1, 0
"""Of the training agents, those to choose weights by where a store has none, and their lot."""
ETH_UCY = {"eth": 364, "hotel": 1197, "univ": 24334, "zara1": 2356, "zara2": 5910}


@dataclass(frozen=True)
class Recipe:
    """A benchmark.

    Attributes:
        name: Its name, also of its only fold where it has no leave-one-out folds.
        title: What it is, for people.
        left_out: Whether each fold of the store is left out in turn.
        windows: Test windows of each fold that the field counts, with 8 + 12 steps.
        miss, collide: Thresholds of `Judging`, in the unit of the tracks.
        note: What else must be known to read its intervals.
    """

    name: str
    title: str
    left_out: bool
    windows: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    miss: float = 2.0
    collide: float = 0.2
    note: str = ""

    def folds(self, store: Store, asked: Sequence[str] = ()) -> tuple[str, ...]:
        """Names of the folds, all of the store's or those asked for.

        Raises:
            ConfigError: A fold is unknown, or the store has none.
        """
        known = list(store.folds or {}) if self.left_out else [self.name]
        if not known:
            raise ConfigError(
                f"{store.path} names no leave-one-out folds; import it with "
                "`trajflow data import ethucy`, which does"
            )
        for name in asked:
            if name not in known:
                raise ConfigError(did_you_mean("fold", name, known))
        return tuple(name for name in known if not asked or name in asked)

    def words(self, store: Store, fold: str) -> list[str]:
        """Settings that make the parts of a fold.

        Raises:
            ConfigError: The store has no test part to judge on.
        """
        if self.left_out:
            return [f"data.fold={fold}"]
        if not {"train", "test"} <= set(store.splits):
            raise ConfigError(
                f"{store.path} has the parts {', '.join(store.splits)}; {self.name} needs train "
                "and test: name the column that tells them, --columns split=..."
            )
        if {"val", "valid", "validation"} & set(store.splits):
            return []
        names = ",".join(f'"{name}"' for name in recordings_apart(store.tracks(), SHARE, SEED))
        return [f"data.validation=[{names}]"]

    def groups(self, data: TrackData) -> dict[str, list[int]]:
        """Recordings that are scored together: a fold's, or all of the test part."""
        found = data.groups("test")
        if self.left_out:
            return found
        return {self.name: sorted(scene for scenes in found.values() for scene in scenes)}


RECIPES = {
    "ethucy": Recipe("ethucy", "ETH/UCY, leave one out", True, MappingProxyType(ETH_UCY)),
    "sdd": Recipe(
        "sdd",
        "Stanford Drone, TrajNet cut",
        False,
        MappingProxyType({"sdd": 2829}),
        miss=50.0,
        collide=5.0,
        note="Each agent of this cut is one window, so who walked twice counts as two people.",
    ),
}


def recipe(name: str) -> Recipe:
    """A benchmark by name.

    Raises:
        ConfigError: There is none.
    """
    if name not in RECIPES:
        raise ConfigError(did_you_mean("benchmark", name, list(RECIPES)))
    return RECIPES[name]


def recordings_apart(tracks: Tracks, share: float, seed: int) -> tuple[str, ...]:
    """Whole training recordings to choose weights by, of as many places as will do.

    In a seeded order, each recording is taken that keeps the agents within the share; one of a
    place that is there already waits until the other places were asked. A place is what stands
    before the last "_" of a name. Nobody stands beside an agent who was learned from.

    Args:
        tracks: All tracks.
        share: Most of the training agents that are taken.
        seed: The order.

    Returns:
        Names in stored order; none where the smallest recording is too large.
    """
    first = np.flatnonzero(np.diff(tracks.track, prepend=-1))
    learnt = tracks.split[first] == tracks.splits.index("train")
    counts = np.bincount(tracks.scene[tracks.track[first]][learnt], minlength=len(tracks.scenes))
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
