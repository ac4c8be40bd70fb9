"""One line of time below the map: the past, the present step and the forecast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.text import Text
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from trajflow.browse.view import View
from trajflow.tui.format import time_after
from trajflow.tui.render.colors import Palette, palette_of

PAST, FORECAST, NOW, CURSOR = "━┻", "╌┴", "◆", "●"
"""Letters of the line; of the past and of the forecast also those at a step."""
STATE_WIDTH = 10
"""Columns at the right for the time that is shown."""
NARROW = 60
"""Columns below which the line has no words at its ends."""


class Timeline(Widget):
    """Shows which moment of a window the map shows; a click or a drag shows another one.

    Attributes:
        view: The window.
        moment: Steps after the present one, negative in the past; None: the whole forecast.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = "Timeline { height: 1; }"
    view: View | None = None
    moment: reactive[float | None] = reactive[float | None](None)

    @dataclass
    class Scrubbed(Message):
        """The mouse chose a step."""

        moment: float

    def show(self, view: View) -> None:
        self.view = view
        self.refresh()

    def render(self) -> Text:
        line = Text(no_wrap=True)
        if self.view is None:
            return line
        palette = palette_of(self)
        past, forecast = self._labels(self.view)
        line.append(past, f"#{palette.muted:06x}")
        for cell in self._cells(self.view, palette):
            line.append(*cell)
        line.append(forecast, f"#{palette.muted:06x}")
        shown = "all steps"
        if self.moment is not None:
            shown = time_after(min(round(self.moment), self.view.horizon) * self.view.dt)
        return line.append(f"{shown:>{STATE_WIDTH}}", f"bold #{palette.foreground:06x}")

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self.capture_mouse()
        self._scrub(event.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if event.button:
            self._scrub(event.x)

    def on_mouse_up(self) -> None:
        self.release_mouse()

    def _labels(self, view: View) -> tuple[str, str]:
        if self.size.width < NARROW:
            return " ", " "
        past, forecast = (1 - view.history) * view.dt, view.horizon * view.dt
        return f" past {time_after(past)} ", f" {time_after(forecast)} forecast"

    @property
    def _length(self) -> int:
        if self.view is None:
            return 0
        return max(2, self.size.width - sum(map(len, self._labels(self.view))) - STATE_WIDTH - 1)

    def _column(self, moment: float) -> int:
        assert self.view is not None
        steps = max(1, self.view.history - 1 + self.view.horizon)
        share = (moment + self.view.history - 1) / steps
        return round(min(1.0, max(0.0, share)) * (self._length - 1))

    def _cells(self, view: View, palette: Palette) -> Iterator[tuple[str, str]]:
        """The letter and the colour of each column of the line."""
        now, end = self._column(0), self._length
        here = end if self.moment is None else self._column(self.moment)
        steps = {self._column(step) for step in range(1 - view.history, view.horizon + 1)}
        steps = set() if 2 * len(steps) > end else steps
        for column in range(end):
            past = column < now
            letters, hue = (PAST, palette.foreground) if past else (FORECAST, palette.hue(0))
            if column == here:
                yield CURSOR, f"bold #{palette.hue(1):06x}"
            elif column == now:
                yield NOW, f"bold #{palette.foreground:06x}"
            else:
                color = hue if column < here else palette.muted
                yield letters[column in steps], f"#{color:06x}"

    def _scrub(self, x: int) -> None:
        if self.view is not None:
            begin = len(self._labels(self.view)[0])
            share = min(1.0, max(0.0, (x - begin) / max(1, self._length - 1)))
            first, steps = 1 - self.view.history, self.view.history - 1 + self.view.horizon
            self.post_message(self.Scrubbed(float(round(first + share * steps))))
