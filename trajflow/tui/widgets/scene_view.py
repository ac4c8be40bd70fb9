"""The map of a window: agents and their forecasts, and the keys and mouse that explore them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.filter import ANSIToTruecolor
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer

from trajflow.browse.view import Floats, View
from trajflow.scene_image import SceneImage
from trajflow.tui.render.canvas import Canvas
from trajflow.tui.render.colors import palette_of
from trajflow.tui.render.scene import Highlight, Layers, ScenePainter
from trajflow.tui.render.viewport import (
    FROM_ABOVE,
    FROM_SIDE,
    Panes,
    Viewport,
    fit_scene,
    nearest,
    scene_points,
)
from trajflow.tui.widgets.plots import Picture

MIN_WIDTH_FOR_TWO = 60
"""Columns from which two maps stand side by side."""
FRAMES = 12
"""Pictures of an animation in a second."""
SLOWEST, FASTEST = 1.5, 6.0
"""Steps in a second; between them the future passes in real time."""
PAUSE = 1.0
"""Seconds an animation rests at its end."""


class SceneView(Picture, can_focus=True):
    """Shows one window, or two forecasts of it, and lets it be explored with keys and mouse.

    Attributes:
        interactive: Whether keys and mouse do anything.
        drawn, highlight: What is drawn, and what stands out.
        port: Which part of the world is shown.
        image: The image of the recording, under the tracks.
        following: Whether the selected agent is kept in the middle.
    """

    HELP = """\
