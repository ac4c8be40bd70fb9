"""The windows of a store one by one, beside what a run forecasts of them."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from textual.binding import BindingType

from trajflow.batch import Floats
from trajflow.tui.messages import Complain, Tell
from trajflow.tui.screens.asking import AskScreen
from trajflow.tui.screens.goto import GotoScreen
from trajflow.tui.screens.map_keys import EDIT_KEYS, FORECAST_KEYS, MAP_KEYS
from trajflow.tui.shared_worker import worker_of
from trajflow.tui.worker import Worker
from trajflow.tui.worker_messages import Answered, Failed, Finished
from trajflow.tui.worker_requests import Opened, OpenRun, Rank, Ranking, Shown, ShowWindow

JUMPS = {"worst": ("energy_score", -1), "best": ("energy_score", 1), "strange": ("surprise", -1)}
BROWSING = ("window", "scene", "jump", "anywhere", "goto", "edge")


class ForecastScreen(AskScreen):
    """Browse the windows of a part, change how they are forecast, and change the past.

    Args:
        run: Run folder.
        data: Store.
        part: "train", "val" or "test".
        second: Another run to be shown side by side, if any.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*FORECAST_KEYS, *MAP_KEYS, *EDIT_KEYS]

    def __init__(
        self, run: Path, data: Path, part: str = "test", second: Path | None = None
    ) -> None:
        super().__init__(f"{run.name}  {data.name}, {part}")
        self.run, self.data, self.part = run, data, part
        self.rival = None if second is None else str(second)
        self.index = 0
        self.opened: Opened | None = None
        self._scores: dict[str, Floats] = {}
        self._wish: str | None = None
        self._place: tuple[str, int] | None = None
        self._last, self._ranking, self._chance = 0, 0, np.random.default_rng(0)

    @property
    def worker(self) -> Worker:
        """Who does the model work."""
        return worker_of(self.app)

    def on_mount(self) -> None:
        """Open the run."""
        self.canvas.stacks = True
        self.canvas.say("the model is being loaded")
        self.canvas.focus()
        self.worker.ask(OpenRun(self.run, self.data, self.part), self)

    def on_unmount(self) -> None:
        """A ranking that goes on is of no use to anyone else."""
        if self._ranking:
            self.worker.cancel(self._ranking)

    def forecast_again(self) -> None:
        """Ask for this window as it shall be forecast now."""
        if self.opened is not None:
            past = None if self.edit is None else self.edit.past
            asked = ShowWindow(
                self.run, self.data, self.part, self.index, self.how, past, self.rival
            )
            self._last = self.worker.ask(asked, self)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a past is edited, keys are for its points."""
        if action in BROWSING and self.edit is not None:
            return False
        return super().check_action(action, parameters)

    def on_answered(self, message: Answered) -> None:
        """Show what the worker says."""
        value = message.value
        if isinstance(value, Shown):
            self._shown(message.number, value)
        elif isinstance(value, Opened):
            self.opened = value
            self.forecast_again()
        elif isinstance(value, Ranking):
            self._ranked(value)

    def on_finished(self, message: Finished) -> None:
        """Nothing more to wait for."""

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong; a view that is there stays."""
        if not message.died:
            self.post_message(Complain(message.text))
        if isinstance(message.request, Rank):
            self._wish = None
            self.heading.state = ""
        if isinstance(message.request, ShowWindow) and message.request.beside:
            self.rival = None
            self.forecast_again()
        if self.view is None:
            self.canvas.say("nothing to show")
        if isinstance(message.request, OpenRun) and message.died:
            self.set_timer(1.0, lambda: self.worker.ask(message.request, self))

    def action_window(self, by: int) -> None:
        """Some windows on."""
        self._go(self.index + by)

    def action_edge(self, last: int) -> None:
        """The first window, or the last."""
        self._go(last * 10**9)

    def action_scene(self, way: int) -> None:
        """The first window of the next scene, or of the one before."""
        if self.opened is None:
            return
        firsts = [first for _, first in self.opened.scenes]
        here = sum(first <= self.index for first in firsts) - 1
        self._go(firsts[(here + way) % len(firsts)])

    def action_anywhere(self) -> None:
        """A window by chance."""
        if self.opened is not None:
            self._go(int(self._chance.integers(self.opened.count)))

    def action_goto(self) -> None:
        """Ask for the number of a window."""
        if self.opened is not None:
            self.app.push_screen(GotoScreen(self.opened.count), self._went)

    def action_jump(self, where: str) -> None:
        """The worst window and so on; once more, the next one in this order."""
        by, _ = JUMPS[where]
        if by in self._scores:
            self._jump(where)
        elif self.opened is not None:
            self._wish = where
            self._ranking = self.worker.ask(Rank(self.run, self.data, self.part, by), self)

    def _went(self, index: int | None) -> None:
        if index is not None:
            self._go(index)

    def _go(self, index: int) -> None:
        if self.opened is not None:
            self._place = None
            self.index = min(self.opened.count - 1, max(0, index))
            self.forecast_again()

    def _jump(self, where: str) -> None:
        by, way = JUMPS[where]
        scores = self._scores[by]
        order = np.argsort(np.where(np.isfinite(scores), way * scores, np.inf), kind="stable")
        past = self._place[1] + 1 if self._place and self._place[0] == where else 0
        rank = past % len(order)
        self._go(int(order[rank]))
        self._place = (where, rank)
        self.heading.state = f"{where}: {rank + 1} of {len(order)}"

    def _shown(self, number: int, value: Shown) -> None:
        if self.edit is not None:
            if number != self._last:
                return
        elif value.view.edited is not None:
            return
        self.show(value.view, value.second)

    def _ranked(self, ranking: Ranking) -> None:
        if ranking.scores is None:
            share = 100 * ranking.done // max(1, ranking.total)
            self.heading.state = f"looking at all windows, {share} %"
            return
        self._scores[ranking.by] = ranking.scores
        self.heading.state = ""
        if self._wish is not None and self.edit is None:
            self._jump(self._wish)
        elif self._wish is not None:
            self.post_message(Tell("all windows are ranked"))
        self._wish = None
