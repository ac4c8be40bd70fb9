"""How the out-of-distribution screen comes by its report: from the run's folder, or made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.text import Text
from textual.message import Message

from trajflow.errors import RunError
from trajflow.ood.question import Question
from trajflow.ood.reports import newest_report, read_report
from trajflow.text import safe
from trajflow.tui.messages import Complain, Tell
from trajflow.tui.ood_requests import Examine, Examined, Examining
from trajflow.tui.screens.ood_layout import OodLayout
from trajflow.tui.shared_worker import worker_of
from trajflow.tui.widgets.shift_table import bar
from trajflow.tui.widgets.title import Title
from trajflow.tui.worker_messages import Finished


class OodReports(OodLayout):
    """Reads the report of a run, and has one made.

    Args:
        run: Run folder.
        data: Store that the run has not seen the test part of.
    """

    class Read(Message):
        """The report was looked for; None: there is none."""

        def __init__(self, report: dict[str, Any] | None) -> None:
            super().__init__()
            self.report = report

    def __init__(self, run: Path, data: Path) -> None:
        super().__init__(run)
        self.data = data
        self._examining = 0

    def on_finished(self, message: Finished) -> None:
        """The examination is over."""
        if isinstance(message.request, Examine):
            self.rest()

    def action_examine(self) -> None:
        """Look at every shift; the report is read when it is done."""
        if not self._examining:
            self.query_one(Title).state = "the model is being loaded"
            asked = Examine(self.run_folder, self.data, Question())
            self._examining = worker_of(self.app).ask(asked, self)
            self.refresh_bindings()

    def action_stop(self) -> None:
        """No examination any more."""
        worker_of(self.app).cancel(self._examining)
        self.query_one(Title).state = "stops after this shift"

    def look_for(self, path: Path | None = None) -> None:
        """Read a report in the background; None: the newest one of the run."""
        self.run_worker(lambda: self._read(path), thread=True, exit_on_error=False)

    def heard(self, value: object) -> None:
        """Tell how far an examination is, and read what it has written."""
        if isinstance(value, Examining):
            share = bar(value.done / max(1, value.total), 10)
            self.query_one(Title).state = f"{share} {value.done}/{value.total} {value.note}"
        elif isinstance(value, Examined):
            self.post_message(Tell(f"report written: {value.path.name}"))
            self.look_for(value.path)

    def rest(self) -> None:
        """The examination is over."""
        self._examining = 0
        self.query_one(Title).state = ""
        self.refresh_bindings()

    def _read(self, path: Path | None = None) -> None:
        try:
            report = read_report(path) if path else newest_report(self.run_folder)
        except RunError as error:
            self.post_message(Complain(str(error)))
            report = None
        self.post_message(self.Read(report))


def welcome(run: Path, data: Path) -> list[Text]:
    """What can be done where there is no report."""
    return [
        Text(f"{safe(run.name)} was not yet looked at out of its distribution.", "bold"),
        Text("e looks at it here; you can go on reading and come back."),
        Text(safe(f"or: trajflow evaluate {run} {data} --ood", 400)),
    ]
