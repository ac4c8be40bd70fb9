"""The ordinary windows of a part, and everything that shifts of them may need."""

from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store
from trajflow.metrics import mean_speed as pace
from trajflow.ood.pools import SIZE, cut, joined, pools_of
from trajflow.ood.shifts import Shift, World
from trajflow.ood.shifts.crowding import CROWD
from trajflow.types import Batch

REACH = 3
"""Times T and F that ordinary windows bring, for the farthest shift."""
WALK = 1.3
"""Metres per second of a person walking; where the unit is no metre, the usual pace of the
training tracks is taken for it."""
USUAL = 0.9
"""Quantile of the training paces that is the usual one, though most may stand."""
LOOK = 5000
"""Training windows that the usual pace and the floor are taken from."""


@dataclass(frozen=True)
class Grounds:
    """Ordinary windows and those of others, cut alike.

    Attributes:
        data: The tracks, ordinary windows reaching beyond themselves.
        part: Part that is ordinary.
        batches: Ordinary windows, spread evenly over the part.
        world: What shifts may know.
        seed: What shifts and draws follow from.
        notes: What a reader should know of the pools.
    """

    data: TrackData
    part: str
    batches: tuple[Batch, ...]
    world: World
    seed: int
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        store: Store,
        config: Config,
        *,
        part: str = "test",
        windows: int = 600,
        seed: int = 0,
        against: Store | None = None,
    ) -> "Grounds":
        """Cut a store as a run was trained.

        Args:
            store: The tracks.
            config: Settings of the run.
            part: "test" or "val".
            windows: Ordinary targets, about; as many of each pool.
            seed: What shifts follow from.
            against: Other tracks, for the shift of that name.

        Raises:
            DataError: The part is empty.
            RunError: The other tracks have other coordinates.
        """
        data = cut(store, config, reach=REACH, around=(part,))
        batches = tuple(data.validation(SIZE, windows, part))
        pools = {CROWD: joined(data.validation(SIZE, 4 * windows, part))}
        pools |= pools_of(data, config, part, windows, against)
        notes = () if against is None else tuple(_mismatch(against, store))
        return cls(data, part, batches, World(metre_of(data), pools), seed, notes)

    def shifted(self, shift: Shift) -> list[Batch]:
        """The ordinary windows under a shift, batch by batch; the same each time."""
        name = crc32(shift.key.encode())
        changed = (
            shift.apply(batch, np.random.default_rng([self.seed, name, number]), self.world)
            for number, batch in enumerate(self.batches)
        )
        return [next(changed)] if shift.taken else list(changed)

    def learned(self, pool: str) -> bool:
        """Whether windows of the recordings of a pool were learned from."""
        if pool.startswith("against"):
            return False
        train = {scene for scenes in self.data.groups("train").values() for scene in scenes}
        return bool(train & set(self.world.pools[pool].scene.tolist()))

    def training(self, windows: int = LOOK, part: str = "train") -> Iterator[Batch]:
        """Windows that were learned from, or were chosen by, spread evenly."""
        return self.data.validation(SIZE, windows, part)


def metre_of(data: TrackData) -> float:
    """Length of a metre in the unit of the tracks, or what stands for it.

    Where the unit is no metre, the usual pace of the training tracks, which nine of ten windows
    do not exceed, stands for 1.3 m/s.
    """
    if data.store.unit == "m":
        return 1.0
    paces = [pace(batch.past[batch.target]) for batch in data.validation(SIZE, LOOK, "train")]
    usual = float(np.quantile(np.concatenate(paces), USUAL))
    return usual / (WALK * data.store.dt) if usual > 0 else 1.0


def _mismatch(against: Store, store: Store) -> Iterator[str]:
    if against.unit != store.unit or abs(against.dt - store.dt) > 1e-6 * store.dt:
        yield (
            f"{against.path.name} is in {against.unit} every {against.dt:g} s; it is read as it "
            f"stands, as if in {store.unit} every {store.dt:g} s"
        )
