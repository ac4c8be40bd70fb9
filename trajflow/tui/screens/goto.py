"""Asks for the number of a window."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.validation import Integer
from textual.widgets import Input, Label

from trajflow.tui.keys import bound


class GotoScreen(ModalScreen[int | None]):
    """One line to type a number into; what comes back counts from 0."""

    DEFAULT_CSS = """
    GotoScreen { align: center middle; background: $background 40%; }
    GotoScreen Vertical { width: 40; height: auto; background: $panel; padding: 1 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bound("goto.cancel", "escape", "cancel", "Cancel"),
    ]

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def compose(self) -> ComposeResult:
        """A question and a line."""
        with Vertical():
            yield Label(f"window 1 to {self.count}", markup=False)
            yield Input(type="integer", validators=[Integer(1, self.count)])

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Go there, if there is such a window."""
        if message.validation_result is None or message.validation_result.is_valid:
            self.dismiss(int(message.value) - 1)

    def action_cancel(self) -> None:
        """Stay."""
        self.dismiss(None)
