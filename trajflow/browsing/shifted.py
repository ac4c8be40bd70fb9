"""Shifted windows of an out-of-distribution report, and the training tracks nearest to them."""

from dataclasses import dataclass, replace

import numpy as np

from trajflow.batch import Batch, Floats
from trajflow.browsing.judged import discs, scores, spread_out
from trajflow.browsing.rivals import Drawn
from trajflow.browsing.view import View
from trajflow.config import Config
from trajflow.datasets.store import Store
from trajflow.errors import ConfigError, did_you_mean
from trajflow.ood.asking import grounds_of
from trajflow.ood.nearest import Known, fanned, laid_over
from trajflow.ood.question import Question
from trajflow.ood.shifts import available
from trajflow.predictor import Predictor
from trajflow.surprise.viewing import NetworkViewer

NEAREST = 8
"""Training tracks that are laid over a strange one."""
COMPARED = 1500
"""Training windows among which they are looked for."""


@dataclass(frozen=True)
class Place:
    """Where a window of a report stands.

    Attributes:
        key: The shift, as "noise-2"; "" for ordinary windows.
        batch: Number of the batch.
        row: Its row.
        column: Place of the agent.
    """

    key: str
    batch: int
    row: int
    column: int


class ShiftedBrowser:
    """The windows that one report is made of, made again.

    Args:
        predictor: Who forecasts them.
        store: The tracks.
        config: Settings of the run.
        question: What the report was the answer to.
        against: Other tracks, if it was made with some.
    """

    def __init__(
        self,
        predictor: Predictor,
        store: Store,
        config: Config,
        question: Question,
        against: Store | None = None,
    ) -> None:
        self.predictor, self.store, self.against = predictor, store, against
        self.question = question
        self._grounds = grounds_of(question, store, config, against)
        self._shifted: dict[str, list[Batch]] = {"": list(self._grounds.batches)}
        self._known: Known | None = None

    def view(self, place: Place, samples: int = 20) -> tuple[View, View]:
        """A window as forecast, and beside it its agent among the nearest training tracks.

        Args:
            place: Which window; its agent is the only one that is forecast.
            samples: Futures.

        Raises:
            ConfigError: There is no such shift or window.
        """
        batches = self._batches(place.key)
        if not 0 <= place.batch < len(batches) or place.row >= len(batches[place.batch].scene):
            raise ConfigError("these tracks have no such window; make the report again")
        only = _alone(batches[place.batch], place)
        if not only.targets:
            raise ConfigError("nobody is forecast there; make the report again")
        return self._view(only, place, samples), self._among(only)

    def _batches(self, key: str) -> list[Batch]:
        if key not in self._shifted:
            shifts = available(self._grounds.world)
            if key not in shifts:
                raise ConfigError(did_you_mean("shift", key, list(shifts)))
            if len(self._shifted) > 8:
                self._shifted = {"": self._shifted[""]}
            self._shifted[key] = self._grounds.shifted(shifts[key])
        return self._shifted[key]

    def _view(self, batch: Batch, place: Place, samples: int) -> View:
        predictor, target = self.predictor, batch.target
        drawn = Drawn(
            predictor.forecast(batch, samples, self.question.seed), None, predictor.calibration
        )
        strange, store = predictor.surprise_of(batch), self._of(place.key)
        reasons = tuple(strange.reasons[0] if here else "" for here in target[0])
        return View(
            past=batch.past[0],
            future=batch.future[0],
            target=target[0],
            samples=drawn.samples[:, 0],
            labels=tuple(store.labels(batch.agent[0])),
            kinds=("",) * len(reasons),
            scene=store.scenes[int(batch.scene[0])],
            start=int(batch.start[0]),
            index=place.row,
            count=len(batch.scene),
            dt=self.store.dt,
            unit=self.store.unit,
            regions={k: (c[0], r[0]) for k, (c, r) in discs(drawn, target).items()},
            surprise=spread_out(target[0], strange.score),
            reasons=reasons,
            metrics={name: values[0] for name, values in scores(drawn, batch).items()},
            by=place.key or "ordinary",
        )

    def _among(self, batch: Batch) -> View:
        """The agent's past, with those of the nearest training tracks side by side with it."""
        if self._known is None:
            batches = self._grounds.training(COMPARED)
            self._known = Known.of(self.predictor.model, batches)
        (past,) = batch.past[batch.target]
        viewer = NetworkViewer(self.predictor.model)
        context = viewer(batch.past, batch.target).context[0]
        paths, _ = self._known.nearest(context, NEAREST)
        beside = fanned(laid_over(paths, past), past)
        pasts = np.concatenate([past[None], beside[:, : len(past)]])
        none: Floats = np.full((0, len(pasts), *batch.future.shape[2:]), np.nan)
        return View(
            past=pasts,
            future=None,
            target=np.arange(len(pasts)) == 0,
            samples=none,
            labels=("this one", *(f"nearest {n}" for n in range(1, len(pasts)))),
            kinds=("",) * len(pasts),
            scene="nearest training tracks",
            start=0,
            index=0,
            count=1,
            dt=self.store.dt,
            unit=self.store.unit,
            by="nearest in training, side by side",
        )

    def _of(self, key: str) -> Store:
        mine = key.partition("-")[0] != "against" or self.against is None
        return self.store if mine or self.against is None else self.against


def _alone(batch: Batch, place: Place) -> Batch:
    """One window in which one agent is forecast, without padding."""
    row = batch.take(np.array([place.row]))
    wanted = row.target & (np.arange(row.target.shape[1]) == place.column)
    there = row.agent[0] >= 0
    return replace(
        row,
        past=row.past[:, there],
        future=row.future[:, there],
        target=wanted[:, there],
        agent=row.agent[:, there],
        around=None,
    )
