"""A window in words: scene and time, scores, OOD score and its reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.text import Text
from textual.widget import Widget

from trajflow.browse.view import SamplingOptions, View
from trajflow.text import safe, with_unit
from trajflow.tui.format import SCORES, SHARES, bar, clock, score
from trajflow.tui.render.colors import Palette, palette_of
from trajflow.tui.render.scene import agent_hue, agent_letter

if TYPE_CHECKING:
    from trajflow.tui.screens.edit_past import PastEdit

FEW = ("min_ade", "min_fde", "energy_score", "spread")
THRESHOLD = 0.95
"""OOD score above which an agent is called out of distribution: 5 % of the validation people."""
LOW = 12
"""Rows below which the facts stand in a few lines."""


class MetricsPanel(Widget):
    """Facts of the window that is shown, in a column or, below a map, in a few lines."""

    DEFAULT_CSS = "MetricsPanel { padding: 0 1; }"
    view: View
    palette: Palette

    def show(
        self,
        view: View,
        second: View | None,
        agent: int | None,
        options: SamplingOptions,
        edit: PastEdit | None,
    ) -> None:
        self.view, self.second, self.agent = view, second, agent
        self.options, self.edit = options, edit
        self.refresh()

    def render(self) -> Text:
        if not hasattr(self, "view"):
            return Text()
        self.palette, height = palette_of(self), self.size.height
        self.columns = max(20, self.content_size.width)
        self.muted = f"#{self.palette.muted:06x}"
        self.strong = f"bold #{self.palette.foreground:06x}"
        return self.few_lines() if height < LOW else self.column(height)

    def column(self, height: int) -> Text:
        lines = [*self._where(), Text(), *self._scores(), Text(), *self._selected()]
        return Text("\n").join(lines[:height])

    def few_lines(self) -> Text:
        view = self.view
        first = Text(no_wrap=True)
        first.append(safe(view.scene, 24), self.strong)
        memory = ", memory" if view.earlier is not None else ""
        first.append(
            f"  {self._place()}  {clock(view.now)}  {self._sampling()}{memory}", self.muted
        )
        second = Text()
        for name in FEW if self.second is None else FEW[:3]:
            second.append(f"{SCORES[name]} ", self.muted)
            second.append(score(name, self.view.mean(name)), self.strong)
            if self.second is not None:
                second.append(f" ({score(name, self.second.mean(name))})", self.muted)
            second.append("   ")
        return Text("\n").join([first, second, *self._selected()[:2]])

    def _where(self) -> list[Text]:
        view = self.view
        return [
            Text(safe(view.scene, self.columns), self.strong),
            Text(f"{self._place()}  at {clock(view.now)}", self.muted),
            Text(self._sampling(), self.muted),
            Text(f"by {safe(view.forecaster, 20)} in {1e3 * view.seconds:.0f} ms", self.muted),
            *([Text(memory, self.muted)] if (memory := self._memory()) else []),
        ]

    def _memory(self) -> str:
        view = self.view
        if view.earlier is None:
            return "without memory" if view.without_memory else ""
        agents = view.target if self.agent is None else [self.agent]
        count = int(np.isfinite(view.earlier[agents]).any((-1, -2)).sum())
        return f"with {count} earlier track{'s' * (count != 1)}"

    def _place(self) -> str:
        return f"window {self.view.index + 1} of {self.view.count}"

    def _sampling(self) -> str:
        options = self.options
        samples = "1 sample" if options.samples == 1 else f"{options.samples} samples"
        selected = f"{samples}, {options.select}" if options.select else samples
        steps = f"{options.steps} step{'s' * (options.steps > 1)}"
        return f"{selected}, {steps}, seed {options.seed}"

    def _scores(self) -> list[Text]:
        head = Text().append(f"{'mean over agents':16}", self.muted)
        if self.second is not None:
            names = (safe(view.forecaster, 7) for view in (self.view, self.second))
            head.append("".join(f"{name:>8}" for name in names), self.muted)
        lines = [head]
        for name, label in SCORES.items():
            if name not in self.view.metrics:
                continue
            line = Text().append(f"{label:16}", self.muted)
            line.append(f"{score(name, self.view.mean(name)):>8}", self.strong)
            if self.second is not None:
                line.append(f"{score(name, self.second.mean(name)):>8}", self.strong)
            elif name not in SHARES:
                line.append(f" {safe(self.view.unit, 8)}", self.muted)
            elif name == "miss_rate" and self.view.miss is not None:
                distance = with_unit(self.view.miss, safe(self.view.unit, 8))
                line.append(f" > {distance}", self.muted)
            lines.append(line)
        return lines

    def _selected(self) -> list[Text]:
        if self.edit is not None:
            return [self._edit(self.edit), *self._ood_score(self.edit.agent)]
        chosen = [] if self.agent is None else [self._agent(self.agent)]
        return [*chosen, *self._ood_score(self.agent)]

    def _edit(self, edit: PastEdit) -> Text:
        line = Text().append("edit ", f"bold #{self.palette.hue(1):06x}")
        letter, steps = agent_letter(self.view, edit.agent), edit.past.shape[1]
        line.append(f"{letter} point {edit.step + 1} of {steps}", self.strong)
        if not np.isfinite(edit.past[edit.agent, edit.step]).all():
            line.append("  missing", self.muted)
        elif edit.changed[edit.agent, edit.step]:
            line.append(f"  moved {edit.moved_by:.2f} {safe(self.view.unit, 8)}", self.muted)
        return line

    def _agent(self, agent: int) -> Text:
        line = Text().append(f"{agent_letter(self.view, agent)} ", self._hue(agent))
        line.append(safe(self.view.labels[agent], 14), self.strong)
        line.append(f" {safe(self.view.agent_types[agent], 12)}", self.muted)
        return line

    def _ood_score(self, agent: int | None) -> list[Text]:
        """Of an agent, or the highest one."""
        view = self.view
        if view.ood_score is None:
            return [Text("OOD score: the run has no OOD detector", self.muted)]
        scores = np.where(np.isfinite(view.ood_score), view.ood_score, -1)
        one = int(scores.argmax()) if agent is None else agent
        value = float(scores[one])
        if value < 0:
            return [Text("OOD score: not forecast", self.muted)]
        high = value > THRESHOLD
        line = Text().append("OOD score ", self.muted)
        line.append(bar(value, 10), f"#{self.palette.hue(1):06x}" if high else self.muted)
        line.append(f" {value:.2f} ", self.strong)
        line.append("high " if high else "", self.muted)
        if agent is None:
            line.append(agent_letter(view, one), self._hue(one))
        reason = view.ood_reasons[one] if view.ood_reasons else ""
        return [line, *([Text(safe(reason, 6 * self.columns))] if reason else [])]

    def _hue(self, agent: int) -> str:
        return f"bold #{agent_hue(self.view, agent, self.palette):06x}"
