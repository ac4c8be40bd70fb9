"""A map of many tracks: density where there are many, coloured by where they lead."""

import numpy as np

from trajflow.browse.view import Bools, Floats, Ints
from trajflow.tui.render.canvas import Canvas, Cells
from trajflow.tui.render.colors import Palette
from trajflow.tui.render.raster import density, smooth, trace
from trajflow.tui.render.viewport import Viewport, paint_axes, paint_scale

ARROWS = "→↗↑↖←↙↓↘"
"""One for each octant, from the right against the clock."""
LINES = 0.22
"""Share of the busy pixels' dots that lines may take."""


def paint_tracks(
    steps: Floats, track: Ints, unit: str, size: tuple[int, int], palette: Palette
) -> Cells:
    """All tracks as density, and some of them as lines.

    `steps` are ends of steps, [N, 2, 2]: from and to, x and y; `track` is the number of the track
    of each of them, [N].
    """
    rows, columns = size
    unit = "" if unit == "unknown" else unit
    canvas = Canvas(rows, columns, palette)
    port = Viewport.fit(steps, 2 * columns, 4 * rows, margin=0.05)
    hues = np.array([palette.hue(k) for k in range(len(ARROWS))])
    paint_axes(canvas, port, unit)
    traced, plane = trace(port.dots(steps), *canvas.size), octants(steps)
    planes = density(traced, plane, np.full(len(steps), 1.0), len(ARROWS), size)
    canvas.shade(smooth(planes) * _gain(planes), hues)
    canvas.stroke(traced.only(_few_tracks(track, planes)[traced.line]), hues[plane])
    paint_scale(canvas, port, unit)
    for k, arrow in enumerate(ARROWS):
        canvas.write(0, 1 + 2 * k, arrow, palette.hue(k), bold=True)
    return canvas.cells()


def octants(steps: Floats) -> Ints:
    """Which eighth of the compass each step [N, 2, 2] leads to, from the right, [N]."""
    way = steps[:, 1] - steps[:, 0]
    turn = np.arctan2(way[:, 1], way[:, 0]) / (np.pi / 4)
    return np.asarray(np.round(turn).astype(np.int64) % len(ARROWS))


def _few_tracks(track: Ints, planes: Floats) -> Bools:
    """Steps, [N], of so many tracks that their lines leave room between them."""
    total = planes.sum(0)
    tracks, order = np.unique(track, return_inverse=True)
    dots = max(1.0, float(total.sum()) / len(tracks))
    wanted = max(1, round(LINES * np.count_nonzero(total) * 4 / dots))
    every = max(1, -(-len(tracks) // wanted))
    return np.asarray(order % every == 0)


def _gain(planes: Floats) -> float:
    """What brings the busy places near the strongest colour, however many tracks there are."""
    total = planes.sum(0)
    busy = total[total > 0]
    return 0.18 / float(np.percentile(busy, 90)) if len(busy) else 1.0
