"""Forecasts of a split with earlier paths of each recording in them, in the order of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from trajflow.earlier_paths import Paths, PathShares
from trajflow.errors import ConfigError
from trajflow.inference.base import Predictor
from trajflow.types import Batch, Floats


class WithEarlierPaths:
    """A forecaster whose samples are replaced by earlier paths as often as that was right.

    What followed a forecast counts for forecasts whose present is a horizon later, or more.
    """

    def __init__(self, predictor: Predictor, scenes: Sequence[str]) -> None:
        """Take a predictor and the names of the store's recordings."""
        self.predictor, self._scenes = predictor, scenes
        self._shares = PathShares()
        self._batch: Batch | None = None
        self._used: Floats | None = None

    def watching(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Batches that are forecast one after the other; their futures are kept to learn from."""
        for batch in batches:
            self._batch, self._used = batch, None
            yield batch

    def forecast(self, batch: Batch, samples: int, seed: int) -> Floats:
        """Futures [S, B, A, F, D] of the last batch of `watching`; again with the same shares."""
        drawn = self.predictor.forecast(self._own(batch), samples, seed)
        return self._with_paths(batch, drawn, None)[0]

    def choose(
        self, batch: Batch, samples: int, draws: int, rule: str, seed: int
    ) -> tuple[Floats, Floats]:
        """Chosen futures and their weights [S, B, A] of the last batch, as `forecast`."""
        chosen, weights = self.predictor.choose(self._own(batch), samples, draws, rule, seed)
        mixed, new = self._with_paths(batch, chosen, weights)
        assert new is not None
        return mixed, new

    def _own(self, batch: Batch) -> Batch:
        return batch if self.predictor.format.memory else replace(batch, memory=None)

    def _with_paths(
        self, batch: Batch, drawn: Floats, weights: Floats | None
    ) -> tuple[Floats, Floats | None]:
        memory, truth = batch.memory_window, self._batch
        assert memory is not None
        assert truth is not None
        used = np.zeros((*batch.target.shape, 2)) if self._used is None else self._used
        scale = self.predictor.displacement_scale
        for number in np.lexsort((batch.start, batch.scene)).tolist():
            targets = np.flatnonzero(batch.target[number])
            some = drawn[:, number, targets]
            likely = None if weights is None else weights[:, number, targets]
            paths = Paths.of(batch.past[number, targets], memory[number, targets], scale)
            if self._used is None:
                scene = self._scenes[batch.scene[number]]
                now = int(batch.start[number]) + batch.past.shape[2] - 1
                horizon = batch.future.shape[2]
                used[number, targets] = self._shares.of(scene, now, paths.speed, horizon * scale)
                terms = paths.terms(some, truth.future[number, targets], likely)
                self._shares.add(scene, now + horizon, paths.speed, *terms)
            some, likely = paths.mixed(some, used[number, targets], likely)
            drawn[:, number, targets] = some
            if weights is not None:
                weights[:, number, targets] = likely
        self._used = used
        return drawn, weights


def check_earlier_paths(predictor: Predictor, jobs: object) -> None:
    """Refuse what earlier paths cannot be evaluated with.

    Raises:
        ConfigError: The model is joint, or several processes shall work.
    """
    predictor.check_single()
    if jobs != 1:
        raise ConfigError(
            "--earlier-paths forecasts in the order of time; leave out --jobs and --engine"
        )
