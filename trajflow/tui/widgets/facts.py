"""Names and values below one another, words from data shown as they are."""

from collections.abc import Sequence

from rich.text import Text
from textual.widgets import Static

from trajflow.text import safe

Line = Sequence[tuple[str, str]]


class Facts(Static):
    """Lines of pairs: a name in a calm colour, its value in a strong one."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: tuple[Line, ...] = ()
        self._limit = 120

    def tell(self, lines: Sequence[Line], limit: int = 120) -> None:
        """Show lines of (name, value) pairs; a pair without a name is a sentence."""
        self._lines, self._limit = tuple(lines), limit
        self._write()

    def notify_style_update(self) -> None:
        """Another theme has other colours."""
        super().notify_style_update()
        if self.is_attached and self._lines:
            self._write()

    def _write(self) -> None:
        calm = self.app.theme_variables["calm"].removeprefix("ansi_")
        text = Text(no_wrap=True, overflow="ellipsis")
        for number, line in enumerate(self._lines):
            text.append("\n" if number else "")
            for order, (name, value) in enumerate(line):
                text.append("   " if order else "")
                if name:
                    text.append(f"{safe(name, self._limit)} ", calm)
                text.append(safe(value, self._limit), "bold" if name else "")
        self.update(text)
