"""Dynamical systems: their laws of motion, the ranges of their parameters, and how they run."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Values = dict[str, Floats]
Range = tuple[float, float]


@dataclass(frozen=True)
class System:
    """A law of motion and the ranges its parameters and starts are drawn from.

    Attributes:
        rate: Time derivative [N, D] of states [N, D] under N values of each parameter.
        start: Range of each coordinate at the start.
        known: Range of each parameter in training.
        strange: Range of each parameter outside of training.
        settle: Seconds that pass before the first step is kept.
        pace: Time of the system that passes in a second.
        centre: State that is shown as zero.
        scale: Change of the state that is shown as 1.
    """

    rate: Callable[[Floats, Values], Floats]
    start: tuple[Range, ...]
    known: dict[str, Range]
    strange: dict[str, Range]
    settle: float = 0.0
    pace: float = 1.0
    centre: tuple[float, ...] = (0.0, 0.0)
    scale: float = 1.0

    def run(self, start: Floats, values: Values, seconds: float, stride: float) -> Floats:
        """States [N, D] that starts [N, D] reach, by the classical Runge-Kutta method."""
        strides = max(1, round(seconds / stride)) if seconds else 0
        step = seconds * self.pace / max(1, strides)
        state = start
        for _ in range(strides):
            first = self.rate(state, values)
            second = self.rate(state + step / 2 * first, values)
            third = self.rate(state + step / 2 * second, values)
            fourth = self.rate(state + step * third, values)
            state = state + step / 6 * (first + 2 * second + 2 * third + fourth)
        return state


def _spiral(state: Floats, values: Values) -> Floats:
    x, y = state.T
    decay, spin = values["decay"], values["spin"]
    return np.stack([-decay * x - spin * y, spin * x - decay * y], -1)


def _vanderpol(state: Floats, values: Values) -> Floats:
    x, y = state.T
    return np.stack([y, values["mu"] * (1 - x**2) * y - x], -1)


def _lotka(state: Floats, values: Values) -> Floats:
    prey, hunters = state.T
    meet = prey * hunters
    return np.stack([values["birth"] * prey - meet, meet - values["death"] * hunters], -1)


def _duffing(state: Floats, values: Values) -> Floats:
    x, y = state.T
    return np.stack([y, x - x**3 - values["damping"] * y], -1)


def _lorenz(state: Floats, values: Values) -> Floats:
    x, y, z = state.T
    return np.stack([10 * (y - x), x * (values["rho"] - z) - y, x * y - 8 / 3 * z], -1)


SYSTEMS = {
    "spiral": System(
        _spiral,
        start=((-2.0, 2.0), (-2.0, 2.0)),
        known={"decay": (0.05, 0.2), "spin": (1.0, 2.0)},
        strange={"decay": (0.3, 0.45), "spin": (2.5, 3.0)},
    ),
    "vanderpol": System(
        _vanderpol,
        start=((-2.0, 2.0), (-2.0, 2.0)),
        known={"mu": (0.5, 2.0)},
        strange={"mu": (2.5, 3.5)},
        scale=1.5,
    ),
    "lotka": System(
        _lotka,
        start=((0.5, 2.0), (0.5, 2.0)),
        known={"birth": (0.8, 1.2), "death": (0.8, 1.2)},
        strange={"birth": (1.5, 1.9), "death": (1.5, 1.9)},
        centre=(1.0, 1.0),
    ),
    "duffing": System(
        _duffing,
        start=((-1.5, 1.5), (-1.5, 1.5)),
        known={"damping": (0.05, 0.25)},
        strange={"damping": (0.4, 0.6)},
    ),
    "lorenz": System(
        _lorenz,
        start=((-10.0, 10.0), (-10.0, 10.0), (15.0, 35.0)),
        known={"rho": (26.0, 32.0)},
        strange={"rho": (36.0, 42.0)},
        settle=8.0,
        pace=0.4,
        centre=(0.0, 0.0, 25.0),
        scale=10.0,
    ),
}
