"""Paths of dynamical systems, some with parameters outside the range of training.

Scenes of the splits train, val and test draw their parameters from one range, those of the split
`ood` from a disjoint one; `parameters(scene)` reads them from a scene's name. Coordinates are
scaled to the order of 1 and have no unit.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.synthetic import SyntheticTracks
from trajflow.errors import ConfigError, did_you_mean

Floats = NDArray[np.float64]
Values = dict[str, Floats]
Range = tuple[float, float]

DT = 0.1
STRIDE = 0.01


@dataclass(frozen=True)
class System:
    """A dynamical system and the ranges of its parameters and initial states."""

    # Time derivative [N, D] of states [N, D] under N values of each parameter
    derivative: Callable[[Floats, Values], Floats]
    start: tuple[Range, ...]  # range of each initial coordinate
    train_range: dict[str, Range]  # range of each parameter in training
    ood_range: dict[str, Range]  # range of each parameter in the split ood
    burn_in: float = 0.0  # seconds before the first stored step
    time_scale: float = 1.0  # time of the system per second
    centre: tuple[float, ...] = (0.0, 0.0)  # state that is stored as zero
    scale: float = 1.0  # difference of the state that is stored as 1

    def run(self, start: Floats, values: Values, seconds: float, stride: float) -> Floats:
        """States [N, D] that starts [N, D] reach, by the classical Runge-Kutta method."""
        strides = max(1, round(seconds / stride)) if seconds else 0
        step = seconds * self.time_scale / max(1, strides)
        state = start
        for _ in range(strides):
            k1 = self.derivative(state, values)
            k2 = self.derivative(state + step / 2 * k1, values)
            k3 = self.derivative(state + step / 2 * k2, values)
            k4 = self.derivative(state + step * k3, values)
            state = state + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
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
        train_range={"decay": (0.05, 0.2), "spin": (1.0, 2.0)},
        ood_range={"decay": (0.3, 0.45), "spin": (2.5, 3.0)},
    ),
    "vanderpol": System(
        _vanderpol,
        start=((-2.0, 2.0), (-2.0, 2.0)),
        train_range={"mu": (0.5, 2.0)},
        ood_range={"mu": (2.5, 3.5)},
        scale=1.5,
    ),
    "lotka": System(
        _lotka,
        start=((0.5, 2.0), (0.5, 2.0)),
        train_range={"birth": (0.8, 1.2), "death": (0.8, 1.2)},
        ood_range={"birth": (1.5, 1.9), "death": (1.5, 1.9)},
        centre=(1.0, 1.0),
    ),
    "duffing": System(
        _duffing,
        start=((-1.5, 1.5), (-1.5, 1.5)),
        train_range={"damping": (0.05, 0.25)},
        ood_range={"damping": (0.4, 0.6)},
    ),
    "lorenz": System(
        _lorenz,
        start=((-10.0, 10.0), (-10.0, 10.0), (15.0, 35.0)),
        train_range={"rho": (26.0, 32.0)},
        ood_range={"rho": (36.0, 42.0)},
        burn_in=8.0,
        time_scale=0.4,
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
    """Scenes of one system and split: their parameters, and the seed of everything else."""

    system: str
    split: str
    values: Values
    seed: list[int]

    @property
    def scenes(self) -> list[str]:
        rows = zip(*self.values.values(), strict=True)
        texts = [
            " ".join(f"{k}={v:.4f}" for k, v in zip(self.values, r, strict=True)) for r in rows
        ]
        return [f"{self.system} {self.split}-{k:04d} {text}" for k, text in enumerate(texts)]

    def paths(self, steps: int) -> Floats:
        """States of each scene at every step, scaled, [N, steps, D]."""
        system = SYSTEMS[self.system]
        low, high = np.array(system.start).T
        shape = (len(self.scenes), len(system.start))
        state = np.random.default_rng(self.seed).uniform(low, high, shape)
        states = [system.run(state, self.values, system.burn_in, STRIDE)]
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
) -> SyntheticTracks:
    """Scenes of one path each, by system and split, with steps of 0.1 seconds.

    `all` contains the planar systems and the x-z view of Lorenz's in 2-D; `lorenz` alone is 3-D.
    `noise` is the standard deviation of an observed coordinate. Each fold leaves out one system,
    if there are several; the fold `ood` tests on parameters outside the range of training.
    """
    chosen = list(SYSTEMS) if system == "all" else [system]
    if system not in {"all", *SYSTEMS}:
        raise ConfigError(did_you_mean("system", system, ["all", *SYSTEMS]))
    if steps < 2:
        raise ConfigError(f"option steps of ode must be at least 2, got {steps}")
    sizes = {"train": train, "val": val, "test": test, "ood": ood}
    plans = [_plan(name, split, n, seed) for name in chosen for split, n in sizes.items()]
    return SyntheticTracks(
        blocks=(block for plan in plans for block in _blocks(plan, system, steps, noise)),
        dims=3 if system == "lorenz" else 2,
        dt=DT,
        unit="1",
        source=f"synthetic ode {system}, seed {seed}",
        folds=_folds(plans),
    )


def _folds(plans: list[_Plan]) -> dict[str, list[str]]:
    """Test scenes of the fold of each system, and of the fold ood."""
    several = len({plan.system for plan in plans}) > 1
    result: dict[str, list[str]] = {}
    for plan in plans:
        if plan.split == "ood" or plan.split == "test" or several:
            fold = "ood" if plan.split == "ood" else plan.system
            result.setdefault(fold, []).extend(plan.scenes)
    return result


def _plan(system: str, split: str, n: int, seed: int) -> _Plan:
    dynamics = SYSTEMS[system]
    ranges = dynamics.ood_range if split == "ood" else dynamics.train_range
    key = [seed, *f"{system} {split}".encode()]
    rng = np.random.default_rng([*key, 0])
    values = {name: rng.uniform(*ends, n).round(4) for name, ends in ranges.items()}
    return _Plan(system, split, values, [*key, 1])


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
            split=plan.split,
        )
