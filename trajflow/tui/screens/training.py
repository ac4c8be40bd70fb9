"""A training, also while it runs and wherever it was started: curves, progress, stop and resume."""

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Grid
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer

from trajflow.errors import RunError
from trajflow.tui.jobs.history import History
from trajflow.tui.jobs.processes import start
from trajflow.tui.jobs.sources import data_of
from trajflow.tui.jobs.watching import News, Watch
from trajflow.tui.keys import bound
from trajflow.tui.messages import Complain, OpenForecast, Tell
from trajflow.tui.widgets.curves import Curves
from trajflow.tui.widgets.facts import Facts
from trajflow.tui.widgets.gauge import Gauge
from trajflow.tui.widgets.title import Title
from trajflow.tui.widgets.training_curves import (
    facts_of,
    loss_curves,
    schedule_curves,
    score_curves,
    validations,
)
from trajflow.tui.widgets.words import span

EVERY = 0.7
"""Seconds between two looks at the events."""


class TrainingScreen(Screen[None]):
    """Follows a run; `data` is the store that it learns from, if known."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bound("training.stop", "s", "stop", "Stop and save"),
        bound("training.resume", "c", "resume", "Continue"),
        bound("training.forecasts", "enter,f", "forecasts", "Forecasts", shown="enter"),
    ]

    class Heard(Message):
        """A look at the run is over."""

        def __init__(self, news: News) -> None:
            super().__init__()
            self.news = news

    def __init__(self, run: Path, data: Path | None = None) -> None:
        super().__init__()
        self.run_folder, self.data = run, data
        self.history = History()
        self._watch, self._looking, self._starting = Watch(run), False, False
        self.news: News | None = None

    def compose(self) -> ComposeResult:
        """Progress above; loss, scores, lambda and words below."""
        yield Title(f"{self.run_folder.name} · training", "")
        yield Gauge()
        with Grid(id="training"):
            yield Curves("loss", below="epoch", id="loss")
            yield Curves("validation", below="epoch", id="scores")
            yield Curves("schedule", below="epoch", id="schedule")
            yield Facts(id="words")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self.set_interval(EVERY, self._look)
        self._look()

    def on_training_screen_heard(self, message: Heard) -> None:
        """Take notice of what is new."""
        self._looking, first = False, self.news is None
        before, self.news = self.news, message.news
        if message.news.restarted:
            self.history = History()
        if message.news.restarted or message.news.events or first:
            self.history.add(message.news.events)
            self._draw()
        if first or before != self.news:
            self._tell()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Stop what runs, continue what does not."""
        if action == "stop":
            return self.state == "training"
        if action == "resume":
            return self.state in ("stopped", "failed")
        return True

    @property
    def state(self) -> str:
        """What goes on, in a word."""
        if self._starting or self.news is None:
            return "starting"
        if self.news.job is not None:
            return "training"
        if self.history.reason:
            return "done" if self.history.reason == "done" else "stopped"
        if not self.news.exists:
            return "failed" if self.news.words else "not there"
        return "training" if self.news.lively else "stopped"

    def action_stop(self) -> None:
        """Ask the process to save and end."""
        job = self.news.job if self.news else None
        if job is None:
            said = "this training was started elsewhere: press Ctrl-C there, it saves and ends"
            self.post_message(Complain(said))
        else:
            job.stop()
            self.post_message(Tell("it saves and stops after this step"))

    def action_resume(self) -> None:
        """Go on where it stopped."""
        self._starting = True
        self.run_worker(self._resume, thread=True, exit_on_error=False)

    def action_forecasts(self) -> None:
        """Show what it forecasts."""
        self.run_worker(self._find_data, thread=True, exit_on_error=False)

    def _look(self) -> None:
        if not self._looking:
            self._looking = True
            work = lambda: self.post_message(self.Heard(self._watch.look()))  # noqa: E731
            self.run_worker(work, thread=True, exit_on_error=False)

    def _resume(self) -> None:
        try:
            data = self.data or data_of(self.run_folder)
            start(self.run_folder, [str(data), "--resume"])
            self.post_message(Tell("it goes on"))
        except RunError as error:
            self.post_message(Complain(str(error)))
        finally:
            self._starting = False

    def _find_data(self) -> None:
        try:
            data = self.data or data_of(self.run_folder)
            self.post_message(OpenForecast(self.run_folder, data))
        except RunError as error:
            self.post_message(Complain(str(error)))

    def _draw(self) -> None:
        self.query_one("#loss", Curves).show(loss_curves(self.history))
        self.query_one("#scores", Curves).show(score_curves(self.history))
        self.query_one("#schedule", Curves).show(schedule_curves(self.history))

    def _tell(self) -> None:
        history, state = self.history, self.state
        left = span(history.eta) if state == "training" else "-"
        self.query_one(Gauge).show(history.share, state, history.step, history.steps, left)
        self.query_one(Title).state = state
        lines = facts_of(history)
        if state in ("failed", "starting") and self.news:
            lines += [[], *([("", word)] for word in self.news.words)]
        else:
            lines += [[], *validations(history)]
        self.query_one("#words", Facts).tell(lines)
        self.refresh_bindings()
