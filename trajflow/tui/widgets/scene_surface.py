"""What a map draws of a window, kept as lines until something changes."""

from __future__ import annotations

from dataclasses import replace

from rich.segment import Segment
from rich.style import Style
from textual.filter import ANSIToTruecolor
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from trajflow.browsing.view import View
from trajflow.tui.widgets.layers import Layers, Pointing
from trajflow.tui.widgets.look import Look
from trajflow.tui.widgets.looks import look_of
from trajflow.tui.widgets.panes import Panes
from trajflow.tui.widgets.viewport import Viewport

ROOM_FOR_TWO = 60
"""Columns from which two maps stand side by side."""
HEIGHT_FOR_TWO = 24
"""Rows from which two maps stand below each other."""


class SceneSurface(Widget):
    """Paints one window, or the same window as forecast by two.

    What is drawn follows from `drawn` and `pointing`, and where from `port`.
    """

    ALLOW_SELECT = False

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.drawn, self.pointing = Layers(), Pointing()
        self.view: View | None = None
        self.second: View | None = None
        self.port = Viewport(0.0, 0.0, 0.05, 2, 4)
        self.hovered: tuple[bool, tuple[int, int]] | None = None
        self._words, self._below = "", False
        self._strips: list[Strip] | None = None

    @property
    def panes(self) -> Panes:
        """How the maps share the widget."""
        width, height = self.size
        below = self._below and height >= HEIGHT_FOR_TWO
        two = self.second is not None and (below or width >= ROOM_FOR_TWO)
        return Panes(width, height, two, below)

    def say(self, words: str) -> None:
        """Show a word instead of a map, until the next window."""
        self.view, self.second, self._words = None, None, words
        self.stale()

    def draw(self, layers: Layers) -> None:
        """Choose what is drawn."""
        self.drawn = layers
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
