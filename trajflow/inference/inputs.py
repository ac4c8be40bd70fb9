"""The tracks that a predictor takes: sizes, unit and time step, and checks of pasts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajflow.errors import ConfigError, TrajflowError
from trajflow.types import Batch, Floats

STEP = 1e4
"""Most displacement per step, over the typical one."""
FAR = 1e6
"""Most distance from the others, over the typical displacement: where single precision ends."""
CANDIDATES = 32
"""Places of a scene that are tried for its center, so that scattered agents take little time."""
MOST = 10_000
"""Most agents and neighbors of a scene: the memory they need grows with their square."""


@dataclass(frozen=True)
class DtRange:
    """Seconds per step that a model serves.

    Attributes:
        dt: Seconds per step of the tracks it learned from.
        least: Fewest seconds per step that it was trained for.
        most: Most of them.
    """

    dt: float
    least: float
    most: float

    def ratio(self, dt: float | None) -> float:
        """Seconds per step over those of the training tracks; None: as trained.

        Raises:
            ConfigError: The model was not trained for so many.
        """
        if dt is None or abs(dt - self.dt) <= 1e-6 * self.dt:
            return 1.0
        if not self.least * (1 - 1e-6) <= dt <= self.most * (1 + 1e-6):
            several = self.least < self.most
            served = f"{self.least:g} to {self.most:g}" if several else f"{self.dt:g}"
            raise ConfigError(
                f"the model was trained for {served} s per step, got dt={dt:g}; resample the past, "
                "or train with model.condition_on_dt=true and train.time_stretch=[0.5,2] "
                "for half to twice of it"
            )
        return dt / self.dt

    def ratios(self, batch: Batch) -> float | Floats:
        """Seconds per step of each scene over those of the training tracks, [B], or one for all.

        Raises:
            ConfigError: The model was not trained for so many.
        """
        if batch.dt_ratio is None:
            return 1.0
        return np.array([self.ratio(dt_ratio * self.dt) for dt_ratio in batch.dt_ratio])


@dataclass(frozen=True)
class TrackFormat:
    """Sizes, unit and time step of the tracks of a predictor; checks pasts that it is given.

    Attributes:
        history: Past steps T.
        horizon: Future steps F.
        dims: Coordinates D.
        unit: Unit of the coordinates.
        displacement_scale: Typical displacement per step, in this unit.
        dt_range: Seconds per step.
        memory: Earlier tracks of others that each agent is shown; 0: the model looks at none.
        types: Names of the agent types that the model distinguishes; empty: none.
        neighbors: Others that an agent attends to, the nearest, so that the agents of a scene may
            be forecast some at a time; None: they are drawn together.
    """

    history: int
    horizon: int
    dims: int
    unit: str
    displacement_scale: float
    dt_range: DtRange
    memory: int = 0
    types: tuple[str, ...] = ()
    neighbors: int | None = None

    def scenes(
        self,
        past: Floats,
        neighbors: ArrayLike | Sequence[ArrayLike] | None,
        agents: Sequence[object],
        strict: bool,
    ) -> tuple[Floats, NDArray[np.object_] | None]:
        """Scenes [B, A + N, T, D] of agents and neighbors, and the faults of the agents, [B, A].

        All steps of an agent with a fault are missing, and so are those of such a neighbor. Faults
        are None where there are none, if `strict` is set.

        Args:
            past: From `numbers`, [*, A, T, D].
            neighbors: As `Predictor.predict` takes them.
            agents: Ids of the A agents, or none.
            strict: Whether faults are refused.

        Raises:
            TrajflowError: There is a fault and `strict` is set, or a shape is wrong.
        """
        scenes = past.reshape(-1, *past.shape[-3:])
        around, scale = self._padded(neighbors, len(scenes)), self.displacement_scale
        everyone = np.concatenate([scenes, around], 1) if around.shape[1] else scenes
        if (count := everyone.shape[1]) > MOST:
            raise TrajflowError(f"a scene holds at most {MOST} agents, got {count}; cut it")
        if strict and not len(agents) and plausible(everyone, scale):
            return everyone, None
        if len(agents) and len(agents) != scenes.shape[1]:
            raise TrajflowError(f"{len(agents)} ids for {scenes.shape[1]} agents")
        faults = faults_of(scenes, scale, agents)
        around = _clean(_whole_points(around), scale, strict)
        if strict:
            _refuse(faults, agents)
        points = np.where(faults.astype(bool)[..., None, None], np.nan, _whole_points(scenes))
        return np.concatenate([points, around], 1), faults

    def numbers(self, points: ArrayLike, name: str) -> Floats:
        """Positions [*, T, D] as they are, also where infinite; NaN where masked.

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

    def typed(
        self, types: ArrayLike, shape: tuple[int, ...], full: tuple[int, ...]
    ) -> NDArray[np.str_]:
        """Names of types of scenes [B, A + N] from those of the forecast agents, [A] or [*, A].

        Raises:
            ConfigError: The model distinguishes no types.
            TrajflowError: There are more or fewer names than agents.
        """
        if not self.types:
            raise ConfigError(
                "this model takes no agent types: it was trained without model.types, or exported "
                "by an earlier version; leave types out"
            )
        names = np.asarray(types, np.str_)
        if names.shape not in (shape, shape[-1:]):
            raise TrajflowError(
                f"types must name each of the {shape[-1]} agents, got shape {names.shape}"
            )
        result = np.full(full, "", names.dtype)
        result[:, : shape[-1]] = np.broadcast_to(names, shape).reshape(-1, shape[-1])
        return result

    def _padded(self, neighbors: Any, scenes: int) -> Floats:
        """Neighbors as one array [B, N, T, D] for so many scenes, NaN where there are fewer."""
        size = (self.history, self.dims)
        if neighbors is None:
            return np.empty((scenes, 0, *size))
        if isinstance(neighbors, np.ndarray) or scenes == 1:
            array = self.numbers(neighbors, "neighbors")
            array = array.reshape(math.prod(array.shape[:-3]), *array.shape[-3:])
            if len(array) == scenes:
                return array
            raise TrajflowError(f"neighbors are of {len(array)} scenes, the past of {scenes}")
        if len(neighbors) != scenes:
            raise TrajflowError(f"neighbors are of {len(neighbors)} scenes, the past of {scenes}")
        parts = (n if len(n) else np.reshape(n, (-1, *size)) for n in neighbors)
        each = [self.numbers(part, "neighbors") for part in parts]
        padded = np.full((scenes, max(map(len, each), default=0), *size), np.nan)
        for row, points in zip(padded, each, strict=True):
            row[: len(points)] = points
        return padded


