"""OOD reports of a run: reading and making one, and the corrupted windows behind it.

Nothing here imports torch before a report is made or one of its windows is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trajflow.browse.view import Floats, View
from trajflow.errors import ConfigError, did_you_mean
from trajflow.ood.report import OODTerms, Stage, newest_report, read_report, report_name

if TYPE_CHECKING:
    from trajflow.browse.nearest import TrainingTracks
    from trajflow.browse.session import Session
    from trajflow.config import Config
    from trajflow.datasets.store import Store
    from trajflow.inference.predictor import TorchPredictor
    from trajflow.types import Batch

Report = dict[str, Any]
"""A report of `trajflow evaluate --ood`, as its JSON holds it."""
NEAREST = 8
"""Training tracks shown beside a corrupted one."""
SEARCHED = 1500
"""Training windows among which the nearest are looked for."""


@dataclass(frozen=True)
class ReportWindow:
    """An agent's window in a report.

    Attributes:
        key: The corruption, as "noise-2"; "" for windows in distribution.
        batch: Number of the batch.
        row: Row of the window in the batch.
        column: ReportWindow of the agent in the window.
    """

    key: str
    batch: int
    row: int
    column: int


def load_report(run: Path, path: Path | None = None) -> Report | None:
    """A report of a run, the newest one if no path is given; None if there is none.

    Raises:
        RunError: The file is not a report.
    """
    return read_report(path) if path else newest_report(run)


def terms_of(report: Report) -> tuple[OODTerms, Path | None]:
    """The terms of a report, and the store of other tracks it compares with, if any."""
    against = report["protocol"].get("against")
    return OODTerms.of(report["protocol"]), Path(against) if against else None


def evaluate_run_ood(
    session: Session, run: Path, data: Path, terms: OODTerms
) -> Iterator[Stage | Path]:
    """Evaluate the OOD detection of a run, corruption by corruption, and write the report into it.

    Yields:
        The progress, and at the end the path of the report.

    Raises:
        RunError: The run has no OOD detector, or does not fit the store.
    """
    from trajflow.ood.evaluate import evaluation_stages, report_bytes
    from trajflow.runs import RunFolder

    folder, store = RunFolder.open(run), session.store(data)
    session.browser(run, data, terms.split)
    predictor = session.predictor(run, terms.steps)
    report: Report = {}
    for step in evaluation_stages(str(run), predictor, store, folder.config, terms):
        if isinstance(step, Stage):
            yield step
        else:
            report = step
    name = report_name(report["protocol"])
    folder.write(name, report_bytes(report))
    yield folder.path / name


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
        self._training: TrainingTracks | None = None

    def view(self, place: ReportWindow, samples: int = 20) -> tuple[View, View]:
        """A window as forecast, and its agent among the nearest training tracks.

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
        return self._view(window, place, samples), self._nearest(window)

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

    def _nearest(self, window: Batch) -> View:
        """The agent's past and, side by side with it, those of the nearest training tracks."""
        from trajflow.browse.nearest import TrainingTracks, fanned, laid_over

        if self._training is None:
            training = self._windows.spread(SEARCHED)
            self._training = TrainingTracks.of(self.predictor.contexts, training)
        (past,) = window.past[window.target]
        context = self.predictor.contexts(window)[0]
        paths, _ = self._training.nearest(context, NEAREST)
        beside = fanned(laid_over(paths, past), past)
        pasts = np.concatenate([past[None], beside[:, : len(past)]])
        none: Floats = np.full((0, len(pasts), *window.future.shape[2:]), np.nan)
        return View(
            past=pasts,
            future=None,
            target=np.arange(len(pasts)) == 0,
            samples=none,
            labels=("this one", *(f"nearest {n}" for n in range(1, len(pasts)))),
            agent_types=("",) * len(pasts),
            scene="nearest training tracks",
            start=0,
            index=0,
            count=1,
            dt=self.store.dt,
            unit=self.store.unit,
            forecaster="nearest training tracks, side by side",
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
