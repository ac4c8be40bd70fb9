"""Forecasts in a control loop: push observations at any time, request forecasts at any time."""

from __future__ import annotations

import os
import time as clocks
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress
from typing import Any, Literal, Protocol
from weakref import WeakSet

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajflow.errors import ConfigError, TrajflowError
from trajflow.forecast import Forecast
from trajflow.inference.base import Predictor
from trajflow.inference.inputs import scene_center
from trajflow.inference.online.buffer import ObservationBuffer, Observations
from trajflow.inference.online.deadline import DeadlineCaller
from trajflow.inference.online.resampling import resample
from trajflow.inference.online.watching import Watcher
from trajflow.inference.scenes import nearest
from trajflow.place import Moment, Place

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class ForecastModel(Protocol):
    """The model of an `OnlinePredictor`: a `Predictor`, or an implementation of your own.

    `predict` may be called from another thread than the one that created it, but never from two
    threads at once if a deadline is set. It gets `dt` only if that differs from `self.dt`.
    """

    @property
    def history(self) -> int:
        """Past steps T."""

    @property
    def horizon(self) -> int:
        """Future steps F."""

    @property
    def dims(self) -> int:
        """Coordinates D."""

    @property
    def dt(self) -> float:
        """Seconds per step."""

    def predict(
        self,
        past: ArrayLike,
        neighbors: ArrayLike | None,
        samples: int,
        seed: int | None,
        agents: Sequence[object],
        /,
        *,
        dt: float | None = None,
        on_bad: Literal["raise", "quarantine"] = "raise",
    ) -> Forecast:
        """Futures [S, A, F, D] of pasts [A, T, D] with neighbors [N, T, D].

        Steps that are not finite were not observed; every agent has at least one observed step.
        After a `TrajflowError` it is called again with `on_bad="quarantine"`: agents that cannot be
        forecast get NaN, and then move at constant velocity.
        """


@dataclass(frozen=True)
class OnlineForecast:
    """A forecast, and how reliable it is.

    Attributes:
        forecast: The futures of A agents from `time` on. Its `faults` say what is wrong with
            quarantined agents.
        ids: The A agents.
        time: The present, which is the latest pushed time, in seconds; NaN before the first push.
        seen: Number of past steps at which each agent was observed, [A].
        age: Seconds since each agent was last observed, [A].
        constant_velocity: Agents that are not forecast by the network but at constant velocity,
            [A]: all if there was no time, otherwise those that are quarantined or get no finite
            forecast. Agents with a jump in their past stay where they are.
        fallback: Whether there was no time for the network.
        fewer_samples: Whether samples were reduced to meet the deadline.
        late: Whether the deadline was missed.
        stale: Whether the latest push is older than allowed.
        seconds: Duration of the call.
    """

    forecast: Forecast
    ids: tuple[Hashable, ...]
    time: float
    seen: NDArray[np.int64]
    age: Floats
    constant_velocity: Bools
    fallback: bool
    fewer_samples: bool
    late: bool
    stale: bool
    seconds: float


