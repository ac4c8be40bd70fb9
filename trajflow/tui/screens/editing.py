"""A map on which the past can be changed by hand, and the forecast follows at once."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import numpy as np

from trajflow.tui.editing import Edit
from trajflow.tui.messages import Tell
from trajflow.tui.screens.mapping import MapScreen
from trajflow.tui.widgets.scene_canvas import SceneCanvas

ONLY_HERE = ("nudge", "point", "drop", "noise", "restore", "reset", "leave_edit")
NOT_HERE = ("agent", "moment", "play")
NUDGE = 2.0
"""Dots by which a key moves a point: the width of a cell, so zooming in makes it finer."""


class EditScreen(MapScreen):
    """Adds a mode in which keys and mouse move the points of one agent's past."""

    @abstractmethod
    def forecast_again(self) -> None:
        """Ask for the forecast of the past as it is now."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Some keys mean something else while the past is edited."""
        editing = self.edit is not None
        if action in ONLY_HERE or action == "edit_agent":
            return editing
        if action in NOT_HERE or action == "edit":
            return not editing
        return super().check_action(action, parameters)

    def action_edit(self) -> None:
        """Begin to edit the agent that stands out, or the first one."""
        if self.view is None:
            return
        targets = np.flatnonzero(self.view.target)
        agent = int(targets[0])
        if self.agent is not None and self.agent in targets:
            agent = self.agent
        self.canvas.animate_future(False)
        self._take(Edit.of(self.view.past, agent))

    def action_leave_edit(self) -> None:
        """Back to what was observed."""
        changed = self.edit is not None and bool(self.edit.changed.any())
        self.end_edit()
        if changed:
            self.forecast_again()

    def end_edit(self) -> None:
        """Forget what was changed."""
        if self.edit is not None:
            self.edit = None
            self.canvas.point(self.agent)
            self.refresh_bindings()
            self.tell()

    def action_edit_agent(self, way: int) -> None:
        """Edit the next agent that is forecast; changes of others stay."""
        if self.edit is None or self.view is None:
            return
        targets = np.flatnonzero(self.view.target).tolist()
        at = targets.index(self.edit.agent) if self.edit.agent in targets else -1
        self._take(self.edit.choose(self.edit.step, targets[(at + way) % len(targets)]))

    def action_point(self, way: int) -> None:
        """Choose the next or the last point."""
        if self.edit is not None:
            self._take(self.edit.choose(self.edit.step + way))

    def action_nudge(self, right: int, up: int) -> None:
        """Move the point by a cell's width."""
        if self.edit is not None:
            far = NUDGE * self.canvas.port.scale
            self._change(self.edit.nudge(right * far, up * far))

    def action_drop(self) -> None:
        """Take the point away, as if it had not been seen."""
        if self.edit is None:
            return
        after = self.edit.drop()
        if after is self.edit:
            self.post_message(Tell("one point at least must stay"))
        else:
            self._change(after)

    def action_noise(self) -> None:
        """Put noise on all points of the agent."""
        if self.edit is not None:
            seed = int(np.random.default_rng().integers(1 << 30))
            self._change(self.edit.noised(seed, self.canvas.port.scale))

    def action_restore(self) -> None:
        """Put the point back where it was observed."""
        if self.edit is not None:
            self._change(self.edit.restored())

    def action_reset(self) -> None:
        """Put everything back where it was observed."""
        if self.edit is not None:
            self._change(self.edit.reset())

    def on_scene_canvas_picked(self, message: SceneCanvas.Picked) -> None:
        """Choose the point that was clicked, or the agent."""
        if self.edit is None:
            super().on_scene_canvas_picked(message)
        else:
            step = self.edit.step if message.step is None else message.step
            self._take(self.edit.choose(step, message.agent))

    def on_scene_canvas_dragged(self, message: SceneCanvas.Dragged) -> None:
        """Move the point to where the mouse is."""
        if self.edit is not None:
            self._change(self.edit.move(message.x, message.y))

    def _take(self, edit: Edit) -> None:
        begun = self.edit is None
        self.edit, self.agent = edit, edit.agent
        self.canvas.point(edit.agent, edit.step, edit.stored[edit.agent])
        if begun:
            self.refresh_bindings()
        self.tell()

    def _change(self, edit: Edit) -> None:
        """Show the changed past before its forecast is there."""
        self.edit = edit
        if self.view is not None:
            self.view = replace(self.view, past=edit.past, edited=edit.changed)
            self.canvas.show(self.view, self.second)
        self.tell()
        self.forecast_again()
