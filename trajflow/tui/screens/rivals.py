"""Asks who else shall forecast a window: another run nearby, or constant velocity."""

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from trajflow.text import safe
from trajflow.tui.keys import bound

MOST = 200
"""Runs that are offered."""


class RivalScreen(ModalScreen[str | None]):
    """The runs beside a run, in one list; what comes back is "cv", a folder or "".

    None comes back where nothing shall change.
    """

    DEFAULT_CSS = """
    RivalScreen { align: center middle; background: $background 40%; }
    RivalScreen Vertical { width: 60; height: auto; background: $panel; padding: 1 2; }
    RivalScreen OptionList { height: auto; max-height: 14; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bound("rival.cancel", "escape", "cancel", "Cancel"),
        bound("rival.down", "j", "move(1)", "Down", show=False),
        bound("rival.up", "k", "move(-1)", "Up", show=False),
    ]

    def __init__(self, run: Path) -> None:
        super().__init__()
        self.run = run
        self.folders: list[str] = ["", "cv"]

    def compose(self) -> ComposeResult:
        """A question and a list."""
        with Vertical():
            yield Label("forecast beside", markup=False)
            yield OptionList(Option("nobody"), Option("cv: constant velocity"), markup=False)

    def on_mount(self) -> None:
        """Look for runs."""
        self.run_worker(self._look, thread=True)

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """This one."""
        self.dismiss(self.folders[message.option_index])

    def action_move(self, way: int) -> None:
        """Another line."""
        options = self.query_one(OptionList)
        options.action_cursor_down() if way > 0 else options.action_cursor_up()

    def action_cancel(self) -> None:
        """As before."""
        self.dismiss(None)

    def _look(self) -> None:
        self.app.call_from_thread(self._offer, runs_beside(self.run))

    def _offer(self, found: list[Path]) -> None:
        self.folders += [str(path) for path in found]
        options = self.query_one(OptionList)
        options.add_options([Option(Text(safe(path.name, 50))) for path in found])


def runs_beside(run: Path) -> list[Path]:
    """Other runs in the same folder, or one further up, that have weights."""
    here = run.resolve()
    found: list[Path] = []
    for pattern in ("*/weights.safetensors", "*/*/weights.safetensors"):
        for path in sorted(here.parent.glob(pattern)):
            if path.parent != here and path.parent not in found:
                found.append(path.parent)
    return found[:MOST]
