"""Pedestrians who walk, avoid each other, pause and change their minds, simulated by JuPedSim.

The walking model is the anticipation velocity model (Xu, Chraibi and Seyfried 2021, "Anticipation
in a velocity-based model for pedestrian dynamics"). Where people go, how fast, when they pause or
turn is drawn at random and cannot be seen in a past, so futures have several modes.
"""

from dataclasses import dataclass

import numpy as np

from trajflow.datasets.synthetic import Made
from trajflow.datasets.synthetic._places import PLACES
from trajflow.datasets.synthetic._simulation import DT, Simulation, packages
from trajflow.datasets.tracks import TrackBlock
from trajflow.errors import ConfigError, did_you_mean

WARM_UP = 15.0


@dataclass(frozen=True)
class _Recording:
    """One scene to be made: everything in it follows from these."""

    place: str
    part: str
    number: int
    seed: int

    @property
    def scene(self) -> str:
        return f"{self.place}-{self.part}-{self.number:03d}"

    def tracks(self, seconds: float, groups: float, noise: float) -> TrackBlock:
        rng = np.random.default_rng([self.seed, self.number, *self.place.encode()])
        people = Simulation(PLACES[self.place](rng), rng, groups)
        for _ in range(round(WARM_UP / DT)):
            people.step()
        steps = [people.step() for _ in range(round(seconds / DT))]
        rows = sorted((n, k, *spot) for k, step in enumerate(steps) for n, spot in step.items())
        table = np.array(rows).reshape(-1, 4)
        numbers, rowsize = np.unique(table[:, 0], return_counts=True)
        return TrackBlock(
            scene=self.scene,
            labels=list(range(len(numbers))),
            types=["pedestrian"] * len(numbers),
            rowsize=rowsize,
            time=DT * table[:, 1],
            position=table[:, 2:] + rng.normal(0.0, noise, (len(table), 2)),
            split=self.part,
        )


def generate(
    seed: int,
    *,
    place: str = "all",
    train: int = 3,
    val: int = 1,
    test: int = 1,
    seconds: float = 60.0,
    groups: float = 0.2,
    noise: float = 0.01,
) -> Made:
    """Recordings of so many seconds, so many of each place for each part, metres.

    `groups` is the share of parties of two, `noise` the standard deviation of a coordinate. The
    folds leave out one place each, where there are several.

    Raises:
        ConfigError: If there is no such place or the recordings are too short.
        MissingExtra: If JuPedSim is not installed.
    """
    packages()
    chosen = list(PLACES) if place == "all" else [place]
    if place not in {"all", *PLACES}:
        raise ConfigError(did_you_mean("place", place, ["all", *PLACES]))
    if seconds < 10:
        raise ConfigError(f"option seconds of crowd must be at least 10, got {seconds}")
    parts = ["train"] * train + ["val"] * val + ["test"] * test
    plans = [_Recording(p, part, k, seed) for p in chosen for k, part in enumerate(parts)]
    return Made(
        blocks=(plan.tracks(seconds, groups, noise) for plan in plans),
        dims=2,
        dt=DT,
        unit="m",
        source=f"synthetic crowd {place}, seed {seed}",
        folds={name: _fold(name, plans) for name in chosen},
    )


def _fold(place: str, plans: list[_Recording]) -> list[str]:
    """Scenes a place, or the only one, is tested on when it is left out."""
    several = len({plan.place for plan in plans}) > 1
    return [p.scene for p in plans if p.place == place and (several or p.part == "test")]
