"""Editing an agent's past: what is changed, and the controller between keys, mouse and map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from trajflow.browse.view import Bools, Floats, View
from trajflow.tui.widgets.scene_view import SceneView

NOISE = 0.15
"""Standard deviation of noise as a share of the agent's displacement per step."""
NUDGE = 2.0
"""Dots by which a key moves a point: the width of a cell, so zooming in makes it finer."""


@dataclass(frozen=True)
class PastEdit:
    """An edited past beside the observed one; both are [A, T, D], NaN where a step is missing.

    Attributes:
        agent, step: The selected point.
    """

    observed: Floats
    past: Floats
    agent: int
    step: int

    @classmethod
    def of(cls, past: Floats, agent: int) -> PastEdit:
        return cls(past, past.copy(), agent, past.shape[1] - 1)

    @property
    def changed(self) -> Bools:
        """[A, T]."""
        missing = np.isnan(self.past) & np.isnan(self.observed)
        return np.asarray(~((self.past == self.observed) | missing).all(-1))

    @property
    def moved_by(self) -> float:
        """Distance of the selected point from where it was observed; NaN if it is missing."""
        edited, observed = (x[self.agent, self.step] for x in (self.past, self.observed))
        return float(np.linalg.norm(edited - observed))

    @property
    def displacement(self) -> float:
        """Median displacement per step of the agent; 0 if it was observed once."""
        steps = np.linalg.norm(np.diff(self.observed[self.agent], axis=0), axis=-1)
        return float(np.nanmedian(steps)) if np.isfinite(steps).any() else 0.0

    def select(self, step: int, agent: int | None = None) -> PastEdit:
        bounded = min(self.past.shape[1] - 1, max(0, step))
        return replace(self, step=bounded, agent=self.agent if agent is None else agent)

    def nudged(self, right: float, up: float, axes: tuple[int, int] = (0, 1)) -> PastEdit:
        """With two coordinates of the selected point changed; a missing one comes back first."""
        before = self._position()[list(axes)]
        return self.moved(before[0] + right, before[1] + up, axes)

    def moved(self, right: float, up: float, axes: tuple[int, int] = (0, 1)) -> PastEdit:
        position = self._position().copy()
        position[list(axes)] = right, up
        return self._with(self.step, position)

    def dropped(self) -> PastEdit:
        """Without the selected point; the last observed one of an agent stays."""
        seen = np.isfinite(self.past[self.agent]).all(-1)
        if seen.sum() <= 1 and seen[self.step]:
            return self
        return self._with(self.step, np.full(self.past.shape[-1], np.nan))

    def noised(self, seed: int, least: float) -> PastEdit:
        """With noise on all points of the agent, of a standard deviation of at least `least`."""
        scale = max(NOISE * self.displacement, least)
        noise = np.random.default_rng(seed).normal(0, scale, self.past.shape[1:])
        return self._with(slice(None), self.past[self.agent] + noise)

    def restored(self) -> PastEdit:
        return self._with(self.step, self.observed[self.agent, self.step])

    def reset(self) -> PastEdit:
        return replace(self, past=self.observed.copy())

    def _position(self) -> Floats:
        """The selected point; where it was observed, or between others, if it is missing."""
        path = self.past[self.agent]
        for positions in (path, self.observed[self.agent]):
            if np.isfinite(positions[self.step]).all():
                return np.asarray(positions[self.step])
        seen = np.flatnonzero(np.isfinite(path).all(-1))
        axes = [np.interp(self.step, seen, path[seen, k]) for k in range(path.shape[-1])]
        return np.array(axes)

    def _with(self, step: int | slice, value: Floats) -> PastEdit:
        past = self.past.copy()
        past[self.agent, step] = value
        return replace(self, past=past)


class EditController:
    """Turns keys and mouse on a map into edits of the past, and has each edit forecast.

    `changed` is called after every edit, and with False after another point was selected.
    """

    def __init__(self, scene: SceneView, changed: Callable[[bool], None]) -> None:
        self._scene, self._changed = scene, changed
        self.edit: PastEdit | None = None
        self._targets: list[int] = []

    def begin(self, view: View, agent: int | None) -> None:
        self._targets = np.flatnonzero(view.target).tolist()
        if self._targets:
            self._scene.play(False)
            first = agent if agent in self._targets else self._targets[0]
            self._select(PastEdit.of(view.past, first))

    def end(self) -> bool:
        """Forget the edit; whether anything had been changed."""
        changed = self.edit is not None and bool(self.edit.changed.any())
        self.edit = None
        return changed

    def select_step(self, way: int) -> None:
        if self.edit is not None:
            self._select(self.edit.select(self.edit.step + way))

    def select_point(self, agent: int, step: int | None) -> None:
        if self.edit is not None:
            self._select(self.edit.select(self.edit.step if step is None else step, agent))

    def select_agent(self, way: int) -> None:
        """Edit the next target; edits of others stay."""
        if self.edit is not None:
            agents = self._targets
            at = agents.index(self.edit.agent) if self.edit.agent in agents else -1
            self._select(self.edit.select(self.edit.step, agents[(at + way) % len(agents)]))

    def nudge(self, right: int, up: int) -> None:
        port = self._scene.port
        far = NUDGE * port.scale
        self.apply(lambda edit: edit.nudged(right * far, up * far, port.axes))

    def noise(self) -> None:
        seed = int(np.random.default_rng().integers(1 << 30))
        self.apply(lambda edit: edit.noised(seed, self._scene.port.scale))

    def drop(self) -> None:
        if not self.apply(PastEdit.dropped):
            self._scene.notify("at least one point must stay")

    def restore(self) -> None:
        self.apply(PastEdit.restored)

    def reset(self) -> None:
        self.apply(PastEdit.reset)

    def apply(self, change: Callable[[PastEdit], PastEdit]) -> bool:
        """Change the past; whether it is another one now."""
        if self.edit is None:
            return True
        before, self.edit = self.edit, change(self.edit)
        if self.edit is before:
            return False
        self._changed(True)
        return True

    def _select(self, edit: PastEdit) -> None:
        self.edit = edit
        self._scene.select(edit.agent, edit.step, edit.observed[edit.agent])
        self._changed(False)
