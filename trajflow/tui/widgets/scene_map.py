"""A map of a window on a terminal: where it looks, what it shows, the future as it passes."""

from __future__ import annotations

from dataclasses import replace

from rich.segment import Segment
from rich.style import Style
from textual.filter import ANSIToTruecolor
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from trajflow.batch import Floats
from trajflow.browsing.view import View
from trajflow.tui.widgets.layers import Layers, Pointing
from trajflow.tui.widgets.look import Look
from trajflow.tui.widgets.looks import look_of
from trajflow.tui.widgets.panes import Panes, better_below, fitted
from trajflow.tui.widgets.viewport import Viewport

FRAMES = 12
"""Pictures of an animation in a second."""
SLOWEST, FASTEST = 1.5, 6.0
"""Steps in a second; between them the future passes as fast as it really does."""
PAUSE = 1.0
"""Seconds an animation rests at its end."""
ROOM_FOR_TWO = 60
"""Columns from which two maps stand side by side."""
HEIGHT_FOR_TWO = 24
"""Rows from which two maps stand below each other."""


class SceneMap(Widget):
    """Shows one window, or the same window as forecast by two.

    What is drawn follows from `drawn` and `pointing`, and where from `port`.

    Attributes:
        stacks: Whether two maps may also stand below each other, where that makes them larger.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = "SceneMap { width: 1fr; height: 1fr; min-width: 8; min-height: 3; }"

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.drawn, self.pointing = Layers(), Pointing()
        self.view: View | None = None
        self.second: View | None = None
        self.port = Viewport(0.0, 0.0, 0.05, 2, 4)
        self.following, self.stacks = False, False
        self._words, self._free, self._below = "", False, False
        self.hovered: tuple[bool, tuple[int, int]] | None = None
        self._strips: list[Strip] | None = None
        self._timer: Timer | None = None

    @property
    def panes(self) -> Panes:
        """How the maps share the widget."""
        width, height = self.size
        below = self._below and height >= HEIGHT_FOR_TWO
        two = self.second is not None and (below or width >= ROOM_FOR_TWO)
        return Panes(width, height, two, below)

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

    def say(self, words: str) -> None:
        """Show a word instead of a map, until the next window."""
        self.view, self.second, self._words = None, None, words
        self.stale()

    def draw(self, layers: Layers) -> None:
        """Choose what is drawn."""
        self.drawn = layers
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
        self.watch(self.app, "theme", self.stale, init=False)

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

    def stale(self) -> None:
        """Paint anew when there is time."""
        self._strips = None
        self.refresh()

    def repaint(self) -> None:
        """Paint now, and send the lines that changed; what comes often must not be much."""
        before, self._strips = self._strips, None
        after = self._painted()
        if before is None or len(before) != len(after):
            self.refresh()
            return
        pairs = enumerate(zip(before, after, strict=True))
        changed = [y for y, (old, new) in pairs if old is not new and old != new]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def _painted(self) -> list[Strip]:
        if self._strips is None or len(self._strips) != self.size.height:
            self._strips = self._paint(look_of(self))
        return self._strips

    def _paint(self, look: Look) -> list[Strip]:
        panes = self.panes
        if self.view is None or panes.width < 1 or panes.rows < 1:
            return self._told()
        left = right = self.pointing
        if self.hovered is not None:
            beside, found = self.hovered
            left = left if beside else replace(left, sample=found)
            right = replace(right, sample=found) if beside else right
        port = self.port
        if (port.columns, port.rows) != panes.dots:
            port = port.resized(*panes.dots)
        views = (self.view, self.second)
        return panes.painted(views, port, look, self.drawn, (left, right)).strips()

    def _told(self) -> list[Strip]:
        width, height = self.size
        style = Style(color=self.colors[3].rich_color, bgcolor=self.background_colors[1].rich_color)
        blank = Strip([Segment(" " * width, style)], width)
        strips = [blank] * height
        if height and self._words:
            words = self._words[:width].center(width)
            strips[height // 2] = Strip([Segment(words, style)], width)
        return strips
