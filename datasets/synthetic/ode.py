"""Paths of dynamical systems with known laws, some with parameters that training never shows.

Scenes of the parts train, val and test draw their parameters from one range, those of the part
`ood` from another that does not meet it; `parameters(scene)` reads them from a scene's name.
Coordinates are scaled to the order of 1 and have no unit.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.synthetic import Made
from trajflow.errors import ConfigError, did_you_mean

Floats = NDArray[np.float64]
Values = dict[str, Floats]
Range = tuple[float, float]

DT = 0.1
STRIDE = 0.01


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


def parameters(scene: str) -> dict[str, float]:
    """The values a scene was made with, by name."""
    pairs = (word.split("=") for word in scene.split() if "=" in word)
    return {name: float(value) for name, value in pairs}


@dataclass(frozen=True)
class _Plan:
    """Scenes of one system and part: their parameters, and the seed of all else."""

    system: str
    part: str
    values: Values
    seed: list[int]

    @property
    def scenes(self) -> list[str]:
        rows = zip(*self.values.values(), strict=True)
        texts = [
            " ".join(f"{k}={v:.4f}" for k, v in zip(self.values, r, strict=True)) for r in rows
        ]
        return [f"{self.system} {self.part}-{k:04d} {text}" for k, text in enumerate(texts)]

    def paths(self, steps: int) -> Floats:
        """States of each scene at every step, scaled, [N, steps, D]."""
        system = SYSTEMS[self.system]
        low, high = np.array(system.start).T
        shape = (len(self.scenes), len(system.start))
        state = np.random.default_rng(self.seed).uniform(low, high, shape)
        states = [system.run(state, self.values, system.settle, STRIDE)]
        while len(states) < steps:
            states.append(system.run(states[-1], self.values, DT, STRIDE))
        return (np.stack(states, 1) - system.centre) / system.scale


def generate(
    seed: int,
    *,
    system: str = "all",
    train: int = 150,
    val: int = 30,
    test: int = 30,
    ood: int = 30,
    steps: int = 60,
    noise: float = 0.005,
) -> Made:
    """Scenes of one path each: so many for each system and part, 0.1 seconds a step.

    `all` is the planar systems and the x-z view of Lorenz's, so 2-D; `lorenz` alone is 3-D.
    `noise` is the standard deviation of an observed coordinate. The folds leave out one system
    each, where there are several; the fold `ood` tests on strange parameters.
    """
    chosen = list(SYSTEMS) if system == "all" else [system]
    if system not in {"all", *SYSTEMS}:
        raise ConfigError(did_you_mean("system", system, ["all", *SYSTEMS]))
    if steps < 2:
        raise ConfigError(f"option steps of ode must be at least 2, got {steps}")
    sizes = {"train": train, "val": val, "test": test, "ood": ood}
    plans = [_plan(name, part, n, seed) for name in chosen for part, n in sizes.items()]
    return Made(
        blocks=(block for plan in plans for block in _blocks(plan, system, steps, noise)),
        dims=3 if system == "lorenz" else 2,
        dt=DT,
        unit="1",
        source=f"synthetic ode {system}, seed {seed}",
        folds=_folds(plans),
    )


def _folds(plans: list[_Plan]) -> dict[str, list[str]]:
    """Scenes each system, or the only one, is tested on when left out; and all strange ones."""
    several = len({plan.system for plan in plans}) > 1
    result: dict[str, list[str]] = {}
    for plan in plans:
        if plan.part == "ood" or plan.part == "test" or several:
            fold = "ood" if plan.part == "ood" else plan.system
            result.setdefault(fold, []).extend(plan.scenes)
    return result


def _plan(system: str, part: str, n: int, seed: int) -> _Plan:
    law = SYSTEMS[system]
    ranges = law.strange if part == "ood" else law.known
    own = [seed, *f"{system} {part}".encode()]
    rng = np.random.default_rng([*own, 0])
    values = {name: rng.uniform(*ends, n).round(4) for name, ends in ranges.items()}
    return _Plan(system, part, values, [*own, 1])


def _blocks(plan: _Plan, system: str, steps: int, noise: float) -> Iterator[TrackBlock]:
    paths = plan.paths(steps)
    if system == "all" and plan.system == "lorenz":
        paths = paths[..., [0, 2]]
    paths = paths + np.random.default_rng([*plan.seed, 2]).normal(0.0, noise, paths.shape)
    for scene, path in zip(plan.scenes, paths, strict=True):
        yield TrackBlock(
            scene=scene,
            labels=[0],
            types=[plan.system],
            rowsize=np.array([steps]),
            time=DT * np.arange(steps, dtype=np.float64),
            position=path,
            split=plan.part,
        )
