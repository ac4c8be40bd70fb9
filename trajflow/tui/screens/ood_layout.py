"""How the out-of-distribution screen is laid out, and what it shows of a report; its keys."""

from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widgets import Footer

from trajflow.tui.keys import bound
from trajflow.tui.widgets.curves import Curves
from trajflow.tui.widgets.histogram import Histogram
from trajflow.tui.widgets.scene_canvas import SceneCanvas
from trajflow.tui.widgets.shift_curves import retention_curves, roc_curves
from trajflow.tui.widgets.shift_facts import ShiftFacts
from trajflow.tui.widgets.shift_table import ShiftTable
from trajflow.tui.widgets.title import Title

CHARTS = ("scores", "roc", "kept")
KINDS = ("most", "least")


class OodLayout(Screen[None]):
    """A table of shifts; beside it histogram, ROC and retention, and a map; words below."""

    DEFAULT_CSS = """
    OodLayout #ood { layout: horizontal; height: 1fr; }
    OodLayout ShiftTable { width: 44; height: 1fr; }
    OodLayout #told { width: 1fr; height: 1fr; border-left: solid $border-blurred; }
    OodLayout #charts, OodLayout #map { height: 1fr; }
    OodLayout #about { border-top: solid $border-blurred; height: 8; }
    OodLayout.-wide ShiftTable { width: 76; }
    OodLayout.-wide #scores { width: 22; }
    OodLayout.-wide #charts { height: 3fr; layout: horizontal; }
    OodLayout.-wide #charts > * { margin-right: 1; }
    OodLayout.-wide #map { height: 5fr; border-top: solid $border-blurred; }
    OodLayout.-narrow.-mapping ShiftTable { display: none; }
    OodLayout.-narrow.-mapping #told { border-left: none; }
    OodLayout.-narrow.-mapping #about { height: 9; }
    OodLayout.-narrow #map { display: none; }
    OodLayout.-narrow.-mapping #map { display: block; }
    OodLayout.-narrow.-mapping #charts { display: none; }
    OodLayout.-narrow #charts > * { display: none; }
    OodLayout.-narrow #charts > .-on { display: block; }
    OodLayout.-empty ShiftTable, OodLayout.-empty #charts { display: none; }
    OodLayout.-empty.-narrow #map { display: block; }
    OodLayout.-empty #told { border-left: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bound("ood.next", "right,l,n", "window(1)", "Next", shown="→"),
        bound("ood.before", "left,h,p", "window(-1)", "Window before", show=False),
        bound("ood.kind", "m", "kind", "Most/least"),
        bound("ood.why", "y", "why", "Why"),
        bound("ood.map", "enter,tab", "page", "Map", shown="enter"),
        bound("ood.chart", "c", "chart", "Chart"),
        bound("ood.examine", "e", "examine", "Examine"),
        bound("ood.stop", "s", "stop", "Stop"),
        bound("ood.down", "j", "cursor(1)", "Next shift", show=False),
        bound("ood.up", "k", "cursor(-1)", "Shift before", show=False),
        bound("ood.play", "space", "play", "Play the future", show=False),
        bound("ood.closer", "plus,equals_sign", "zoom(1.25)", "Zoom in", show=False, shown="+"),
        bound("ood.farther", "minus", "zoom(0.8)", "Zoom out", show=False, shown="-"),
        bound("ood.fit", "0", "fit", "Fit the map", show=False),
    ]

    def __init__(self, run: Path) -> None:
        super().__init__()
        self.run_folder = run
        self.report: dict[str, Any] | None = None
        self.kind, self._chart = KINDS[0], 0

    def compose(self) -> ComposeResult:
        """Table at the left, charts and map at the right, words below."""
        yield Title(f"{self.run_folder.name} · out of distribution", "")
        with Container(id="ood"):
            yield ShiftTable()
            with Container(id="told"):
                with Container(id="charts"):
                    yield Histogram(id="scores")
                    yield Curves("ROC", below="ordinary flagged", id="roc")
                    yield Curves("kept", below="share kept", id="kept")
                with Container(id="map"):
                    yield SceneCanvas()
        yield ShiftFacts(id="about")
        yield Footer(show_command_palette=False)

    @property
    def canvas(self) -> SceneCanvas:
        """The map."""
        return self.query_one(SceneCanvas)

    @property
    def table(self) -> ShiftTable:
        """The shifts."""
        return self.query_one(ShiftTable)

    @property
    def wide(self) -> bool:
        """Whether everything stands side by side."""
        return self.has_class("-wide")

    @property
    def shift(self) -> dict[str, Any] | None:
        """The shift that is chosen; None for ordinary windows."""
        if self.report is None:
            return None
        named = {one["key"]: one for one in self.report["shifts"]}
        return named.get(self.table.chosen)

    @property
    def windows(self) -> list[dict[str, Any]]:
        """The windows of the chosen shift that can be looked at."""
        if self.report is None:
            return []
        one = self.shift or self.report["ordinary"]
        found: list[dict[str, Any]] = one.get("examples", {}).get(self.kind, [])
        return found

    def action_cursor(self, by: int) -> None:
        """Another shift."""
        self.table.action_cursor_down() if by > 0 else self.table.action_cursor_up()

    def action_zoom(self, factor: float) -> None:
        """Closer or farther."""
        self.canvas.action_zoom(factor)

    def action_fit(self) -> None:
        """Show the whole window."""
        self.canvas.action_fit()

    def action_play(self) -> None:
        """Play the future, or show all of it."""
        self.canvas.animate_future(not self.canvas.playing)

    def _chart_it(self, shift: dict[str, Any] | None) -> None:
        one = shift or {}
        limit = self.report["ordinary"]["threshold"].get("surprise") if self.report else None
        found = one.get("histogram", {}).get("surprise")
        name = f"surprise, {one['name']} {one['level']}" if one else "choose a shift"
        self.query_one(Histogram).show(name, found, limit)
        self.query_one("#roc", Curves).show(roc_curves(one))
        kept = retention_curves(one or (self.report or {}).get("ordinary", {}))
        self.query_one("#kept", Curves).show(kept)
        self._turn_to_chart()

    def _turn_to_chart(self) -> None:
        """On a small screen: the chosen chart; of ordinary windows there is only one."""
        shown = CHARTS[self._chart] if self.shift is not None else CHARTS[-1]
        for name in CHARTS:
            self.query_one(f"#{name}").set_class(name == shown, "-on")
