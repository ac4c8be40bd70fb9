"""The windows of a split one by one, with what a run forecasts of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from textual import getters, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.strip import Strip
from textual.validation import Integer
from textual.widgets import Input

from trajflow.browse.view import Floats, SamplingOptions, View
from trajflow.errors import DataError, StorageError
from trajflow.scene_image import load_image
from trajflow.text import safe
from trajflow.tui import tasks
from trajflow.tui.app import TrajflowApp
from trajflow.tui.bookmarks import (
    MAX_NOTE,
    BookmarkKey,
    add_bookmark,
    bookmark_key,
    bookmarked_windows,
    read_bookmarks,
    remove_bookmark,
)
from trajflow.tui.engine import EngineDied, TaskFailed
from trajflow.tui.export import file_stem, forecast_csv, png_of, write_new
from trajflow.tui.render.colors import palette_of
from trajflow.tui.screens.dialogs import CompareDialog, PromptDialog
from trajflow.tui.screens.edit_past import EditController, PastEdit
from trajflow.tui.screens.forecast_keys import (
    BROWSE_KEYS,
    BROWSING,
    EDIT_KEYS,
    EDITING,
    MAP_KEYS,
)
from trajflow.tui.widgets.metrics_panel import FactWriter, MetricsPanel
from trajflow.tui.widgets.scene_view import SceneView
from trajflow.tui.widgets.text import KeyFooter, TitleBar
from trajflow.tui.widgets.window_table import SideTables, TableName

if TYPE_CHECKING:
    from trajflow.browse.browser import SplitSummary

JUMPS = {
    "worst": ("energy_score", -1),
    "best": ("energy_score", 1),
    "highest OOD score": ("ood_score", -1),
}
"""Score and direction of the orders of windows."""
SAMPLE_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
SAMPLE_LAYERS = ("density", "paths", "none")


class ForecastScreen(Screen[None]):
    """Browse the windows of a split, change how they are forecast, and edit the past.

    Args:
        run: Run folder.
        data: Store.
        split: "train", "val" or "test".

    Attributes:
        view: The window that is shown.
        second: The same window as forecast by another forecaster, if one stands beside.
        summary: What the run and the split are, once they are open.
        beside: "cv" or the folder of another run that stands beside; None: nobody.
    """

    app = getters.app(TrajflowApp)
    scene = getters.query_one(SceneView)
    tables = getters.query_one(SideTables)
    title_bar = getters.query_one(TitleBar)
    BINDINGS: ClassVar[list[BindingType]] = [*BROWSE_KEYS, *MAP_KEYS, *EDIT_KEYS]

    def __init__(self, run: Path, data: Path, split: str = "test") -> None:
        super().__init__()
        self.run_folder, self.data, self.split = self._place = run, data, split
        self.options, self.index = SamplingOptions(), 0
        self.view: View | None = None
        self.second: View | None = None
        self.summary: SplitSummary | None = None
        self.beside: str | None = None
        self.agent: int | None = None
        self._controller: EditController | None = None
        self._forecasting, self._stale = False, False
        self._scores: dict[str, Floats] = {}
        self._jump: tuple[str, int] | None = None
        self._random = np.random.default_rng(0)

    @property
    def controller(self) -> EditController:
        """Edits the past."""
        if self._controller is None:
            self._controller = EditController(self.scene, self._edited)
        return self._controller

    @property
    def edit(self) -> PastEdit | None:
        """The edit of the past; None while it is not edited."""
        return self._controller.edit if self._controller else None

    def compose(self) -> ComposeResult:
        yield TitleBar(f"{self.run_folder.name}  {self.data.name}, {self.split}")
        with Container(id="stage"):
            yield SideTables()
            yield SceneView()
            yield MetricsPanel()
        yield KeyFooter()

    def on_mount(self) -> None:
        self.scene.stacks = True
        self.scene.show_note("loading the model")
        self.scene.focus()
        self._open()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in EDITING:
            return self.edit is not None
        return action not in BROWSING or self.edit is None

    @work(exclusive=True, group="open")
    async def _open(self) -> None:
        try:
            self.summary = await self._call_until_alive()
        except TaskFailed as error:
            self.app.show_error(error)
            self.call_later(self.scene.show_note, "nothing to show")
        else:
            self.load()

    async def _call_until_alive(self) -> SplitSummary:
        """Open the run, again if the process ends meanwhile; the engine counts how often."""
        while True:
            try:
                return await self.app.engine.call(tasks.open_run, *self._place)
            except EngineDied as error:
                self.app.show_error(error)
                await asyncio.sleep(1.0)

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
                shown = (*self._place, self.index, self.options, past, self.beside)
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
        """Show a window, as forecast by one or by two."""
        if self.edit is not None:
            if self.view is None or view.index != self.view.index:
                return
            view = replace(view, past=self.edit.past, edited=self.edit.changed)
        elif view.edited is not None:
            return
        before = self.view
        other = before is None or (before.index, before.scene) != (view.index, view.scene)
        if other and self.agent is not None:
            self.agent = self._same_agent(view)
            self.scene.select(self.agent)
        if before is None or before.scene != view.scene:
            self.scene.show_image(None)
            self._load_image(view.scene)
        self.view, self.second = view, second
        self.scene.show(view, second)
        if self.tables.shown == "agents":
            self._fill_table()
        self.show_facts()
        if other:
            self._show_bookmark()

    @work(exclusive=True, group="image")
    async def _load_image(self, scene: str) -> None:
        try:
            image = await asyncio.to_thread(load_image, self.data, scene)
        except (DataError, StorageError) as error:
            self.call_later(self.app.show_error, error)
        else:
            self.call_later(self.scene.show_image, image)

    def show_facts(self) -> None:
        """Write the facts anew."""
        if self.view is not None:
            facts = FactWriter(self.view, self.second, self.agent, self.options, self.edit)
            self.query_one(MetricsPanel).show(facts)

    def select(self, agent: int | None) -> None:
        """Let an agent stand out, or nobody."""
        self.agent = agent
        self.scene.select(agent)
        if agent is not None and self.tables.shown == "agents":
            self.tables.agents.choose(str(agent))
        self.show_facts()

    # Browsing

    def action_window(self, by: int) -> None:
        self._go(self.index + by)

    def action_table(self, name: TableName) -> None:
        """Show one of the tables beside the map and focus it, or hide it."""
        if self.summary is None:
            return
        self.tables.shown = "" if self.tables.shown == name else name
        self._fill_table()
        (self.tables.table or self.scene).focus()
        if self.tables.shown == "windows":
            self._rank(["energy_score", *["ood_score"] * self.summary.detects])

    def on_side_tables_window_chosen(self, message: SideTables.WindowChosen) -> None:
        if self.edit is None and message.window != self.index:
            self._go(message.window)

    def on_side_tables_agent_chosen(self, message: SideTables.AgentChosen) -> None:
        if self.edit is None and message.agent != self.agent:
            self.select(message.agent)

    def on_data_table_row_selected(self) -> None:
        self.scene.focus()

    def _fill_table(self) -> None:
        if self.tables.shown == "windows" and self.summary is not None:
            self.tables.windows.show_windows(self.summary, self._scores, self.index)
        elif self.tables.shown == "agents" and self.view is not None:
            self.tables.agents.show_view(self.view, self.agent)

    def action_bookmark(self) -> None:
        """Bookmark the window with a note, or remove its bookmark."""
        if self.view is not None:
            key = bookmark_key(self.data, self.split, self.view)
            with self.app.errors_shown():
                removed = remove_bookmark(self.run_folder, key)
                if removed is None:
                    field = Input(max_length=MAX_NOTE, placeholder="note, may be empty")
                    prompt = PromptDialog("bookmark: a note, Enter saves", field)
                    self.app.push_screen(prompt, partial(self._add_bookmark, key))
                    return
                self.app.show_message(f"bookmark removed: {safe(removed, 60) or 'no note'}")
            self._show_bookmark()

    def _add_bookmark(self, key: BookmarkKey, note: str | None) -> None:
        if note is not None:
            with self.app.errors_shown():
                add_bookmark(self.run_folder, key, note)
            self._show_bookmark()

    def action_marked(self, way: int) -> None:
        """Go to the next or previous bookmarked window, from the last one to the first."""
        with self.app.errors_shown():
            marked = bookmarked_windows(self.run_folder, self.data, self.split)[::way]
            if marked:
                self._go(next((n for n in marked if way * (n - self.index) > 0), marked[0]))
            else:
                self.app.show_message("no bookmarks of this split; B sets one")

    def _show_bookmark(self) -> None:
        """Write the note of the window's bookmark into the title."""
        if self.view is not None:
            with self.app.errors_shown():
                key = bookmark_key(self.data, self.split, self.view)
                note = read_bookmarks(self.run_folder).get(key)
                if note is not None:
                    self.title_bar.state = f"bookmark: {note}" if note else "bookmark"
                elif self.title_bar.state.startswith("bookmark"):
                    self.title_bar.state = ""

    def action_edge(self, last: int) -> None:
        self._go(last * 10**9)

    def action_scene(self, way: int) -> None:
        if self.summary is not None:
            firsts = [first for _, first in self.summary.scenes]
            current = sum(first <= self.index for first in firsts) - 1
            self._go(firsts[(current + way) % len(firsts)])

    def action_random(self) -> None:
        if self.summary is not None:
            self._go(int(self._random.integers(self.summary.count)))

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
        ranked = np.argsort(np.nan_to_num(way * self._scores[by], nan=np.inf), kind="stable")
        rank = (self._jump[1] + 1) % len(ranked) if self._jump and self._jump[0] == order else 0
        self._go(int(ranked[rank]))
        self._jump = (order, rank)
        self.title_bar.state = f"{order}: {rank + 1} of {len(ranked)}"

    @work(exclusive=True, group="rank")
    async def _rank(self, names: Sequence[str], order: str = "") -> None:
        """Compute scores of all windows, show them in the table, and jump if an order is named."""
        if self.summary is None:
            return
        try:
            for by in names:
                if by not in self._scores:
                    scored = self.app.engine.stream(tasks.rank_windows, *self._place, by)
                    async for share, scores in scored:
                        self.call_later(self._show_state, f"scoring all windows, {share:.0%}")
                        self._scores |= scores
                self.call_later(self._fill_table)
        except TaskFailed as error:
            self.app.show_error(error)
        self.call_later(self._show_state, "")
        if order and JUMPS[order][0] in self._scores:
            if self.edit is None:
                self.call_later(self.action_jump, order)
            else:
                self.app.show_message("all windows are scored")

    def _show_state(self, state: str) -> None:
        self.title_bar.state = state

    def _go(self, index: int) -> None:
        if self.summary is not None:
            self._jump = None
            self.index = min(self.summary.count - 1, max(0, index))
            self.tables.windows.choose(str(self.index))
            self.load()

    # How windows are forecast

    def action_resample(self) -> None:
        self._set_options(seed=self.options.seed + 1)

    def action_samples(self, way: int) -> None:
        near = int(np.abs(np.array(SAMPLE_COUNTS) - self.options.samples).argmin())
        last = len(SAMPLE_COUNTS) - 1
        self._set_options(samples=SAMPLE_COUNTS[min(last, max(0, near + way))])

    def action_steps(self, steps: int) -> None:
        self._set_options(steps=steps)

    def action_select(self) -> None:
        if self.summary is not None:
            rules = [None, *self.summary.selections]
            at = rules.index(self.options.select) if self.options.select in rules else 0
            rule = rules[(at + 1) % len(rules)]
            self._set_options(select=rule, samples=20 if rule else self.options.samples)

    def action_baseline(self) -> None:
        self._set_beside("" if self.beside else "cv")

    def action_compare(self) -> None:
        self.app.push_screen(CompareDialog(self.run_folder), self._set_beside)

    def _set_beside(self, beside: str | None) -> None:
        if beside is not None:
            self.beside = beside or None
            self.load()

    def _set_options(self, **changes: object) -> None:
        self.options = replace(self.options, **changes)  # type: ignore[arg-type]
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
        """Play the future, or show all of it at once."""
        self.scene.play(not self.scene.playing)

    def action_moment(self, steps: int) -> None:
        self.scene.step_future(steps)

    def action_sample_layer(self) -> None:
        at = SAMPLE_LAYERS.index(self.scene.drawn.samples)
        samples = SAMPLE_LAYERS[(at + 1) % len(SAMPLE_LAYERS)]
        self.scene.show_layers(replace(self.scene.drawn, samples=samples))  # type: ignore[arg-type]

    def action_layer(self, name: str) -> None:
        layers = self.scene.drawn
        self.scene.show_layers(replace(layers, **{name: not getattr(layers, name)}))  # type: ignore[arg-type]

    def action_follow(self) -> None:
        if self.agent is None:
            self.action_agent(1)
        self.scene.follow(not self.scene.following)
        self.app.show_message("following" if self.scene.following else "not following")

    def action_export_picture(self) -> None:
        if self.view is not None:
            svg, palette = self.app.export_screenshot().encode(), palette_of(self.scene)
            colors = (palette.background, palette.foreground)
            strips = [Strip(list(strip)) for strip in self._compositor.render_strips()]
            contents = {".svg": lambda: svg, ".png": lambda: png_of(strips, *colors)}
            self._write(file_stem(self.view), contents)

    def action_export_csv(self) -> None:
        if (view := self.view) is not None:
            self._write(file_stem(view), {".csv": lambda: forecast_csv(view)})

    @work(thread=True)
    def _write(self, stem: str, contents: dict[str, Callable[[], bytes]]) -> None:
        try:
            paths = [
                write_new(Path.cwd(), stem, suffix, content())
                for suffix, content in contents.items()
            ]
        except DataError as error:
            self.app.call_from_thread(self.app.show_error, error)
        else:
            saved = f"saved {' and '.join(path.name for path in paths)}"
            self.app.call_from_thread(self.app.show_message, saved)

    def on_scene_view_hovered(self, message: SceneView.Hovered) -> None:
        if self.view is not None:
            state = f"x {message.x:.2f}  y {message.y:.2f} {self.view.unit}"
            if message.sample is not None:
                agent, sample = message.sample
                state += f"  sample {sample + 1} of {self.view.labels[agent]}"
            self.title_bar.state = state

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
        """Change or select a point of the past by a method of the controller."""
        getattr(self.controller, change)(*amounts)

    def action_drop(self) -> None:
        if not self.controller.apply(PastEdit.dropped):
            self.app.show_message("at least one point must stay")

    def on_scene_view_dragged(self, message: SceneView.Dragged) -> None:
        self.controller.apply(lambda edit: edit.moved(message.x, message.y))

    def _edited(self, past_changed: bool) -> None:
        """Show the edited past before its forecast is there."""
        if self.edit is None:
            return
        self.agent = self.edit.agent
        if past_changed and self.view is not None:
            self.view = replace(self.view, past=self.edit.past, edited=self.edit.changed)
            self.scene.show(self.view, self.second)
            self.load()
        self.show_facts()

    def _same_agent(self, view: View) -> int | None:
        """The selected agent in another window, if it is forecast there."""
        before = self.view
        if before is None or self.agent is None or self.agent >= before.agents:
            return None
        label = before.labels[self.agent]
        if before.scene != view.scene or label not in view.labels:
            return None
        agent = view.labels.index(label)
        return agent if view.target[agent] else None
