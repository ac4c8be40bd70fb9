"""A form with the settings of a training, checked and planned while they are typed."""

import asyncio
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text
from textual import getters, on, work
from textual.app import ComposeResult
from textual.containers import Container, Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Button, Input, Label, Select, Static

from trajflow.config import Config
from trajflow.errors import ConfigError, RunError
from trajflow.jobs import last_words, running_job, start_training
from trajflow.library import PRESETS, StoreEntry, encoders, free_run, kind_of, read_store
from trajflow.text import safe
from trajflow.tui import tasks
from trajflow.tui.app import TrajflowApp
from trajflow.tui.engine import TaskFailed
from trajflow.tui.format import count, duration, epochs, number, short_path
from trajflow.tui.screens.dialogs import StartDialog
from trajflow.tui.widgets.text import KeyFooter, TitleBar

NONE = "none"
MAX_MESSAGE = 400
PLAN_AFTER = 0.6
"""Seconds that nothing must be typed before the training is planned."""
LONG = 600.0
"""Seconds of a training above which the form asks before it starts it."""
NUMBERS = {
    "epochs": ("epochs", "train.epochs"),
    "lr": ("learning rate", "train.lr"),
    "batch": ("batch size", "train.batch_size"),
    "seed": ("seed", "train.seed"),
    "limit": ("time limit", "train.time_limit"),
}
"""Fields that may stay empty: what they are called, and the setting."""
CHOSEN = "chosen from the tracks"


