"""Forecasts in a control loop: push observations as they come, ask for forecasts at any time."""

from __future__ import annotations

import os
import time as clocks
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol
from weakref import WeakSet

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajflow.errors import ConfigError, TrajflowError
from trajflow.forecast import Forecast
from trajflow.inference.base import Predictor
from trajflow.inference.inputs import scene_center
from trajflow.inference.online.buffer import ObservationBuffer
from trajflow.inference.online.deadline import DeadlineCaller
from trajflow.inference.online.resampling import resample
from trajflow.inference.online.watching import Watcher
from trajflow.place import Moment, Place

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class ForecastModel(Protocol):
    """What an `OnlinePredictor` needs: a `Predictor`, with torch or without, or one's own.

    `predict` may be called from a thread other than the one that made the predictor, but never
    from two at once where a deadline is set. It is given `dt` only where that is not `self.dt`.
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
        """Futures [S, A, F, D] of pasts [A, T, D] among neighbors [N, T, D].

        Steps that are not finite are missing; every agent was seen at one of its steps. Where
        this raises a `TrajflowError` it is called again with `on_bad="quarantine"`: NaN for those
        who cannot be forecast, who then go on at constant velocity.
        """


@dataclass(frozen=True)
class OnlineForecast:
    """A forecast, and how far it can be relied on.

    Attributes:
        forecast: The futures of A agents, from `time` on. Its `faults` name what is wrong with an
            agent that is quarantined.
        ids: The agents, A of them.
        time: The present: the latest time that was pushed, in seconds; nan before the first push.
        seen: Past steps at which each agent was seen, [A].
        age: Seconds since each agent was last seen, [A].
        constant_velocity: Which agents are forecast without the network, [A]: all where there was
            no time for it, else those that are quarantined or get nothing finite from it. They go
            on at constant velocity, or stay where a jump leaves no velocity.
        fallback: Whether there was no time for the network, for any agent.
        fewer_samples: Whether there are fewer samples than asked for, to be in time.
        late: Whether it came after the deadline all the same.
        stale: Whether nothing newer was pushed for longer than allowed.
        seconds: What it took.
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
    """Forecasts from observations that come in irregularly, late, and with gaps.

    Threads may push and forecast at the same time. Memory is bounded and taken at the start: the
    last observations of so many agents. A forked child goes on with what was pushed.

    Example:
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
        clock: Callable[[], float] = clocks.monotonic,
    ) -> None:
        """Take memory, and run the network some times so that the first forecast is no slower.

        Args:
            predictor: What draws the futures.
            dt: Seconds per step of pasts and forecasts; None: as the predictor was trained.
                Others need a model trained for several.
            samples: Futures of each agent, S.
            seed: Equal seeds and observations give equal forecasts; None draws afresh.
            deadline_ms: Milliseconds within which `forecast` shall answer: with fewer samples
                rather than late, then without the network. None: it takes its time.
            stale_after: Seconds without a newer push after which forecasts are marked as stale.
            rewind_after: Seconds in which pushes come but none is newer than the present, after
                which their clock counts as set back: all is forgotten and begins again.
            max_gap: Longest time between two observations that is interpolated, the length of a
                past at most; None: three steps.
            forget_after: Seconds after which an agent that is not seen is forgotten, the length of
                a past at most; None: that.
            max_agents: Agents that are remembered at once.
            max_observations: Observations that are kept of each, four for every step at least.
                Where agents are seen so often that the past does not fit, it is thinned out.
            max_distance: Distance from the center of all agents, in the predictor's unit, beyond
                which an agent is quarantined: the network's precision is single.
            watch: Whether what is pushed fills a place that the forecasts remember, `place`; the
                predictor was trained with `model.memory`. A place that was watched before, as of
                `Place.load`, is filled further. Memory grows with it up to its own bound.
            clock: Seconds that deadlines and staleness are measured by.

        Raises:
            ConfigError: A number is out of bounds, or the predictor does not know that `dt`, or
                has no memory.
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
        self._watcher = None
        if watch is not False:
            self._watcher = Watcher(_place_for(predictor, self.dt, watch), self.dt, self.max_gap)
        self._quarantined = 0
        self._caller = DeadlineCaller(self._trial, samples, self.deadline, clock)
        _ALIVE.add(self)

    @property
    def place(self) -> Place | None:
        """What was watched so far; None without `watch`. `place.save` keeps it."""
        return None if self._watcher is None else self._watcher.place

    @property
    def dropped(self) -> dict[str, int]:
        """What was dropped, counted.

        Observations that were `not_finite` (or masked), `too_large` to compute with, too `late` to
        matter, or too `dense` to be kept; agents that found no room (`crowded`); how often the
        clock was set back (`rewound`), and a forecast quarantined an agent (`quarantined`).
        """
        return self._buffer.dropped | {"quarantined": self._quarantined}

    def push(self, time: float, ids: Sequence[Hashable], positions: ArrayLike) -> None:
        """Add where agents were at a time.

        An observation may come late; it is sorted in. A position that is not finite, masked or
        beyond +-1e100 is left out and counted in `dropped`. A push without agents moves the
        present on.

        Args:
            time: Seconds, on the clock of all pushes.
            ids: Who was seen, each once: strings, numbers, UUIDs, or tuples of these, of 256
                characters at most. An id is one agent for as long as it is remembered.
            positions: Where, [A, D], in the predictor's unit.

        Raises:
            TrajflowError: Time, ids or positions are not what they should be; nothing was added.
        """
        self._buffer.push(time, ids, positions)
        if self._watcher is not None:
            self._watcher.follow(self._buffer)

    def reset(self) -> None:
        """Forget all that was pushed, as when a simulation begins again; `place` keeps it."""
        self._buffer.reset()

    def forecast(self, ids: Sequence[Hashable] | None = None) -> OnlineForecast:
        """Futures from the last pushed time on.

        Args:
            ids: Who is forecast, in this order, with all others as neighbors. None: all who were
                seen lately, in the order in which they appeared, maybe nobody.

        Raises:
            TrajflowError: Nothing was pushed yet, or an agent was not seen lately.
        """
        began = self._clock()
        observed, count = self._buffer.read(self.forget_after, ids)
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

    def _draw(
        self,
        past: Floats,
        seen: Bools,
        ids: tuple[Hashable, ...],
        began: float,
        moment: Moment | None,
    ) -> tuple[Forecast, Bools, bool]:
        """Futures of the agents that come first.

        Args:
            past: Pasts of these A agents and their neighbors, [N, T, D].
            seen: Where these are finite, at one step of each agent at least, [N, T].
            ids: The first A agents.
            began: When the time to answer in began.
            moment: What is remembered; None: nothing.

        Returns:
            The forecast; which agents the network has forecast, [A]; whether it had no time.
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
            some = tuple(ids[k] for k in targets)
            predict = partial(self._predict, past[usable], some, moment=moment)
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
        """The network's futures of the agents that come first."""
        targets, neighbors = past[: len(ids)], past[len(ids) :]
        around = neighbors if len(neighbors) else None
        options: dict[str, Any] = {} if self.dt == self.predictor.dt else {"dt": self.dt}
        options |= {} if moment is None else {"place": moment}
        try:
            return self.predictor.predict(targets, around, samples, self.seed, ids, **options)
        except TrajflowError:
            # Only now: a model of one's own that refuses nobody need not know `on_bad`.
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
    """Positions of the next F steps at the velocity between the last two steps seen, [A, F, D].

    Args:
        past: Positions, each agent seen at one step at least, not finite where unseen, [A, T, D].
        horizon: Number of steps F.
        still: Agents that stay where they were last, as do those that were seen once, [A].
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
    """Which positions were seen within a distance of the scene's center, [A, T].

    Args:
        past: Positions, [A, T, D].
        seen: Where they are finite, for each agent at one step at least, [A, T].
        distance: Along any coordinate.
    """
    positions = past[seen]
    if (positions.max(0) - positions.min(0) <= distance).all():
        return seen
    return np.asarray(seen & (np.abs(past - scene_center(past, distance)).max(-1) <= distance))


def _place_for(predictor: ForecastModel, dt: float, watch: bool | Place) -> Place:
    """The place that is watched, which the predictor can use.

    Raises:
        ConfigError: It cannot.
    """
    if not isinstance(predictor, Predictor):
        raise ConfigError("watch needs a trajflow.Predictor trained with model.memory")
    ratio = dt / predictor.dt
    scale = predictor.displacement_scale * ratio
    place = Place(scale, predictor.dims) if watch is True else watch
    assert isinstance(place, Place)
    predictor.check_place(place, ratio)
    return place


def _check_above(**settings: float) -> None:
    """Refuse settings that are not positive, by name."""
    for name, value in settings.items():
        if not value > 0:
            raise ConfigError(f"{name} must be above 0, got {value}")


def _check_at_least(least: float, **settings: float) -> None:
    """Refuse settings below a bound, by name."""
    for name, value in settings.items():
        if not value >= least:
            raise ConfigError(f"{name} must be at least {least:g}, got {value}")


_ALIVE: WeakSet[OnlinePredictor] = WeakSet()


def _after_fork() -> None:
    for online in list(_ALIVE):
        online._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