Letters are agents that are forecast, **o** others; thick dots are their pasts. Colour is the share
of the samples that pass a place up to the horizon, or up to the moment that the line of time
shows; white or black dashes are the true future, **x** is its end.
"""
    DEFAULT_CSS = "SceneView { min-width: 8; min-height: 3; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "zoom(1.25)", "Zoom in", show=False, id="map.zoom_in"),
        Binding("minus", "zoom(0.8)", "Zoom out", show=False, id="map.zoom_out"),
        Binding("0", "fit", "Fit the map", show=False, id="map.fit"),
        Binding("shift+left,H", "pan(-1,0)", "Pan left", show=False, id="map.left"),
        Binding("shift+right,L", "pan(1,0)", "Pan right", show=False, id="map.right"),
        Binding("shift+up,K", "pan(0,-1)", "Pan up", show=False, id="map.up"),
        Binding("shift+down,J", "pan(0,1)", "Pan down", show=False, id="map.down"),
    ]

    @dataclass
    class MomentShown(Message):
        """Another moment is shown, as `Highlight.moment`."""

        moment: float | None

    @dataclass
    class Picked(Message):
        """An agent was clicked, or a past step of the agent that is being edited."""

        agent: int
        step: int | None

    @dataclass
    class Dragged(Message):
        """The selected point of the past was dragged to a place of the world."""

        x: float
        y: float

    def __init__(self, *, interactive: bool = True, id: str | None = None) -> None:
        super().__init__(id=id)
        self.interactive = self.can_focus = interactive
        self.drawn, self.highlight = Layers(), Highlight()
        self.view: View | None = None
        self.second: View | None = None
        self.image: SceneImage | None = None
        self.port = Viewport(0.0, 0.0, 0.05, 2, 4)
        self.following, self.axes = False, FROM_ABOVE
        self._before_zoom: tuple[Viewport, bool] | None = None
        self._note, self._moved, self._grabbed = "", False, False
        self._timer: Timer | None = None

    @property
    def panes(self) -> Panes:
        two = self.second is not None and self.size.width >= MIN_WIDTH_FOR_TWO
        return Panes(*self.size, two)

    @property
    def playing(self) -> bool:
        return self._timer is not None

    def show(self, view: View, second: View | None = None) -> None:
        """Show a window, and a second forecast of it beside; the map moves only if it must."""
        self.view, self.second, self._note = view, second, ""
        agent = self.highlight.agent
        if agent is not None and agent >= view.agents:
            self.highlight = Highlight()
        self._look()
        self.invalidate()

    def show_note(self, note: str) -> None:
        """Show a sentence instead of a map, until the next window."""
        self.view, self.second, self._note = None, None, note
        self.invalidate()

    def show_image(self, image: SceneImage | None) -> None:
        self.image = image
        self.invalidate()

    def show_layers(self, layers: Layers) -> None:
        self.drawn = layers
        self.invalidate()

    def select(
        self, agent: int | None, step: int | None = None, observed: Floats | None = None
    ) -> None:
        """Let an agent stand out, and a past step of it if that is being edited.

        The map then does not move; the past before it was edited, [T, D], is drawn faintly.
        """
        self.highlight = replace(self.highlight, agent=agent, step=step, observed=observed)
        if self._before_zoom is not None or self.following:
            self._look()
        self._repaint()

    def toggle_follow(self) -> None:
        self.following = not self.following
        self._look()
        self._repaint()

    def toggle_zoom(self) -> None:
        """Zoom to the selected agent, or back."""
        if self._before_zoom is not None:
            (self.port, self._moved), self._before_zoom = self._before_zoom, None
        elif self.highlight.agent is not None and self.view is not None:
            self._before_zoom, self._moved = (self.port, self._moved), False
        self._look()
        self.invalidate()

    @property
    def why_no_image(self) -> str:
        """Why no image can be shown; empty if one can."""
        if self.image is None:
            return "no image of this recording; `trajflow data add-image` adds one"
        full = palette_of(self).depth == "full"
        return "" if full else "an image needs a terminal with more colours (COLORTERM=truecolor)"

    def toggle_side(self) -> bool:
        """Show x and z, or x and y again; False if the positions have no height."""
        if self.view is None or self.view.past.shape[-1] < 3:
            return False
        self.axes = FROM_SIDE if self.axes == FROM_ABOVE else FROM_ABOVE
        self.action_fit()
        return True

    def look_at(self, port: Viewport) -> None:
        """Look somewhere else, and stay there."""
        if self.view is not None:
            self.port, self._moved = port, True
            self.invalidate()

    def play(self, on: bool) -> None:
        """Play the future in real time, again and again, or show all of it."""
        self._stop()
        if on and self.view is not None:
            self._timer = self.set_interval(1 / FRAMES, self._next_frame)
        self._set_moment(0.0 if self._timer is not None else None)
        self.invalidate()

    def step_moment(self, steps: int) -> None:
        """Halt at a whole step, so many on from the one that is shown."""
        self.show_moment(round(self.highlight.moment or 0.0) + steps)

    def show_moment(self, moment: float | None) -> None:
        """Show the agents at a moment of the window, or all of the forecast at once."""
        if self.view is not None:
            self._stop()
            if moment is not None:
                moment = float(min(self.view.horizon, max(1 - self.view.history, moment)))
            self._set_moment(moment)
            self.invalidate()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _set_moment(self, moment: float | None) -> None:
        self.highlight = replace(self.highlight, moment=moment)
        self.post_message(self.MomentShown(moment))

    def action_zoom(self, factor: float) -> None:
        self.look_at(self.port.zoom(factor))

    def action_fit(self) -> None:
        self._moved = False
        if self.view is not None:
            self.port, self._before_zoom = fit_scene(self.view, None, self.panes, self.axes), None
        self.invalidate()

    def action_pan(self, right: int, down: int) -> None:
        self.look_at(self.port.pan(right * self.port.columns / 6, down * self.port.rows / 6))

    def on_resize(self) -> None:
        self._look()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, 1.25)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, 0.8)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        if not self.interactive:
            return
        self.focus()
        self.capture_mouse()
        if self.view is None:
            return
        place, agent = self.panes.under(event.x, event.y), self.highlight.agent
        if agent is not None and self.highlight.step is not None:
            step = nearest(self.port.dots(self.view.past[agent]), place)
            self._grabbed = step is not None
            if step is not None:
                self.post_message(self.Picked(agent, step))
                return
        agents = self.port.dots(self.view.at(self.highlight.moment or 0.0))
        agents[~self.view.target] = np.nan
        picked = nearest(agents, place)
        if picked is not None:
            self.post_message(self.Picked(picked, None))

    def on_mouse_up(self) -> None:
        self._grabbed = False
        self.release_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self.view is None or not self.interactive:
            return
        if event.button and self._grabbed:
            place = self.port.world(*self.panes.under(event.x, event.y))
            self.post_message(self.Dragged(*place))
        elif event.button:
            self.look_at(self.port.pan(-2 * event.delta_x, -4 * event.delta_y))

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return container.width

    def render_lines(self, crop: Region) -> list[Strip]:
        strips = self.strips[crop.y : crop.bottom]
        strips += [Strip.blank(self.size.width)] * (crop.height - len(strips))
        if (crop.x, crop.width) != (0, self.size.width):
            strips = [strip.crop(crop.x, crop.right) for strip in strips]
        background = self.background_colors[1]
        for each in self.get_line_filters():
            if not isinstance(each, ANSIToTruecolor):
                strips = [strip.apply_filter(each, background) for strip in strips]
        return strips

    def _look(self) -> None:
        """Bring the viewport to the size of the widget and to what is shown."""
        view, panes = self.view, self.panes
        if view is None or not panes.width or not panes.rows:
            return
        if view.past.shape[-1] < 3:
            self.axes = FROM_ABOVE
        if (self.port.columns, self.port.rows) != panes.dots:
            self.port = self.port.resized(*panes.dots)
            if not self._moved:
                self.port = fit_scene(view, None, panes, self.axes)
        agent = self.highlight.agent
        if self._before_zoom is not None and agent is not None and not self._moved:
            points = scene_points(view, agent)
            self.port = Viewport.fit(points, *panes.dots, least=1e-3, axes=self.axes)
        elif self.following and agent is not None:
            place = view.present[agent]
            self.port = self.port.centred(*(float(place[axis]) for axis in self.axes))
        elif not self._moved and self.highlight.step is None:
            self.port = fit_scene(view, self.port, panes, self.axes)

    def _next_frame(self) -> None:
        moment = self.highlight.moment
        if self.view is None or moment is None:
            self.play(False)
            return
        if not self.screen.is_current:
            return
        speed = min(FASTEST, max(SLOWEST, 1 / self.view.dt))
        moment += speed / FRAMES
        self._set_moment(0.0 if moment > self.view.horizon + PAUSE * speed else moment)
        self._repaint()

    def _wheel(self, event: events.MouseEvent, factor: float) -> None:
        if self.interactive:
            self.look_at(self.port.zoom(factor, self.panes.under(event.x, event.y)))
            event.stop()

    def _repaint(self) -> None:
        """Paint now, and send only the lines that changed: this happens often."""
        before, self._strips = self._strips, None
        if before is None or len(before) != self.size.height:
            self.refresh()
            return
        after = self.strips
        pairs = enumerate(zip(before, after, strict=True))
        changed = [y for y, (old, new) in pairs if old is not new and old != new]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def paint(self) -> list[Strip]:
        panes = self.panes
        if self.view is None or panes.width < 1 or panes.rows < 1:
            return self._note_strips()
        port = self.port
        if (port.columns, port.rows) != panes.dots:
            port = port.resized(*panes.dots)
        palette, second = palette_of(self), self.second
        look = (port, palette, self.drawn, self.highlight)
        if not panes.two or second is None:
            return ScenePainter(self.view, *look, image=self.image).paint().strips()
        first, other = (
            ScenePainter(one, *look, one.forecaster, self.image).paint().strips()
            for one in (self.view, second)
        )
        between = Canvas(panes.rows, panes.columns - 2 * panes.width, palette)
        for row in range(panes.rows):
            between.write(row, 0, "│", palette.muted)
        rows = zip(first, between.cells().strips(), other, strict=True)
        return [Strip.join(row) for row in rows]

    def _note_strips(self) -> list[Strip]:
        width, height = self.size
        style = Style(color=self.colors[3].rich_color, bgcolor=self.background_colors[1].rich_color)
        strips = [Strip([Segment(" " * width, style)], width)] * height
        if height and self._note:
            note = self._note[:width].center(width)
            strips[height // 2] = Strip([Segment(note, style)], width)
        return strips
