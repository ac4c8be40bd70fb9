"""What a run detects as out of distribution: corruptions, curves, and the windows behind them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import getters, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.screen import Screen
from textual.widgets import Static

from trajflow.browse.view import ReportWindow, View
from trajflow.ood.report import Stage, by_hidden_cost, hidden_summary, newest_report, read_report
from trajflow.text import safe
from trajflow.tui import tasks
from trajflow.tui.app import TrajflowApp
from trajflow.tui.format import bar, duration
from trajflow.tui.widgets.corruption_table import (
    CorruptionTable,
    corruption_facts,
    cost_points,
    window_facts,
)
from trajflow.tui.widgets.plots import CostPlot
from trajflow.tui.widgets.scene_view import SceneView
from trajflow.tui.widgets.text import KeyFooter, TitleBar

SHOW_AFTER = 0.15
"""Seconds that the cursor must rest before a window is computed."""
Report = dict[str, Any]
"""A report of `trajflow evaluate --ood`, as its JSON holds it."""
NEEDS_REPORT = {"window", "order", "page"}


class OodScreen(Screen[None]):
    """Shows an OOD report, makes one, and shows the windows of the test split behind it.

    Attributes:
        report: The report; None if there is none.
        shown: The window that is shown, with its place.
        highest: Whether windows with the highest OOD scores are shown, or the lowest.
        order: Which of them.
    """

    app = getters.app(TrajflowApp)
    table = getters.query_one(CorruptionTable)
    scene = getters.query_one(SceneView)
    title_bar = getters.query_one(TitleBar)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l,n", "window(1)", "Next", key_display="→", id="ood.next"),
        Binding("left,h,p", "window(-1)", "Previous", show=False, id="ood.previous"),
        Binding("m", "order", "Highest/lowest", id="ood.order"),
        Binding("enter,tab", "page", "Map", key_display="enter", id="ood.map"),
        Binding("e", "evaluate", "Evaluate", id="ood.evaluate"),
        Binding("s", "stop", "Stop", id="ood.stop"),
        Binding("space", "play", "Play the future", show=False, id="ood.play"),
    ]

    def __init__(self, run: Path, data: Path) -> None:
        super().__init__()
        self.run_folder, self.data = run, data
        self.report: Report | None = None
        self.shown: tuple[ReportWindow, View] | None = None
        self.order, self.highest = 0, True
        self._worst, self._group = "", f"evaluate {run}"

    def compose(self) -> ComposeResult:
        yield TitleBar(f"{self.run_folder.name} · out of distribution")
        yield Static("", id="summary", markup=False)
        with Container(id="ood"):
            with Vertical(id="left"):
                yield CorruptionTable()
                yield CostPlot()
            with Container(id="map"):
                yield SceneView()
        yield Static("", id="about", markup=False)
        yield KeyFooter()

    def on_mount(self) -> None:
        self.add_class("-empty")
        self.scene.show_note("reading the report")
        self._read()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("stop", "evaluate"):
            return self.evaluating == (action == "stop")
        return action not in NEEDS_REPORT or self.report is not None

    @property
    def evaluating(self) -> bool:
        return any(worker.group == self._group for worker in self.app.workers)

    @property
    def corruption(self) -> dict[str, Any] | None:
        """The chosen corruption; None for windows in distribution."""
        if self.report is None:
            return None
        named = {one["key"]: one for one in self.report["corruptions"]}
        return named.get(self.table.chosen or "")

    @property
    def windows(self) -> list[dict[str, Any]]:
        """The windows of the chosen corruption that can be looked at."""
        if self.report is None:
            return []
        examples = (self.corruption or self.report["ordinary"]).get("examples", {})
        windows: list[dict[str, Any]] = examples.get("most" if self.highest else "least", [])
        return windows

    @work(exclusive=True, group="read")
    async def _read(self, path: Path | None = None) -> None:
        """Read a report; None: the newest one of the run, if there is one."""
        report, read = None, read_report if path else newest_report
        with self.app.errors_shown():
            report = await asyncio.to_thread(read, path or self.run_folder)
        self.call_later(self.show, report)  # not if the screen is closing

    def show(self, report: Report | None) -> None:
        """Show a report, or how to make one."""
        if self.report is None and report is not None:
            self.table.focus()
        report = self.report = report or self.report
        self.set_class(report is None, "-empty")
        if report is None:
            self.scene.show_note("No OOD report yet: press e to make one (takes minutes)")
            command = f"trajflow evaluate {self.run_folder} {self.data} --ood"
            words = "You can leave this screen meanwhile and come back. The same as a command:"
            self._show_words([Text(words), Text(safe(command, 400))])
        else:
            on_worst = self.table.chosen in (None, self._worst)
            self.table.show_report(report)
            self._worst = next((one["key"] for one in by_hidden_cost(report)), "")
            if on_worst:  # while corruptions are added, the cursor stays on the worst one
                self.table.choose(self._worst)
            summary = self.query_one("#summary", Static)
            summary.update(hidden_summary(report))
            summary.set_class(any(one.hidden for one in cost_points(report)), "-danger")
            self._turn()
        self.refresh_bindings()

    @work(exclusive=True, group="window", description="window")
    async def _load(self, window: dict[str, Any], key: str) -> None:
        """Compute a window of a corruption, once the cursor rests on it.

        The key is taken before the wait: afterwards the cursor may stand elsewhere, or the screen
        may be closed.
        """
        await asyncio.sleep(SHOW_AFTER)
        if self.report is None:
            return
        place = ReportWindow(key, window["batch"], window["row"], window["column"])
        where = (self.run_folder, self.data, self.report["protocol"], place)
        if (view := await self.app.ask(tasks.show_corrupted, *where)) is not None:
            self.shown = (place, view)
            self.call_later(self._draw)

    def show_progress(self, progress: Stage | Path | None, began: float) -> None:
        """Show how far an evaluation is: its progress, its report, or nothing at its end."""
        self.title_bar.state = ""
        if isinstance(progress, Stage):
            share = bar(progress.done / max(1, progress.total), 10)
            words = f"{share} {progress.done}/{progress.total} {progress.note}"
            if progress.done:
                left = (time.monotonic() - began) * (progress.total / progress.done - 1)
                words += f", {duration(left)} left"
            self.title_bar.state = words
            if progress.report is not None:
                self.show(progress.report)
        elif progress is not None:
            self._read(progress)
        self.refresh_bindings()

    def on_data_table_row_highlighted(self) -> None:
        self.order = 0
        self._turn()

    def on_data_table_row_selected(self) -> None:
        self.action_page()

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def action_window(self, by: int) -> None:
        if self.windows:
            self.order = (self.order + by) % len(self.windows)
            self._turn()

    def action_order(self) -> None:
        self.highest, self.order = not self.highest, 0
        self._turn()

    def action_page(self) -> None:
        self.toggle_class("-mapping")
        self.call_after_refresh(self._draw)

    def action_evaluate(self) -> None:
        """Evaluate the OOD detection; it goes on while another screen is shown."""
        self.title_bar.state = "loading the model"
        work = evaluate(self.app, self.run_folder, self.data)
        self.app.run_worker(work, group=self._group, exclusive=True)
        self.refresh_bindings()

    def action_stop(self) -> None:
        self.app.workers.cancel_group(self.app, self._group)

    def action_play(self) -> None:
        self.scene.play(not self.scene.playing)

    def _turn(self) -> None:
        if self.report is None:
            return
        self.query_one(CostPlot).show(cost_points(self.report), self.table.chosen or "")
        lines, windows = corruption_facts(self.report, self.corruption), self.windows
        if windows:
            self.order = min(self.order, len(windows) - 1)
            window, unit = windows[self.order], self.report["protocol"]["unit"]
            lines += window_facts(window, self.order, len(windows), self.highest, unit)
            self._load(window, self.table.chosen or "")
            if self.shown is None:
                self.scene.show_note("computing the window")
        else:
            self.shown = None
            self.scene.show_note("no window under this corruption")
        self._show_words(lines)

    def _draw(self) -> None:
        if self.shown is not None:
            view = self.shown[1]
            self.scene.show(view)
            self.scene.select(int(view.target.argmax()))

    def _show_words(self, lines: list[Text]) -> None:
        self.query_one("#about", Static).update(Text("\n").join(lines))


async def evaluate(app: TrajflowApp, run: Path, data: Path) -> None:
    """Make an OOD report of a run, and show the progress on its screen, if that is open."""

    def show(progress: Stage | Path | None) -> None:
        for screen in app.screen_stack:
            if isinstance(screen, OodScreen) and screen.run_folder == run:
                screen.call_later(screen.show_progress, progress, began)

    began = time.monotonic()
    try:
        with app.errors_shown():
            async for progress in app.engine.stream(tasks.evaluate_ood, run, data):
                if isinstance(progress, Path):
                    app.show_message(f"report written: {progress.name}")
                show(progress)
    finally:
        show(None)
