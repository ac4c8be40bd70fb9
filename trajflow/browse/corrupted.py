"""The corrupted windows behind an OOD report of a run.

Nothing here imports torch before a window is computed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trajflow.browse.view import View
from trajflow.errors import ConfigError, did_you_mean
from trajflow.ood.report import OODTerms

if TYPE_CHECKING:
    from trajflow.config import Config
    from trajflow.datasets.store import Store
    from trajflow.inference.predictor import TorchPredictor
    from trajflow.types import Batch

Report = dict[str, Any]
"""A report of `trajflow evaluate --ood`, as its JSON holds it."""


@dataclass(frozen=True)
class ReportWindow:
    """An agent's window in a report.

    Attributes:
        key: The corruption, as "noise-2"; "" for windows in distribution.
        batch: Number of the batch.
        row: Row of the window in the batch.
        column: Place of the agent in the window.
    """

    key: str
    batch: int
    row: int
    column: int


def terms_of(report: Report) -> tuple[OODTerms, Path | None]:
    """The terms of a report, and the store of other tracks it compares with, if any."""
    against = report["protocol"].get("against")
    return OODTerms.of(report["protocol"]), Path(against) if against else None


class CorruptedBrowser:
    """The windows behind one report, reproduced from its protocol.

    Args:
        predictor: Who forecasts them.
        store: The tracks.
        config: Configuration of the run.
        terms: Terms of the report.
        against: Other tracks, if the report compares with some.
    """

    def __init__(
        self,
        predictor: TorchPredictor,
        store: Store,
        config: Config,
        terms: OODTerms,
        against: Store | None = None,
    ) -> None:
        from trajflow.ood.windows import OrdinaryWindows

        self.predictor, self.store, self.against = predictor, store, against
        self.terms = terms
        self._windows = OrdinaryWindows.of(store, config, terms, against)
        self._corrupted: dict[str, list[Batch]] = {"": list(self._windows.batches)}

    def view(self, place: ReportWindow, samples: int = 20) -> View:
        """A window as forecast.

        Args:
            place: Which window; its agent is the only one that is forecast.
            samples: Futures.

        Raises:
            ConfigError: There is no such corruption or window.
        """
        batches = self._batches(place.key)
        if not 0 <= place.batch < len(batches) or place.row >= len(batches[place.batch].scene):
            raise ConfigError("this store has no such window; make the report again")
        window = _single_agent(batches[place.batch], place)
        if not window.targets:
            raise ConfigError("no agent is forecast in this window; make the report again")
        return self._view(window, place, samples)

    def _batches(self, key: str) -> list[Batch]:
        if key not in self._corrupted:
            from trajflow.ood.corruptions import available

            corruptions = available(self._windows.world)
            if key not in corruptions:
                raise ConfigError(did_you_mean("corruption", key, list(corruptions)))
            if len(self._corrupted) > 8:
                self._corrupted = {"": self._corrupted[""]}
            self._corrupted[key] = self._windows.corrupted(corruptions[key])
        return self._corrupted[key]

    def _view(self, window: Batch, place: ReportWindow, samples: int) -> View:
        from trajflow.browse.browser import make_view
        from trajflow.browse.scores import BatchForecast

        predictor = self.predictor
        futures = predictor.forecast(window, samples, self.terms.seed)
        return make_view(
            window,
            BatchForecast(futures, None, predictor.calibration),
            predictor.ood(window),
            self._store_of(place.key),
            agent_types=("",) * window.target.shape[1],
            index=place.row,
            count=len(window.scene),
            forecaster=place.key or "in distribution",
        )

    def _store_of(self, key: str) -> Store:
        if key.partition("-")[0] == "against" and self.against is not None:
            return self.against
        return self.store


def _single_agent(batch: Batch, place: ReportWindow) -> Batch:
    """One window in which one agent is forecast, without padding."""
    row = batch.take(np.array([place.row]))
    wanted = row.target & (np.arange(row.target.shape[1]) == place.column)
    present = row.agent[0] >= 0
    return replace(
        row,
        past=row.past[:, present],
        future=row.future[:, present],
        target=wanted[:, present],
        agent=row.agent[:, present],
        around=None,
    )
