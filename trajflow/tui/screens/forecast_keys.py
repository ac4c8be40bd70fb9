"""The keys of the forecast screen, and its two dialogs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import getters, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.validation import Integer
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from trajflow.library import runs_beside
from trajflow.text import safe

BROWSING = {"window", "scene", "jump", "random", "goto", "edge", "agent", "moment", "play", "edit"}
BROWSING |= {"table", "zoom_agent"}
"""Actions that are off while the past is edited."""
EDITING = {"edit_past", "end_edit"}
"""Actions that are on only then."""
BROWSE_KEYS: list[BindingType] = [
    Binding("right,l,n", "window(1)", "Next", id="forecast.next"),
    Binding("left,h,p", "window(-1)", "Previous", id="forecast.previous"),
    Binding("w", "jump('worst')", "Worst", id="forecast.worst"),
    Binding("b", "jump('best')", "Best", id="forecast.best"),
    Binding("u", "jump('highest OOD score')", "OOD", id="forecast.ood"),
    Binding("x", "random", "Random", id="forecast.random"),
    Binding("r", "resample", "Resample", id="forecast.resample"),
    Binding("less_than_sign", "samples(-1)", "Fewer samples", show=False, id="forecast.fewer"),
    Binding("greater_than_sign", "samples(1)", "More samples", show=False, id="forecast.more"),
    Binding("1", "steps(1)", "1 evaluation per sample", show=False, id="forecast.one"),
    Binding("2", "steps(2)", "2 evaluations per sample", show=False, id="forecast.two"),
    Binding("4", "steps(4)", "4 evaluations per sample", show=False, id="forecast.four"),
    Binding("s", "select", "Selection rule", show=False, id="forecast.select"),
    Binding("v", "baseline", "Constant velocity beside", show=False, id="forecast.baseline"),
    Binding("V", "compare", "Another run beside", show=False, id="forecast.compare"),
    Binding("pagedown", "window(10)", "10 windows on", show=False, id="forecast.forward"),
    Binding("pageup", "window(-10)", "10 windows back", show=False, id="forecast.back"),
    Binding("home,g", "edge(0)", "First window", show=False, id="forecast.first"),
    Binding("end,G", "edge(1)", "Last window", show=False, id="forecast.last"),
    Binding("right_square_bracket", "scene(1)", "Next scene", False, id="forecast.next_scene"),
    Binding("left_square_bracket", "scene(-1)", "Previous scene", False, id="forecast.scene"),
    Binding("W", "table('windows')", "Windows", id="forecast.windows"),
    Binding("T", "table('agents')", "Agents", id="forecast.agents"),
    Binding("slash", "goto", "Go to a window", show=False, id="forecast.goto"),
]
MAP_KEYS: list[BindingType] = [
    Binding("a,down,j", "agent(1)", "Next agent", show=False, id="map.agent"),
    Binding("A,up,k", "agent(-1)", "Previous agent", show=False, id="map.previous_agent"),
    Binding("space", "play", "Play", id="map.play"),
    Binding("full_stop", "moment(1)", "A step later", show=False, id="map.later"),
    Binding("comma", "moment(-1)", "A step earlier", show=False, id="map.earlier"),
    Binding("right_parenthesis", "moment(999)", "Last step of the forecast", False, id="map.end"),
    Binding("left_parenthesis", "moment(-999)", "First step of the past", False, id="map.begin"),
    Binding("semicolon", "moment(0)", "The whole forecast at once", False, id="map.whole"),
    Binding("z", "zoom_agent", "Zoom to the agent", show=False, id="map.zoom_agent"),
    Binding("Z", "side_view", "Side view (x and z)", show=False, id="map.side"),
    Binding("d", "sample_layer", "Density, paths, none", show=False, id="map.samples"),
    Binding("o", "layer('regions')", "Prediction regions", show=False, id="map.regions"),
    Binding("m", "layer('neighbors')", "Neighbors", show=False, id="map.neighbors"),
    Binding("y", "layer('truth')", "True future", show=False, id="map.truth"),
    Binding("i", "layer('axes')", "Axes and scale", show=False, id="map.axes"),
    Binding("I", "layer('image')", "Image of the recording", show=False, id="map.image"),
    Binding("c", "copy_command", "Copy the command of this view", show=False, id="map.command"),
]

EDIT_KEYS: list[BindingType] = [
    Binding("e", "edit", "Edit the past", id="edit.begin"),
    Binding("e,escape", "end_edit", "Done", id="edit.end"),
    Binding("left,h", "edit_past('nudge',(-1,0))", "Nudge", key_display="←↓↑→", id="edit.left"),
    Binding("down,j", "edit_past('nudge',(0,-1))", "Nudge down", False, id="edit.down"),
    Binding("up,k", "edit_past('nudge',(0,1))", "Nudge up", False, id="edit.up"),
    Binding("right,l", "edit_past('nudge',(1,0))", "Nudge right", False, id="edit.right"),
    Binding(
        "left_square_bracket,comma",
        "edit_past('select_step',(-1,))",
        "Previous point",
        False,
        id="edit.previous",
    ),
    Binding(
        "right_square_bracket,full_stop",
        "edit_past('select_step',(1,))",
        "Point",
        True,
        "[ ]",
        id="edit.next",
    ),
    Binding("a", "edit_past('select_agent',(1,))", "Agent", id="edit.agent"),
    Binding("x,delete", "edit_past('drop')", "Delete", id="edit.drop"),
    Binding("z", "edit_past('noise')", "Noise", id="edit.noise"),
    Binding("backspace", "edit_past('restore')", "Restore", id="edit.restore"),
    Binding("R", "edit_past('reset')", "Reset", id="edit.reset"),
]


class WindowDialog(ModalScreen[int | None]):
    """Asks for the number of a window, from 1 to `count`; None if it is cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="window.cancel"),
    ]

    def __init__(self, count: int) -> None:
        super().__init__(classes="dialog")
        self.count = count

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label(f"window 1 to {self.count}", markup=False)
            yield Input(type="integer", validators=[Integer(1, self.count)])

    def on_input_submitted(self, message: Input.Submitted) -> None:
        if message.validation_result is None or message.validation_result.is_valid:
            self.dismiss(int(message.value))


class CompareDialog(ModalScreen[str | None]):
    """Asks which other forecaster is shown: "cv", a run folder, or "" for none.

    Args:
        run: Run folder; the runs beside it are offered.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="compare.cancel"),
        Binding("j", "move(1)", "Down", show=False, id="compare.down"),
        Binding("k", "move(-1)", "Up", show=False, id="compare.up"),
    ]
    options = getters.query_one(OptionList)

    def __init__(self, run: Path) -> None:
        super().__init__(classes="dialog")
        self._folder, self.choices = run, ["", "cv"]

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label("forecast to compare with", markup=False)
            yield OptionList(Option("none"), Option("cv: constant velocity"), markup=False)

    def on_mount(self) -> None:
        self._list_runs()

    @work
    async def _list_runs(self) -> None:
        runs = await asyncio.to_thread(runs_beside, self._folder)
        self.choices += [str(path) for path in runs]
        self.options.add_options([Option(Text(safe(path.name, 50))) for path in runs])

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(self.choices[message.option_index])

    def action_move(self, way: int) -> None:
        self.options.action_cursor_down() if way > 0 else self.options.action_cursor_up()
