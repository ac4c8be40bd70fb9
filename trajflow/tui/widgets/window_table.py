"""Tables beside the map: the windows of a split, and the agents of one window."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np

from trajflow.browse.view import Floats, SplitSummary, View
from trajflow.tui.format import clock
from trajflow.tui.render.scene import agent_letter
from trajflow.tui.widgets.tables import (
    RecordTable,
    TableColumn,
    number_column,
    score_column,
    word_column,
)

SCORED = ("energy_score", "min_ade", "min_fde", "ood_score", "coverage_90")
AGENT_SCORED = ("ood_score", "min_ade", "energy_score", "min_fde")
"""Columns of windows and of agents, the most important ones first."""


class WindowTable(RecordTable[int]):
    """Windows by number, in the order of the split; scores are empty until they are computed."""

    HELP = """\
Scores are means over the agents of a window that are forecast, **OOD** is the highest OOD score of
them. **gain** appears with another forecaster beside (`v`, `V`): its energy score less that of the
run, so above 0 the run is better. A window that is chosen here is shown on the map; `enter` goes to
the map.
"""

    def __init__(self) -> None:
        self.summary = SplitSummary(0)
        self.scores: Mapping[str, Floats] = {}
        super().__init__(
            [
                word_column("scene", 16, self._scene),
                TableColumn("time", 7, lambda n: clock(self._seconds(n)), self._seconds),
                number_column("agents", 7, lambda n: int(self.summary.targets[n]), str),
                number_column("gain", 7, partial(self._score, "gain")),
                *(score_column(key, partial(self._score, key), empty="") for key in SCORED),
                TableColumn("window", 7, lambda n: str(n + 1), lambda n: n),
            ],
            str,
        )
        self._with_gain = self._all_columns

    def show_windows(self, summary: SplitSummary, scores: Mapping[str, Floats], index: int) -> None:
        """Show the windows of a split with scores so far, [N] by name, and the cursor."""
        self.summary, self.scores = summary, scores
        shown = (each for each in self._with_gain if each.name != "gain" or "gain" in scores)
        self._all_columns = tuple(shown)
        self.show(range(summary.count))
        self.choose(str(index))

    def _score(self, key: str, index: int) -> float:
        return float(self.scores[key][index]) if key in self.scores else math.nan

    def _scene(self, index: int) -> str:
        return self.summary.store_scenes[int(self.summary.scene[index])]

    def _seconds(self, index: int) -> float:
        return float(self.summary.seconds[index])


class AgentTable(RecordTable[int]):
    """All agents of a window by index: those that are forecast first, then their neighbors."""

    HELP = """\
All agents of the window, with the scores of those that are forecast. An agent that is chosen here
stands out on the map; `enter` goes to the map.
"""

    view: View

    def __init__(self) -> None:
        super().__init__(
            [
                TableColumn("agent", 14, self._agent, lambda n: self.view.labels[n], down=False),
                *(score_column(key, partial(self._score, key)) for key in AGENT_SCORED),
                word_column("type", 10, lambda n: self.view.agent_types[n]),
            ],
            str,
        )

    def show_view(self, view: View, agent: int | None) -> None:
        """Show the agents of a window, the cursor on one of them."""
        self.view = view
        self.show(np.argsort(~view.target, kind="stable").tolist())
        if agent is not None:
            self.choose(str(agent))

    def _agent(self, agent: int) -> str:
        return f"{agent_letter(self.view, agent)} {self.view.labels[agent]}"

    def _score(self, key: str, agent: int) -> float:
        scores = self.view.ood_score if key == "ood_score" else self.view.metrics.get(key)
        return math.nan if scores is None else float(scores[agent])
