"""A map with facts beside it: what is drawn, who stands out, the future as time passes, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.segment import Segment
from textual.app import ComposeResult
from textual.containers import Container
from textual.screen import Screen
from textual.strip import Strip
from textual.widgets import Footer

from trajflow.browsing.view import PLAIN, Asked, View
from trajflow.errors import DataError
from trajflow.tui.editing import Edit
from trajflow.tui.export_files import forecast_csv, stem_of, write_new
from trajflow.tui.export_png import png_of
from trajflow.tui.messages import Complain, Tell
from trajflow.tui.widgets.looks import look_of
from trajflow.tui.widgets.scene_canvas import SceneCanvas
from trajflow.tui.widgets.title import Title
from trajflow.tui.widgets.window_facts import WindowFacts

STYLES = ("density", "paths", "none")


class MapScreen(Screen[None]):
    """Shows one window on a map, and what is known of it beside or below."""

    DEFAULT_CSS = """
    MapScreen { layout: vertical; }
    MapScreen #stage { layout: horizontal; height: 1fr; }
    MapScreen WindowFacts { width: 36; height: 1fr; border-left: solid $border; }
    MapScreen.-narrow #stage { layout: vertical; }
    MapScreen.-narrow WindowFacts {
        width: 1fr; height: 5; border-left: none; border-top: solid $border;
    }
    """

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place
        self.view: View | None = None
        self.second: View | None = None
        self.agent: int | None = None
        self.how: Asked = PLAIN
        self.edit: Edit | None = None

    @property
    def canvas(self) -> SceneCanvas:
        """The map."""
        return self.query_one(SceneCanvas)

    @property
    def heading(self) -> Title:
        """The first line."""
        return self.query_one(Title)

    def compose(self) -> ComposeResult:
        """Title, map, facts, footer."""
        yield Title(self.place)
        with Container(id="stage"):
            yield SceneCanvas()
            yield WindowFacts()
        yield Footer(show_command_palette=False)

    def show(self, view: View, second: View | None = None) -> None:
        """Show a window, as forecast by one or by two."""
        other = self.view is None or (self.view.index, self.view.scene) != (view.index, view.scene)
        if other and self.agent is not None:
            self.agent = self._same_agent(view)
            self.canvas.point(self.agent)
        self.view, self.second = view, second
        self.canvas.show(view, second)
        self.tell()

    def tell(self) -> None:
        """Write the facts anew."""
        if self.view is not None:
            facts = self.query_one(WindowFacts)
            facts.tell(self.view, self.second, self.agent, self.how, self.edit)

    def stand_out(self, agent: int | None) -> None:
        """Let an agent stand out, or nobody."""
        self.agent = agent
        self.canvas.point(agent)
        self.tell()

    def action_agent(self, way: int) -> None:
        """The next agent that is forecast; after the last one nobody."""
        if self.view is None:
            return
        known: list[int | None] = [None, *np.flatnonzero(self.view.target).tolist()]
        at = known.index(self.agent) if self.agent in known else 0
        self.stand_out(known[(at + way) % len(known)])

    def action_play(self) -> None:
        """Play the future, or show all of it at once."""
        self.canvas.animate_future(not self.canvas.playing)

    def action_moment(self, steps: int) -> None:
        """Halt at the next or the last step of the future."""
        self.canvas.step_future(steps)

    def action_samples_as(self) -> None:
        """Samples as shading, as paths, or not at all."""
        now = STYLES.index(self.canvas.drawn.samples)
        after = STYLES[(now + 1) % len(STYLES)]
        self.canvas.draw(replace(self.canvas.drawn, samples=after))  # type: ignore[arg-type]

    def action_layer(self, name: str) -> None:
        """Draw something, or not."""
        drawn = self.canvas.drawn
        self.canvas.draw(replace(drawn, **{name: not getattr(drawn, name)}))  # type: ignore[arg-type]

    def action_follow(self) -> None:
        """Keep the agent in the middle from window to window."""
        if self.agent is None:
            self.action_agent(1)
        self.canvas.follow(not self.canvas.following)
        self.post_message(Tell("following" if self.canvas.following else "not following"))

    def action_export_picture(self) -> None:
        """Write the screen as it is to an SVG and a PNG file."""
        if self.view is not None:
            stem, svg = stem_of(self.view), self.app.export_screenshot()
            look = look_of(self.canvas)
            colours = (look.ground, look.ink)
            strips = [Strip(line) for line in self._lines()]
            self.run_worker(lambda: self._write_picture(stem, svg, strips, colours), thread=True)

    def action_export_csv(self) -> None:
        """Write the forecast that is shown to a CSV file."""
        if (view := self.view) is not None:
            self.run_worker(lambda: self._write_csv(view), thread=True)

    def on_scene_canvas_hovered(self, message: SceneCanvas.Hovered) -> None:
        """Say where the mouse is, and on whose sample."""
        if self.view is None:
            return
        told = f"x {message.x:.2f}  y {message.y:.2f} {self.view.unit}"
        if message.sample is not None:
            agent, sample = message.sample
            told += f"  sample {sample + 1} of {self.view.labels[agent]}"
        self.heading.state = told

    def on_scene_canvas_picked(self, message: SceneCanvas.Picked) -> None:
        """Let who was clicked stand out."""
        if message.step is None:
            self.stand_out(message.agent)

    def _same_agent(self, view: View) -> int | None:
        """The agent that stands out in another window, if it is forecast there."""
        if self.view is None or self.agent is None or self.agent >= self.view.agents:
            return None
        label = self.view.labels[self.agent]
        if self.view.scene != view.scene or label not in view.labels:
            return None
        found = view.labels.index(label)
        return found if view.target[found] else None

    def _lines(self) -> list[list[Segment]]:
        return [list(strip) for strip in self._compositor.render_strips()]

    def _write_picture(
        self, stem: str, svg: str, strips: list[Strip], colours: tuple[int, int]
    ) -> None:
        try:
            first = write_new(Path.cwd(), stem, ".svg", svg.encode())
            other = write_new(Path.cwd(), stem, ".png", png_of(strips, *colours))
        except DataError as error:
            self.post_message(Complain(str(error)))
        else:
            self.post_message(Tell(f"saved {first.name} and {other.name}"))

    def _write_csv(self, view: View) -> None:
        try:
            path = write_new(Path.cwd(), stem_of(view), ".csv", forecast_csv(view))
        except DataError as error:
            self.post_message(Complain(str(error)))
        else:
            self.post_message(Tell(f"saved {path.name}"))
