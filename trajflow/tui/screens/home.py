"""Home: what lies below a folder, and a look at what is chosen."""

from pathlib import Path

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Footer

from trajflow.tui.widgets.title import Title


class HomeScreen(Screen[None]):
    """Runs and stores below a folder, newest first."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def compose(self) -> ComposeResult:
        """Title, list, preview, footer."""
        yield Title(str(self.folder))
        yield Footer()
