"""One window that is worth a look: a busy one of a run's, with its forecast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from trajflow.browsing.view import View
from trajflow.tui.worker_requests import Request

if TYPE_CHECKING:
    from trajflow.browsing.shelf import Shelf

LOOKS = 24
"""Windows of which the busiest is shown."""


@dataclass(frozen=True)
class Glimpse(Request):
    """The window with most people of some; answered by a `View`. The newest replaces others."""

    newest: ClassVar[bool] = True

    run: Path
    data: Path
    part: str

    def answer(self, state: Shelf) -> View:
        """The window."""
        browser = state.browser(self.run, self.data, self.part)
        some = np.unique(np.linspace(0, len(browser) - 1, LOOKS).astype(int))
        return browser.view(max(some.tolist(), key=lambda index: browser.batch(index).targets))
