"""Walkers to forecast: what they do is of no matter, only how many they are."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajflow.batch import Batch

Floats = NDArray[np.float64]


class Scene(NamedTuple):
    """Pasts of those who are forecast, [A, T, D], and of the others around, [N, T, D], metres."""

    past: Floats
    neighbours: Floats


def walkers(agents: int, steps: int, dims: int = 2, seed: int = 0) -> Floats:
    """Nearly straight walks of agents on a place of 20 m, [A, T, D], metres, 0.4 s per step.

    Args:
        agents: How many A.
        steps: Steps T.
        dims: Coordinates D.
        seed: Equal seeds give equal walks.
    """
    rng = np.random.default_rng(seed)
    begin, pace = rng.uniform(0, 20, (agents, 1, dims)), rng.normal(0, 0.35, (agents, 1, dims))
    swerve = rng.normal(0, 0.03, (agents, steps, dims)).cumsum(1)
    walked: Floats = begin + pace * np.arange(steps)[:, None] + swerve
    return walked


def scene(agents: int, neighbours: int, history: int, dims: int) -> Scene:
    """A scene of A agents [A, T, D] and N neighbours [N, T, D] over `history` steps T, metres."""
    all_of_them = walkers(agents + neighbours, history, dims)
    return Scene(all_of_them[:agents], all_of_them[agents:])


def batch(scenes: int, agents: int, history: int, horizon: int, dims: int = 2) -> Batch:
    """B scenes of A agents, all of them targets, [B, A, T, D] and [B, A, F, D], metres."""
    tracks = np.stack([walkers(agents, history + horizon, dims, seed) for seed in range(scenes)])
    zeros = np.zeros(scenes, np.int64)
    return Batch(
        past=tracks[:, :, :history],
        future=tracks[:, :, history:],
        target=np.ones((scenes, agents), bool),
        scene=zeros,
        start=zeros,
        agent=np.arange(scenes * agents).reshape(scenes, agents),
    )
