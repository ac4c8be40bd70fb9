"""Tracks in memory: whole trajectories as columns, the form that stores read and windows cut."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TrackBlock:
    """Whole trajectories of one scene, the unit in which tracks are written.

    Attributes:
        scene: Name of the recording.
        labels: The source's own id of each trajectory's agent, K integers or K strings.
        types: What each agent is ("pedestrian", "ship", ...), K strings.
        rowsize: Rows of each trajectory, [K].
        time: Seconds since the scene's start, increasing inside a trajectory, [N].
        position: World coordinates, [N, D], in the store's unit.
        split: Part each row belongs to ("train", "val", "test"), N strings, or one for all rows.
    """

    scene: str
    labels: list[int] | list[str]
    types: list[str]
    rowsize: NDArray[np.int64]
    time: NDArray[np.float64]
    position: NDArray[np.float64]
    split: NDArray[np.str_] | str = "all"


@dataclass(frozen=True)
class Tracks:
    """N observations of K trajectories, sorted by trajectory, then by step.

    Attributes:
        position: World coordinates, [N, D], in the store's unit.
        step: Time in whole steps of the store's dt, [N].
        split: Code of the stored part of each row, [N]; names are in `splits`.
        track: Which trajectory each row belongs to, [N].
        scene: Index of each trajectory's recording in `scenes`, [K].
        agent: Number of each trajectory's agent, unique in the store, [K].
        kind: Code of each agent's type, [K]; names are in `types`.
        scenes, splits, types: The names behind the codes.
        dt: Seconds per step.
    """

    position: NDArray[np.float64]
    step: NDArray[np.int64]
    split: NDArray[np.int8]
    track: NDArray[np.int64]
    scene: NDArray[np.int64]
    agent: NDArray[np.int64]
    kind: NDArray[np.int64]
    scenes: list[str]
    splits: list[str]
    types: list[str]
    dt: float
