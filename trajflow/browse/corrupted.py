"""The corrupted windows behind an OOD report of a run."""

from dataclasses import replace

import numpy as np

from trajflow.browse.scores import BatchForecast, make_view
from trajflow.browse.view import ReportWindow, View
from trajflow.config import Config
from trajflow.datasets.store import Store
from trajflow.errors import ConfigError, did_you_mean
from trajflow.inference.predictor import TorchPredictor
from trajflow.ood.corruptions import available
from trajflow.ood.report import OODTerms
from trajflow.ood.windows import OrdinaryWindows
from trajflow.types import Batch


class CorruptedBrowser:
    """The windows behind one report of a run, reproduced from its terms and its tracks."""

    def __init__(
        self,
        predictor: TorchPredictor,
        store: Store,
        config: Config,
        terms: OODTerms,
        against: Store | None = None,
    ) -> None:
        self.predictor, self.store, self.against = predictor, store, against
        self.terms = terms
        self._windows = OrdinaryWindows.of(store, config, terms, against)
        self._corrupted: dict[str, list[Batch]] = {"": list(self._windows.batches)}

    def view(self, place: ReportWindow, samples: int = 20) -> View:
        """A window in which only the agent of `place` is forecast.

        Raises:
            ConfigError: There is no such corruption or window.
        """
        batches, predictor = self._batches(place.key), self.predictor
        if not 0 <= place.batch < len(batches) or place.row >= len(batches[place.batch].scene):
            raise ConfigError("this store has no such window; make the report again")
        window = _single_agent(batches[place.batch], place)
        if not window.targets:
            raise ConfigError("no agent is forecast in this window; make the report again")
        futures = predictor.forecast(window, samples, self.terms.seed)
        theirs = self.against if place.key.partition("-")[0] == "against" else None
        return make_view(
            window,
            BatchForecast(futures, None, predictor.calibration),
            predictor.ood(window),
            theirs or self.store,
            agent_types=("",) * window.target.shape[1],
            index=place.row,
            count=len(window.scene),
            forecaster=place.key or "in distribution",
        )

    def _batches(self, key: str) -> list[Batch]:
        if key not in self._corrupted:
            corruptions = available(self._windows.world)
            if key not in corruptions:
                raise ConfigError(did_you_mean("corruption", key, list(corruptions)))
            if len(self._corrupted) > 8:
                self._corrupted = {"": self._corrupted[""]}
            self._corrupted[key] = self._windows.corrupted(corruptions[key])
        return self._corrupted[key]


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
