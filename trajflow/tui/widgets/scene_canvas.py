"""The map of a window: agents and their forecasts, and the keys and mouse that explore them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.filter import ANSIToTruecolor
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from trajflow.batch import Floats
from trajflow.browsing.view import View
from trajflow.tui.keys import bound
from trajflow.tui.widgets.look import Look
from trajflow.tui.widgets.looks import look_of
from trajflow.tui.widgets.panes import Panes, fitted, nearest_agent, nearest_sample, nearest_step
from trajflow.tui.widgets.scene_picture import Layers, Pointing
from trajflow.tui.widgets.viewport import Viewport

FRAMES = 12
"""Pictures of an animation in a second."""
PAUSE = 1.0
"""Seconds an animation rests at its end."""
ROOM_FOR_TWO = 60
"""Columns from which two maps stand side by side."""


class SceneCanvas(Widget, can_focus=True):
    """Shows one window, or the same window as forecast by two.

    Keys zoom and pan; so do the wheel and dragging. Where the mouse is, the nearest sample stands
    out. What is drawn follows from `drawn` and `pointing`.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = "SceneCanvas { width: 1fr; height: 1fr; min-width: 8; min-height: 3; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        bound("map.closer", "plus,equals_sign", "zoom(1.25)", "Zoom in", show=False, shown="+"),
        bound("map.farther", "minus", "zoom(0.8)", "Zoom out", show=False, shown="-"),
        bound("map.fit", "0", "fit", "Fit the map", show=False),
        bound("map.left", "shift+left,H", "pan(-1,0)", "Pan left", show=False),
        bound("map.right", "shift+right,L", "pan(1,0)", "Pan right", show=False),
        bound("map.up", "shift+up,K", "pan(0,-1)", "Pan up", show=False),
        bound("map.down", "shift+down,J", "pan(0,1)", "Pan down", show=False),
    ]

    @dataclass
    class Hovered(Message):
        """The mouse is over a place of the world; `sample` is an agent and its nearest sample."""

        x: float
        y: float
        sample: tuple[int, int] | None

    @dataclass
    class Picked(Message):
        """An agent was clicked, or a step of the past of the agent that is being edited."""

        agent: int
        step: int | None

    @dataclass
    class Dragged(Message):
        """The chosen point of the past was dragged to a place of the world."""

        x: float
        y: float

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.drawn, self.pointing = Layers(), Pointing()
        self.view: View | None = None
        self.second: View | None = None
        self.port = Viewport(0.0, 0.0, 0.05, 2, 4)
        self.following = False
        self._words, self._free, self._grabbed = "", False, False
        self._hover: tuple[bool, tuple[int, int]] | None = None
        self._strips: list[Strip] | None = None
        self._timer: Timer | None = None

    @property
    def panes(self) -> Panes:
        """How the maps share the widget."""
        two = self.second is not None and self.size.width >= ROOM_FOR_TWO
        return Panes(self.size.width, self.size.height, two)

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
        self.view, self.second, self._hover, self._words = view, second, None, ""
        agent = self.pointing.agent
        if agent is not None and agent >= view.agents:
            self.pointing = Pointing()
        self._look_there()
        self._stale()

    def say(self, words: str) -> None:
        """Show a word instead of a map, until the next window."""
        self.view, self.second, self._words = None, None, words
        self._stale()

    def draw(self, layers: Layers) -> None:
        """Choose what is drawn."""
        self.drawn = layers
        self._stale()

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
        self._stale()

    def follow(self, on: bool) -> None:
        """Keep the agent that stands out in the middle."""
        self.following = on
        self._look_there()
        self._stale()

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
        self._stale()

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
        self._stale()

    def action_zoom(self, factor: float) -> None:
        """Closer or farther."""
        self._move(self.port.zoom(factor))

    def action_fit(self) -> None:
        """Show the whole window."""
        self._free = False
        if self.view is not None:
            self.port = fitted(self.view, Viewport(0, 0, 1e-9, 1, 1), self.panes)
        self._stale()

    def action_pan(self, right: int, down: int) -> None:
        """Move by a sixth of the map."""
        self._move(self.port.pan(right * self.port.columns / 6, down * self.port.rows / 6))

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines of the map, painted once for each change."""
        strips = self._painted()[crop.y : crop.bottom]
        strips += [Strip.blank(self.size.width)] * (crop.height - len(strips))
        if (crop.x, crop.width) != (0, self.size.width):
            strips = [strip.crop(crop.x, crop.right) for strip in strips]
        ground = self.background_colors[1]
        for each in self.get_line_filters():
            if not isinstance(each, ANSIToTruecolor):
                strips = [strip.apply_filter(each, ground) for strip in strips]
        return strips

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """All there is."""
        return container.width

    def on_mount(self) -> None:
        """A map changes its colours with the theme."""
        self.watch(self.app, "theme", self._stale, init=False)

    def on_resize(self) -> None:
        """The same place, in a map of another size."""
        self._look_there()
        self._stale()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Closer, where the mouse is."""
        self._wheel(event, 1.25)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Farther, where the mouse is."""
        self._wheel(event, 0.8)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Pick what is there, or begin to drag."""
        self.focus()
        self.capture_mouse()
        if self.view is None:
            return
        _, right, down = self.panes.under(event.x, event.y)
        agent, step = self.pointing.agent, self.pointing.step
        if agent is not None and step is not None:
            found = nearest_step(self.view, self.port, agent, right, down)
            self._grabbed = found is not None
            if found is not None:
                self.post_message(self.Picked(agent, found))
                return
        picked = nearest_agent(self.view, self.port, right, down)
        if picked is not None:
            self.post_message(self.Picked(picked, None))

    def on_mouse_up(self) -> None:
        """Let go."""
        self._grabbed = False
        self.release_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drag the map or a point, or tell what is there."""
        if self.view is None:
            return
        second, right, down = self.panes.under(event.x, event.y)
        x, y = self.port.world(right, down)
        if event.button and self._grabbed:
            self.post_message(self.Dragged(x, y))
        elif event.button:
            self._move(self.port.pan(-2 * event.delta_x, -4 * event.delta_y))
        else:
            view = self.second if second and self.second is not None else self.view
            found = nearest_sample(view, self.port, right, down)
            self.post_message(self.Hovered(x, y, found))
            self._hovers(None if found is None else (second, found))

    def on_leave(self) -> None:
        """Nothing stands out any more."""
        self._hovers(None)

    def _hovers(self, found: tuple[bool, tuple[int, int]] | None) -> None:
        if found != self._hover:
            self._hover = found
            self._stale()

    def _wheel(self, event: events.MouseEvent, factor: float) -> None:
        _, right, down = self.panes.under(event.x, event.y)
        self._move(self.port.zoom(factor, (right, down)))
        event.stop()

    def _move(self, port: Viewport) -> None:
        if self.view is not None:
            self.port, self._free = port, True
            self._stale()

    def _look_there(self) -> None:
        """Bring the viewport to the size of the widget and to what is shown."""
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
        rest = PAUSE / self.view.dt
        moment += 1 / (FRAMES * self.view.dt) if math.isfinite(self.view.dt) else 1.0
        if moment > self.view.horizon + rest:
            moment = 0.0
        self.pointing = replace(self.pointing, moment=moment)
        self._stale()

    def _stale(self) -> None:
        self._strips = None
        self.refresh()

    def _painted(self) -> list[Strip]:
        if self._strips is None or len(self._strips) != self.size.height:
            self._strips = self._paint(look_of(self))
        return self._strips

    def _paint(self, look: Look) -> list[Strip]:
        panes = self.panes
        if self.view is None or panes.width < 1 or panes.rows < 1:
            return self._told()
        left = right = self.pointing
        if self._hover is not None:
            beside, found = self._hover
            left = left if beside else replace(left, sample=found)
            right = replace(right, sample=found) if beside else right
        port = self.port
        if (port.columns, port.rows) != panes.dots:
            port = port.resized(*panes.dots)
        views = (self.view, self.second)
        return panes.painted(views, port, look, self.drawn, (left, right)).strips()

    def _told(self) -> list[Strip]:
        from rich.segment import Segment

        width, height = self.size
        style = Style(color=self.colors[3].rich_color, bgcolor=self.background_colors[1].rich_color)
        blank = Strip([Segment(" " * width, style)], width)
        strips = [blank] * height
        if height and self._words:
            words = self._words[:width].center(width)
            strips[height // 2] = Strip([Segment(words, style)], width)
        return strips
