"""A training, also while it runs and wherever it was started: curves, progress, stop, resume."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import ClassVar

from textual import getters, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid
from textual.screen import Screen

from trajflow.history import RaceProgress, TrainingHistory, TrainingUpdate, TrainingWatcher
from trajflow.jobs import start_training
from trajflow.library import RUN_SCORES, store_of_run
from trajflow.tui.app import TrajflowApp
from trajflow.tui.format import HEADS, SCORES, count, duration, epochs, number, score
from trajflow.tui.widgets.plots import CurvePlot, loss_curves, score_curves
from trajflow.tui.widgets.text import FactList, KeyFooter, Line, ProgressLine, TitleBar

EVERY = 0.7
"""Seconds between two looks at the events."""


class TrainingScreen(Screen[None]):
    """Follows a run, which need not exist yet."""

    app = getters.app(TrajflowApp)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "stop", "Stop and save", id="training.stop"),
        Binding("c", "resume", "Resume", id="training.resume"),
        Binding("enter,f", "forecasts", "Forecasts", key_display="enter", id="training.forecasts"),
    ]

    def __init__(self, run: Path, data: Path | None = None) -> None:
        super().__init__()
        self.run_folder, self.data = run, data
        self.history = TrainingHistory()
        self.latest: TrainingUpdate | None = None
        self._watcher, self._looking, self._starting = TrainingWatcher(run), False, False

    def compose(self) -> ComposeResult:
        yield TitleBar(f"{self.run_folder.name} · training")
        yield ProgressLine()
        with Grid(id="training"):
            yield CurvePlot("loss", "loss")
            yield CurvePlot("validation", "scores")
            yield FactList(id="facts")
            yield FactList(id="words")
        yield KeyFooter()

    def on_mount(self) -> None:
        self.set_interval(EVERY, self._look)
        self._look()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "stop":
            runs = self.latest is not None and self.latest.job is not None
            return runs or self.state == "training"
        if action == "resume":
            return self.state in ("stopped", "failed")
        return True

    @property
    def state(self) -> str:
        update = self.latest
        if self._starting or update is None:
            return "starting"
        if update.race is not None:
            return "comparing settings"
        if update.job is not None:
            return "training" if update.exists else "starting"
        if self.history.reason:
            return "done" if self.history.reason == "done" else "stopped"
        if not update.exists:
            return "failed" if update.words else "not there"
        return "training" if update.recent else "stopped"

    def action_stop(self) -> None:
        job = self.latest.job if self.latest else None
        if job is None:
            self.app.show_error("this training was started elsewhere; press Ctrl-C there")
        else:
            job.stop()
            self.app.show_message("the training saves and stops after this step")

    @work(group="look")
    async def _look(self) -> None:
        if not self._looking:
            self._looking = True
            update = await asyncio.to_thread(self._watcher.update)
            self._looking = False
            self.call_later(self.show, update)  # not if the screen is closing

    @work(exclusive=True, group="resume")
    async def action_resume(self) -> None:
        self._starting = True
        with self.app.errors_shown():
            words = [str(await self._store()), "--resume"]
            await asyncio.to_thread(start_training, self.run_folder, words)
            self.app.show_message("the training goes on")
        self._starting = False

    @work(exclusive=True, group="forecasts")
    async def action_forecasts(self) -> None:
        with self.app.errors_shown():
            self.app.open_forecasts(self.run_folder, await self._store())

    async def _store(self) -> Path:
        found = self.data
        return found if found else await asyncio.to_thread(store_of_run, self.run_folder)

    def show(self, update: TrainingUpdate) -> None:
        before, self.latest = self.latest, update
        if update.restarted:
            self.history = TrainingHistory()
        if update.restarted or update.events or before is None:
            self.history.add(update.events)
            self.query_one("#loss", CurvePlot).show(loss_curves(self.history))
            self.query_one("#scores", CurvePlot).show(score_curves(self.history))
        if before != update:
            self._show_facts(update)

    def _show_facts(self, update: TrainingUpdate) -> None:
        history, state = self.history, self.state
        left = f"{duration(history.eta)} left" if state == "training" else state
        share, words = history.share, f"step {history.step} of {history.steps or '-'}  {left}"
        if (race := update.race) is not None:
            share = min(1.0, race.step / max(1, race.steps))
            words = f"candidate {race.candidate} of {race.candidates}  {duration(race.eta)} left"
        elif state == "starting":
            words = "starting"
        line = self.query_one(ProgressLine)
        line.share, line.words, line.done = share, words, state == "done"
        self.query_one(TitleBar).state = state
        if race is not None:
            lines = race_facts(race)
        elif state in ("failed", "starting"):
            lines = [[("", word)] for word in update.words]
        else:
            lines = validation_rows(history)
        self.query_one("#facts", FactList).lines = training_facts(history)
        self.query_one("#words", FactList).lines = lines
        self.refresh_bindings()


def training_facts(history: TrainingHistory) -> list[Line]:
    """The numbers of a training."""
    last = history.points[-1] if history.points else None
    best = [(SCORES[key], score(key, history.best(key))) for key in RUN_SCORES]
    return [
        best[:2],
        best[2:],
        [
            ("lambda", number(last.weight) if last else "-"),
            ("learning rate", number(last.lr) if last else "-"),
        ],
        [("parameters", count(history.parameters)), ("on", history.device or "-")],
        [("best epoch", epochs(history.best_epoch)), ("took", duration(history.seconds))],
    ]


def race_facts(race: RaceProgress) -> list[Line]:
    """What is compared before the first step of a training."""
    return [
        [("", "Short trainings compare settings on the validation split.")],
        [("candidate", f"{race.candidate} of {race.candidates}")],
        [("it changes", race.settings or "nothing: the settings as planned")],
        [("updates", f"{race.step} of about {race.steps}, of all candidates together")],
    ]


def validation_rows(history: TrainingHistory) -> list[Line]:
    """The scores of each validation, newest first; a star marks the best so far."""
    head = f"{'epoch':>5} " + "".join(f"{HEADS[key]:>7}" for key in RUN_SCORES)
    rows: list[Line] = [[("", head)]] if history.validations else []
    for one in reversed(history.validations):
        scores = (score(key, one.metrics.get(key, math.nan)) for key in RUN_SCORES)
        cells = "".join(f"{each:>7}" for each in scores)
        rows.append([("", f"{one.epoch:5.1f} {cells}{' *' if one.best else ''}")])
    return rows
