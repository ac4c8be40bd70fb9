"""Futures from the network if there is time for it, and straight on if there is not."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.errors import TrajflowError
from trajflow.forecast import Forecast
from trajflow.online.deadline import Budget, Cost
from trajflow.online.predicting import Predicting
from trajflow.online.straight import near_others, straight_on
from trajflow.online.timely import Timely

Floats = NDArray[np.float64]
LAST_WORDS = 0.1
"""Share of the deadline kept to go straight on in, a millisecond at least."""
FADING = 0.98
"""How fast it is forgotten from call to call that this thread was woken up late."""


@dataclass(frozen=True)
class Drawn:
    """Futures of A agents.

    Attributes:
        forecast: Samples [S, A, F, D].
        straight: Who goes straight on instead of as the network says, [A].
        fallback: Whether all do because there was no time for the network.
        thinned: Whether the network drew fewer samples than wanted.
    """

    forecast: Forecast
    straight: NDArray[np.bool_]
    fallback: bool = False
    thinned: bool = False


class Drawing:
    """Asks a predictor for as many samples as there is time for, and does without it if need be.

    Equal pasts are asked for with equal seeds. The first calls, whose time does not count, are
    made at once: libraries load on them, and they tell what a call costs.
    """

    def __init__(
        self,
        predictor: Predicting,
        dt: float,
        samples: int,
        seed: int | None,
        deadline: float | None,
        far: float,
        clock: Callable[[], float],
    ) -> None:
        self.predictor, self.dt, self.samples, self.seed = predictor, dt, samples, seed
        self.deadline, self.far, self._clock = deadline, far, clock
        self._wakes = 0.0
        self._timely = None if deadline is None else Timely()
        self._budget = Budget(Cost.measured(self._trial, samples))

    def renew(self) -> None:
        """Go on in a forked child, where only the thread that forked still runs."""
        self._budget.renew()
        # The network runs in a new thread: OpenMP waits for ever for the threads of the old one.
        self._timely = Timely()

    def __call__(self, past: Floats, ids: tuple[Hashable, ...], began: float) -> Drawn:
        """Futures of the agents who come first.

        Args:
            past: Pasts of these A agents and of others around them, each seen at one step at
                least, [N, T, D].
            ids: Who the A first ones are.
            began: When the time to answer in began.
        """
        count, horizon = len(ids), self.predictor.horizon
        if not count:
            empty = np.empty((self.samples, 0, horizon, self.predictor.dims))
            return Drawn(Forecast(empty, self.dt), np.zeros(0, bool))
        seen = np.asarray(np.isfinite(past).all(-1))
        near = near_others(past, seen, self.far)
        usable = (near == seen).all(1)
        asked = tuple(agent for agent, one in zip(ids, usable, strict=False) if one)
        drawn = self._timely_drawn(past[usable], asked, began) if asked else None
        faults = np.full(count, None, dtype=object)
        faults[~usable[:count]] = f"is more than {self.far:g} from the others"
        if drawn is None:
            still = np.asarray(~near[:count].any(1))
            futures = self._straight_on(past[:count], near[:count], still)[None]
            told = Forecast(futures, self.dt, ids, faults=faults)
            return Drawn(told, np.ones(count, bool), fallback=bool(asked))
        thinned, finite = len(drawn.samples) < self.samples, np.isfinite(drawn.samples)
        if drawn.faults is not None:
            faults[usable[:count]] = drawn.faults
        if usable.all() and finite.all():
            return Drawn(replace(drawn, faults=faults), np.zeros(count, bool), thinned=thinned)
        jumped = np.array([fault is not None for fault in faults], bool) & usable[:count]
        still = jumped | ~near[:count].any(1)
        futures = self._straight_on(past[:count], near[:count], still)[None]
        futures = np.repeat(futures, len(drawn.samples), 0)
        kept = finite.all((0, 2, 3))
        network = np.flatnonzero(usable[:count])[kept]
        futures[:, network] = drawn.samples[:, kept]
        straight = np.isin(np.arange(count), network, invert=True)
        told = replace(drawn, samples=futures, agents=ids, faults=faults)
        return Drawn(told, straight, thinned=thinned)

    def _straight_on(
        self, past: Floats, near: NDArray[np.bool_], still: NDArray[np.bool_]
    ) -> Floats:
        """Futures [A, F, D] by the positions that are near the others, where there are any."""
        kept = near | ~near.any(1, keepdims=True)
        return straight_on(np.where(kept[..., None], past, np.nan), self.predictor.horizon, still)

    def _timely_drawn(
        self, past: Floats, ids: tuple[Hashable, ...], began: float
    ) -> Forecast | None:
        """As many samples as there is time for; None where there is time for none."""
        if self._timely is None:
            return self._asked(past, ids, self.samples)
        if self.deadline is None:
            return self._timely.run(lambda: self._asked(past, ids, self.samples), None)
        left = self.deadline - (self._clock() - began)
        samples = self._budget.samples(self.samples, len(past), len(ids), left)
        if samples < 1:
            return None
        kept = max(LAST_WORDS * self.deadline, 1e-3) + self._wakes
        until = max(left - kept, left / 2)
        drawn = self._timely.run(lambda: self._learned(past, ids, samples), until)
        over = self._clock() - began - (self.deadline - left + until)
        self._wakes = max(over if drawn is None else 0.0, FADING * self._wakes)
        self._budget.ended(drawn is not None and over <= left - until)
        return drawn

    def _learned(self, past: Floats, ids: tuple[Hashable, ...], samples: int) -> Forecast:
        begin = self._clock()
        drawn = self._asked(past, ids, samples)
        self._budget.learn(len(past), samples * len(ids), self._clock() - begin)
        return drawn

    def _asked(self, past: Floats, ids: tuple[Hashable, ...], samples: int) -> Forecast:
        known = past[: len(ids)]
        around = past[len(ids) :] if len(past) > len(ids) else None
        told: dict[str, Any] = {} if self.dt == self.predictor.dt else {"dt": self.dt}
        try:
            return self.predictor.predict(known, around, samples, self.seed, ids, **told)
        except TrajflowError:
            # Only now: a predictor of the caller's own that refuses nobody need not know on_bad.
            told["on_bad"] = "quarantine"
            return self.predictor.predict(known, around, samples, self.seed, ids, **told)

    def _trial(self, agents: int, samples: int) -> float:
        """Seconds that a call takes at best, after one that does not count."""
        steps = np.arange(self.predictor.history)[:, None]
        begin = np.linspace(0, agents, agents * self.predictor.dims)
        past = begin.reshape(agents, 1, -1) + steps / self.predictor.history
        ids, taken = tuple(range(agents)), []
        for _ in range(4):
            began = self._clock()
            if self._timely is None:
                self._asked(past, ids, samples)
            else:
                self._timely.run(lambda: self._asked(past, ids, samples), None)
            taken.append(self._clock() - began)
        return min(taken[1:])
