"""Names and values below one another, words from data shown as they are."""

from collections.abc import Sequence

from rich.text import Text
from textual.widgets import Static

from trajflow.text import safe

Line = Sequence[tuple[str, str]]


class Facts(Static):
    """Lines of pairs: a name in a calm colour, its value in a strong one."""

    def tell(self, lines: Sequence[Line], limit: int = 120) -> None:
        """Show lines of (name, value) pairs; a pair without a name is a sentence."""
        calm = self.app.theme_variables.get("text-muted", "")
        calm = calm if calm.startswith("#") else "dim"
        text = Text(no_wrap=True, overflow="ellipsis")
        for number, line in enumerate(lines):
            text.append("\n" if number else "")
            for name, value in line:
                if name:
                    text.append(f"{safe(name, limit)} ", calm)
                    text.append(f"{safe(value, limit)}   ", "bold")
                else:
                    text.append(f"{safe(value, limit)}   ")
        self.update(text)
