"""What a worse sensor does to positions; what follows is the true future."""

from dataclasses import replace

import numpy as np

from trajflow.ood.shifts.shift import Shift, World
from trajflow.types import Batch, Floats


def noisy(batch: Batch, rng: np.random.Generator, deviation: float) -> Batch:
    """Independent Gaussian noise on every seen past position of everybody.

    Args:
        batch: The windows; their futures stay as they are.
        rng: What draws the noise.
        deviation: Of each coordinate, in the unit of the tracks.
    """
    past = batch.past + deviation * rng.normal(size=batch.past.shape)
    return replace(batch, past=past, around=None)


def glitched(
    batch: Batch, rng: np.random.Generator, distance: float, step: int | None = None
) -> Batch:
    """One past position of every target jumps a distance in a random direction.

    Args:
        batch: The windows; their futures stay as they are.
        rng: What draws direction and step.
        distance: How far, in the unit of the tracks.
        step: Which of the T steps, counted from 0; None: for each target one of those it was
            seen at.
    """
    past, seen = batch.past.copy(), batch.seen[batch.target]
    rows, agents = np.nonzero(batch.target)
    if step is None:
        steps = np.where(seen, rng.random(seen.shape), -1.0).argmax(1)
    else:
        steps = np.full(len(rows), step)
    past[rows, agents, steps] += distance * _directions(rng, len(rows), past.shape[-1])
    return replace(batch, past=past, around=None)


def _directions(rng: np.random.Generator, count: int, dims: int) -> Floats:
    """Unit vectors, evenly over all directions, [N, D]."""
    drawn = rng.normal(size=(count, dims))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def _noise(severity: int, centimetres: float) -> Shift:
    def change(batch: Batch, rng: np.random.Generator, world: World) -> Batch:
        return noisy(batch, rng, centimetres / 100 * world.metre)

    return Shift(
        "noise", severity, f"{centimetres:g} cm", "Gaussian noise on seen positions", change
    )


def _glitch(severity: int, metres: float) -> Shift:
    def change(batch: Batch, rng: np.random.Generator, world: World) -> Batch:
        return glitched(batch, rng, metres * world.metre)

    return Shift("glitch", severity, f"{metres:g} m", "one seen position jumps", change)


SHIFTS = [
    *(_noise(n, size) for n, size in enumerate((2.0, 5.0, 10.0), 1)),
    *(_glitch(n, size) for n, size in enumerate((0.5, 1.0, 2.0), 1)),
]
