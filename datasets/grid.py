"""Physical seconds to whole steps of dt, and the rows where that is not possible."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Bools, Floats, Ints
from trajflow.datasets.schema import TOLERANCE

_EXACT = 2.0**53


@dataclass(frozen=True)
class Fault:
    """The first row whose time does not fit, and what is wrong with it."""

    row: int
    what: str


def whole_steps(time: Floats, dt: float) -> Ints:
    """The nearest whole step of each time, [N], counted from the scene's time 0."""
    return np.asarray(np.rint(time / dt), np.int64)


def find_fault(time: Floats, begins: Bools, dt: float) -> Fault | None:
    """Where times are not finite, do not increase in a trajectory or lie between two steps.

    Args:
        time: Seconds, [N].
        begins: Rows that are the first of their trajectory, [N].
        dt: Seconds per step; a time may miss its step by a quarter of it.
    """
    later = ~begins[1:]
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.rint(time / dt)
        tests = (
            (~np.isfinite(time), "time {time} is not finite"),
            (later & (np.diff(time) <= 0), "time {time} s does not follow {before} s"),
            (~(np.abs(steps) <= _EXACT), "time {time} s is too far for steps of {dt} s"),
            (np.abs(time / dt - steps) > TOLERANCE, "time {time} s lies between steps of {dt} s"),
            (later & (np.diff(steps) <= 0), "times {before} s and {time} s share a step of {dt} s"),
        )
    for bad, what in tests:
        if bad.any():
            row = int(bad.argmax()) + len(time) - len(bad)
            before = float(time[row - 1])
            return Fault(row, what.format(time=float(time[row]), before=before, dt=dt))
    return None


def first_rows(rowsize: NDArray[np.int64]) -> Bools:
    """Whether a row is the first of its trajectory, [N], from the rows of each, [K]."""
    begins = np.zeros(int(rowsize.sum()), np.bool_)
    begins[np.cumsum(rowsize) - rowsize] = True
    return begins
