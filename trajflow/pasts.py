"""The door for pasts: what a caller gives, checked and in the shape that is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajflow.errors import TrajflowError
from trajflow.quarantine import MOST, faults_of, plain

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PastShape:
    """Pasts of so many steps T (`history`) and coordinates D (`dims`)."""

    history: int
    dims: int

    def points(self, points: ArrayLike, name: str) -> Floats:
        """Positions [*, T, D] as numbers, NaN where any coordinate is missing.

        Args:
            points: What was given.
            name: What an error calls it.

        Raises:
            TrajflowError: It has another shape, or is no array of numbers.
        """
        array = self.numbers(points, name)
        known = np.isfinite(array)
        return array if known.all() else np.where(known.all(-1, keepdims=True), array, np.nan)

    def numbers(self, points: ArrayLike, name: str) -> Floats:
        """Positions [*, T, D] as they were given, NaN where masked, also what is infinite.

        Raises:
            TrajflowError: They have another shape, or are no array of numbers.
        """
        array = real_numbers(points, name)
        if array.ndim < 3 or array.shape[-2:] != (self.history, self.dims):
            t, d = self.history, self.dims
            raise TrajflowError(
                f"{name} must be [A, {t}, {d}] or [B, A, {t}, {d}], got {list(array.shape)}"
            )
        return array

    def faults(self, points: Floats, usual: float, ids: Sequence[object]) -> NDArray[np.object_]:
        """What is wrong with pasts [B, A, T, D], in words, [B, A]; None where nothing is.

        Raises:
            TrajflowError: The ids do not fit, or there are too many agents.
        """
        if len(ids) and len(ids) != points.shape[1]:
            raise TrajflowError(f"{len(ids)} ids for {points.shape[1]} agents")
        self.check_count(points.shape[1])
        return faults_of(points, usual, ids)

    def check_count(self, agents: int) -> None:
        """Refuse scenes of too many agents.

        Raises:
            TrajflowError: There are.
        """
        if agents > MOST:
            raise TrajflowError(f"a scene holds at most {MOST} agents, got {agents}; cut it")

    def refuse(
        self, faults: NDArray[np.object_], ids: Sequence[object], what: str = "agent"
    ) -> None:
        """Refuse pasts with faults [B, A].

        Raises:
            TrajflowError: There is one.
        """
        for scene, agent in np.argwhere(faults != None):  # noqa: E711 - asked of every element
            name = ids[agent] if len(ids) else agent
            raise TrajflowError(
                f"{what} {name} of scene {scene} {faults[scene, agent]}; leave it out, or "
                "forecast the others by on_bad='quarantine'"
            )

    def check_seen(self, scenes: Floats, agents: Sequence[object]) -> None:
        """Refuse agents of scenes [B, A, T, D] that were never seen, and ids that do not fit.

        Raises:
            TrajflowError: There are such agents or ids.
        """
        if agents and len(agents) != scenes.shape[1]:
            raise TrajflowError(f"{len(agents)} ids for {scenes.shape[1]} agents")
        unseen = np.argwhere(~np.isfinite(scenes).all(-1).any(-1))
        if len(unseen):
            scene, agent = unseen[0]
            name = agents[agent] if agents else agent
            raise TrajflowError(
                f"agent {name} of scene {scene} was not seen at any of the {self.history} steps; "
                "leave it out, or give one position at least"
            )

    def known_around(self, neighbours: Any, scenes: int, usual: float, strict: bool) -> Floats:
        """Neighbours as `around` gives them, [B, N, T, D], those with a fault refused or absent.

        Args:
            neighbours: What was given.
            scenes: How many scenes there are.
            usual: Displacement per step that is usual.
            strict: Whether faults are refused.

        Raises:
            TrajflowError: They do not fit, or there is a fault.
        """
        around = self.around(neighbours, scenes)
        if plain(around, usual):
            return around
        faults = faults_of(around, usual)
        faults[~np.isfinite(around).all(-1).any(-1)] = None
        if strict:
            self.refuse(faults, (), "neighbour")
        bad = np.array([fault is not None for fault in faults.flat], bool).reshape(faults.shape)
        return np.where(bad[..., None, None], np.nan, around)

    def around(self, neighbours: Any, scenes: int) -> Floats:
        """Neighbours as one array [B, N, T, D] for so many scenes, NaN where there are fewer.

        Raises:
            TrajflowError: They are not of as many scenes, or have another shape.
        """
        if neighbours is None:
            return np.empty((scenes, 0, self.history, self.dims))
        if isinstance(neighbours, np.ndarray) or scenes == 1:
            array = self.points(neighbours, "neighbours")
            array = array.reshape(math.prod(array.shape[:-3]), *array.shape[-3:])
            if len(array) == scenes:
                return array
            raise TrajflowError(f"neighbours are of {len(array)} scenes, the past of {scenes}")
        if len(neighbours) != scenes:
            raise TrajflowError(f"neighbours are of {len(neighbours)} scenes, the past of {scenes}")
        each = [
            self.points(
                np.reshape(n, (-1, self.history, self.dims)) if not len(n) else n, "neighbours"
            )
            for n in neighbours
        ]
        most = max((len(n) for n in each), default=0)
        padded = np.full((scenes, most, self.history, self.dims), np.nan)
        for row, points in zip(padded, each, strict=True):
            row[: len(points)] = points
        return padded


def real_numbers(points: Any, name: str) -> Floats:
    """Numbers of any shape as they were given, NaN where masked, also what is infinite.

    Args:
        points: An array, masked or not, or nested sequences of numbers or of arrays.
        name: What an error calls it.

    Raises:
        TrajflowError: They are no array of real numbers.
    """
    try:
        given = _joined(points)
        if given.dtype.kind not in "iufO":
            raise TypeError(f"got an array of {given.dtype}")
        if given.dtype.kind != "O":
            given = given.astype(np.float64)
        return np.asarray(np.ma.filled(given, np.nan), np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise TrajflowError(f"{name} must be an array of numbers: {error}") from None


def _joined(points: ArrayLike) -> NDArray[Any]:
    """One array of nested sequences of arrays; a masked one if any of them is masked."""
    if isinstance(points, np.ndarray):
        return points
    if isinstance(points, (list, tuple)) and _masked(points):
        return np.ma.stack([np.ma.asarray(_joined(part)) for part in points])
    return np.asarray(points)


def _masked(points: Any) -> bool:
    """Whether something in nested sequences is masked."""
    if isinstance(points, (list, tuple)):
        return any(map(_masked, points))
    return isinstance(points, np.ma.MaskedArray)


def scene_centres(past: Floats) -> Floats:
    """A point near each scene's agents, [B, D] from pasts [B, A, T, D]: any seen position.

    Taken off before the cast to single precision, so that map coordinates of millions of metres
    keep their millimetres.
    """
    flat = past.reshape(len(past), -1, past.shape[-1])
    if not flat.shape[1]:
        return np.zeros((len(past), past.shape[-1]))
    if np.isfinite(flat[:, 0]).all():
        return flat[:, 0]
    seen = np.asarray(np.isfinite(flat).all(-1))
    first = seen.argmax(1)
    centre = flat[np.arange(len(flat)), first]
    known = np.asarray(seen.any(1))
    return np.where(known[:, None], centre, 0.0)
