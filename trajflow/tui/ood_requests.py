"""What the out-of-distribution screen asks of the worker process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from trajflow.browsing.view import View
from trajflow.ood.question import Question
from trajflow.tui.worker_requests import Request

if TYPE_CHECKING:
    from trajflow.browsing.shelf import Shelf


@dataclass(frozen=True)
class Examining:
    """How far an examination is.

    Attributes:
        done: Sets of windows that were looked at.
        total: How many there are.
        note: Which one is looked at now.
    """

    done: int
    total: int
    note: str


@dataclass(frozen=True)
class Examined:
    """The examination is over, and its report lies in the run."""

    path: Path


@dataclass(frozen=True)
class Examine(Request):
    """Look at a run under every shift; answered by `Examining` and at the end `Examined`."""

    newest: ClassVar[bool] = True
    quick: ClassVar[bool] = False

    run: Path
    data: Path
    question: Question

    def answer(self, state: Shelf) -> Iterator[Examining | Examined]:
        """How far it is, set by set; the report is written into the run."""
        from trajflow.ood.asking import reporting, written
        from trajflow.ood.reports import report_name
        from trajflow.ood.suite import Stage
        from trajflow.runs import RunFolder

        folder, store = RunFolder.open(self.run), state.store(self.data)
        state.browser(self.run, self.data, self.question.part)
        predictor = state.predictor(self.run, self.question.steps)
        config, name = folder.config, str(self.run)
        report: dict[str, Any] = {}
        for found in reporting(name, predictor, store, config, self.question):
            if isinstance(found, Stage):
                yield Examining(found.done, found.total, found.note)
            else:
                report = found
        path = report_name(report["protocol"])
        folder.write(path, written(report))
        yield Examined(folder.path / path)


@dataclass(frozen=True)
class ShowShifted(Request):
    """A window of a report; answered by `ShiftedShown`. The newest replaces those that wait.

    Attributes:
        run: The run folder.
        data: The store.
        question: What the report was the answer to.
        against: Other tracks that it was made with.
        key: The shift; "" for ordinary windows.
        place: Batch, row and column of the agent.
        samples: Futures.
    """

    newest: ClassVar[bool] = True

    run: Path
    data: Path
    question: Question
    against: Path | None
    key: str
    place: tuple[int, int, int]
    samples: int = 20

    def answer(self, state: Shelf) -> ShiftedShown:
        """The window, made again."""
        from trajflow.browsing.shifted import Place

        browser = state.shifted(self.run, self.data, self.question, self.against)
        view, among = browser.view(Place(self.key, *self.place), self.samples)
        return ShiftedShown(self.key, self.place, view, among)


@dataclass(frozen=True)
class ShiftedShown:
    """A shifted window, and its agent among the nearest training tracks."""

    key: str
    place: tuple[int, int, int]
    view: View
    among: View
