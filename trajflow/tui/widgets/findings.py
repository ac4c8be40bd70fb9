"""What an examination of a store says, worst first, each with a sign and a word for its weight."""

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from trajflow.text import safe

SIGNS = {"error": "✕", "warning": "!", "note": "i", "ok": "✓"}
TONES = {"error": "error", "warning": "warning", "note": "primary", "ok": "success"}
LONGEST = 600


class Findings(VerticalScroll):
    """A list of findings that scrolls."""

    def __init__(self) -> None:
        super().__init__()
        self._found: tuple[tuple[str, str, str], ...] = ()

    def compose(self) -> ComposeResult:
        """The text."""
        yield Static("")

    def say(self, words: str) -> None:
        """Show a sentence instead."""
        self.query_one(Static).update(Text(safe(words, LONGEST)))

    def show(self, findings: Sequence[tuple[str, str, str]]) -> None:
        """Show findings: level, what was examined, what was found."""
        self._found = tuple(findings)
        self._write()

    def notify_style_update(self) -> None:
        """Another theme has other colours."""
        super().notify_style_update()
        if self.is_attached and self._found:
            self._write()

    def _write(self) -> None:
        colours, text = self.app.theme_variables, Text()
        for level, code, message in self._found:
            tone = colours[TONES.get(level, "primary")].removeprefix("ansi_")
            text.append(f"{SIGNS.get(level, '?')} {safe(level)}", f"bold {tone}")
            text.append(f"  {safe(code)}  ", "bold")
            text.append(f"{safe(message, LONGEST)}\n")
        self.query_one(Static).update(text)
