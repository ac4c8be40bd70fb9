"""The map of a window: agents and their forecasts, and the keys and mouse that explore them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message

from trajflow.tui.keys import bound
from trajflow.tui.widgets.panes import nearest_agent, nearest_sample, nearest_step
from trajflow.tui.widgets.scene_map import ROOM_FOR_TWO as ROOM_FOR_TWO
from trajflow.tui.widgets.scene_map import SceneMap


class SceneCanvas(SceneMap, can_focus=True):
    """Shows one window, or the same window as forecast by two, and lets it be explored.

    Keys zoom and pan; so do the wheel and dragging. Where the mouse is, the nearest sample stands
    out.
    """

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

    _grabbed = False

    def action_zoom(self, factor: float) -> None:
        """Closer or farther."""
        self.look_at(self.port.zoom(factor))

    def action_fit(self) -> None:
        """Show the whole window."""
        self.fit()

    def action_pan(self, right: int, down: int) -> None:
        """Move by a sixth of the map."""
        self.look_at(self.port.pan(right * self.port.columns / 6, down * self.port.rows / 6))

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
            self.look_at(self.port.pan(-2 * event.delta_x, -4 * event.delta_y))
        else:
            view = self.second if second and self.second is not None else self.view
            found = nearest_sample(view, self.port, right, down)
            self.post_message(self.Hovered(x, y, found))
            self._hovers(None if found is None else (second, found))

    def on_leave(self) -> None:
        """Nothing stands out any more."""
        self._hovers(None)

    def _hovers(self, found: tuple[bool, tuple[int, int]] | None) -> None:
        if found != self.hovered:
            self.hovered = found
            self.repaint()

    def _wheel(self, event: events.MouseEvent, factor: float) -> None:
        _, right, down = self.panes.under(event.x, event.y)
        self.look_at(self.port.zoom(factor, (right, down)))
        event.stop()
