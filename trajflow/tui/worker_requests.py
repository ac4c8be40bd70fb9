"""What can be asked of the worker process; a further request is one more frozen dataclass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from trajflow.batch import Floats
from trajflow.browsing.view import PLAIN, Asked, View

if TYPE_CHECKING:
    from trajflow.browsing.shelf import Shelf

CV = "cv"
"""Whoever is named so goes on as before, with the last velocity."""


@dataclass(frozen=True)
class Request:
    """Asked of the worker; `answer` runs there, so heavy imports stand inside it.

    A subclass is a frozen dataclass of what can be pickled. An `answer` that takes long is a
    generator: everything it yields is sent at once, and between two of these quick requests are
    served and it may be cancelled.

    Attributes:
        newest: Whether a newer one of the same class replaces those that wait.
        quick: Whether it is served between the chunks of a long one.
    """

    newest: ClassVar[bool] = False
    quick: ClassVar[bool] = True

    def answer(self, state: Shelf) -> Any:
        """What is sent back: a value, or an iterator of values.

        Args:
            state: Runs and windows that are open.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Opened:
    """What a run and its data are.

    Attributes:
        name: The run's name.
        part: Which windows.
        count: How many there are.
        scenes: Name of each recording and its first window.
        history: Past steps.
        horizon: Future steps.
        selections: Rules that can choose samples.
        unit: Unit of the coordinates.
        dt: Seconds per step.
    """

    name: str
    part: str
    count: int
    scenes: tuple[tuple[str, int], ...]
    history: int
    horizon: int
    selections: tuple[str, ...]
    unit: str
    dt: float


@dataclass(frozen=True)
class OpenRun(Request):
    """Load a run and the windows of a part; answered by `Opened`."""

    run: Path
    data: Path
    part: str = "test"

    def answer(self, state: Shelf) -> Opened:
        """What was opened."""
        return Opened(**state.browser(self.run, self.data, self.part).describe())


@dataclass(frozen=True)
class ShowWindow(Request):
    """A window and its forecast; answered by `Shown`. The newest replaces those that wait.

    Attributes:
        run: The run folder.
        data: The store.
        part: Which windows.
        index: Which of them.
        how: How it is forecast.
        past: Another past to forecast from, [A, T, D]; None: as stored.
        beside: Who else forecasts it: "cv", or another run's folder.
    """

    newest: ClassVar[bool] = True

    run: Path
    data: Path
    part: str
    index: int
    how: Asked = PLAIN
    past: Floats | None = None
    beside: str | None = None

    def answer(self, state: Shelf) -> Shown:
        """The window."""
        browser = state.browser(self.run, self.data, self.part)
        view = browser.view(self.index, self.how, self.past)
        if self.beside is None:
            return Shown(view)
        other = browser.other(self.beside)
        return Shown(view, browser.view(self.index, self.how, self.past, other))


@dataclass(frozen=True)
class Shown:
    """A window as forecast, and as someone else did."""

    view: View
    second: View | None = None


@dataclass(frozen=True)
class Rank(Request):
    """All windows of a part by a score; answered by `Ranking`s, the last one complete."""

    newest: ClassVar[bool] = True
    quick: ClassVar[bool] = False

    run: Path
    data: Path
    part: str
    by: str = "energy_score"

    def answer(self, state: Shelf) -> Iterator[Ranking]:
        """How far it is, chunk by chunk, and the order at the end."""
        browser = state.browser(self.run, self.data, self.part)
        for done, total, found in browser.rank(self.by):
            yield Ranking(self.by, done, total, found)


@dataclass(frozen=True)
class Ranking:
    """Scores of windows, as far as they are known.

    Attributes:
        by: Which score.
        done: Windows scored.
        total: Windows of the part.
        scores: Score of each window, [W]; NaN where none; None before the end.
    """

    by: str
    done: int
    total: int
    scores: Floats | None = None

    @property
    def complete(self) -> bool:
        """Whether every window is scored."""
        return self.scores is not None
