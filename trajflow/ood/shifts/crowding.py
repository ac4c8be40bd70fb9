"""More people around than there were."""

from dataclasses import replace

import numpy as np

from trajflow.ood.shifts.shift import Shift, World
from trajflow.types import Batch, Bools, Floats, Ints

CROWD = "crowd"
"""Name of the pool that people are borrowed from."""


def crowded(batch: Batch, rng: np.random.Generator, pool: Batch, times: int) -> Batch:
    """Everybody of `times` other windows of the same recording stands around as neighbours.

    They are shifted in time and stay where they were in the place, so they do not give way: some
    walk through others. Targets and their futures stay as they are. A recording without another
    window that ends before or begins after this one lends nobody.

    Args:
        batch: The windows.
        rng: What chooses the others.
        pool: Windows of the same recordings.
        times: How many others.
    """
    span = batch.past.shape[2] + batch.future.shape[2]
    apart = np.abs(batch.start[:, None] - pool.start) >= span
    lends = apart & (batch.scene[:, None] == pool.scene)
    for _ in range(times):
        row = np.where(lends, rng.random(lends.shape), -1.0).argmax(1)
        lends_any = lends[np.arange(len(row)), row]
        batch = _with(batch, pool.take(row), lends_any)
        lends[np.arange(len(row)), row] = False
    return replace(batch, around=None)


def _with(batch: Batch, others: Batch, lends: Bools) -> Batch:
    """Both people of each window; those of a row that lends nobody are padding."""

    def beside(one: Floats, other: Floats) -> Floats:
        return np.concatenate([one, np.where(lends[:, None, None, None], other, np.nan)], 1)

    agent: Ints = np.where(lends[:, None], others.agent, -1)
    return replace(
        batch,
        past=beside(batch.past, others.past),
        future=beside(batch.future, others.future),
        target=np.concatenate([batch.target, np.zeros_like(others.target)], 1),
        agent=np.concatenate([batch.agent, agent], 1),
    )


def _dense(severity: int, times: int) -> Shift:
    def change(batch: Batch, rng: np.random.Generator, world: World) -> Batch:
        return crowded(batch, rng, world.pools.get(CROWD, batch), times)

    what = "everybody of so many other moments stands around"
    return Shift("crowd", severity, f"+{times}", what, change)


SHIFTS = [_dense(n, times) for n, times in enumerate((1, 2, 4), 1)]
