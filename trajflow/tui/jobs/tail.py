"""Read the events of a run while someone else writes them."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajflow.tui.jobs.files import open_plain

MOST = 32 * 2**20
"""Bytes that are read at once; what is longer is read the next time."""


@dataclass(frozen=True)
class Fresh:
    """What came since the last look.

    Attributes:
        events: New events, in order.
        restarted: Whether the file is another one, or was cut: forget what was read before.
    """

    events: tuple[dict[str, Any], ...] = ()
    restarted: bool = False


class Tail:
    """Follows a file of JSON lines by its offset; a line that is being written is left for later.

    Attributes:
        path: The file; it may appear later.
        odd: Whole lines so far that are no event.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.odd = path, 0
        self._offset, self._file = 0, (0, 0)

    def read(self) -> Fresh:
        """The events since the last call; none if the file cannot be read."""
        try:
            with open_plain(self.path) as file:
                found = os.fstat(file.fileno())
                known = (found.st_dev, found.st_ino)
                restarted = self._offset > 0 and (
                    known != self._file or found.st_size < self._offset
                )
                self._file, self._offset = known, 0 if restarted else self._offset
                file.seek(self._offset)
                raw = file.read(MOST)
        except OSError:
            return Fresh()
        whole = raw[: raw.rfind(b"\n") + 1]
        self._offset += len(whole)
        return Fresh(tuple(self._events(whole)), restarted)

    def _events(self, raw: bytes) -> list[dict[str, Any]]:
        events = []
        for line in raw.splitlines():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, dict) and isinstance(value.get("event"), str):
                events.append(value)
            else:
                self.odd += 1
        return events
