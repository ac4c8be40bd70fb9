"""What a run notices as strange: the shift suite, its curves, and the windows behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textual.widgets import DataTable

from trajflow.browsing.view import View
from trajflow.ood.question import Question
from trajflow.tui.messages import Complain
from trajflow.tui.ood_requests import Examine, ShiftedShown, ShowShifted
from trajflow.tui.screens.ood_layout import CHARTS, KINDS
from trajflow.tui.screens.ood_reports import OodReports, welcome
from trajflow.tui.shared_worker import worker_of
from trajflow.tui.widgets.scene_canvas import ROOM_FOR_TWO
from trajflow.tui.widgets.shift_facts import ShiftFacts, told_of_shift, told_of_window
from trajflow.tui.worker_messages import Answered, Failed

SETTLE = 0.15
"""Seconds that the cursor must rest before a window is asked for."""


class OodScreen(OodReports):
    """Shows a report, makes one, and asks for the windows behind it.

    Args:
        run: Run folder.
        data: Store that the run has not seen the test part of.
    """

    def __init__(self, run: Path, data: Path) -> None:
        super().__init__(run, data)
        self.order, self.why = 0, False
        self.shown: ShiftedShown | None = None
        self._asked = 0

    def on_mount(self) -> None:
        """Look for a report."""
        self.add_class("-empty")
        self._turn_to_chart()
        self.canvas.say("the report is being read")
        self.look_for()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a report there is only one thing to do."""
        if action == "stop":
            return bool(self._examining)
        if action == "examine":
            return not self._examining
        if action in ("window", "kind", "why", "page", "chart", "cursor"):
            return self.report is not None
        return True

    def on_ood_reports_read(self, message: OodReports.Read) -> None:
        """Show the report, or how to get one."""
        self.report = message.report
        self.set_class(self.report is None, "-empty")
        if self.report is None:
            self.canvas.say("no report yet: press e, and every shift is looked at (minutes)")
            self.query_one(ShiftFacts).tell(welcome(self.run_folder, self.data))
        else:
            first = not self.table.shown
            self.table.fill(self.report, self.wide)
            if first:
                self.table.move_cursor(row=1)
            self.table.focus()
            self._turn()
        self.refresh_bindings()

    def on_data_table_row_highlighted(self, message: DataTable.RowHighlighted) -> None:
        """Another shift."""
        self.order = 0
        self._turn()

    def on_data_table_row_selected(self, message: DataTable.RowSelected) -> None:
        """Enter: the map."""
        self.action_page()

    def on_resize(self) -> None:
        """More columns where there is room."""
        self.call_after_refresh(self._refill)

    def on_answered(self, message: Answered) -> None:
        """Show what the worker says."""
        value = message.value
        if isinstance(value, ShiftedShown) and message.number == self._asked:
            self.shown = value
            self._draw()
        else:
            self.heard(value)

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong."""
        self.post_message(Complain(message.text))
        if isinstance(message.request, Examine):
            self.rest()
        elif self.shown is None:
            self.canvas.say("nothing to show")

    def on_unmount(self) -> None:
        """A window that nobody looks at is not wanted; an examination is."""
        worker_of(self.app).cancel(self._asked)

    def action_window(self, by: int) -> None:
        """Another window of the same shift."""
        if self.windows:
            self.order = (self.order + by) % len(self.windows)
            self._turn(charts=False)

    def action_kind(self) -> None:
        """The windows that surprise most, or least."""
        self.kind, self.order = KINDS[1 - KINDS.index(self.kind)], 0
        self._turn(charts=False)

    def action_why(self) -> None:
        """The agent among the nearest training tracks, or not."""
        self.why = not self.why
        if self.why and not self.wide:
            self.add_class("-mapping")
        self._draw()

    def action_page(self) -> None:
        """On a small screen: the table, or the map."""
        self.toggle_class("-mapping")
        self.call_after_refresh(self._draw)

    def action_chart(self) -> None:
        """On a small screen: the next chart."""
        self._chart = (self._chart + 1) % len(CHARTS)
        self.remove_class("-mapping")
        self._turn_to_chart()

    def _turn(self, charts: bool = True) -> None:
        """Show what belongs to the chosen shift and window."""
        if self.report is None:
            return
        shift, windows = self.shift, self.windows
        if charts:
            self._chart_it(shift)
        lines = told_of_shift(self.report, shift)
        if windows:
            self.order = min(self.order, len(windows) - 1)
            unit = self.report["protocol"]["unit"]
            window = windows[self.order]
            lines += told_of_window(window, self.order, len(windows), self.kind, unit)
            self.set_timer(SETTLE, lambda: self._ask(window))
        else:
            self.shown = None
            self.canvas.say("no window under this shift")
        self.query_one(ShiftFacts).tell(lines)

    def _ask(self, window: dict[str, Any]) -> None:
        """Ask for a window, if the cursor still rests on it."""
        if self.report is None or not self.windows or self.windows[self.order] is not window:
            return
        protocol = self.report["protocol"]
        against = protocol.get("against")
        asked = ShowShifted(
            self.run_folder,
            self.data,
            Question.of(protocol),
            Path(against) if against else None,
            self.table.chosen,
            (window["batch"], window["row"], window["column"]),
        )
        self._asked = worker_of(self.app).ask(asked, self)
        if self.shown is None:
            self.canvas.say("the window is being made")

    def _draw(self) -> None:
        """The window that was answered last, with or without its nearest training tracks."""
        if self.shown is None:
            return
        view, among = self.shown.view, self.shown.among
        agent = int(view.target.argmax())
        if not self.why:
            self._point(view, None, agent)
        elif self.canvas.size.width >= ROOM_FOR_TWO:
            self._point(view, among, None)
        else:
            self._point(among, None, 0)

    def _point(self, view: View, second: View | None, agent: int | None) -> None:
        self.canvas.show(view, second)
        self.canvas.point(agent)

    def _refill(self) -> None:
        if self.report is not None:
            self.table.fill(self.report, self.wide)
            self._draw()