class OnlinePredictor:
    """Forecasts from observations that arrive irregularly, late, and with gaps.

    It is safe for several threads. Memory is bounded and allocated at the start. A forked child
    continues with the observations pushed before.

    Examples:
        >>> online = OnlinePredictor(predictor, deadline_ms=50)  # doctest: +SKIP
        >>> online.push(12.05, ["a", "b"], [[0.1, 2.0], [4.2, 1.1]])  # doctest: +SKIP
        >>> online.forecast().forecast.samples.shape  # doctest: +SKIP
        (20, 2, 12, 2)
    """

    def __init__(
        self,
        predictor: ForecastModel,
        dt: float | None = None,
        *,
        samples: int = 20,
        seed: int | None = 0,
        deadline_ms: float | None = None,
        stale_after: float = 1.0,
        rewind_after: float = 1.0,
        max_gap: float | None = None,
        forget_after: float | None = None,
        max_agents: int = 256,
        max_observations: int = 256,
        max_distance: float = 1e5,
        watch: bool | Place = False,
        earlier_paths: bool = False,
        clock: Callable[[], float] = clocks.monotonic,
    ) -> None:
        """Allocate memory, and run the network a few times so that the first forecast is fast.

        Args:
            predictor: The model.
            dt: Seconds per step of pasts and forecasts; None: as trained. Other values need a model
                trained on several frame intervals.
            samples: Futures of each agent, S.
            seed: Equal seeds and observations give equal forecasts; None: random.
            deadline_ms: Milliseconds within which `forecast` returns, first with fewer samples,
                then without the network; None: no deadline.
            stale_after: Seconds without a newer push after which forecasts are marked as stale.
            rewind_after: Seconds of pushes that are all older than the present, after which the
                clock counts as set back and all observations are dropped.
            max_gap: Longest gap between two observations that is interpolated, in seconds, at most
                the length of a past; None: three steps.
            forget_after: Seconds without an observation after which an agent is dropped, at most
                the length of a past; None: that length.
            max_agents: Most agents in memory.
            max_observations: Observations stored for each agent, at least four per step. Agents
                observed more often are thinned out.
            max_distance: Distance from the centre of all agents, in the predictor's unit, beyond
                which an agent is quarantined, because the network computes in single precision.
            watch: Whether pushed observations fill a place that forecasts use (`place`); the model
                must be trained with `model.memory`, or `earlier_paths` be set. A `Place` is filled
                further. Its memory has its own bound.
            earlier_paths: Whether paths that others walked here earlier replace some draws, as in
                `Predictor.predict`; needs `watch`.
            clock: Returns the seconds that deadlines and staleness are measured in.

        Raises:
            ConfigError: A number is out of bounds, or the model does not support `dt` or memory.
        """
        self.predictor, self.stale_after, self.max_distance = predictor, stale_after, max_distance
        self.dt = predictor.dt if dt is None else float(dt)
        length = (predictor.history - 0.5) * self.dt
        self.max_gap = min(3 * self.dt if max_gap is None else max_gap, length)
        self.forget_after = length if forget_after is None else min(forget_after, length)
        self.deadline = None if deadline_ms is None else deadline_ms / 1000
        self.samples, self.seed, self._clock = samples, seed, clock
        _check_above(dt=self.dt, stale_after=stale_after, rewind_after=rewind_after)
        _check_above(max_distance=max_distance)
        if deadline_ms is not None:
            _check_above(deadline_ms=deadline_ms)
        _check_at_least(0, max_gap=self.max_gap, forget_after=self.forget_after)
        _check_at_least(1, samples=samples, max_agents=max_agents)
        _check_at_least(4 * predictor.history, max_observations=max_observations)
        span = length + max(self.max_gap, self.dt)
        self._buffer = ObservationBuffer(
            max_agents, max_observations, predictor.dims, span, rewind_after, clock
        )
        self._watcher, self.earlier_paths = None, earlier_paths
        if watch is not False:
            place = _place_for(predictor, self.dt, watch, earlier_paths)
            self._watcher = Watcher(place, self.dt, self.max_gap)
        elif earlier_paths:
            raise ConfigError("earlier_paths needs watch=True, which fills the place with paths")
        self._quarantined = 0
        self._caller = DeadlineCaller(self._trial, samples, self.deadline, clock)
        _ALIVE.add(self)

    @property
    def place(self) -> Place | None:
        """The place filled so far; None without `watch`. Save it by `place.save`."""
        return None if self._watcher is None else self._watcher.place

    @property
    def dropped(self) -> dict[str, int]:
        """Counts of dropped observations and other events.

        Observations that were `not_finite` (or masked), `too_large`, too `late`, or too `dense`;
        agents without space (`crowded`); resets of the clock (`rewound`); and quarantined agents of
        forecasts (`quarantined`).
        """
        return self._buffer.dropped | {"quarantined": self._quarantined}

    def push(self, time: float, ids: Sequence[Hashable], positions: ArrayLike) -> None:
        """Add positions of agents at a time.

        Late observations are sorted in. Positions that are not finite, masked, or beyond +-1e100
        are ignored and counted in `dropped`. A push without agents only moves the present.

        Args:
            time: Seconds; all pushes share one clock.
            ids: Observed agents, each once: strings, numbers, UUIDs, or tuples of these, of at most
                256 characters.
            positions: Positions, [A, D], in the predictor's unit.

        Raises:
            TrajflowError: Time, ids or positions are invalid; nothing was added.
        """
        self._buffer.push(time, ids, positions)
        if self._watcher is not None:
            self._watcher.follow(self._buffer)

    def reset(self) -> None:
        """Drop all observations, as at the restart of a simulation; `place` is kept."""
        self._buffer.reset()

    def forecast(self, ids: Sequence[Hashable] | None = None) -> OnlineForecast:
        """Forecast from the latest pushed time on.

        Args:
            ids: Agents to forecast, in this order; the others are neighbors. None: all agents
                observed recently, in the order of their first observation.

        Raises:
            TrajflowError: Nothing was pushed yet, or an agent was not observed recently.
        """
        began = self._clock()
        observed, count = self._buffer.read(self.forget_after, ids)
        observed = self._needed(observed, count)
        past = resample(
            observed.times, observed.positions, self.predictor.history, self.dt, self.max_gap
        )
        seen = np.asarray(np.isfinite(past).all(-1))
        ids = observed.ids[:count]
        moment = None if self._watcher is None else self._watcher.moment(observed.time)
        forecast, network, fallback = self._draw(past, seen, ids, began, moment)
        if forecast.faults is not None:
            self._quarantined += sum(fault is not None for fault in forecast.faults)
        seconds = self._clock() - began
        return OnlineForecast(
            forecast=forecast,
            ids=ids,
            time=observed.time,
            seen=seen[:count].sum(-1),
            age=0.0 - observed.times[:count, -1],
            constant_velocity=~network,
            fallback=fallback,
            fewer_samples=bool(network.any() and len(forecast.samples) < self.samples),
            late=self.deadline is not None and seconds > self.deadline,
            stale=observed.quiet > self.stale_after,
            seconds=seconds,
        )

    def _needed(self, observed: Observations, count: int) -> Observations:
        """The observations of the first agents and of those who may be their neighbors."""
        limit = self.predictor.format.neighbors if isinstance(self.predictor, Predictor) else None
        if limit is None or not 0 < count < len(observed.ids) - limit:
            return observed
        points = observed.positions
        if not (np.ptp(points[:, -1], 0) <= self.max_distance).all():
            return observed  # who is an outlier depends on everybody
        here = resample(observed.times, points, 1, self.dt, self.max_gap)[:, 0]
        keep = nearest(here, count, limit)
        if keep is None:
            return observed
        ids = tuple(compress(observed.ids, keep))
        return replace(observed, ids=ids, times=observed.times[keep], positions=points[keep])

    def _draw(
        self,
        past: Floats,
        seen: Bools,
        ids: tuple[Hashable, ...],
        began: float,
        moment: Moment | None,
    ) -> tuple[Forecast, Bools, bool]:
        """Forecast the first agents.

        Args:
            past: Pasts of these A agents and their neighbors, [N, T, D].
            seen: Where they are finite, at least one step of each agent, [N, T].
            ids: The first A agents.
            began: Time at which the deadline began.
            moment: The place at the present; None: no memory.

        Returns:
            The forecast; which agents the network has forecast, [A]; whether there was no time for
            it.
        """
        count, horizon = len(ids), self.predictor.horizon
        network, faults = np.zeros(count, bool), np.full(count, None, dtype=object)
        if not count:
            nobody = np.empty((self.samples, 0, horizon, self.predictor.dims))
            return Forecast(nobody, self.dt, faults=faults), network, False
        near = near_center(past, seen, self.max_distance)
        usable = (near == seen).all(1)
        faults[~usable[:count]] = f"is more than {self.max_distance:g} from the others"
        targets = np.flatnonzero(usable[:count])
        drawn = None
        if len(targets):
            target_ids = tuple(ids[k] for k in targets)
            predict = partial(self._predict, past[usable], target_ids, moment=moment)
            drawn = self._caller(predict, int(usable.sum()), len(targets), began)
        if drawn is not None:
            network[targets] = np.isfinite(drawn.samples).all((0, 2, 3))
            if drawn.faults is not None:
                faults[targets] = drawn.faults
            if network.all():
                return replace(drawn, faults=faults), network, False
        outlier = np.asarray(~near[:count].any(1))
        jumped = [fault is not None for fault in faults] & usable[:count]
        usable = np.where((near[:count] | outlier[:, None])[..., None], past[:count], np.nan)
        futures = constant_velocity(usable, horizon, still=jumped | outlier)[None]
        if drawn is None:
            return Forecast(futures, self.dt, ids, faults=faults), network, len(targets) > 0
        futures = np.repeat(futures, len(drawn.samples), 0)
        futures[:, network] = drawn.samples[:, network[targets]]
        return replace(drawn, samples=futures, agents=ids, faults=faults), network, False

    def _predict(
        self,
        past: Floats,
        ids: tuple[Hashable, ...],
        samples: int,
        moment: Moment | None = None,
    ) -> Forecast:
        """The network's futures of the first agents."""
        targets, neighbors = past[: len(ids)], past[len(ids) :]
        around = neighbors if len(neighbors) else None
        options: dict[str, Any] = {} if self.dt == self.predictor.dt else {"dt": self.dt}
        options |= {} if moment is None else {"place": moment}
        options |= {"earlier_paths": True} if moment is not None and self.earlier_paths else {}
        try:
            return self.predictor.predict(targets, around, samples, self.seed, ids, **options)
        except TrajflowError:
            # `on_bad` is not passed before: a user's model that never raises need not support it.
            options["on_bad"] = "quarantine"
            return self.predictor.predict(targets, around, samples, self.seed, ids, **options)

    def _trial(self, agents: int, samples: int) -> None:
        """Forecast agents that walk side by side."""
        steps = np.arange(self.predictor.history)[:, None] / self.predictor.history
        start = np.linspace(0, agents, agents * self.predictor.dims).reshape(agents, 1, -1)
        self._predict(start + steps, tuple(range(agents)), samples)

    def _after_fork(self) -> None:
        self._buffer.after_fork()
        self._caller.after_fork()
        if self._watcher is not None:
            self._watcher.after_fork()


