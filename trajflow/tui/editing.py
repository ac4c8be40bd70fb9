"""A past that is changed by hand: one point moved or taken away, or noise on all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from trajflow.batch import Bools, Floats

NOISE = 0.15
"""Deviation of noise as a share of the agent's usual displacement per step."""


@dataclass(frozen=True)
class Edit:
    """A past beside the one that was observed.

    Attributes:
        stored: World positions as observed, [A, T, D].
        past: World positions as they are now, [A, T, D]; NaN where a step is missing.
        agent: Who is being changed.
        step: Which of their past steps.
    """

    stored: Floats
    past: Floats
    agent: int
    step: int

    @classmethod
    def of(cls, past: Floats, agent: int) -> Edit:
        """Begin with what was observed, [A, T, D], at an agent's present."""
        return cls(past, past.copy(), agent, past.shape[1] - 1)

    @property
    def changed(self) -> Bools:
        """Past steps that are not as observed, [A, T]."""
        gone = np.isnan(self.past) & np.isnan(self.stored)
        return np.asarray(~((self.past == self.stored) | gone).all(-1))

    @property
    def away(self) -> float:
        """How far the chosen point is from where it was observed; NaN if it is missing."""
        here, there = (x[self.agent, self.step] for x in (self.past, self.stored))
        return float(np.linalg.norm(here - there))

    @property
    def pace(self) -> float:
        """Usual displacement per step of the agent as observed; 0 of one that was seen once."""
        way = np.linalg.norm(np.diff(self.stored[self.agent], axis=0), axis=-1)
        return float(np.nanmedian(way)) if np.isfinite(way).any() else 0.0

    def choose(self, step: int, agent: int | None = None) -> Edit:
        """Another point, within the past."""
        bounded = min(self.past.shape[1] - 1, max(0, step))
        return replace(self, step=bounded, agent=self.agent if agent is None else agent)

    def nudge(self, x: float, y: float) -> Edit:
        """The chosen point moved by so much; a missing one comes back first."""
        here = self._there() + np.array([x, y, *[0.0] * (self.past.shape[-1] - 2)])
        return self._put(self.agent, self.step, here)

    def move(self, x: float, y: float) -> Edit:
        """The chosen point moved to a place."""
        here = self._there().copy()
        here[:2] = x, y
        return self._put(self.agent, self.step, here)

    def drop(self) -> Edit:
        """Without the chosen point; the last one that is seen of an agent stays."""
        seen = np.isfinite(self.past[self.agent]).all(-1)
        if seen.sum() <= 1 and seen[self.step]:
            return self
        return self._put(self.agent, self.step, np.full(self.past.shape[-1], np.nan))

    def noised(self, seed: int, least: float) -> Edit:
        """With noise on all points of the agent; its deviation is at least `least`."""
        chance = np.random.default_rng(seed)
        size = self.past.shape[1:]
        noise = chance.normal(0, max(NOISE * self.pace, least), size)
        return self._put(self.agent, slice(None), self.past[self.agent] + noise)

    def restored(self) -> Edit:
        """With the chosen point as it was observed."""
        return self._put(self.agent, self.step, self.stored[self.agent, self.step])

    def reset(self) -> Edit:
        """With everything as it was observed."""
        return replace(self, past=self.stored.copy())

    def _there(self) -> Floats:
        """Where the chosen point is; where it was observed, or between others, if it is missing."""
        path = self.past[self.agent]
        if np.isfinite(path[self.step]).all():
            return np.asarray(path[self.step])
        if np.isfinite(self.stored[self.agent, self.step]).all():
            return np.asarray(self.stored[self.agent, self.step])
        seen = np.flatnonzero(np.isfinite(path).all(-1))
        axes = [np.interp(self.step, seen, path[seen, k]) for k in range(path.shape[-1])]
        return np.array(axes)

    def _put(self, agent: int, step: int | slice, value: Floats) -> Edit:
        past = self.past.copy()
        past[agent, step] = value
        return replace(self, past=past)
