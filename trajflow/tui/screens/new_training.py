"""A form with the settings of a training, and a button that starts it."""

import asyncio
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text
from textual import getters, on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Button, Input, Label, Select, Static

from trajflow.errors import RunError
from trajflow.text import safe
from trajflow.tui.app import TrajflowApp
from trajflow.tui.format import short_path
from trajflow.tui.library import PRESETS, encoders, free_run, read_store
from trajflow.tui.processes import start_training
from trajflow.tui.widgets.text import KeyFooter, TitleBar

NONE = "none"
MAX_MESSAGE = 400


class NewTrainingScreen(Screen[None]):
    """Settings of a new training on a store; enter starts with what is there."""

    AUTO_FOCUS = "#start"
    app = getters.app(TrajflowApp)

    def __init__(self, store: Path) -> None:
        super().__init__()
        self.store = store
        self._folds = sorted((read_store(store).about or {}).get("folds") or {})
        self._free = free_run(store, "gru", "mmf")

    def compose(self) -> ComposeResult:
        yield TitleBar(f"{self.store.name} · new training")
        with VerticalScroll(id="form"):
            yield from self._line("encoder", _select("encoder", encoders(), "gru"))
            yield from self._line("preset", _select("preset", PRESETS, "mmf"))
            yield from self._line("fold left out", _select("fold", [NONE, *self._folds], NONE))
            yield from self._line("epochs", Input("20", id="epochs", type="integer"))
            more = Input("", id="more", placeholder="model.width=64 train.seed=1 ...")
            yield from self._line("more settings", more)
            yield from self._line("run folder", Input(_field(self._free), id="out"))
            yield Static("", id="problem", markup=False)
            yield Button("Start", variant="primary", id="start")
        yield KeyFooter()

    @on(Select.Changed)
    def _rename(self) -> None:
        """Propose another folder for another encoder or preset."""
        self._free = free_run(self.store, self._value("encoder"), self._value("preset"))
        self.query_one("#out", Input).value = _field(self._free)

    @on(Input.Submitted)
    @on(Button.Pressed, "#start")
    def _submit(self) -> None:
        given = self.query_one("#out", Input).value.strip()
        run = self._free if given == _field(self._free) else Path(given).expanduser()
        if not run.name or (run.is_dir() and any(run.iterdir())):
            self._show_problem(f"{run} is not empty; choose another folder")
            return
        try:
            arguments = self._arguments()
        except ValueError as error:
            self._show_problem(f"more settings: {error}")
            return
        self._start(run, arguments)

    @work(exclusive=True, group="start")
    async def _start(self, run: Path, arguments: list[str]) -> None:
        self.query_one(Button).disabled = True
        try:
            await asyncio.to_thread(start_training, run, arguments)
        except RunError as error:
            self.call_later(self._show_problem, str(error))
        else:
            self.app.call_later(self._show_training, run)

    async def _show_training(self, run: Path) -> None:
        """Show the training instead of this form."""
        await self.app.pop_screen()
        self.app.open_training(run, self.store)

    def _arguments(self) -> list[str]:
        """The words of the command line, after `trajflow train`."""
        fold, epochs = self._value("fold"), self.query_one("#epochs", Input).value
        settings = [f"data.fold={fold}"] * (fold != NONE)
        settings += [f"train.epochs={epochs}"] * bool(epochs)
        settings += shlex.split(self.query_one("#more", Input).value)
        words = [str(self.store), *(f"--{n}={self._value(n)}" for n in ("encoder", "preset"))]
        return words + [word for setting in settings for word in ("--set", setting)]

    def _value(self, name: str) -> str:
        return str(self.query_one(f"#{name}", Select).value)

    def _show_problem(self, problem: str) -> None:
        self.query_one("#problem", Static).update(safe(problem, MAX_MESSAGE))
        self.query_one(Button).disabled = False

    def _line(self, name: str, field: Input | Select[str]) -> ComposeResult:
        with Horizontal(classes="line"):
            yield Label(name)
            yield field


def _select(name: str, values: Sequence[str], chosen: str) -> Select[str]:
    options = [(Text(safe(each)), each) for each in values]
    return Select(options, value=chosen, allow_blank=False, id=name)


def _field(path: Path) -> str:
    """A path in an input field, which draws its letters as they are."""
    return safe(short_path(path), MAX_MESSAGE)