def constant_velocity(past: Floats, horizon: int, still: Bools) -> Floats:
    """Positions of the next F steps at the velocity of the last two observed steps, [A, F, D].

    Args:
        past: Positions, [A, T, D], not finite where not observed; each agent has an observed step.
        horizon: Number of steps F.
        still: Agents that stay at their last position, [A]; those observed once stay too.
    """
    step, seen = np.arange(past.shape[1]), np.isfinite(past).all(-1)
    last = np.where(seen, step, -1).max(1, initial=-1)
    before = np.where(seen & (step < last[:, None]), step, -1).max(1, initial=-1)
    agent, moving = np.arange(len(past)), (before >= 0) & ~still
    steps = np.where(moving, last - before, 1)[:, None]
    displacement = past[agent, last] - past[agent, before]
    velocity = np.where(moving[:, None], displacement, 0) / steps
    ahead = np.arange(1, horizon + 1) + (len(step) - 1 - last)[:, None]
    return np.asarray(past[agent, last][:, None] + ahead[..., None] * velocity[:, None])


def near_center(past: Floats, seen: Bools, distance: float) -> Bools:
    """Which observed positions are within a distance of the scene's centre, [A, T].

    Args:
        past: Positions, [A, T, D].
        seen: Where they are finite, at least one step of each agent, [A, T].
        distance: Largest distance along any coordinate.
    """
    positions = past[seen]
    if (positions.max(0) - positions.min(0) <= distance).all():
        return seen
    return np.asarray(seen & (np.abs(past - scene_center(past, distance)).max(-1) <= distance))


def _place_for(
    predictor: ForecastModel, dt: float, watch: bool | Place, earlier_paths: bool
) -> Place:
    """The place to fill, which the predictor must support.

    Raises:
        ConfigError: The predictor does not support it.
    """
    if not isinstance(predictor, Predictor):
        raise ConfigError("watch needs a trajflow.Predictor")
    ratio = dt / predictor.dt
    scale = predictor.displacement_scale * ratio
    place = Place(scale, predictor.dims) if watch is True else watch
    assert isinstance(place, Place)
    predictor.check_place(place, ratio, earlier_paths)
    return place


def _check_above(**settings: float) -> None:
    for name, value in settings.items():
        if not value > 0:
            raise ConfigError(f"{name} must be above 0, got {value}")


def _check_at_least(least: float, **settings: float) -> None:
    for name, value in settings.items():
        if not value >= least:
            raise ConfigError(f"{name} must be at least {least:g}, got {value}")


_ALIVE: WeakSet[OnlinePredictor] = WeakSet()


def _after_fork() -> None:
    for online in list(_ALIVE):
        online._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
