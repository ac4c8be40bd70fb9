"""A map of many tracks: the denser the stronger, coloured by where they lead."""

import numpy as np
from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from trajflow.batch import Floats, Ints
from trajflow.tui.widgets.axes import paint_axes, paint_scale
from trajflow.tui.widgets.cells import Cells
from trajflow.tui.widgets.look import Look
from trajflow.tui.widgets.looks import look_of
from trajflow.tui.widgets.painting import Painting
from trajflow.tui.widgets.raster import density, smooth, trace
from trajflow.tui.widgets.viewport import Viewport

ARROWS = "→↗↑↖←↙↓↘"
"""One for each octant, from the right against the clock."""
NOTHING = np.zeros((0, 2, 2))


class TrackMap(Widget):
    """Steps of tracks, both directions alike; an arrow beside says which colour leads where."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._steps: Floats = NOTHING
        self._unit = ""
        self._strips: list[Strip] = []

    def show(self, steps: Floats, unit: str) -> None:
        """Show other tracks.

        Args:
            steps: From and to, [N, 2, 2].
            unit: Unit of the coordinates.
        """
        self._steps, self._unit = steps, unit
        self._paint()

    def render_line(self, y: int) -> Strip:
        """One line of the map."""
        if y >= len(self._strips):
            return Strip([Segment(" " * self.size.width, self.rich_style)])
        return self._strips[y]

    def on_resize(self) -> None:
        """The map fills what there is."""
        self._paint()

    def notify_style_update(self) -> None:
        """Another theme has other colours."""
        super().notify_style_update()
        if self.is_attached:
            self._paint()

    def _paint(self) -> None:
        width, height = self.size
        if width < 4 or height < 3 or not len(self._steps):
            self._strips = []
            self.refresh()
            return
        look = look_of(self)
        self._strips = paint_tracks(self._steps, self._unit, height, width, look).strips()
        self.refresh()


def paint_tracks(steps: Floats, unit: str, rows: int, columns: int, look: Look) -> Cells:
    """The map as cells."""
    painting = Painting(rows, columns, look)
    port = Viewport.fit(steps, 2 * columns, 4 * rows, margin=0.05)
    hues = np.array([look.hue(k) for k in range(len(ARROWS))])
    paint_axes(painting, port)
    found = trace(port.dots(steps), 2 * columns, 4 * rows)
    weight = np.full(len(steps), 1.0)
    planes = density(found, octants(steps), weight, len(ARROWS), (rows, columns))
    painting.shade(smooth(planes) * _gain(planes), hues)
    paint_scale(painting, port, unit)
    for k, arrow in enumerate(ARROWS):
        painting.write(0, 1 + 2 * k, arrow, look.hue(k), bold=True)
    return painting.cells()


def octants(steps: Floats) -> Ints:
    """Which eighth of the compass each step [N, 2, 2] leads to, from the right, [N]."""
    way = steps[:, 1] - steps[:, 0]
    turn = np.arctan2(way[:, 1], way[:, 0]) / (np.pi / 4)
    return np.asarray(np.round(turn).astype(np.int64) % len(ARROWS))


def _gain(planes: Floats) -> float:
    """What brings the busy places near the strongest colour, however many tracks there are."""
    total = planes.sum(0)
    busy = total[total > 0]
    return 0.25 / float(np.percentile(busy, 90)) if len(busy) else 1.0
