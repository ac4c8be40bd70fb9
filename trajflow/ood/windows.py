"""The ordinary windows of an OOD evaluation, and pools of other windows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np

from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store
from trajflow.errors import DataError, RunError
from trajflow.metrics import typical_speed
from trajflow.ood.changes import World
from trajflow.ood.corruptions import GradedCorruption
from trajflow.ood.report import OODTerms
from trajflow.types import Batch, Ints

BATCH = 256
# Window lengths around the present; skipping frames needs the most, 3.
REACH = 3
MAX_POOLS = 6
# Metres per second of a walking person. If the unit is not the metre, the 90th percentile of the
# speed of training windows stands for it.
WALKING = 1.3
# Training windows for the typical speed and for the baseline detectors.
FIT_WINDOWS = 5000


@dataclass(frozen=True)
class OrdinaryWindows:
    """Ordinary windows of a split, cut as for the training of a run.

    Attributes:
        data: The tracks.
        split: "test" or "val".
        batches: The windows, spread evenly over the split.
        world: What corruptions need.
        seed: Seed of the corruptions.
        notes: Remarks on the pools for the reader of a report.
    """

    data: TrackData
    split: str
    batches: tuple[Batch, ...]
    world: World
    seed: int
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        store: Store,
        config: Config,
        terms: OODTerms,
        against: Store | None = None,
    ) -> "OrdinaryWindows":
        """Cut the windows and pools of a store.

        Raises:
            DataError: The split is empty.
            RunError: The other tracks have another number of coordinates.
        """
        split, windows = terms.split, terms.windows
        data = cut(store, config, reach=REACH, around=(split,))
        batches = tuple(data.validation(BATCH, windows, split))
        pools = {"crowd": joined(data.validation(BATCH, 4 * windows, split))}
        pools |= dict(_places(store, config, split, windows))
        pools |= _types(data, split, windows)
        notes: tuple[str, ...] = ()
        if against is not None:
            pools |= _against(against, store, config, windows)
            notes = tuple(_mismatch(against, store))
        return cls(data, split, batches, World(metre_of(data), pools), terms.seed, notes)

    def corrupted(self, graded: GradedCorruption) -> list[Batch]:
        """The windows under a corruption, batch by batch; the same in each call."""
        name = crc32(graded.key.encode())
        batches = (
            graded.apply(batch, np.random.default_rng([self.seed, name, number]), self.world)
            for number, batch in enumerate(self.batches)
        )
        return [next(batches)] if graded.corruption.pool else list(batches)

    def trained_on(self, pool: str) -> bool:
        """Whether the run was trained on recordings of a pool."""
        if pool.startswith("against"):
            return False
        train = {scene for scenes in self.data.groups("train").values() for scene in scenes}
        return bool(train & set(self.world.pools[pool].scene.tolist()))

    def spread(self, windows: int = FIT_WINDOWS, split: str = "train") -> Iterator[Batch]:
        """Windows of another split, spread evenly over it."""
        return self.data.validation(BATCH, windows, split)


def metre_of(data: TrackData) -> float:
    """Length of a metre in the unit of the tracks; see `WALKING` for units other than the metre."""
    if data.store.unit == "m":
        return 1.0
    typical = typical_speed(data.validation(BATCH, FIT_WINDOWS, "train"))
    return typical / (WALKING * data.store.dt) if typical > 0 else 1.0


def cut(store: Store, config: Config, **changes: Any) -> TrackData:
    """The splits of a store with the settings of a run, except for `changes`."""
    settings = config.data.model_dump() | {"reach": 1} | changes
    return TrackData(store, **settings, order=config.train.seed)


def joined(batches: Iterable[Batch]) -> Batch:
    """Concatenate batches, padded to the largest number of agents, without `around`."""
    kept = [replace(batch, around=None) for batch in batches]
    most = max(batch.target.shape[1] for batch in kept)
    padded = [_padded(batch, most - batch.target.shape[1]) for batch in kept]
    names = ("past", "future", "target", "scene", "start", "agent")
    parts: dict[str, Any] = {
        name: np.concatenate([getattr(batch, name) for batch in padded]) for name in names
    }
    return Batch(**parts)


def _padded(batch: Batch, more: int) -> Batch:
    wide, narrow = ((0, 0), (0, more), (0, 0), (0, 0)), ((0, 0), (0, more))
    return replace(
        batch,
        past=np.pad(batch.past, wide, constant_values=np.nan),
        future=np.pad(batch.future, wide, constant_values=np.nan),
        target=np.pad(batch.target, narrow),
        agent=np.pad(batch.agent, narrow, constant_values=-1),
    )


def _places(store: Store, config: Config, split: str, windows: int) -> Iterator[tuple[str, Batch]]:
    """Test splits of other folds, or training recordings that are not in the split."""
    if config.data.fold is not None and store.folds:
        for fold in [name for name in store.folds if name != config.data.fold][:MAX_POOLS]:
            try:
                batches = cut(store, config, fold=fold).validation(BATCH, windows, "test")
                yield f"place {fold}", joined(batches)
            except DataError:
                continue
        return
    data = cut(store, config)
    here = {scene for scenes in data.groups(split).values() for scene in scenes}
    others = {n: s for n, s in data.groups("train").items() if not here & set(s)}
    if others:
        whole = joined(data.validation(BATCH, windows * len(others), "train"))
    for name, scenes in list(others.items())[:MAX_POOLS]:
        rows = np.flatnonzero(np.isin(whole.scene, scenes))
        if len(rows):
            yield f"place {name}", whole.take(rows)


def _types(data: TrackData, split: str, windows: int) -> dict[str, Batch]:
    """Windows whose targets are not of the most frequent type."""
    if len(data.store.types) < 2:
        return {}
    tracks = data.store.tracks()
    common = data.store.types[int(np.bincount(tracks.kind[tracks.track]).argmax())]
    pools = dict(_by_type("type", data, split, windows))
    return {name: pool for name, pool in pools.items() if name != f"type {common}"}


def _against(against: Store, store: Store, config: Config, windows: int) -> dict[str, Batch]:
    """Windows of other tracks, one pool for each type of agent if there are several."""
    if against.dims != store.dims:
        raise RunError(
            f"{against.path} has {against.dims} coordinates and the run {store.dims}; "
            "give --against tracks with as many"
        )
    data = cut(against, config, fold=None, validation=(), split="stored")
    counts = data.describe()["parts"]
    split = next((name for name in ("test", "val", "train") if counts[name]["windows"]), None)
    if split is None:
        raise DataError(f"{against.path} has no windows as long as those of the run")
    if len(against.types) < 2:
        return {"against": joined(data.validation(BATCH, windows, split))}
    return dict(_by_type("against", data, split, windows))


def _by_type(kind: str, data: TrackData, split: str, windows: int) -> Iterator[tuple[str, Batch]]:
    """The windows of each type of agent, spread evenly over the split."""
    whole = joined(data.validation(BATCH, 10 * windows, split))
    tracks = data.store.tracks()
    codes = np.full(int(tracks.agent.max()) + 1, -1)
    codes[tracks.agent] = tracks.kind
    of: Ints = np.where(whole.agent >= 0, codes[whole.agent], -1)
    for code, name in list(enumerate(data.store.types))[:MAX_POOLS]:
        target = whole.target & (of == code)
        rows = np.flatnonzero(target.any(1))
        if len(rows):
            every = max(1, int(target.sum()) // max(1, windows))
            yield f"{kind} {name}", replace(whole, target=target).take(rows[::every])


def _mismatch(against: Store, store: Store) -> Iterator[str]:
    if against.unit != store.unit or abs(against.dt - store.dt) > 1e-6 * store.dt:
        yield (
            f"{against.path.name} is in {against.unit} every {against.dt:g} s; it is read as it "
            f"stands, as if in {store.unit} every {store.dt:g} s"
        )
