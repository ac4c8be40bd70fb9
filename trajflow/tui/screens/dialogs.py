"""Questions over a screen: a line of text, another forecaster, whether to start."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar, TypeVar

from rich.text import Text
from textual import getters, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from trajflow.library import runs_beside
from trajflow.text import safe

T = TypeVar("T")


class Dialog(ModalScreen[T | None]):
    """A question over a screen, and what answers it; the answer is None if it is cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="dialog.cancel"),
    ]

    def __init__(self, question: str, answer: Widget) -> None:
        super().__init__(classes="dialog")
        self.question, self.answer = question, answer

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label(self.question, markup=False)
            yield self.answer


class PromptDialog(Dialog[str]):
    """Asks for a line of text that an input field accepts."""

    def on_input_submitted(self, message: Input.Submitted) -> None:
        if message.validation_result is None or message.validation_result.is_valid:
            self.dismiss(message.value.strip())


class StartDialog(Dialog[bool]):
    """Asks whether to start a training that takes long."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "Start", id="start.yes"),
        Binding("n", "dismiss(None)", "Back to the form", id="start.no"),
    ]


class CompareDialog(Dialog[str]):
    """Asks which forecaster is shown beside a run: "cv", a run folder near it, or "" for none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "move(1)", "Down", show=False, id="compare.down"),
        Binding("k", "move(-1)", "Up", show=False, id="compare.up"),
    ]
    options = getters.query_one(OptionList)

    def __init__(self, run: Path) -> None:
        options = OptionList(Option("none"), Option("cv: constant velocity"), markup=False)
        super().__init__("forecast to compare with", options)
        self._folder, self.choices = run, ["", "cv"]

    def on_mount(self) -> None:
        self._list_runs()

    @work
    async def _list_runs(self) -> None:
        runs = await asyncio.to_thread(runs_beside, self._folder)
        self.choices += [str(path) for path in runs]
        self.options.add_options([Option(Text(safe(path.name, 50))) for path in runs])

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(self.choices[message.option_index])

    def action_move(self, way: int) -> None:
        self.options.action_cursor_down() if way > 0 else self.options.action_cursor_up()
