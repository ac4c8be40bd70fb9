"""How far a training is, as a bar and in words."""

from rich.text import Text
from textual.widget import Widget

BLOCKS = " ▏▎▍▌▋▊▉█"


class Gauge(Widget):
    """One line: a bar, percent, steps, time that is left."""

    DEFAULT_CSS = "Gauge { height: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._share, self._state = 0.0, ""
        self._step = self._steps = 0
        self._left = "-"

    def show(self, share: float, state: str, step: int, steps: int, left: str) -> None:
        """Show another state.

        Args:
            share: What is done, 0 to 1.
            state: What goes on, in a word.
            step: Steps done.
            steps: Steps in all; 0 if unknown.
            left: Time that is left, in words.
        """
        self._share, self._state, self._left = share, state, left
        self._step, self._steps = step, steps
        self.refresh()

    def render(self) -> Text:
        """The line."""
        told = f" {100 * self._share:3.0f} %  step {self._step} of {self._steps or '-'}"
        told += f"  {self._left} left " if self._left != "-" else f"  {self._state} "
        room = max(4, self.size.width - len(told) - 1)
        colours = self.app.theme_variables
        tone = colours["success"] if self._state == "done" else colours["primary"]
        line = Text(" ")
        line.append(_bar(self._share, room), _rich(tone))
        line.append(told)
        return line


def _bar(share: float, columns: int) -> str:
    eighths = round(share * columns * 8)
    full, rest = divmod(eighths, 8)
    bar = "█" * full + (BLOCKS[rest] if rest else "")
    return bar + "╌" * (columns - len(bar))


def _rich(colour: str) -> str:
    return colour.removeprefix("ansi_")
