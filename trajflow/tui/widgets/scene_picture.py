"""A window of agents and their forecast, painted: the map without the terminal around it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from string import ascii_letters, digits
from typing import Literal

import numpy as np

from trajflow.batch import Floats, Ints
from trajflow.browsing.view import View
from trajflow.text import safe, width
from trajflow.tui.widgets.axes import paint_axes, paint_scale
from trajflow.tui.widgets.cells import Cells
from trajflow.tui.widgets.look import Look, mixed
from trajflow.tui.widgets.painting import Painting
from trajflow.tui.widgets.raster import circles, density, smooth, spots, trace
from trajflow.tui.widgets.viewport import Viewport

NAMES = ascii_letters[26:] + ascii_letters[:26] + digits
PIECES = 16_000
"""Pieces of sampled paths that are drawn; of more samples, evenly chosen ones are."""
TAIL = 0.35
"""How much of its density the way to a played moment keeps."""
INNER = 0.5


@dataclass(frozen=True)
class Layers:
    """What is drawn.

    Attributes:
        samples: As shading, as single paths, or not.
        truth: What happened.
        neighbours: Who is not forecast.
        regions: Discs that hold a share of the futures.
        axes: Marks of the coordinates, and a scale.
    """

    samples: Literal["density", "paths", "none"] = "density"
    truth: bool = True
    neighbours: bool = True
    regions: bool = False
    axes: bool = True


@dataclass(frozen=True)
class Pointing:
    """What is pointed at.

    Attributes:
        agent: The agent that stands out; None: all alike.
        step: Past step of this agent that is being changed, if any.
        sample: A sample that stands out, with its agent first, if any.
        moment: Future steps played so far, not necessarily whole; None: all at once.
        stored: The agent's past as it was before a change, [T, D], drawn faintly.
    """

    agent: int | None = None
    step: int | None = None
    sample: tuple[int, int] | None = None
    moment: float | None = None
    stored: Floats | None = None


ALL, NOTHING = Layers(), Pointing()


def narrow(text: str, limit: int = 40) -> str:
    """A string of letters of one column each, that a terminal only shows; others become ?."""
    return "".join(one if width(one) == 1 else "?" for one in safe(text, limit))


def letter(view: View, agent: int) -> str:
    """What an agent is called on the map; targets come first, neighbours are all called o."""
    if not view.target[agent]:
        return "o"
    order = int(np.count_nonzero(view.target[:agent]))
    return NAMES[order] if order < len(NAMES) else "*"


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
        self._letters()
        if self.layers.axes:
            paint_scale(self.painting, self.port, self.view.unit)
        self.painting.write(0, 1, self._caption(), self.look.ink, bold=True)
        return self.painting

    def _caption(self) -> str:
        moment = self.at.moment
        played = "" if moment is None else f" +{moment * self.view.dt:.1f} s"
        return narrow(self.caption) + played

    @cached_property
    def targets(self) -> Ints:
        """Agents that are forecast and were seen, the one that stands out last, [N]."""
        found = np.flatnonzero(self.view.target & np.isfinite(self.view.present).all(-1))
        return np.asarray(sorted(found.tolist(), key=lambda one: one == self.at.agent), np.int64)

    @cached_property
    def hues(self) -> Ints:
        """A colour for each agent, [A]; fainter ones where another stands out."""
        order = np.cumsum(self.view.target) - 1
        hues = np.array([self.look.hue(int(one)) for one in order], np.int64)
        if self.at.agent is not None and self.look.depth != "16":
            for agent in np.flatnonzero(np.arange(len(hues)) != self.at.agent):
                hues[agent] = mixed(int(hues[agent]), self.look.ground, 0.3)
        hues[~self.view.target] = self.look.faint
        return hues

    @cached_property
    def futures(self) -> Floats:
        """Sampled paths of the targets from the present on, in dots, [S, N, F + 1, 2]."""
        samples = self.view.samples[:, self.targets]
        count, agents, horizon, _ = samples.shape
        most = max(1, PIECES // max(1, agents * horizon))
        if count > most:
            samples = samples[np.linspace(0, count - 1, most).astype(int)]
        now = np.broadcast_to(
            self.view.present[self.targets][None, :, None],
            (*samples.shape[:2], 1, samples.shape[-1]),
        )
        return self._played(self.port.dots(np.concatenate([now, samples], 2)))

    def _played(self, paths: Floats) -> Floats:
        """Paths [..., F + 1, 2] up to the moment that is played."""
        moment = self.at.moment
        if moment is None:
            return paths
        last = paths.shape[-2] - 1
        moment = float(np.clip(moment, 0, last))
        whole = int(moment)
        begun = paths[..., : whole + 1, :]
        if moment == whole:
            return begun if whole else np.concatenate([begun, begun], -2)
        tip = begun[..., -1:, :] + (moment - whole) * (
            paths[..., whole + 1, None, :] - begun[..., -1:, :]
        )
        return np.concatenate([begun, tip], -2)

    def _neighbours(self) -> None:
        beside = np.flatnonzero(~self.view.target)
        dots = self.port.dots(self.view.past[beside])
        found = trace(dots, *self.painting.dots)
        self.painting.strokes.draw(found, np.full(len(beside), self.look.faint))

    def _density(self) -> None:
        paths = self.futures
        count, agents = paths.shape[:2]
        if not count or not agents:
            return
        alike = np.ptp(paths, 0).max((-1, -2)) < 1
        if alike.any():
            alone = trace(paths[0, alike], *self.painting.dots)
            self.painting.strokes.draw(alone, self.hues[self.targets[alike]])
        paths, hues = paths[:, ~alike], self.hues[self.targets[~alike]]
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
        paths = self.futures
        thin = [mixed(int(hue), self.look.ground, 0.35) for hue in self.hues[self.targets]]
        found = trace(paths, *self.painting.dots)
        self.painting.strokes.draw(found, np.tile(np.array(thin, np.int64), len(paths)))

    def _regions(self) -> None:
        for level in sorted(self.view.regions):
            centres, radii = self.view.regions[level]
            step = self._step(radii.shape[1])
            dots = self.port.dots(centres[self.targets, step])
            rims = circles(dots, radii[self.targets, step] / self.port.scale)
            found = trace(rims, *self.painting.dots)
            found = found.dashed(3, 3) if level > INNER else found
            self.painting.strokes.draw(found, self.hues[self.targets])

    def _step(self, horizon: int) -> int:
        """The future step whose regions are drawn."""
        if self.at.moment is None:
            return horizon - 1
        return int(np.clip(round(self.at.moment) - 1, 0, horizon - 1))

    def _truth(self) -> None:
        if self.view.future is None:
            return
        now = self.view.present[self.targets][:, None]
        paths = self._played(
            self.port.dots(np.concatenate([now, self.view.future[self.targets]], 1))
        )
        found = trace(paths, *self.painting.dots).dashed(5, 4)
        ink = np.array([self._own(int(agent)) for agent in self.targets], np.int64)
        self.painting.strokes.draw(found, ink, alone=True)
        for agent, (right, down) in zip(self.targets, paths[:, -1], strict=True):
            if np.isfinite(right + down):
                mark = letter(self.view, int(agent)) if self.at.moment is not None else "x"
                self._mark(right, down, mark, self._own(int(agent)), bold=True)

    def _own(self, agent: int) -> int:
        """Ink of what happened to an agent."""
        if self.at.agent in (None, agent):
            return self.look.ink
        return mixed(self.look.ink, self.look.ground, 0.35)

    def _pasts(self) -> None:
        dots = self.port.dots(self.view.past[self.targets])
        found = trace(dots, *self.painting.dots)
        self.painting.strokes.draw(found, self.hues[self.targets], alone=True)
        found = trace(dots + 1, *self.painting.dots)
        self.painting.strokes.draw(found, self.hues[self.targets])

    def _sample(self) -> None:
        if self.at.sample is None:
            return
        agent, sample = self.at.sample
        if agent < self.view.agents and sample < len(self.view.samples):
            path = np.concatenate([self.view.present[[agent]], self.view.samples[sample, agent]])
            found = trace(self.port.dots(path)[None], *self.painting.dots)
            self.painting.strokes.draw(found, np.array([self.look.ink]), alone=True)

    def _letters(self) -> None:
        if self.layers.neighbours:
            beside = np.flatnonzero(~self.view.target)
            for right, down in self.port.dots(self.view.present[beside]):
                self._mark(right, down, "o", self.look.faint)
        for agent, (right, down) in zip(
            self.targets, self.port.dots(self.view.present[self.targets]), strict=True
        ):
            self._mark(
                right,
                down,
                letter(self.view, int(agent)),
                self.look.lettering,
                int(self.hues[agent]),
                bold=True,
            )
        if self.at.agent is not None and self.at.step is not None:
            self._points(self.at.agent, self.at.step)

    def _points(self, agent: int, chosen: int) -> None:
        """The past of an agent point by point, the chosen one turned over, also if it is gone."""
        dots = self.port.dots(self.view.past[agent])
        for right, down in dots[:-1]:
            self._mark(right, down, "+", int(self.hues[agent]), bold=True)
        right, down = dots[chosen]
        ink, ground = self.look.ink, self.look.ground
        if not np.isfinite(right) and self.at.stored is not None:
            right, down = self.port.dots(self.at.stored[chosen])
            ink = self.look.faint
        self._mark(right, down, str((chosen + 1) % 10), ground, ink, bold=True)

    def _ghost(self) -> None:
        """The past of an agent before it was changed."""
        if self.at.stored is not None:
            found = trace(self.port.dots(self.at.stored), *self.painting.dots)
            self.painting.strokes.draw(found.dashed(1, 2), np.array([self.look.ink]))

    def _mark(
        self,
        right: float,
        down: float,
        text: str,
        fore: int,
        back: int | None = None,
        *,
        bold: bool = False,
    ) -> None:
        if np.isfinite(right + down) and abs(right) < 1e6 and abs(down) < 1e6:
            self.painting.write(int(down) // 4, int(right) // 2, text, fore, back, bold=bold)