class NewTrainingScreen(Screen[None]):
    """Settings of a new training on a store; only its button starts it.

    The form stays below the training it started, so that what was typed is still there if the
    training fails at once.

    Attributes:
        plan: What `trajflow train --dry-run` says of these settings, as far as it is known; under
            "error", why it says nothing.
    """

    AUTO_FOCUS = "#start"
    app = getters.app(TrajflowApp)

    def __init__(self, store: Path) -> None:
        super().__init__()
        self.store = store
        self._folds = sorted((read_store(store).about or {}).get("folds") or {})
        self._free = free_run(store, "gru", "mmf")
        self._started: Path | None = None
        self.plan: dict[str, Any] = {}
        self._planned: list[str] = []

    def compose(self) -> ComposeResult:
        yield TitleBar(f"{self.store.name} · new training")
        with Container(id="new"):
            with VerticalScroll(id="form"):
                yield from _line("encoder", _select("encoder", encoders(), "gru"))
                yield from _line("preset", _select("preset", PRESETS, "mmf"))
                yield from _line("fold left out", _select("fold", [NONE, *self._folds], NONE))
                for name, (label, _) in NUMBERS.items():
                    yield from _line(label, Input(id=name, placeholder=_placeholder(name, {})))
                more = Input("", id="more", placeholder="model.width=64 train.mirror=false ...")
                yield from _line("more settings", more)
                yield from _line("run folder", Input(id="out", placeholder=_shown(self._free)))
                yield Static("", id="problem", markup=False)
                yield Button("Start", variant="primary", id="start")
            with VerticalScroll(id="plan"):
                yield Static("", markup=False)
        yield KeyFooter()

    def on_mount(self) -> None:
        self._check()

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
        """Propose another folder for another encoder or preset."""
        self._free = free_run(self.store, self._value("encoder"), self._value("preset"))
        self.query_one("#out", Input).placeholder = _shown(self._free)
        self._check()

    @on(Input.Changed)
    def _check(self) -> None:
        """Say what is wrong with the settings as they are now, and plan them if nothing is."""
        problems = self._problems()
        for field in self.query(Input):
            field.set_class(field.id in problems, "-wrong")
        self._show_problem("\n".join(problems.values()))
        self.query_one(Button).disabled = bool(problems)
        settings = [] if set(problems) - {"out"} else self._settings()
        if settings != self._planned:
            self._planned = settings
            self._plan(settings)

    @on(Input.Submitted)
    def _to_next_field(self) -> None:
        self.focus_next()

    @on(Button.Pressed, "#start")
    def _submit(self) -> None:
        self._check()
        if self._problems():
            return
        if question := self._question():
            question = f"{safe(question, MAX_MESSAGE)} Start it?"
            keys = Label("y starts it, n goes back to the form")
            self.app.push_screen(StartDialog(question, keys), self._start_if)
        else:
            self._start_if(True)

    def _start_if(self, wanted: bool | None) -> None:
        if wanted:
            self._start(self._run_folder(), self._settings())

    def _question(self) -> str:
        """The question before the start; empty if the training is known to be short."""
        if (seconds := self.plan.get("seconds")) is None:
            limit = Config.load(None, self._settings()).train.time_limit or LONG + 1
            why = self.plan.get("error", "it is still being measured")
            return f"How long this takes is not known: {why}." if limit > LONG else ""
        return f"This takes {duration(seconds)}, about." if seconds > LONG else ""

    @work(exclusive=True, group="start")
    async def _start(self, run: Path, settings: list[str]) -> None:
        self.query_one(Button).disabled = True
        words = [word for setting in settings for word in ("--set", setting)]
        try:
            await asyncio.to_thread(start_training, run, [str(self.store), *words])
        except RunError as error:
            self.call_later(self._show_problem, str(error))
        else:
            self._started = run
            self.app.call_later(self.app.open_training, run, self.store)
        self.query_one(Button).disabled = False

    @work(exclusive=True, group="plan")
    async def _plan(self, settings: list[str]) -> None:
        """Plan a training with these settings, once nothing is typed for a moment."""
        self._show_plan({} if settings else {"error": "the settings are not complete"})
        if not settings:
            return
        await asyncio.sleep(PLAN_AFTER)
        try:
            async for plan in self.app.engine.stream(tasks.plan_training, self.store, settings):
                self.call_later(self._show_plan, plan)
        except TaskFailed as error:
            self.call_later(self._show_plan, {"error": str(error)})

    def _show_plan(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        for name in NUMBERS:
            self.query_one(f"#{name}", Input).placeholder = _placeholder(name, plan)
        seconds = plan.get("seconds")
        self.query_one(TitleBar).state = "" if seconds is None else f"about {duration(seconds)}"
        self.query_one("#plan Static", Static).update("\n".join(plan_lines(plan)))

    def _problems(self) -> dict[str, str]:
        """What is wrong, by the id of the field."""
        problems = {}
        fields = self._fields()
        for name, (label, setting) in NUMBERS.items():
            if setting in fields and (problem := _problem_of([f"{setting}={fields[setting]}"])):
                problems[name] = problem.replace(setting, label)
        try:
            more = shlex.split(self._typed("more"))
            if problem := _repeated(more, fields) or _problem_of(more):
                problems["more"] = f"more settings: {problem}"
            elif not problems and (problem := _problem_of(self._settings())):
                problems["more"] = problem
        except ValueError as error:
            problems["more"] = f"more settings: {error}"
        run = self._run_folder()
        if not run.name or _is_taken(run):
            problems["out"] = f"run folder: {run} is not empty; choose another folder"
        elif run.exists() and not run.is_dir():
            problems["out"] = f"run folder: {run} is a file; choose another folder"
        if kind_of(self.store) is not StoreEntry:
            problems["data"] = f"data: {self.store} is no store of tracks any more; put it back"
        return problems

    def _run_folder(self) -> Path:
        typed = self._typed("out")
        return Path(typed).expanduser() if typed else self._free

    def _fields(self) -> dict[str, str]:
        """The settings that have a field of their own and are filled in."""
        fields = {"model.encoder": self._value("encoder"), "flow.preset": self._value("preset")}
        fields["data.fold"] = self._value("fold").replace(NONE, "")
        fields |= {setting: self._typed(name) for name, (_, setting) in NUMBERS.items()}
        return {setting: value for setting, value in fields.items() if value}

    def _settings(self) -> list[str]:
        """All settings, as `trajflow train --set` takes them."""
        fields = [f"{setting}={value}" for setting, value in self._fields().items()]
        return fields + shlex.split(self._typed("more"))

    def _value(self, name: str) -> str:
        return str(self.query_one(f"#{name}", Select).value)

    def _typed(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value.strip()

    def _show_problem(self, problem: str) -> None:
        lines = (safe(line, MAX_MESSAGE) for line in problem.split("\n"))
        self.query_one("#problem", Static).update("\n".join(lines))


def plan_lines(plan: dict[str, Any]) -> list[str]:
    """A plan in words: how long the training takes, its windows, and the settings chosen for it."""
    if not plan:
        return ["planning ..."]
    if "error" in plan:
        return [f"no plan: {safe(plan['error'], MAX_MESSAGE)}"]
    if "seconds" in plan:
        on = f"on {plan['device']}, {number(plan['seconds_per_update'])} s an update"
        first = f"about {duration(plan['seconds'])} {on}; {count(plan['weights'])} weights"
    else:
        first = "measuring how long an update takes ..."
    size = f"{count(plan['updates'])} updates ({epochs(plan['epochs'])} epochs)"
    return [first, size, *(safe(line, MAX_MESSAGE) for line in plan["lines"])]


def _placeholder(name: str, plan: dict[str, Any]) -> str:
    """What an empty field says: the value that a plan has chosen, or how to write one."""
    if name == "limit":
        return "none; or 5m, 1h, seconds"
    if name == "seed":
        return str(Config().train.seed)
    setting = NUMBERS[name][1].removeprefix("train.")
    settings = plan.get("settings", {}).get("train", {}) | {"epochs": plan.get("epochs")}
    return f"{settings[setting]:.3g} {CHOSEN}" if settings.get(setting) else CHOSEN


def _repeated(words: Sequence[str], fields: dict[str, str]) -> str:
    """Why settings contradict those of the fields; empty if they do not."""
    names = {word.partition("=")[0].strip() for word in words}
    if twice := sorted(names & set(fields)):
        return f"{twice[0]} is also set in a field above; leave it out here"
    if "train.updates" in names and "train.epochs" in fields:
        return "train.updates and the epochs above both say how long to train; give one of them"
    return ""


def _line(name: str, field: Input | Select[str]) -> ComposeResult:
    with Horizontal(classes="line"):
        yield Label(name)
        yield field


def _select(name: str, values: Sequence[str], chosen: str) -> Select[str]:
    options = [(Text(safe(each)), each) for each in values]
    return Select(options, value=chosen, allow_blank=False, id=name)


def _shown(path: Path) -> str:
    return safe(short_path(path), MAX_MESSAGE)


def _problem_of(settings: Sequence[str]) -> str:
    """Why a training would refuse some settings; empty if it would not."""
    try:
        Config.load(None, list(settings))
    except ConfigError as error:
        return str(error)
    return ""


def _is_taken(run: Path) -> bool:
    return run.is_dir() and any(run.iterdir())
