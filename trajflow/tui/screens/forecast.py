"""The windows of a split one by one, with what a run forecasts of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from textual import getters, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.screen import Screen
from textual.validation import Integer
from textual.widgets import DataTable, Input

from trajflow.browse.view import Floats, SamplingOptions, SplitSummary, View
from trajflow.scene_image import load_image
from trajflow.text import safe
from trajflow.tui import export, tasks
from trajflow.tui.app import Command, TrajflowApp
from trajflow.tui.engine import EngineDied, TaskFailed
from trajflow.tui.screens import forecast_keys as keys
from trajflow.tui.screens.bookmarking import BookmarkController
from trajflow.tui.screens.dialogs import CompareDialog, PromptDialog
from trajflow.tui.screens.edit_past import EditController, PastEdit
from trajflow.tui.widgets.metrics_panel import MetricsPanel
from trajflow.tui.widgets.scene_view import SceneView
from trajflow.tui.widgets.text import KeyFooter, TitleBar
from trajflow.tui.widgets.timeline import Timeline
from trajflow.tui.widgets.window_table import AgentTable, WindowTable

WORST, BEST, HIGHEST = ("energy_score", -1), ("energy_score", 1), ("ood_score", -1)
JUMPS = {"worst": WORST, "best": BEST, "highest OOD score": HIGHEST}
"""Score and direction of the orders of windows."""


class ForecastScreen(Screen[None]):
    """Browse the windows of a split, change how they are forecast, and edit the past.

    Attributes:
        view: The window that is shown.
        second: The same window as forecast by another forecaster, if two are compared.
        summary: What the run and the split are, once they are open.
        beside: "cv" or the folder of another run to compare with; None: none.
    """

    app = getters.app(TrajflowApp)
    BINDINGS: ClassVar[list[BindingType]] = [*keys.BROWSE_KEYS, *keys.MAP_KEYS, *keys.EDIT_KEYS]

    def __init__(self, run: Path, data: Path, split: str = "test") -> None:
        super().__init__()
        self.run_folder, self.data, self.split = self._place = run, data, split
        self.options, self.index = SamplingOptions(), 0
        self.view: View | None = None
        self.second: View | None = None
        self.summary: SplitSummary | None = None
        self.beside: str | None = None
        self.agent: int | None = None
        self._forecasting, self._stale = False, False
        self._scores: dict[str, Floats] = {}
        self._jump: tuple[str, int] | None = None
        self.title_bar = TitleBar(f"{run.name}  {data.name}, {split}")
        self.windows, self.agents = WindowTable(), AgentTable()
        self.scene, self.timeline = SceneView(), Timeline()
        self.controller = EditController(self.scene, self._edited)
        self.bookmarks = BookmarkController(self.title_bar, run, data, split)

    @property
    def edit(self) -> PastEdit | None:
        return self.controller.edit

    def compose(self) -> ComposeResult:
        yield self.title_bar
        with Container(id="stage"):
            yield Vertical(self.windows, id="windows")
            yield Vertical(self.agents, id="agents")
            with Vertical():
                yield self.scene
                yield self.timeline
            yield MetricsPanel()
        yield KeyFooter()

    def on_mount(self) -> None:
        self.scene.show_note("loading the model")
        self.scene.focus()
        self._open()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in keys.EDITING:
            return self.edit is not None
        return action not in keys.BROWSING or self.edit is None

    @work(exclusive=True, group="open")
    async def _open(self) -> None:
        """Open the run, again if the process ends meanwhile; the engine counts how often."""
        while self.summary is None:
            try:
                self.summary = await self.app.engine.call(tasks.open_run, self._place)
            except EngineDied as error:
                self.app.show_error(error)
                await asyncio.sleep(1.0)
            except TaskFailed as error:
                self.app.show_error(error)
                self.call_later(self.scene.show_note, "nothing to show")
                return
        self.load()

    def load(self) -> None:
        """Forecast the window as it is wanted now; of many requests only the last one is made."""
        self._stale = True
        if self.summary is not None and not self._forecasting:
            self._load()

    @work(group="window")
    async def _load(self) -> None:
        """Forecast until nothing newer is wanted.

        Every answer is shown: cancelling what runs would show nothing while a key is held down.
        """
        self._forecasting = True
        try:
            while self._stale:
                self._stale = False
                past = None if self.edit is None else self.edit.past
                shown = (self._place, self.index, self.options, past, self.beside)
                view, second = await self.app.engine.call(tasks.show_window, *shown)
                self.call_later(self.show, view, second)  # not if the screen is closing
        except TaskFailed as error:
            self.call_later(self._load_failed, error)
        finally:
            self._forecasting = False

    def _load_failed(self, error: TaskFailed) -> None:
        self.app.show_error(error)
        if self.view is None:
            self.scene.show_note("nothing to show")
        if self.beside is not None and not isinstance(error, EngineDied):
            self.beside = None
            self.load()
        elif self._stale:
            self.load()

    def show(self, view: View, second: View | None = None) -> None:
        if self.edit is not None:
            if self.view is None or view.index != self.view.index:
                return
            view = replace(view, past=self.edit.past, edited=self.edit.changed)
        elif view.edited is not None:
            return
        before = self.view
        other = before is None or (before.index, before.scene) != (view.index, view.scene)
        if other and self.agent is not None:
            self.agent = None if before is None else view.same_agent(before, self.agent)
            self.scene.select(self.agent)
        if before is None or before.scene != view.scene:
            self.scene.show_image(None)
            self._load_image(view.scene)
        self.view, self.second = view, second
        self.scene.show(view, second)
        self.timeline.show(view)
        if self.shown_table is self.agents:
            self._fill_table()
        self.show_facts()
        if other:
            self.bookmarks.show(view)

    @work(exclusive=True, group="image")
    async def _load_image(self, scene: str) -> None:
        with self.app.errors_shown():
            image = await asyncio.to_thread(load_image, self.data, scene)
            self.call_later(self.scene.show_image, image)

    def show_facts(self) -> None:
        if self.view is not None:
            shown = (self.view, self.second, self.agent, self.options, self.edit)
            self.query_one(MetricsPanel).show(*shown)

    def select(self, agent: int | None) -> None:
        self.agent = agent
        self.scene.select(agent)
        if agent is not None and self.shown_table is self.agents:
            self.agents.choose(str(agent))
        self.show_facts()

    # Browsing

    def action_window(self, by: int) -> None:
        self._go(self.index + by)

    @property
    def shown_table(self) -> WindowTable | AgentTable | None:
        """The table beside the map; None: there is none."""
        if self.has_class("-windows"):
            return self.windows
        return self.agents if self.has_class("-agents") else None

    def action_table(self, name: str) -> None:
        if self.summary is None:
            return
        self.toggle_class(f"-{name}")
        self.remove_class("-agents" if name == "windows" else "-windows")
        self._fill_table()
        (self.shown_table or self.scene).focus()
        self._rank_table()

    def _rank_table(self) -> None:
        """Compute what the table of windows shows; with a forecaster beside, also the gain."""
        if self.shown_table is self.windows and self.summary is not None:
            wanted = {"energy_score": True, "ood_score": self.summary.detects, "gain": self.beside}
            self._rank([name for name, shown in wanted.items() if shown])

    def on_data_table_row_highlighted(self, message: DataTable.RowHighlighted) -> None:
        """Show the chosen window, or let the chosen agent stand out."""
        table = self.shown_table
        if table is not message.data_table or table.record is None or self.edit is not None:
            return
        if table is self.agents and table.record != self.agent:
            self.select(table.record)
        elif table is self.windows and table.record != self.index:
            self._go(table.record)

    def on_data_table_row_selected(self) -> None:
        self.scene.focus()

    def _fill_table(self) -> None:
        if self.shown_table is self.windows and self.summary is not None:
            self.windows.show_windows(self.summary, self._scores, self.index)
        elif self.shown_table is self.agents and self.view is not None:
            self.agents.show_view(self.view, self.agent)

    def action_bookmark(self) -> None:
        if self.view is not None:
            self.bookmarks.toggle(self.view)

    def action_marked(self, way: int) -> None:
        if (index := self.bookmarks.after(self.index, way)) is not None:
            self._go(index)

    def action_scene(self, way: int) -> None:
        if self.summary is not None:
            firsts = np.sort(np.unique(self.summary.scene, return_index=True)[1])
            current = int(np.searchsorted(firsts, self.index, "right")) - 1
            self._go(int(firsts[(current + way) % len(firsts)]))

    def action_random(self) -> None:
        if self.summary is not None:
            self._go(int(np.random.default_rng().integers(self.summary.count)))

    def action_goto(self) -> None:
        if self.summary is not None:
            count = self.summary.count
            field = Input(type="integer", validators=[Integer(1, count)])
            self.app.push_screen(PromptDialog(f"window 1 to {count}", field), self._go_to_number)

    def _go_to_number(self, number: str | None) -> None:
        if number is not None:
            self._go(int(number) - 1)

    def action_jump(self, order: str) -> None:
        """Go to the first window in an order of all of them, or to the next one in it."""
        by, way = JUMPS[order]
        if by not in self._scores:
            self._rank([by], order)
            return
        scores = np.where(np.isfinite(self._scores[by]), way * self._scores[by], np.inf)
        ranked = np.argsort(scores, kind="stable")
        rank = (self._jump[1] + 1) % len(ranked) if self._jump and self._jump[0] == order else 0
        self._go(int(ranked[rank]))
        self._jump = (order, rank)
        self.title_bar.state = f"{order}: {rank + 1} of {len(ranked)}"

    @work(exclusive=True, group="rank")
    async def _rank(self, names: Sequence[str], order: str = "") -> None:
        """Compute scores of all windows, show them in the table, and jump if an order is named."""
        if self.summary is None:
            return
        show = partial(setattr, self.title_bar, "state")
        with self.app.errors_shown():
            for by in names:
                if by not in self._scores:
                    scored = self.app.engine.stream(tasks.rank_windows, self._place, by)
                    if by == "gain" and self.beside is not None:
                        scored = self.app.engine.stream(tasks.rank_gain, self._place, self.beside)
                    async for share, scores in scored:
                        self.call_later(show, f"scoring all windows, {share:.0%}")
                        self._scores |= scores
                self.call_later(self._fill_table)
        self.call_later(show, "")
        if order and JUMPS[order][0] in self._scores:
            if self.edit is None:
                self.call_later(self.action_jump, order)
            else:
                self.app.show_message("all windows are scored")

    def _go(self, index: int) -> None:
        if self.summary is not None:
            self._jump = None
            self.index = min(self.summary.count - 1, max(0, index))
            self.windows.choose(str(self.index))
            self.load()

    def places(self) -> Iterator[Command]:
        """Where the palette can go: the scenes of the split, and the agents of the window."""
        if self.summary is None or self.view is None or self.edit is not None:
            return
        for scene, first in zip(*np.unique(self.summary.scene, return_index=True), strict=True):
            name = safe(self.summary.store_scenes[scene], 60)
            yield f"Scene {name}", "its first window", partial(self._go, int(first))
        for agent in np.flatnonzero(self.view.target).tolist():
            yield f"Agent {safe(self.view.labels[agent], 60)}", "", partial(self.select, agent)

    # How windows are forecast

    def action_resample(self) -> None:
        self._set_options(replace(self.options, seed=self.options.seed + 1))

    def action_samples(self, way: int) -> None:
        self._set_options(self.options.with_more_samples(way))

    def action_steps(self, steps: int) -> None:
        self._set_options(replace(self.options, steps=steps))

    def action_select(self) -> None:
        if self.summary is not None:
            self._set_options(self.options.with_next_rule(self.summary.selections))

    def action_memory(self) -> None:
        if self.view is None:
            return
        if not self.view.without_memory and self.view.earlier is None:
            how = "trajflow train DATA --init RUN --set model.memory=8 adds it"
            self.app.show_message(f"this run has no memory of a place; {how}")
            return
        self._set_options(replace(self.options, watched=not self.options.watched))

    def action_baseline(self) -> None:
        self._set_beside("" if self.beside else "cv")

    def action_compare(self) -> None:
        self.app.push_screen(CompareDialog(self.run_folder), self._set_beside)

    def _set_beside(self, beside: str | None) -> None:
        if beside is not None:
            self.beside = beside or None
            self._scores.pop("gain", None)
            self._rank_table()
            self.load()

    def _set_options(self, options: SamplingOptions) -> None:
        self.options = options
        self.show_facts()
        self.load()

    # The map

    def action_agent(self, way: int) -> None:
        """Select the next agent that is forecast; after the last one nobody."""
        if self.view is not None:
            agents: list[int | None] = [None, *np.flatnonzero(self.view.target).tolist()]
            at = agents.index(self.agent) if self.agent in agents else 0
            self.select(agents[(at + way) % len(agents)])

    def action_play(self) -> None:
        self.scene.play(not self.scene.playing)

    def action_moment(self, steps: int) -> None:
        """Show the agents so many steps later; 0 shows the whole forecast at once."""
        if steps:
            self.scene.step_moment(steps)
        else:
            self.scene.show_moment(None)

    def on_timeline_scrubbed(self, message: Timeline.Scrubbed) -> None:
        if self.edit is None:
            self.scene.show_moment(message.moment)

    def on_scene_view_moment_shown(self, message: SceneView.MomentShown) -> None:
        self.timeline.moment = message.moment

    def action_zoom_agent(self) -> None:
        if self.agent is None:
            self.action_agent(1)
        self.scene.toggle_zoom()

    def action_side_view(self) -> None:
        if self.view is not None and not self.scene.toggle_side():
            self.app.show_message("these positions have no height: there is no side view")

    def action_sample_layer(self) -> None:
        self.scene.show_layers(self.scene.drawn.next_samples())

    def action_layer(self, name: str) -> None:
        if name == "image" and (why := self.scene.why_no_image):
            self.app.show_message(why)
        self.scene.show_layers(self.scene.drawn.toggled(name))

    def action_follow(self) -> None:
        if self.agent is None:
            self.action_agent(1)
        self.scene.toggle_follow()
        self.app.show_message("following" if self.scene.following else "not following")

    @work(exclusive=True, group="picture")
    async def action_export_picture(self) -> None:
        view = self.view
        if view is None:
            return
        words = (self._place, view.index, self.options, self._region_level)
        if (content := await self.app.ask(tasks.plot_window, *words)) is not None:
            export.save_file(self.app, view, ".png", lambda: content)

    def action_export(self, suffix: str) -> None:
        if (view := self.view) is not None:
            export.save_file(self.app, view, suffix, lambda: export.FORECASTS[suffix](view))

    @property
    def _region_level(self) -> float | None:
        return 0.9 if self.scene.drawn.regions else None

    def action_copy_command(self) -> None:
        if (view := self.view) is not None:
            command = export.plot_command(*self._place, view, self.options, self._region_level)
            self.app.copy_to_clipboard(command)
            partly = self.options.select or self.options.watched or view.edited is not None
            note = "without selection, memory and edits, " if partly else ""
            self.app.show_message(f"{note}copied: {command}")

    def on_scene_view_picked(self, message: SceneView.Picked) -> None:
        if self.edit is not None:
            self.controller.select_point(message.agent, message.step)
        elif message.step is None:
            self.select(message.agent)

    # Editing the past

    def action_edit(self) -> None:
        if self.view is not None:
            self.controller.begin(self.view, self.agent)
            self.refresh_bindings()

    def action_end_edit(self) -> None:
        changed = self.controller.end()
        self.scene.select(self.agent)
        self.refresh_bindings()
        self.show_facts()
        if changed:
            self.load()

    def action_edit_past(self, change: str, amounts: tuple[int, ...] = ()) -> None:
        getattr(self.controller, change)(*amounts)

    def on_scene_view_dragged(self, message: SceneView.Dragged) -> None:
        self.controller.apply(lambda edit: edit.moved(message.x, message.y, self.scene.port.axes))

    def _edited(self, past_changed: bool) -> None:
        """Show the edited past before its forecast is there."""
        if self.edit is not None:
            self.agent = self.edit.agent
            if past_changed and self.view is not None:
                self.view = replace(self.view, past=self.edit.past, edited=self.edit.changed)
                self.scene.show(self.view, self.second)
                self.load()
            self.show_facts()
