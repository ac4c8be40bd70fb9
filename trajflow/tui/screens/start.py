"""A form with the settings of a training, and a key that starts it."""

import shlex
from pathlib import Path

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Button, Footer, Input, Label, Select, Static

from trajflow.errors import RunError
from trajflow.text import safe
from trajflow.tui.jobs.found import read_tracks
from trajflow.tui.jobs.processes import start
from trajflow.tui.jobs.sources import PRESETS, encoders, free_run
from trajflow.tui.messages import OpenTraining
from trajflow.tui.widgets.title import Title, told

NONE = "none"


class StartScreen(Screen[None]):
    """Settings of a new training from a store; enter starts with what is there."""

    AUTO_FOCUS = "#start"

    class Said(Message):
        """What came of the attempt to start; `problem` is empty if it was started."""

        def __init__(self, run: Path, problem: str) -> None:
            super().__init__()
            self.run, self.problem = run, problem

    def __init__(self, store: Path) -> None:
        super().__init__()
        self.store = store
        about = read_tracks(store).about or {}
        self._folds = sorted(about.get("folds") or {})

    def compose(self) -> ComposeResult:
        """One line for each setting."""
        yield Title(f"{self.store.name} · new training")
        with VerticalScroll(id="form"):
            yield from self._line("encoder", _select("encoder", encoders(), "gru"))
            yield from self._line("preset", _select("preset", PRESETS, "mmf"))
            yield from self._line("fold left out", _select("fold", [NONE, *self._folds], NONE))
            yield from self._line("epochs", Input("20", id="epochs", type="integer"))
            more = Input("", id="more", placeholder="model.width=64 train.seed=1 ...")
            yield from self._line("more settings", more)
            self._free = free_run(self.store, "gru", "mmf")
            yield from self._line("run folder", Input(_shown(self._free), id="out"))
            yield Static("", id="problem", markup=False)
            yield Button("Start", variant="primary", id="start")
        yield Footer()

    @on(Select.Changed)
    def _rename(self) -> None:
        """Another encoder or preset has another folder."""
        encoder, preset = (
            str(self.query_one(f"#{n}", Select).value) for n in ("encoder", "preset")
        )
        self._free = free_run(self.store, encoder, preset)
        self.query_one("#out", Input).value = _shown(self._free)

    @on(Input.Submitted)
    @on(Button.Pressed, "#start")
    def _begin(self) -> None:
        given = self.query_one("#out", Input).value.strip()
        run = self._free if given == _shown(self._free) else Path(given).expanduser()
        if not run.name or (run.is_dir() and any(run.iterdir())):
            self.post_message(self.Said(run, f"{run} is not empty; choose another folder"))
            return
        try:
            words = self._words()
        except ValueError as error:
            self.post_message(self.Said(run, f"more settings: {error}"))
            return
        self.query_one(Button).disabled = True
        self.run_worker(lambda: self._start(run, words), thread=True, exit_on_error=False)

    def on_start_screen_said(self, message: Said) -> None:
        """Watch it, or say what is wrong."""
        self.query_one(Button).disabled = False
        self.query_one("#problem", Static).update(safe(message.problem, 400))
        if not message.problem:
            self.app.pop_screen()
            self.app.post_message(OpenTraining(message.run, self.store))

    def _words(self) -> list[str]:
        value = {name: self.query_one(f"#{name}", Select).value for name in ("encoder", "preset")}
        words = [str(self.store), *(f"--{name}={chosen}" for name, chosen in value.items())]
        fold, epochs = self.query_one("#fold", Select).value, self.query_one("#epochs", Input).value
        more = shlex.split(self.query_one("#more", Input).value)
        settings = [f"data.fold={fold}"] * (fold != NONE) + [f"train.epochs={epochs}"] * bool(
            epochs
        )
        return words + [word for setting in (*settings, *more) for word in ("--set", setting)]

    def _start(self, run: Path, words: list[str]) -> None:
        problem = ""
        try:
            start(run, words)
        except RunError as error:
            problem = str(error)
        self.post_message(self.Said(run, problem))

    def _line(self, name: str, field: Input | Select[str]) -> ComposeResult:
        with Horizontal(classes="line"):
            yield Label(name)
            yield field


def _select(name: str, values: "list[str] | tuple[str, ...]", chosen: str) -> Select[str]:
    options = [(Text(safe(each)), each) for each in values]
    return Select(options, value=chosen, allow_blank=False, id=name)


def _shown(path: Path) -> str:
    """A path in a field for input, which draws its letters as they are."""
    return safe(told(path), 400)
