"""What a predictor is given, checked: shapes, missing positions, and agents it cannot forecast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajflow.errors import TrajflowError
from trajflow.types import Floats

STEP = 1e4
"""Most displacement per step, over the typical one."""
FAR = 1e6
"""Most distance from the others, over the typical displacement: where single precision ends."""
CANDIDATES = 32
"""Places of a scene that are tried for its center, so that scattered agents take little time."""
MOST = 10_000
"""Most agents and neighbors of a scene: what they ask of memory grows with their square."""


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
        observed = np.isfinite(array)
        return array if observed.all() else np.where(observed.all(-1, keepdims=True), array, np.nan)

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

    def faults(self, points: Floats, scale: float, ids: Sequence[object]) -> NDArray[np.object_]:
        """What is wrong with pasts [B, A, T, D], in words, [B, A]; None where nothing is.

        Raises:
            TrajflowError: The ids do not fit, or there are too many agents.
        """
        if len(ids) and len(ids) != points.shape[1]:
            raise TrajflowError(f"{len(ids)} ids for {points.shape[1]} agents")
        self.check_count(points.shape[1])
        return faults_of(points, scale, ids)

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

    def clean_neighbors(self, around: Floats, scale: float, strict: bool) -> Floats:
        """Neighbors [B, N, T, D] of `padded_neighbors`; those with a fault are refused or missing.

        Args:
            around: The neighbors.
            scale: Typical displacement per step.
            strict: Whether faults are refused.

        Raises:
            TrajflowError: There is a fault.
        """
        if plausible(around, scale):
            return around
        faults = faults_of(around, scale)
        faults[~np.isfinite(around).all(-1).any(-1)] = None
        if strict:
            self.refuse(faults, (), "neighbor")
        bad = np.array([fault is not None for fault in faults.flat], bool).reshape(faults.shape)
        return np.where(bad[..., None, None], np.nan, around)

    def padded_neighbors(self, neighbors: Any, scenes: int) -> Floats:
        """Neighbors as one array [B, N, T, D] for so many scenes, NaN where there are fewer.

        Raises:
            TrajflowError: They are not of as many scenes, or have another shape.
        """
        if neighbors is None:
            return np.empty((scenes, 0, self.history, self.dims))
        if isinstance(neighbors, np.ndarray) or scenes == 1:
            array = self.points(neighbors, "neighbors")
            array = array.reshape(math.prod(array.shape[:-3]), *array.shape[-3:])
            if len(array) == scenes:
                return array
            raise TrajflowError(f"neighbors are of {len(array)} scenes, the past of {scenes}")
        if len(neighbors) != scenes:
            raise TrajflowError(f"neighbors are of {len(neighbors)} scenes, the past of {scenes}")
        each = [
            self.points(
                np.reshape(n, (-1, self.history, self.dims)) if not len(n) else n, "neighbors"
            )
            for n in neighbors
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


def faults_of(points: Floats, scale: float, ids: Sequence[object] = ()) -> NDArray[np.object_]:
    """What is wrong with each past, in words, [B, A]; None where nothing is.

    Args:
        points: World positions, [B, A, T, D]; NaN where a step is missing.
        scale: Typical displacement per step.
        ids: Of the A agents.
    """
    result = np.full(points.shape[:2], None, dtype=object)
    if not plausible(points, scale):
        _name(result, points, scale)
    if len(ids):
        result[:, _repeated(ids)] = "has the id of an agent before it"
    return result


def _repeated(ids: Sequence[object]) -> list[int]:
    """Places of ids that stand at an earlier place too.

    Raises:
        TrajflowError: An id cannot be hashed, and so not be found again.
    """
    before: set[object] = set()
    repeated = []
    for place, name in enumerate(ids):
        try:
            if name in before:
                repeated.append(place)
            before.add(name)
        except TypeError:
            raise TrajflowError(
                f"agent id {place} is a {type(name).__name__}, which cannot be hashed; "
                "give a number, a string or a tuple"
            ) from None
    return repeated


def plausible(points: Floats, scale: float) -> bool:
    """Whether nobody of pasts [B, A, T, D] can be at fault: all was seen, and nothing is far."""
    if not points.size:
        return True
    first = points[:, :1, :1]
    if not np.isfinite(first).all():
        return False
    # Within half of it of the first means within it of each other. What is no number is not.
    return bool(np.abs(points - first).max() <= min(FAR, STEP) / 2 * scale)


def _name(faults: NDArray[np.object_], points: Floats, scale: float) -> None:
    """Write what is wrong with each past beside it."""
    seen = np.asarray(np.isfinite(points).all(-1))
    observed = np.where(seen[..., None], points, np.nan)
    with np.errstate(all="ignore"):
        low, high = (np.where(seen[..., None], points, end) for end in (np.inf, -np.inf))
        moved = (high.max(-2, initial=-np.inf) - low.min(-2, initial=np.inf)).max(-1, initial=0)
        away = _away(observed, FAR * scale)
    steps = max(1, points.shape[2] - 1)
    faults[away > FAR * scale] = f"is more than {FAR:g} typical steps from the others"
    faults[moved > STEP * steps * scale] = f"moves more than {STEP:g} times the typical step"
    faults[~seen.any(-1)] = f"was not seen at any of the {points.shape[2]} steps"
    faults[np.isinf(points).any((-1, -2))] = "has an infinite coordinate"


def _away(observed: Floats, far: float) -> Floats:
    """Distance of each last position from its scene's center, [B, A]; 0 where all are near."""
    last = _last(observed)
    away = np.zeros(last.shape[:2])
    low, high = (np.where(np.isfinite(last), last, end) for end in (np.inf, -np.inf))
    span = (high.max(1, initial=-np.inf) - low.min(1, initial=np.inf)).max(-1, initial=0)
    for scene in np.flatnonzero(span > far):
        away[scene] = np.abs(last[scene] - scene_center(observed[scene], far)).max(-1)
    return away


def _last(observed: Floats) -> Floats:
    """The last seen position, [B, A, D]; NaN where there is none."""
    seen = np.asarray(np.isfinite(observed).all(-1))
    last = seen.shape[-1] - 1 - seen[..., ::-1].argmax(-1)
    return np.asarray(np.take_along_axis(observed, last[..., None, None], 2)[:, :, 0])


def scene_center(past: Floats, far: float) -> Floats:
    """A point [D] that most seen positions of a scene lie within `far` of.

    The median of the last positions, or, where outliers outvote it (of two agents one is half of
    all), the last position of an agent. Of equals the first agent's.

    Args:
        past: World positions, [A, T, D]; not finite where a step is missing.
        far: Distance along any coordinate.
    """
    seen = np.asarray(np.isfinite(past).all(-1))
    last = _last(past[None])[0][seen.any(1)]
    if not len(last):
        return np.zeros(past.shape[-1])
    with np.errstate(all="ignore"):
        cells = np.floor(last / far)
        _, first, count = np.unique(cells, axis=0, return_index=True, return_counts=True)
        fullest = first[np.lexsort((first, -count))[:CANDIDATES]]
        candidates = np.concatenate([np.median(last, 0)[None], last[fullest]])
        near = [(np.abs(past - one).max(-1) <= far) & seen for one in candidates]
    return np.asarray(candidates[np.argmax([one.sum() for one in near])])
