"""A window of agents and their forecast, painted as terminal cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from string import ascii_letters, digits

import numpy as np

from trajflow.browse.view import Floats, Ints, View
from trajflow.scene_image import SceneImage
from trajflow.tui.format import time_after
from trajflow.tui.render.canvas import Canvas, Cells
from trajflow.tui.render.colors import Palette, blend_all
from trajflow.tui.render.raster import Trace, circles, density, smooth, spots, trace
from trajflow.tui.render.viewport import FROM_ABOVE, Viewport, paint_axes, paint_scale, single_width

NAMES = ascii_letters[26:] + ascii_letters[:26] + digits
SAMPLES = ("density", "paths", "none")
"""How sampled paths are drawn."""
MAX_SEGMENTS = 16_000
"""Segments of sampled paths that are drawn; of more samples, evenly chosen ones are."""
TRAIL = 0.35
"""How much of its density the way to a played moment keeps."""
CELL = (2, 4)
"""Dots of a cell, right and down: samples that are closer together are drawn as one line."""
MAX_DOTS = 1e6
"""Dots from the map beyond which no letter is written."""


@dataclass(frozen=True)
class Layers:
    """What is drawn."""

    samples: str = SAMPLES[0]
    truth: bool = True
    neighbors: bool = True
    regions: bool = False
    axes: bool = True
    image: bool = True

    def toggled(self, name: str) -> Layers:
        return replace(self, **{name: not getattr(self, name)})  # type: ignore[arg-type]

    def next_samples(self) -> Layers:
        return replace(self, samples=SAMPLES[(SAMPLES.index(self.samples) + 1) % len(SAMPLES)])


@dataclass(frozen=True)
class Highlight:
    """What stands out.

    Attributes:
        agent: The selected agent; None: all alike.
        step: Past step of this agent that is being edited, if any.
        moment: Steps after the present one, not necessarily whole, negative in the past; None: all
            of the forecast at once.
        observed: The agent's past before it was edited, [T, D], drawn faintly.
    """

    agent: int | None = None
    step: int | None = None
    moment: float | None = None
    observed: Floats | None = None


ALL_LAYERS, NO_HIGHLIGHT = Layers(), Highlight()


def agent_letter(view: View, agent: int) -> str:
    """The letter of an agent on the map; neighbors that are not forecast are all called o."""
    if not view.target[agent]:
        return "o"
    order = int(np.count_nonzero(view.target[:agent]))
    return NAMES[order] if order < len(NAMES) else "*"


def agent_hue(view: View, agent: int, palette: Palette) -> int:
    """Muted for neighbors."""
    order = int(np.count_nonzero(view.target[:agent]))
    return palette.hue(order) if view.target[agent] else palette.muted


@dataclass
class ScenePainter:
    """Paints the map of a window as cells, two dots to a column and four to a row of them.

    The caption is written in the upper left corner, as it is.
    """

    view: View
    port: Viewport
    palette: Palette
    layers: Layers = ALL_LAYERS
    highlight: Highlight = NO_HIGHLIGHT
    caption: str = ""
    image: SceneImage | None = None

    @cached_property
    def canvas(self) -> Canvas:
        return Canvas(max(1, self.port.rows // 4), max(1, self.port.columns // 2), self.palette)

    def paint(self) -> Cells:
        """All layers, from the lowest to the highest."""
        layers, canvas = self.layers, self.canvas
        if layers.image and self.image is not None and self.port.axes == FROM_ABOVE:
            grid = (canvas.columns, 2 * canvas.rows)
            canvas.lay(*self.image.warped(self.port.matrix(2), *grid))
        if layers.axes:
            paint_axes(canvas, self.port, self.view.unit)
        self._earlier()
        if layers.neighbors:
            self._neighbors()
        if self.moment >= 0:
            self._forecasts()
        self._observed()
        self._pasts()
        self._letters()
        if layers.axes:
            paint_scale(canvas, self.port, self.view.unit)
        canvas.write(0, 1, self._caption(), self.palette.foreground, bold=True)
        return canvas.cells()

    def _forecasts(self) -> None:
        layers = self.layers
        if layers.samples == "density":
            self._density()
        elif layers.samples == "paths":
            self._paths()
        if layers.regions:
            self._regions()
        if layers.truth:
            self._truth()

    @property
    def moment(self) -> float:
        return self.highlight.moment or 0.0

    @cached_property
    def positions(self) -> Floats:
        """Where agents are at the moment, [A, D]; NaN where that was not seen or is hidden."""
        positions = self.view.at(self.moment)
        if self.moment > 0 and not self.layers.truth:
            positions[:] = np.nan
        return positions

    @cached_property
    def targets(self) -> Ints:
        """Agents that are forecast and were observed, the selected one last, [N]."""
        targets = np.flatnonzero(self.view.target & np.isfinite(self.view.present).all(-1))
        selected = self.highlight.agent
        return np.asarray(sorted(targets.tolist(), key=lambda one: one == selected), np.int64)

    @cached_property
    def hues(self) -> Ints:
        """A colour for each agent, [A]; fainter ones where another is selected."""
        order, selected = np.cumsum(self.view.target) - 1, self.highlight.agent
        hues = np.array([self.palette.hue(int(one)) for one in order], np.int64)
        if selected is not None and self.palette.depth != "16":
            others = np.arange(len(hues)) != selected
            hues[others] = blend_all(hues[others], self.palette.background, 0.3)
        hues[~self.view.target] = self.palette.muted
        return hues

    @cached_property
    def futures(self) -> Floats:
        """Sampled paths of the targets from the present on, in dots, [S, N, F + 1, 2]."""
        samples = self.view.samples[:, self.targets]
        count, agents, horizon, _ = samples.shape
        most = max(1, MAX_SEGMENTS // max(1, agents * horizon))
        if count > most:
            samples = samples[np.linspace(0, count - 1, most).astype(int)]
        present = np.broadcast_to(
            self.view.present[self.targets][None, :, None],
            (*samples.shape[:2], 1, samples.shape[-1]),
        )
        return self._played(self.port.dots(np.concatenate([present, samples], 2)))

    def _played(self, paths: Floats) -> Floats:
        """Paths [..., F + 1, 2] from the present up to the moment that is shown."""
        moment = self.highlight.moment
        return paths if moment is None else _until(paths, moment)

    def _trace(self, lines: Floats) -> Trace:
        return trace(lines, *self.canvas.size)

    def _caption(self) -> str:
        words = [single_width(self.caption)]
        if self.view.past.shape[-1] > 2:
            words.append("from above" if self.port.axes == FROM_ABOVE else "from the side")
        if self.highlight.moment is not None:
            step = min(round(self.highlight.moment), self.view.horizon)
            kind = "past " if step < 0 else "forecast " if step > 0 else ""
            words.append(kind + time_after(step * self.view.dt))
        return "  ".join(filter(None, words))

    def _neighbors(self) -> None:
        beside = np.flatnonzero(~self.view.target)
        traced = self._trace(self.port.dots(self.view.past[beside]))
        self.canvas.stroke(traced, np.full(len(beside), self.palette.muted))

    def _earlier(self) -> None:
        """Earlier tracks that the forecasts use, of the selected agent or of all."""
        if self.view.earlier is None:
            return
        selected = self.highlight.agent
        agents = self.targets if selected is None else self.targets[self.targets == selected]
        tracks = self.view.earlier[agents]
        hues = blend_all(self.hues[agents], self.palette.background, 0.6)
        self.canvas.stroke(
            self._trace(self.port.dots(tracks.reshape(-1, *tracks.shape[2:]))),
            np.repeat(hues, tracks.shape[1]),
        )

    def _density(self) -> None:
        paths, canvas = self.futures, self.canvas
        count, agents = paths.shape[:2]
        if not count or not agents:
            return
        narrow = (np.ptp(paths, 0).max(1) < CELL).all(-1)
        if narrow.any():
            canvas.stroke(
                self._trace(np.median(paths[:, narrow], 0)), self.hues[self.targets[narrow]]
            )
        paths, hues = paths[:, ~narrow], self.hues[self.targets[~narrow]]
        colors, plane = np.unique(hues, return_inverse=True)
        plane, weight = np.tile(plane, count), np.full(paths[..., 0, 0].size, 1 / count)
        size = (canvas.rows, canvas.columns)
        planes = density(self._trace(paths), plane, weight, len(colors), size)
        if self.highlight.moment is not None:
            tips = spots(paths[..., -1, :], *canvas.size)
            planes = TRAIL * planes + density(tips, plane, 4 * weight, len(colors), size)
        canvas.shade(smooth(planes.astype(np.float32), 1 if count > 100 else 2), colors)

    def _paths(self) -> None:
        thin = blend_all(self.hues[self.targets], self.palette.background, 0.35)
        self.canvas.stroke(self._trace(self.futures), np.tile(thin, len(self.futures)))

    def _regions(self) -> None:
        levels = sorted(self.view.regions)
        for level in levels:
            centres, radii = self.view.regions[level]
            step = self._region_step(radii.shape[1])
            dots = self.port.dots(centres[self.targets, step])
            rims = self._trace(circles(dots, radii[self.targets, step] / self.port.scale))
            rims = rims.dashed(3, 3) if level > levels[0] else rims
            self.canvas.stroke(rims, self.hues[self.targets])

    def _region_step(self, horizon: int) -> int:
        """The future step whose regions are drawn."""
        if self.highlight.moment is None:
            return horizon - 1
        return int(np.clip(round(self.highlight.moment) - 1, 0, horizon - 1))

    def _truth(self) -> None:
        if self.view.future is None:
            return
        present = self.view.present[self.targets][:, None]
        truth = np.concatenate([present, self.view.future[self.targets]], 1)
        paths = self._played(self.port.dots(truth))
        inks, selected = np.full(len(self.targets), self.palette.foreground), self.highlight.agent
        if selected is not None:
            others = self.targets != selected
            inks[others] = blend_all(inks[others], self.palette.background, 0.35)
        self.canvas.stroke(self._trace(paths).dashed(5, 4), inks, alone=True)
        if self.highlight.moment is None:
            for ink, (right, down) in zip(inks.tolist(), paths[:, -1], strict=True):
                self._put(right, down, "x", ink)

    def _observed(self) -> None:
        """The past of an agent before it was edited."""
        if self.highlight.observed is not None:
            dashes = self._trace(self.port.dots(self.highlight.observed)).dashed(1, 2)
            self.canvas.stroke(dashes, np.array([self.palette.foreground]))

    def _pasts(self) -> None:
        dots, hues = self.port.dots(self.view.past[self.targets]), self.hues[self.targets]
        if self.moment < 0:
            faint = blend_all(hues, self.palette.background, 0.65)
            self.canvas.stroke(self._trace(dots), faint)
            dots = _until(dots, self.view.history - 1 + self.moment)
        self.canvas.stroke(self._trace(dots), hues, alone=True)
        self.canvas.stroke(self._trace(dots + 1), hues)

    def _letters(self) -> None:
        """A letter where each agent is, and the past point by point of the one being edited."""
        view, palette, dots = self.view, self.palette, self.port.dots(self.positions)
        if self.layers.neighbors:
            for right, down in dots[~view.target]:
                self._put(right, down, "o", palette.muted, bold=False)
        missing = self.moment > 0 and np.isnan(dots[self.targets]).any()
        tips = self._sample_tips() if missing else {}
        for agent in self.targets.tolist():
            letter, hue = agent_letter(view, agent), int(self.hues[agent])
            right, down = dots[agent]
            if np.isfinite(right):
                self._put(right, down, letter, palette.on_hue, hue)
            elif agent in tips:
                right, down = tips[agent]
                self._put(right, down, letter, hue)
        if self.highlight.agent is not None and self.highlight.step is not None:
            self._points(self.highlight.agent, self.highlight.step)

    def _sample_tips(self) -> dict[int, Floats]:
        """Where the middle one of an agent's samples ends at the moment, in dots."""
        if not len(self.futures) or self.layers.samples == "none":
            return {}
        ends = self.futures[:, :, -1]
        middle = np.square(ends - np.median(ends, 0)).sum(-1).argmin(0)
        return dict(zip(self.targets.tolist(), ends[middle, np.arange(len(middle))], strict=True))

    def _points(self, agent: int, selected: int) -> None:
        """The past of an agent point by point, the selected one inverted, also if it is missing."""
        dots, observed = self.port.dots(self.view.past[agent]), self.highlight.observed
        for right, down in dots[:-1]:
            self._put(right, down, "+", int(self.hues[agent]))
        right, down = dots[selected]
        back = self.palette.foreground
        if not np.isfinite(right) and observed is not None:
            right, down = self.port.dots(observed[selected])
            back = self.palette.muted
        self._put(right, down, str((selected + 1) % 10), self.palette.background, back)

    def _put(
        self,
        right: float,
        down: float,
        text: str,
        fore: int,
        back: int | None = None,
        *,
        bold: bool = True,
    ) -> None:
        """Write at a dot, if it is a place near the map."""
        if np.isfinite(right + down) and abs(right) < MAX_DOTS and abs(down) < MAX_DOTS:
            self.canvas.write(int(down) // 4, int(right) // 2, text, fore, back, bold=bold)


def _until(paths: Floats, end: float) -> Floats:
    """Paths [..., N, 2] up to a corner, or to a point between two."""
    end = float(np.clip(end, 0, paths.shape[-2] - 1))
    whole = int(end)
    begun = paths[..., : whole + 1, :]
    if end == whole:
        return begun if whole else np.concatenate([begun, begun], -2)
    last = begun[..., -1:, :]
    tip = last + (end - whole) * (paths[..., whole + 1, None, :] - last)
    return np.concatenate([begun, tip], -2)
