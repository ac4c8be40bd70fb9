"""A window and its forecast to look at only: the future is played once, then it stands."""

import time

import numpy as np
from textual.reactive import reactive
from textual.strip import Strip
from textual.timer import Timer

from trajflow.browsing.view import View
from trajflow.tui.widgets.looks import look_of
from trajflow.tui.widgets.painted import Painted
from trajflow.tui.widgets.scene_picture import Layers, Pointing, paint
from trajflow.tui.widgets.viewport import Viewport

FRAMES = 12
"""Pictures per second while it is played."""
PACE = 5.0
"""Future steps per second."""


class ScenePreview(Painted):
    """The map of one window, without keys.

    Attributes:
        moment: Future steps played so far; None: all at once.
        said: What is shown instead while there is no window.
    """

    moment: reactive[float | None] = reactive(None)
    said: reactive[str] = reactive("")

    def __init__(self) -> None:
        super().__init__()
        self.view: View | None = None
        self._strips: list[Strip] = []
        self._began = 0.0
        self._timer: Timer | None = None

    def show(self, view: View | None, said: str = "", play: bool = True) -> None:
        """Show another window, or a sentence where there is none."""
        if view is not None and view is self.view:
            return
        self.view, self.said = view, said
        self._began = time.monotonic()
        self.set_reactive(ScenePreview.moment, 0.0 if view is not None and play else None)
        if self._timer is None:
            self._timer = self.set_interval(1 / FRAMES, self._tick)
        self._timer.resume() if play and view is not None else self._timer.pause()
        self._paint()

    def watch_moment(self) -> None:
        """Paint another moment."""
        self._paint()

    def _tick(self) -> None:
        if self.view is None or self._timer is None:
            return
        played = (time.monotonic() - self._began) * PACE
        if played < self.view.horizon:
            self.moment = played
        else:
            self._timer.pause()
            self.moment = None

    def _paint(self) -> None:
        width, height = self.size
        if width < 4 or height < 3:
            self._strips = []
        elif self.view is None:
            blank, style = Strip.blank(width, self.rich_style), self.rich_style
            from rich.segment import Segment

            line = self.said[: width - 2].center(width)
            self._strips = [blank] * (height // 2) + [Strip([Segment(line, style)])]
        else:
            points = np.concatenate(
                [part.reshape(-1, part.shape[-1]) for part in self._parts(self.view)]
            )
            port = Viewport.fit(points, 2 * width, 4 * height)
            at = Pointing(moment=self.moment)
            self._strips = paint(self.view, port, look_of(self), Layers(), at).strips()
        self.refresh()

    @staticmethod
    def _parts(view: View) -> list[np.typing.NDArray[np.float64]]:
        targets = view.target
        parts = [view.past[targets], view.samples[:, targets]]
        return parts if view.future is None else [*parts, view.future[targets]]
