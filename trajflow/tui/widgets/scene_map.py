"""A map of a window on a terminal: where it looks, what it shows, the future as it passes."""

from __future__ import annotations

from dataclasses import replace

from textual.timer import Timer

from trajflow.batch import Floats
from trajflow.browsing.view import View
from trajflow.tui.widgets.layers import Pointing
from trajflow.tui.widgets.panes import better_below, fitted
from trajflow.tui.widgets.scene_surface import ROOM_FOR_TWO as ROOM_FOR_TWO
from trajflow.tui.widgets.scene_surface import SceneSurface
from trajflow.tui.widgets.viewport import Viewport

FRAMES = 12
"""Pictures of an animation in a second."""
SLOWEST, FASTEST = 1.5, 6.0
"""Steps in a second; between them the future passes as fast as it really does."""
PAUSE = 1.0
"""Seconds an animation rests at its end."""


class SceneMap(SceneSurface):
    """Shows one window, or the same window as forecast by two, and plays its future.

    Attributes:
        stacks: Whether two maps may also stand below each other, where that makes them larger.
    """

    DEFAULT_CSS = "SceneMap { width: 1fr; height: 1fr; min-width: 8; min-height: 3; }"

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.following, self.stacks, self._free = False, False, False
        self._timer: Timer | None = None

    @property
    def playing(self) -> bool:
        """Whether the future is being played."""
        return self._timer is not None

    def show(self, view: View, second: View | None = None) -> None:
        """Show a window; the map moves only as far as it must.

        Args:
            view: The window.
            second: The same window as forecast by someone else, beside it.
        """
        self.view, self.second, self.hovered, self._words = view, second, None, ""
        agent = self.pointing.agent
        if agent is not None and agent >= view.agents:
            self.pointing = Pointing()
        self._look_there()
        self.stale()

    def point(
        self, agent: int | None, step: int | None = None, stored: Floats | None = None
    ) -> None:
        """Let an agent stand out.

        Args:
            agent: Who; None: nobody.
            step: Which past step is being changed, if one is; the map then stands still.
            stored: The past as it was before, [T, D].
        """
        self.pointing = replace(self.pointing, agent=agent, step=step, stored=stored)
        self._look_there()
        self.stale()

    def follow(self, on: bool) -> None:
        """Keep the agent that stands out in the middle."""
        self.following = on
        self._look_there()
        self.stale()

    def look_at(self, port: Viewport) -> None:
        """Look somewhere else, and stay there."""
        if self.view is not None:
            self.port, self._free = port, True
            self.stale()

    def fit(self) -> None:
        """Show the whole window, and the next ones too."""
        self._free = False
        if self.view is not None:
            self.port = fitted(self.view, Viewport(0, 0, 1e-9, 1, 1), self.panes)
        self.stale()

    def animate_future(self, on: bool) -> None:
        """Play the future as time passes, again and again, or show all of it."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        moment = None
        if on and self.view is not None:
            moment = 0.0
            self._timer = self.set_interval(1 / FRAMES, self._play)
        self.pointing = replace(self.pointing, moment=moment)
        self.stale()

    def step_future(self, steps: int) -> None:
        """Halt at a whole step of the future, so many on from where it is."""
        if self.view is None:
            return
        moment = self.pointing.moment
        horizon = self.view.horizon
        begin = (0 if steps > 0 else horizon + 1) if moment is None else moment
        self.animate_future(False)
        there = min(horizon, max(0, round(begin) + steps))
        self.pointing = replace(self.pointing, moment=float(there))
        self.stale()

    def on_resize(self) -> None:
        """The same place, in a map of another size."""
        self._look_there()
        self.stale()

    def _look_there(self) -> None:
        """Bring the viewport to the size of the widget and to what is shown."""
        if self.stacks and self.view is not None and self.second is not None and not self._free:
            self._below = better_below(self.view, *self.size)
        panes, view = self.panes, self.view
        if view is None or not panes.width or not panes.rows:
            return
        if (self.port.columns, self.port.rows) != panes.dots:
            self.port = self.port.resized(*panes.dots)
            if not self._free:
                self.port = fitted(view, Viewport(0, 0, 1e-9, 1, 1), panes)
        agent = self.pointing.agent
        if self.following and agent is not None:
            self.port = self.port.centred(*view.present[agent][:2].tolist())
        elif not self._free and self.pointing.step is None:
            self.port = fitted(view, self.port, panes)

    def _play(self) -> None:
        moment = self.pointing.moment
        if self.view is None or moment is None:
            self.animate_future(False)
            return
        if not self.screen.is_current:
            return
        pace = min(FASTEST, max(SLOWEST, 1 / self.view.dt))
        moment += pace / FRAMES
        if moment > self.view.horizon + PAUSE * pace:
            moment = 0.0
        self.pointing = replace(self.pointing, moment=moment)
        self.repaint()
