"""Small questions over the forecast screen: a line of text, another forecaster."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import getters, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from trajflow.library import runs_beside
from trajflow.text import safe


class PromptDialog(ModalScreen[str | None]):
    """Asks for a line of text that a field accepts; the answer is None if it is cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="prompt.cancel"),
    ]

    def __init__(self, label: str, field: Input) -> None:
        super().__init__(classes="dialog")
        self.label, self.field = label, field

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label(self.label, markup=False)
            yield self.field

    def on_input_submitted(self, message: Input.Submitted) -> None:
        if message.validation_result is None or message.validation_result.is_valid:
            self.dismiss(message.value.strip())


class CompareDialog(ModalScreen[str | None]):
    """Asks which forecaster is shown beside a run: "cv", a run folder near it, or "" for none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="compare.cancel"),
        Binding("j", "move(1)", "Down", show=False, id="compare.down"),
        Binding("k", "move(-1)", "Up", show=False, id="compare.up"),
    ]
    options = getters.query_one(OptionList)

    def __init__(self, run: Path) -> None:
        super().__init__(classes="dialog")
        self._folder, self.choices = run, ["", "cv"]

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label("forecast to compare with", markup=False)
            yield OptionList(Option("none"), Option("cv: constant velocity"), markup=False)

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
