"""The letters on a map: who is where, and the points of a past that is being changed."""

from __future__ import annotations

import numpy as np

from trajflow.tui.widgets.cast import Cast
from trajflow.tui.widgets.layers import Layers, letter
from trajflow.tui.widgets.painting import Painting

FAR = 1e6
"""Dots beyond which nothing is written."""


def write_agents(painting: Painting, cast: Cast, layers: Layers) -> None:
    """A letter where each agent is, and the past of one point by point if it is being changed."""
    view, port, look = cast.view, cast.port, cast.look
    if layers.neighbours:
        beside = np.flatnonzero(~view.target)
        for right, down in port.dots(view.present[beside]):
            put(painting, right, down, "o", look.faint, bold=False)
    there = port.dots(view.present[cast.targets])
    for agent, (right, down) in zip(cast.targets.tolist(), there, strict=True):
        put(painting, right, down, letter(view, agent), look.lettering, int(cast.hues[agent]))
    if cast.at.agent is not None and cast.at.step is not None:
        _points(painting, cast, cast.at.agent, cast.at.step)


def put(
    painting: Painting,
    right: float,
    down: float,
    text: str,
    fore: int,
    back: int | None = None,
    *,
    bold: bool = True,
) -> None:
    """Write at a dot, if it is a place near the map."""
    if np.isfinite(right + down) and abs(right) < FAR and abs(down) < FAR:
        painting.write(int(down) // 4, int(right) // 2, text, fore, back, bold=bold)


def _points(painting: Painting, cast: Cast, agent: int, chosen: int) -> None:
    """The past of an agent point by point, the chosen one turned over, also if it is gone."""
    dots = cast.port.dots(cast.view.past[agent])
    for right, down in dots[:-1]:
        put(painting, right, down, "+", int(cast.hues[agent]))
    right, down = dots[chosen]
    ink, ground, stored = cast.look.ink, cast.look.ground, cast.at.stored
    if not np.isfinite(right) and stored is not None:
        right, down = cast.port.dots(stored[chosen])
        ink = cast.look.faint
    put(painting, right, down, str((chosen + 1) % 10), ground, ink)
