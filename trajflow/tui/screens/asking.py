"""How a window is forecast: how many samples, of how many steps, chosen how, beside whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from trajflow.tui.screens.editing import EditScreen
from trajflow.tui.screens.rivals import RivalScreen
from trajflow.tui.worker_requests import Opened

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class AskScreen(EditScreen):
    """Adds what can be asked of the forecast of a window.

    Attributes:
        run: Run folder.
        opened: What the run is, once it is open.
        rival: Who stands beside it, "cv" or another run folder; None: nobody.
    """

    run: Path
    opened: Opened | None = None
    rival: str | None = None

    def action_resample(self) -> None:
        """Draw anew."""
        self._draw(seed=self.how.seed + 1)

    def action_count(self, way: int) -> None:
        """More samples, or fewer."""
        near = int(np.abs(np.array(COUNTS) - self.how.samples).argmin())
        self._draw(samples=COUNTS[min(len(COUNTS) - 1, max(0, near + way))])

    def action_steps(self, steps: int) -> None:
        """So many network evaluations per draw."""
        self._draw(steps=steps)

    def action_select(self) -> None:
        """Plain draws, or samples chosen by the next rule."""
        if self.opened is not None:
            known = [None, *self.opened.selections]
            at = known.index(self.how.select) if self.how.select in known else 0
            after = known[(at + 1) % len(known)]
            samples = 20 if after else self.how.samples
            self._draw(select=after, samples=samples)

    def action_beside(self) -> None:
        """Constant velocity beside the run, or the run alone."""
        self._against(None if self.rival else "cv")

    def action_rival(self) -> None:
        """Choose another run to stand beside this one."""
        self.app.push_screen(RivalScreen(self.run), self._chose)

    def _chose(self, rival: str | None) -> None:
        if rival is not None:
            self._against(rival or None)

    def _against(self, rival: str | None) -> None:
        self.rival = rival
        self.forecast_again()

    def _draw(self, **changes: object) -> None:
        self.how = replace(self.how, **changes)  # type: ignore[arg-type]
        self.tell()
        self.forecast_again()
