"""A map of many tracks: the denser the stronger, coloured by where they lead."""

import numpy as np
from textual.strip import Strip

from trajflow.batch import Bools, Floats, Ints
from trajflow.tui.jobs.tracks import Paths
from trajflow.tui.widgets.axes import paint_axes, paint_scale
from trajflow.tui.widgets.cells import Cells
from trajflow.tui.widgets.look import Look
from trajflow.tui.widgets.looks import look_of
from trajflow.tui.widgets.painted import Painted
from trajflow.tui.widgets.painting import Painting
from trajflow.tui.widgets.raster import density, smooth, trace
from trajflow.tui.widgets.viewport import Viewport

ARROWS = "→↗↑↖←↙↓↘"
"""One for each octant, from the right against the clock."""
LINES = 0.22
"""Share of the busy pixels' dots that lines may take."""


class TrackMap(Painted):
    """Where people go; a row of arrows tells which colour leads where."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._paths: Paths | None = None
        self._strips: list[Strip] = []

    def show(self, paths: Paths | None) -> None:
        """Show other tracks, or none."""
        self._paths = paths
        self._paint()

    def _paint(self) -> None:
        width, height = self.size
        self._strips = []
        if width >= 4 and height >= 3 and self._paths is not None and len(self._paths.steps):
            self._strips = paint_tracks(self._paths, height, width, look_of(self)).strips()
        self.refresh()


def paint_tracks(paths: Paths, rows: int, columns: int, look: Look) -> Cells:
    """The map as cells: all tracks as density, and some of them as lines."""
    painting, steps = Painting(rows, columns, look), paths.steps
    port = Viewport.fit(steps, 2 * columns, 4 * rows, margin=0.05)
    hues = np.array([look.hue(k) for k in range(len(ARROWS))])
    paint_axes(painting, port)
    found, plane = trace(port.dots(steps), 2 * columns, 4 * rows), octants(steps)
    planes = density(found, plane, np.full(len(steps), 1.0), len(ARROWS), (rows, columns))
    painting.shade(smooth(planes) * _gain(planes), hues)
    lines = found.only(_some(paths.track, planes)[found.line])
    painting.strokes.draw(lines, hues[plane])
    paint_scale(painting, port, paths.unit)
    for k, arrow in enumerate(ARROWS):
        painting.write(0, 1 + 2 * k, arrow, look.hue(k), bold=True)
    return painting.cells()


def _some(track: Ints, planes: Floats) -> Bools:
    """Steps, [N], of so many tracks that their lines leave room between them."""
    total = planes.sum(0)
    tracks, order = np.unique(track, return_inverse=True)
    dots = max(1.0, float(total.sum()) / len(tracks))
    wanted = max(1, round(LINES * np.count_nonzero(total) * 4 / dots))
    every = max(1, -(-len(tracks) // wanted))
    return np.asarray(order % every == 0)


def octants(steps: Floats) -> Ints:
    """Which eighth of the compass each step [N, 2, 2] leads to, from the right, [N]."""
    way = steps[:, 1] - steps[:, 0]
    turn = np.arctan2(way[:, 1], way[:, 0]) / (np.pi / 4)
    return np.asarray(np.round(turn).astype(np.int64) % len(ARROWS))


def _gain(planes: Floats) -> float:
    """What brings the busy places near the strongest colour, however many tracks there are."""
    total = planes.sum(0)
    busy = total[total > 0]
    return 0.18 / float(np.percentile(busy, 90)) if len(busy) else 1.0
