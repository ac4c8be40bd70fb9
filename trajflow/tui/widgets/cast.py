"""Who is on a map: agents in the order they are drawn, their colours, and their paths in dots."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from trajflow.batch import Floats, Ints
from trajflow.browsing.view import View
from trajflow.tui.widgets.layers import Pointing
from trajflow.tui.widgets.look import Look, mixed
from trajflow.tui.widgets.viewport import Viewport

PIECES = 16_000
"""Pieces of sampled paths that are drawn; of more samples, evenly chosen ones are."""


class Cast:
    """The agents of a window as a map shows them."""

    def __init__(self, view: View, port: Viewport, look: Look, at: Pointing) -> None:
        self.view, self.port, self.look, self.at = view, port, look, at

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
        return self.played(self.port.dots(np.concatenate([now, samples], 2)))

    def played(self, paths: Floats) -> Floats:
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

    def own(self, agent: int) -> int:
        """Ink of what happened to an agent."""
        if self.at.agent in (None, agent):
            return self.look.ink
        return mixed(self.look.ink, self.look.ground, 0.35)
