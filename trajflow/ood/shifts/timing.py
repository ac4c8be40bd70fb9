"""Another clock: frames skipped, more frames in a second, time backwards."""

from dataclasses import replace

import numpy as np

from trajflow.ood.shifts.shift import Shift, World
from trajflow.ood.shifts.splines import between
from trajflow.types import Batch


def paced(batch: Batch, pace: float) -> Batch:
    """Everybody seen every `pace` steps and called one step: above 1 frames are skipped.

    Below 1 there are more frames in a second, as if the people were slow. Positions between steps
    are of a natural cubic spline, see `splines.between`; that of the past knows nothing of what
    comes after the present. The future goes on at the same pace. It is NaN where a track ends
    before; who was not seen for as long as the past wants is no target, and before the first step
    seen a neighbour's past is NaN.

    Args:
        batch: The windows, for a pace above 1 with `around`.
        pace: Steps of the tracks in a step of the result; 1 changes nothing.
    """
    length, horizon = batch.past.shape[2], batch.future.shape[2]
    path, present = np.concatenate([batch.past, batch.future], 2), length - 1
    if batch.around is not None:
        path, present = batch.around, length * batch.around.shape[2] // (length + horizon) - 1
    past = between(path[:, :, : present + 1], present + pace * np.arange(1 - length, 1))
    future = between(path, present + pace * np.arange(1, horizon + 1))
    target = batch.target & np.isfinite(past).all((2, 3))
    return replace(batch, past=past, future=future, target=target, around=None)


def reversed_time(batch: Batch) -> Batch:
    """The whole window backwards: the past begins where the future ended.

    What follows is the reversed rest of the window. Who was not seen then is not there, and
    neighbours whose future is not known are missing from the past.
    """
    length = batch.past.shape[2]
    path = np.concatenate([batch.past, batch.future], 2)[:, :, ::-1]
    past, future = path[:, :, :length], path[:, :, length:]
    return replace(batch, past=past, future=future, around=None)


def _skip(severity: int, pace: float) -> Shift:
    def change(batch: Batch, rng: np.random.Generator, world: World) -> Batch:
        return paced(batch, pace)

    what = "frames are skipped, as if everybody were fast"
    return Shift("skip", severity, f"x{pace:g}", what, change, reach=int(np.ceil(pace)))


def _slow(severity: int, rate: float) -> Shift:
    def change(batch: Batch, rng: np.random.Generator, world: World) -> Batch:
        return paced(replace(batch, around=None), 1 / rate)

    what = "more frames a second, interpolated, as if everybody were slow"
    return Shift("slow", severity, f"x{rate:g}", what, change)


def _backwards(batch: Batch, rng: np.random.Generator, world: World) -> Batch:
    return reversed_time(batch)


SHIFTS = [
    *(_skip(n, pace) for n, pace in enumerate((1.5, 2.0, 3.0), 1)),
    *(_slow(n, rate) for n, rate in enumerate((1.5, 2.0, 3.0), 1)),
    Shift("reversed", 1, "all", "time runs backwards", _backwards),
]
