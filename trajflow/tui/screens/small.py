"""What is shown instead where the terminal is too small."""

from textual.app import ComposeResult
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widgets import Static

LEAST = Size(80, 24)


class SmallScreen(ModalScreen[None]):
    """A friendly notice that goes away by itself."""

    @staticmethod
    def fits(size: Size) -> bool:
        """Whether the application can be shown in a terminal of this size."""
        return size.width >= LEAST.width and size.height >= LEAST.height

    def compose(self) -> ComposeResult:
        """One line in the middle."""
        yield Static(f"A little more room, please: {LEAST.width} x {LEAST.height} letters.")
