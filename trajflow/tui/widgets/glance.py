"""A look at the run or store that is chosen at home: a picture, and what is known of it."""

from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.timer import Timer

from trajflow.browsing.view import View
from trajflow.tui.jobs.demo import preview_file
from trajflow.tui.jobs.found import Run, Tracks
from trajflow.tui.jobs.glimpse import Glimpse
from trajflow.tui.jobs.preview import load
from trajflow.tui.jobs.tracks import Paths, ReadPaths
from trajflow.tui.shared_worker import worker_of
from trajflow.tui.widgets.facts import Facts
from trajflow.tui.widgets.listing import told_of_run, told_of_tracks
from trajflow.tui.widgets.scene_preview import ScenePreview
from trajflow.tui.widgets.track_map import TrackMap
from trajflow.tui.worker_messages import Answered, Failed

PATIENCE = 0.3
"""Seconds that something must stay chosen before the worker is asked."""
LOADING = "loading the model ..."


class Glance(Vertical):
    """A map above, facts below.

    Attributes:
        known: Windows that are known already, by their runs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[Path, View | None] = {}
        self._maps: dict[Path, Paths] = {}
        self._thing: Run | Tracks | None = None
        self._data: Tracks | None = None
        self._timer: Timer | None = None
        self._asked: int | None = None

    def compose(self) -> ComposeResult:
        """Both maps, of which one is seen, and the facts."""
        yield ScenePreview()
        yield TrackMap()
        yield Facts()

    def show(self, thing: Run | Tracks, data: Tracks | None) -> None:
        """Have a look at something else; `data` are the tracks of a run."""
        if not self.query(Facts):
            return
        run = isinstance(thing, Run)
        lines = told_of_run(thing, data) if isinstance(thing, Run) else told_of_tracks(thing)
        self.query_one(Facts).tell(lines)
        self.query_one(ScenePreview).display = run
        self.query_one(TrackMap).display = not run
        same = self._thing is not None and self._thing.path == thing.path
        self._thing, self._data = thing, data
        if not same:
            self._look()

    def know_demo(self, run: Path) -> None:
        """The window of the demo lies in the package; the worker need not be asked for it."""
        self.known[run] = load(preview_file())

    def on_answered(self, message: Answered) -> None:
        """Show what the worker has found, if it is still wanted."""
        value, request = message.value, message.request
        if isinstance(value, View) and isinstance(request, Glimpse):
            self.known[request.run] = value
            self._draw()
        elif isinstance(value, Paths) and isinstance(request, ReadPaths):
            self._maps[request.store] = value
            self._draw()

    def on_failed(self, message: Failed) -> None:
        """Say why there is no picture."""
        if message.number == self._asked and self.query(ScenePreview):
            self.query_one(ScenePreview).show(None, message.text)

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        if self._asked is not None:
            worker_of(self.app).cancel(self._asked)
            self._asked = None
        if not self._draw():
            self._timer = self.set_timer(PATIENCE, self._wonder)

    def _draw(self) -> bool:
        """Draw what is known; whether anything is, or nothing can be drawn any more."""
        if not self.query(ScenePreview):
            return True
        thing = self._thing
        if isinstance(thing, Run) and (view := self.known.get(thing.path)) is not None:
            self.query_one(ScenePreview).show(view)
            return True
        if isinstance(thing, Tracks) and (found := self._maps.get(thing.path)) is not None:
            self.query_one(TrackMap).show(found)
            return True
        self.query_one(TrackMap).show(None)
        self.query_one(ScenePreview).show(None, self._why_not())
        return False

    def _why_not(self) -> str:
        thing = self._thing
        if not isinstance(thing, Run):
            return ""
        if thing.problem:
            return "this run is damaged"
        if self._data is None:
            return "its tracks are not here"
        return LOADING if thing.weights else "no weights yet"

    def _wonder(self) -> None:
        """Ask the worker."""
        thing, data = self._thing, self._data
        if isinstance(thing, Tracks) and not thing.problem:
            self._ask(ReadPaths(thing.path))
        elif isinstance(thing, Run) and data and thing.weights and not thing.problem:
            self._ask(Glimpse(thing.path, data.path, thing.part))

    def _ask(self, request: ReadPaths | Glimpse) -> None:
        self._asked = worker_of(self.app).ask(request, self)
