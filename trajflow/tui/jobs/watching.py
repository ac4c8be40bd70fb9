"""What is new of a training: its events, whether its process lives, its last words."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajflow.tui.jobs.found import QUIET
from trajflow.tui.jobs.processes import Job, job_of, last_words
from trajflow.tui.jobs.tail import Tail


@dataclass(frozen=True)
class News:
    """What a look at a training has found.

    Attributes:
        events: Events since the last look.
        restarted: Whether these are all there are: forget what was heard before.
        job: The process, if the application has started it and it runs.
        lively: Whether anybody has written to the run lately.
        words: The last lines of the log.
        exists: Whether the run folder is there.
    """

    events: tuple[Mapping[str, Any], ...]
    restarted: bool
    job: Job | None
    lively: bool
    words: tuple[str, ...]
    exists: bool


class Watch:
    """Looks at one run again and again; it may not have begun."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._tail = Tail(run / "events.jsonl")

    def look(self) -> News:
        """What is new."""
        fresh = self._tail.read()
        try:
            age = time.time() - (self.run / "events.jsonl").stat().st_mtime
        except OSError:
            age = QUIET
        return News(
            events=fresh.events,
            restarted=fresh.restarted,
            job=job_of(self.run),
            lively=age < QUIET,
            words=tuple(last_words(self.run)),
            exists=self.run.is_dir(),
        )
