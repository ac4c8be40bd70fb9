"""Windows of others, taken as they are: of another place, another kind of agent, other tracks."""

import numpy as np

from trajflow.ood.shifts.shift import Shift, World
from trajflow.types import Batch

WHAT = {
    "place": "people of another place",
    "type": "another kind of agent",
    "against": "people of other tracks",
}
"""What each kind of pool holds; a pool's name is a kind and, after a space, which."""


def from_pools(world: World) -> list[Shift]:
    """A shift for every pool whose windows are taken as they are; grades only tell them apart."""
    found: list[Shift] = []
    for kind, what in WHAT.items():
        names = [pool for pool in world.pools if pool.partition(" ")[0] == kind]
        found += [_taking(kind, n, pool, what) for n, pool in enumerate(names, 1)]
    return found


def _taking(kind: str, severity: int, pool: str, what: str) -> Shift:
    def change(batch: Batch, rng: np.random.Generator, world: World) -> Batch:
        return world.pools[pool]

    level = pool.partition(" ")[2] or "all"
    return Shift(kind, severity, level, what, change, taken=True)
