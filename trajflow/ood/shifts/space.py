"""Another space: a wrong unit, a mirror, and people as fast as bikers."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from trajflow.ood.shifts.shift import Shift, World
from trajflow.types import Batch

UNITS = {"feet": 3.28084, "px": 25.0, "cm": 100.0}
"""Numbers that a metre is in each; pixels as of a camera above a campus, 4 cm each."""


def scaled(batch: Batch, factor: float) -> Batch:
    """All positions, future included, times a factor: in another unit that nobody mentions.

    Errors under this shift are in that unit too.
    """
    return replace(batch, past=batch.past * factor, future=batch.future * factor, around=None)


def mirrored(batch: Batch) -> Batch:
    """The whole scene, future included, in a mirror: the second coordinate changes its sign."""
    factor = np.where(np.arange(batch.past.shape[-1]) == min(1, batch.past.shape[-1] - 1), -1, 1)
    return replace(batch, past=batch.past * factor, future=batch.future * factor, around=None)


def faster(batch: Batch, factor: float) -> Batch:
    """Targets cover `factor` times the way, before and after the present, on the same shape.

    Their present and their neighbours stay where they are.
    """
    now = batch.past[:, :, -1:]
    moved = batch.target[..., None, None]
    past, future = (
        np.where(moved, now + factor * (path - now), path) for path in (batch.past, batch.future)
    )
    if factor == 1:
        return replace(batch, around=None)
    return replace(batch, past=past, future=future, around=None)


def _plain(change: Callable[[Batch], Batch]) -> Callable[..., Batch]:
    def changed(batch: Batch, rng: np.random.Generator, world: World) -> Batch:
        return change(batch)

    return changed


def _speed(severity: int, factor: float) -> Shift:
    change = _plain(lambda batch: faster(batch, factor))
    return Shift("speed", severity, f"x{factor:g}", "targets as fast as bikers", change)


def _unit(severity: int, name: str) -> Shift:
    change = _plain(lambda batch: scaled(batch, UNITS[name]))
    return Shift("unit", severity, name, "positions in a wrong unit", change)


SHIFTS = [
    *(_speed(n, factor) for n, factor in enumerate((1.5, 2.0, 3.0), 1)),
    *(_unit(n, name) for n, name in enumerate(UNITS, 1)),
    Shift("mirrored", 1, "all", "the scene in a mirror", _plain(mirrored)),
]
