"""What is known of a window in words: who, where, when, how good, how strange."""

from __future__ import annotations

import numpy as np
from rich.text import Text

from trajflow.browsing.view import Asked, View
from trajflow.text import safe
from trajflow.tui.editing import Edit
from trajflow.tui.widgets.layers import letter
from trajflow.tui.widgets.look import Look

SCORES = (
    ("min_ade", "best on average"),
    ("min_fde", "best at the end"),
    ("energy_score", "energy score"),
    ("risk", "expected energy"),
    ("spread", "spread"),
    ("inside_90", "inside 90 %"),
    ("miss", "missed"),
)
FEW = ("min_ade", "min_fde", "energy_score", "spread")
SHARES = {"inside_90", "miss"}
STRANGE = 0.95
"""Surprise beyond which an agent is called strange; one in twenty ordinary people is."""


class Facts:
    """The text of a window's facts."""

    def __init__(
        self,
        look: Look,
        view: View,
        second: View | None,
        agent: int | None,
        how: Asked,
        edit: Edit | None,
        width: int,
    ) -> None:
        self.look, self.view, self.second, self.agent = look, view, second, agent
        self.how, self.edit, self.width = how, edit, width
        self.faint, self.ink = f"#{look.faint:06x}", f"bold #{look.ink:06x}"

    def tall(self, height: int) -> Text:
        """One fact below the other."""
        lines = [*self._where(), Text(), *self._scores(), Text(), *self._chosen()]
        rest = height - len(lines) - 1
        if rest > 2:
            lines += [Text(), *self._agents(rest)]
        return Text("\n").join(lines[:height])

    def flat(self) -> Text:
        """A few lines for a low screen."""
        view = self.view
        first = Text(no_wrap=True)
        first.append(safe(view.scene, 24), self.ink)
        first.append(f"  {self._place()}  {clock(view.now)}  {self._drawn()}", self.faint)
        second = Text()
        for name in FEW:
            second.append(f"{name.replace('_', ' ')} ", self.faint)
            second.append(self._value(self.view, name), self.ink)
            if self.second is not None:
                second.append(f" ({self._value(self.second, name)})", self.faint)
            second.append("   ")
        return Text("\n").join([first, second, *self._chosen()[:2]])

    def _where(self) -> list[Text]:
        view = self.view
        return [
            Text(safe(view.scene, self.width), self.ink),
            Text(f"{self._place()}  at {clock(view.now)}", self.faint),
            Text(self._drawn(), self.faint),
            Text(f"{safe(view.by, 20)}, {1e3 * view.seconds:.0f} ms", self.faint),
        ]

    def _place(self) -> str:
        return f"window {self.view.index + 1} of {self.view.count}"

    def _drawn(self) -> str:
        how = self.how
        samples = "1 sample" if how.samples == 1 else f"{how.samples} samples"
        chosen = f"{samples}, {how.select}" if how.select else samples
        return f"{chosen}, {how.steps} step{'s' * (how.steps > 1)}, seed {how.seed}"

    def _scores(self) -> list[Text]:
        head = Text().append(f"{'mean over agents':16}", self.faint)
        if self.second is not None:
            head.append(f"{safe(self.view.by, 7):>8}{safe(self.second.by, 7):>8}", self.faint)
        lines = [head]
        for name, told in SCORES:
            if name not in self.view.metrics:
                continue
            line = Text().append(f"{told:16}", self.faint)
            line.append(f"{self._value(self.view, name):>8}", self.ink)
            if self.second is not None:
                line.append(f"{self._value(self.second, name):>8}", self.ink)
            elif name not in SHARES:
                line.append(f" {safe(self.view.unit, 8)}", self.faint)
            lines.append(line)
        return lines

    def _value(self, view: View, name: str) -> str:
        value = view.mean(name)
        if not np.isfinite(value):
            return "-"
        return f"{100 * value:.0f} %" if name in SHARES else f"{value:.2f}"

    def _chosen(self) -> list[Text]:
        """The agent that stands out, how strange it is, and why."""
        if self.edit is not None:
            return [*self._edited(self.edit), *self._strange(self.edit.agent)]
        if self.agent is None:
            return self._strange(None)
        return [self._agent(self.agent), *self._strange(self.agent)]

    def _edited(self, edit: Edit) -> list[Text]:
        step = edit.step + 1
        line = Text().append("edit ", f"bold #{self.look.hue(1):06x}")
        line.append(
            f"{letter(self.view, edit.agent)} point {step} of {edit.past.shape[1]}", self.ink
        )
        if not np.isfinite(edit.past[edit.agent, edit.step]).all():
            line.append("  missing", self.faint)
        elif edit.changed[edit.agent, edit.step]:
            line.append(f"  moved {edit.away:.2f} {safe(self.view.unit, 8)}", self.faint)
        return [line]

    def _agent(self, agent: int) -> Text:
        hue = f"bold #{self._hue(agent):06x}"
        line = Text().append(f"{letter(self.view, agent)} ", hue)
        line.append(safe(self.view.labels[agent], 14), self.ink)
        line.append(f" {safe(self.view.kinds[agent], 12)}", self.faint)
        return line

    def _strange(self, agent: int | None) -> list[Text]:
        view = self.view
        if view.surprise is None:
            return [Text("surprise: the run does not know", self.faint)]
        known = np.where(np.isfinite(view.surprise), view.surprise, -1)
        one = int(known.argmax()) if agent is None else agent
        if known[one] < 0:
            return [Text("surprise: not forecast", self.faint)]
        score = float(known[one])
        full = round(10 * score)
        line = Text().append("surprise ", self.faint)
        colour = self.look.hue(1) if score > STRANGE else self.look.faint
        line.append("█" * full, f"#{colour:06x}")
        line.append("░" * (10 - full), self.faint)
        line.append(f" {score:.2f} ", self.ink)
        line.append(f"{'strange' if score > STRANGE else ''} ", self.faint)
        if agent is None:
            line.append(letter(view, one), f"bold #{self._hue(one):06x}")
        reason = view.reasons[one] if view.reasons else ""
        return [line, *([Text(safe(reason, 6 * self.width))] if reason else [])]

    def _agents(self, most: int) -> list[Text]:
        """The agents that are forecast, one in a line."""
        targets = np.flatnonzero(self.view.target)
        lines = [Text(f"  {'agent':9}{'best':>6}{'energy':>8}{'strange':>8}", self.faint)]
        for agent in targets[: most - 2]:
            lines.append(self._row(int(agent)))
        if len(targets) > most - 2:
            lines.append(Text(f"  and {len(targets) - most + 2} more", self.faint))
        return lines

    def _row(self, agent: int) -> Text:
        view = self.view
        chosen = agent == self.agent
        line = Text()
        line.append(f"{letter(view, agent)} ", f"bold #{self._hue(agent):06x}")
        style = self.ink if chosen else ""
        line.append(f"{safe(view.labels[agent], 9):9}", style)
        for name, wide in (("min_ade", 6), ("energy_score", 8)):
            value = view.metrics[name][agent] if name in view.metrics else np.nan
            line.append(f"{value:{wide}.2f}" if np.isfinite(value) else f"{'-':>{wide}}", style)
        strange = np.nan if view.surprise is None else view.surprise[agent]
        line.append(f"{strange:7.2f}" if np.isfinite(strange) else f"{'-':>7}", style)
        line.append("!" if strange > STRANGE else " ")
        return line

    def _hue(self, agent: int) -> int:
        order = int(np.count_nonzero(self.view.target[:agent]))
        return self.look.hue(order) if self.view.target[agent] else self.look.faint


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours too."""
    whole = max(0.0, seconds)
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{int(minutes)}:{rest:04.1f}"
    return f"{int(minutes // 60)}:{int(minutes % 60):02d}:{int(rest):02d}"
