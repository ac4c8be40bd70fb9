"""A window of agents and their forecast, painted: the map without the terminal around it."""

from __future__ import annotations

import numpy as np

from trajflow.browsing.view import View
from trajflow.tui.widgets.axes import paint_axes, paint_scale
from trajflow.tui.widgets.cast import Cast
from trajflow.tui.widgets.cells import Cells
from trajflow.tui.widgets.layers import ALL as ALL
from trajflow.tui.widgets.layers import NOTHING as NOTHING
from trajflow.tui.widgets.layers import Layers as Layers
from trajflow.tui.widgets.layers import Pointing as Pointing
from trajflow.tui.widgets.layers import letter as letter
from trajflow.tui.widgets.layers import narrow
from trajflow.tui.widgets.look import Look, mixed
from trajflow.tui.widgets.painting import Painting
from trajflow.tui.widgets.raster import density, smooth, spots, trace
from trajflow.tui.widgets.scene_letters import put, write_agents
from trajflow.tui.widgets.strokes import circles
from trajflow.tui.widgets.viewport import Viewport

TAIL = 0.35
"""How much of its density the way to a played moment keeps."""
INNER = 0.5


def paint(
    view: View,
    port: Viewport,
    look: Look,
    layers: Layers = ALL,
    at: Pointing = NOTHING,
    caption: str = "",
) -> Cells:
    """The map of a window.

    Args:
        view: What is shown.
        port: Which part of the world, two dots to a column and four to a row of cells.
        look: The colours.
        layers: What is drawn.
        at: What stands out.
        caption: What is written in the upper left corner; shown as it is.
    """
    picture = ScenePicture(view, port, look, layers, at, caption)
    return picture.painted().cells()


class ScenePicture:
    """Paints one window; see `paint`."""

    def __init__(
        self, view: View, port: Viewport, look: Look, layers: Layers, at: Pointing, caption: str
    ) -> None:
        self.caption = caption
        self.view, self.port, self.look, self.layers, self.at = view, port, look, layers, at
        self.cast = Cast(view, port, look, at)
        self.painting = Painting(max(1, port.rows // 4), max(1, port.columns // 2), look)

    def painted(self) -> Painting:
        """All layers, from the lowest to the highest."""
        if self.layers.axes:
            paint_axes(self.painting, self.port)
        if self.layers.neighbours:
            self._neighbours()
        if self.layers.samples == "density":
            self._density()
        elif self.layers.samples == "paths":
            self._paths()
        if self.layers.regions:
            self._regions()
        if self.layers.truth:
            self._truth()
        self._ghost()
        self._pasts()
        self._sample()
        write_agents(self.painting, self.cast, self.layers)
        if self.layers.axes:
            paint_scale(self.painting, self.port, self.view.unit)
        self.painting.write(0, 1, self._caption(), self.look.ink, bold=True)
        return self.painting

    def _caption(self) -> str:
        moment = self.at.moment
        played = "" if moment is None else f" +{moment * self.view.dt:.1f} s"
        return narrow(self.caption) + played

    def _neighbours(self) -> None:
        beside = np.flatnonzero(~self.view.target)
        dots = self.port.dots(self.view.past[beside])
        found = trace(dots, *self.painting.dots)
        self.painting.strokes.draw(found, np.full(len(beside), self.look.faint))

    def _density(self) -> None:
        paths = self.cast.futures
        count, agents = paths.shape[:2]
        if not count or not agents:
            return
        alike = np.ptp(paths, 0).max((-1, -2)) < 1
        if alike.any():
            alone = trace(paths[0, alike], *self.painting.dots)
            self.painting.strokes.draw(alone, self.cast.hues[self.cast.targets[alike]])
        paths, hues = paths[:, ~alike], self.cast.hues[self.cast.targets[~alike]]
        colours, plane = np.unique(hues, return_inverse=True)
        plane, weight = np.tile(plane, count), np.full(paths[..., 0, 0].size, 1 / count)
        size = (self.painting.rows, self.painting.columns)
        found = trace(paths, *self.painting.dots)
        planes = density(found, plane, weight, len(colours), size)
        if self.at.moment is not None:
            tips = spots(paths[..., -1, :], *self.painting.dots)
            planes = TAIL * planes + density(tips, plane, 4 * weight, len(colours), size)
        self.painting.shade(smooth(planes.astype(np.float32), 1 if count > 100 else 2), colours)

    def _paths(self) -> None:
        paths = self.cast.futures
        thin = [
            mixed(int(hue), self.look.ground, 0.35) for hue in self.cast.hues[self.cast.targets]
        ]
        found = trace(paths, *self.painting.dots)
        self.painting.strokes.draw(found, np.tile(np.array(thin, np.int64), len(paths)))

    def _regions(self) -> None:
        for level in sorted(self.view.regions):
            centres, radii = self.view.regions[level]
            step = self._step(radii.shape[1])
            dots = self.port.dots(centres[self.cast.targets, step])
            rims = circles(dots, radii[self.cast.targets, step] / self.port.scale)
            found = trace(rims, *self.painting.dots)
            found = found.dashed(3, 3) if level > INNER else found
            self.painting.strokes.draw(found, self.cast.hues[self.cast.targets])

    def _step(self, horizon: int) -> int:
        """The future step whose regions are drawn."""
        if self.at.moment is None:
            return horizon - 1
        return int(np.clip(round(self.at.moment) - 1, 0, horizon - 1))

    def _truth(self) -> None:
        if self.view.future is None:
            return
        now = self.view.present[self.cast.targets][:, None]
        paths = self.cast.played(
            self.port.dots(np.concatenate([now, self.view.future[self.cast.targets]], 1))
        )
        found = trace(paths, *self.painting.dots).dashed(5, 4)
        ink = np.array([self.cast.own(int(agent)) for agent in self.cast.targets], np.int64)
        self.painting.strokes.draw(found, ink, alone=True)
        for agent, (right, down) in zip(self.cast.targets, paths[:, -1], strict=True):
            if np.isfinite(right + down):
                mark = letter(self.view, int(agent)) if self.at.moment is not None else "x"
                put(self.painting, right, down, mark, self.cast.own(int(agent)))

    def _pasts(self) -> None:
        dots = self.port.dots(self.view.past[self.cast.targets])
        found = trace(dots, *self.painting.dots)
        self.painting.strokes.draw(found, self.cast.hues[self.cast.targets], alone=True)
        found = trace(dots + 1, *self.painting.dots)
        self.painting.strokes.draw(found, self.cast.hues[self.cast.targets])

    def _sample(self) -> None:
        if self.at.sample is None:
            return
        agent, sample = self.at.sample
        if agent < self.view.agents and sample < len(self.view.samples):
            path = np.concatenate([self.view.present[[agent]], self.view.samples[sample, agent]])
            found = trace(self.port.dots(path)[None], *self.painting.dots)
            self.painting.strokes.draw(found, np.array([self.look.ink]), alone=True)

    def _ghost(self) -> None:
        """The past of an agent before it was changed."""
        if self.at.stored is not None:
            found = trace(self.port.dots(self.at.stored), *self.painting.dots)
            self.painting.strokes.draw(found.dashed(1, 2), np.array([self.look.ink]))
