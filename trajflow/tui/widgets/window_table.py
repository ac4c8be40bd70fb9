"""Tables beside the map: the windows of a split, and the agents of one window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from textual import getters
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import DataTable

from trajflow.browse.view import Floats, SplitSummary, View
from trajflow.tui.format import clock, number
from trajflow.tui.render.scene import agent_letter
from trajflow.tui.widgets.tables import Cell, RecordTable, TableColumn

TableName = Literal["", "windows", "agents"]
SCORES = {"energy_score": "energy", "min_ade": "minADE", "min_fde": "minFDE", "ood_score": "OOD"}


class WindowTable(RecordTable[int]):
    """Windows by number, in the order of the split; scores are empty until they are known.

    Attributes:
        summary: The split.
        scores: Score of each window by name, [W].
    """

    HELP = """\
Scores are means over the agents of a window that are forecast, **OOD** is the highest OOD score of
them. A window that is chosen here is shown on the map; `enter` goes to the map.
"""

    def __init__(self) -> None:
        self.summary = SplitSummary(0, ())
        self.scores: Mapping[str, Floats] = {}
        columns: list[TableColumn[int]] = [
            TableColumn("scene", 12, self._scene, self._scene, down=False),
            TableColumn("time", 7, lambda n: clock(self._seconds(n)), self._seconds),
            TableColumn("agents", 7, lambda n: str(self._agents(n)), self._agents),
            *(self._score_column(key, name) for key, name in SCORES.items()),
            TableColumn("window", 7, lambda n: str(n + 1), lambda n: n),
        ]
        super().__init__(columns, str)

    def show_windows(self, summary: SplitSummary, scores: Mapping[str, Floats], index: int) -> None:
        """Show the windows of a split with the known scores, the cursor on one of them."""
        self.summary, self.scores = summary, scores
        self.show(range(summary.count))
        self.choose(str(index))

    def _score_column(self, key: str, name: str) -> TableColumn[int]:
        def value(index: int) -> float:
            return float(self.scores[key][index]) if key in self.scores else float("nan")

        def cell(index: int) -> Cell:
            return number(value(index)) if key in self.scores else ""

        return TableColumn(name, 7, cell, value)

    def _scene(self, index: int) -> str:
        return self.summary.store_scenes[int(self.summary.scene[index])]

    def _seconds(self, index: int) -> float:
        return float(self.summary.seconds[index])

    def _agents(self, index: int) -> int:
        return int(self.summary.targets[index])


class AgentTable(RecordTable[int]):
    """All agents of a window by index: those that are forecast first, then their neighbors.

    Attributes:
        view: The window.
    """

    HELP = """\
All agents of the window, with the scores of those that are forecast. An agent that is chosen here
stands out on the map; `enter` goes to the map.
"""

    view: View

    def __init__(self) -> None:
        columns: list[TableColumn[int]] = [
            TableColumn(
                "agent", 14, self._letter_and_label, lambda n: self.view.labels[n], down=False
            ),
            self._score_column("ood_score", 6),
            *(self._score_column(key) for key in ("min_ade", "energy_score", "min_fde")),
            TableColumn("type", 10, self._type, self._type, down=False),
        ]
        super().__init__(columns, str)

    def show_view(self, view: View, agent: int | None) -> None:
        """Show the agents of a window, the cursor on one of them."""
        self.view = view
        self.show(np.argsort(~view.target, kind="stable").tolist())
        if agent is not None:
            self.choose(str(agent))

    def _score_column(self, key: str, width: int = 7) -> TableColumn[int]:
        def value(agent: int) -> float:
            view = self.view
            scores = view.ood_score if key == "ood_score" else view.metrics.get(key)
            return float("nan") if scores is None else float(scores[agent])

        return TableColumn(SCORES[key], width, lambda agent: number(value(agent)), value)

    def _letter_and_label(self, agent: int) -> str:
        return f"{agent_letter(self.view, agent)} {self.view.labels[agent]}"

    def _type(self, agent: int) -> str:
        return self.view.agent_types[agent]


class SideTables(Vertical):
    """Room beside the map for the table of windows or the table of agents.

    Attributes:
        shown: Which one is shown; empty: none.
    """

    DEFAULT_CSS = """
    SideTables { display: none; width: 42%; max-width: 66; height: 1fr; }
    SideTables.-windows, SideTables.-agents { display: block; border-right: solid $border; }
    SideTables.-windows AgentTable, SideTables.-agents WindowTable { display: none; }
    """
    windows = getters.query_one(WindowTable)
    agents = getters.query_one(AgentTable)
    shown: reactive[TableName] = reactive[TableName]("")

    @dataclass
    class WindowChosen(Message):
        """The cursor is on a window."""

        window: int

    @dataclass
    class AgentChosen(Message):
        """The cursor is on an agent."""

        agent: int

    @property
    def table(self) -> WindowTable | AgentTable | None:
        """The table that is shown."""
        return {"": None, "windows": self.windows, "agents": self.agents}[self.shown]

    def compose(self) -> ComposeResult:
        yield WindowTable()
        yield AgentTable()

    def toggle(self, name: TableName) -> None:
        """Show one of the tables, or hide it if it is shown."""
        self.shown = "" if self.shown == name else name

    def watch_shown(self) -> None:
        self.set_class(self.shown == "windows", "-windows")
        self.set_class(self.shown == "agents", "-agents")

    def on_data_table_row_highlighted(self, message: DataTable.RowHighlighted) -> None:
        message.stop()
        table = self.table
        if table is not None and table is message.data_table and table.record is not None:
            chosen = self.WindowChosen if table is self.windows else self.AgentChosen
            self.post_message(chosen(table.record))
