"""A form with the settings of a training, checked while they are typed."""

import asyncio
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text
from textual import getters, on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Button, Input, Label, Select, Static

from trajflow.config import Config
from trajflow.errors import ConfigError, RunError
from trajflow.jobs import last_words, running_job, start_training
from trajflow.library import PRESETS, encoders, free_run, read_store
from trajflow.text import safe
from trajflow.tui.app import TrajflowApp
from trajflow.tui.format import short_path
from trajflow.tui.widgets.text import KeyFooter, TitleBar

NONE = "none"
MAX_MESSAGE = 400
NUMBERS = {
    "epochs": ("epochs", "train.epochs"),
    "lr": ("learning rate", "train.lr"),
    "batch": ("batch size", "train.batch_size"),
    "seed": ("seed", "train.seed"),
}
"""Fields with a number: what they are called, and the setting."""


class NewTrainingScreen(Screen[None]):
    """Settings of a new training on a store; only its button starts it.

    The form stays below the training it started, so that what was typed is still there if the
    training fails at once.
    """

    AUTO_FOCUS = "#start"
    app = getters.app(TrajflowApp)

    def __init__(self, store: Path) -> None:
        super().__init__()
        self.store = store
        self._folds = sorted((read_store(store).about or {}).get("folds") or {})
        self._free = free_run(store, "gru", "mmf")
        self._started: Path | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar(f"{self.store.name} · new training")
        with VerticalScroll(id="form"):
            yield from _line("encoder", _select("encoder", encoders(), "gru"))
            yield from _line("preset", _select("preset", PRESETS, "mmf"))
            yield from _line("fold left out", _select("fold", [NONE, *self._folds], NONE))
            for name, (label, setting) in NUMBERS.items():
                yield from _line(label, Input(str(_default(setting)), id=name))
            more = Input("", id="more", placeholder="model.width=64 train.mirror=false ...")
            yield from _line("more settings", more)
            yield from _line("run folder", Input(_field(self._free), id="out"))
            yield Static("", id="problem", markup=False)
            yield Button("Start", variant="primary", id="start")
        yield KeyFooter()

    def on_screen_resume(self) -> None:
        """After a training was started: leave too, or say why it did not start."""
        run, self._started = self._started, None
        if run is None:
            return
        if running_job(run) or _is_taken(run):
            self.app.call_later(self.app.pop_screen)
        else:
            words = " ".join(last_words(run, 3)) or "it wrote nothing"
            self._show_problem(f"the training did not start: {words}")

    @on(Select.Changed)
    def _rename(self) -> None:
        """Propose another folder for another encoder or preset, unless one was typed."""
        proposed, self._free = (
            _field(self._free),
            free_run(self.store, self._value("encoder"), self._value("preset")),
        )
        if self._typed("out") == proposed:
            self.query_one("#out", Input).value = _field(self._free)

    @on(Input.Changed)
    def _check(self) -> None:
        """Say what is wrong with the settings as they are now."""
        problems = self._problems()
        for field in self.query(Input):
            field.set_class(field.id in problems, "-wrong")
        self._show_problem("\n".join(problems.values()))
        self.query_one(Button).disabled = bool(problems)

    @on(Input.Submitted)
    def _to_next_field(self) -> None:
        self.focus_next()

    @on(Button.Pressed, "#start")
    def _submit(self) -> None:
        self._check()
        if not self._problems():
            self._start(self._run_folder(), self._arguments())

    @work(exclusive=True, group="start")
    async def _start(self, run: Path, arguments: list[str]) -> None:
        self.query_one(Button).disabled = True
        try:
            await asyncio.to_thread(start_training, run, arguments)
        except RunError as error:
            self.call_later(self._show_problem, str(error))
        else:
            self._started = run
            self.app.call_later(self.app.open_training, run, self.store)
        self.query_one(Button).disabled = False

    def _problems(self) -> dict[str, str]:
        """What is wrong, by the id of the field."""
        problems = {}
        for name, (label, setting) in NUMBERS.items():
            value = self._typed(name)
            if value and (problem := _problem_of([f"{setting}={value}"])):
                problems[name] = problem.replace(setting, label)
        try:
            if problem := _problem_of(shlex.split(self._typed("more"))):
                problems["more"] = f"more settings: {problem}"
        except ValueError as error:
            problems["more"] = f"more settings: {error}"
        run = self._run_folder()
        if not run.name or _is_taken(run):
            problems["out"] = f"run folder: {run} is not empty; choose another folder"
        elif run.exists() and not run.is_dir():
            problems["out"] = f"run folder: {run} is a file; choose another folder"
        return problems

    def _run_folder(self) -> Path:
        typed = self._typed("out")
        return self._free if typed == _field(self._free) else Path(typed).expanduser()

    def _arguments(self) -> list[str]:
        """The words of the command line, after `trajflow train`."""
        fold = self._value("fold")
        settings = [f"data.fold={fold}"] * (fold != NONE)
        for name, (_, setting) in NUMBERS.items():
            if (value := self._typed(name)) not in ("", str(_default(setting))):
                settings.append(f"{setting}={value}")
        settings += shlex.split(self._typed("more"))
        words = [str(self.store), *(f"--{n}={self._value(n)}" for n in ("encoder", "preset"))]
        return words + [word for setting in settings for word in ("--set", setting)]

    def _value(self, name: str) -> str:
        return str(self.query_one(f"#{name}", Select).value)

    def _typed(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value.strip()

    def _show_problem(self, problem: str) -> None:
        lines = (safe(line, MAX_MESSAGE) for line in problem.split("\n"))
        self.query_one("#problem", Static).update("\n".join(lines))


def _line(name: str, field: Input | Select[str]) -> ComposeResult:
    with Horizontal(classes="line"):
        yield Label(name)
        yield field


def _select(name: str, values: Sequence[str], chosen: str) -> Select[str]:
    options = [(Text(safe(each)), each) for each in values]
    return Select(options, value=chosen, allow_blank=False, id=name)


def _field(path: Path) -> str:
    """A path in an input field, which draws its letters as they are."""
    return safe(short_path(path), MAX_MESSAGE)


def _default(setting: str) -> Any:
    section, name = setting.split(".")
    return getattr(getattr(Config(), section), name)


def _problem_of(settings: Sequence[str]) -> str:
    """Why a training would refuse some settings; empty if it would not."""
    try:
        Config.load(None, list(settings))
    except ConfigError as error:
        return str(error)
    return ""


def _is_taken(run: Path) -> bool:
    return run.is_dir() and any(run.iterdir())