def _whole_points(array: Floats) -> Floats:
    """Positions [*, D], NaN where any coordinate is missing."""
    observed = np.isfinite(array)
    return array if observed.all() else np.where(observed.all(-1, keepdims=True), array, np.nan)


def _clean(around: Floats, scale: float, strict: bool) -> Floats:
    """Neighbors [B, N, T, D]; those with a fault are refused if `strict`, else missing."""
    if plausible(around, scale):
        return around
    faults = faults_of(around, scale)
    faults[~np.isfinite(around).all(-1).any(-1)] = None
    if strict:
        _refuse(faults, (), "neighbor")
    return np.where(faults.astype(bool)[..., None, None], np.nan, around)


def _refuse(faults: NDArray[np.object_], ids: Sequence[object], what: str = "agent") -> None:
    """Refuse pasts with faults [B, A].

    Raises:
        TrajflowError: There is one.
    """
    for scene, agent in np.argwhere(faults.astype(bool)):
        name = ids[agent] if len(ids) else agent
        raise TrajflowError(
            f"{what} {name} of scene {scene} {faults[scene, agent]}; leave it out, or "
            "forecast the others by on_bad='quarantine'"
        )


def real_numbers(points: Any, name: str) -> Floats:
    """Numbers of any shape as they are, NaN where masked, also what is infinite; maybe no copy.

    Args:
        points: An array, masked or not, or nested sequences of numbers or of arrays.
        name: What an error calls it.

    Raises:
        TrajflowError: They are no array of real numbers.
    """
    try:
        if type(points) is np.ndarray and points.dtype == np.float64:
            return points
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
    if not math.isfinite(first.sum()):
        return False
    # Within half of it of the first means within it of each other. What is no number is not.
    away = points - first
    return bool(np.abs(away, out=away).max() <= min(FAR, STEP) / 2 * scale)


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
