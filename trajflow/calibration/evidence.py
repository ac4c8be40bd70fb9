"""What happened, told by how far off the forecasts were and how far they had spread."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from trajflow.calibration.regions import centre_and_spread, length, own_radii
from trajflow.errors import DataError, TrajflowError
from trajflow.types import Batch, Floats, Ints

LEVELS = np.arange(5, 100, 5) / 100
"""Levels at which reliability is looked at."""


class Forecaster(Protocol):
    """What draws futures for the targets of a batch, as a predictor does."""

    def forecast(self, batch: Batch, samples: int, seed: int) -> Floats:
        """Futures of the batch's targets, [S, B, A, F, D]."""


@dataclass(frozen=True)
class Evidence:
    """N windows of one part of the tracks.

    Attributes:
        away: Distance of what happened to the samples' mean at each step, [N, F].
        spread: Root mean square distance of the samples to their mean, [N, F].
        own: Radii by the samples' own quantiles at `LEVELS`, step by step, [Q, N, F].
        own_path: Radii that hold whole paths of the samples at `LEVELS`, [Q, N, F].
        person: Number of the agent of each window, [N].
    """

    away: Floats
    spread: Floats
    own: Floats
    own_path: Floats
    person: Ints

    @property
    def people(self) -> int:
        """Distinct agents."""
        return len(np.unique(self.person))

    def take(self, rows: Ints) -> "Evidence":
        """The chosen windows, any shape of index along N."""
        own, own_path = self.own[:, rows], self.own_path[:, rows]
        return Evidence(self.away[rows], self.spread[rows], own, own_path, self.person[rows])

    @classmethod
    def of(cls, samples: Floats, future: Floats, person: Ints) -> "Evidence":
        """Samples [S, N, F, D] of N windows against what happened, [N, F, D].

        Raises:
            TrajflowError: A number is not finite.
        """
        if not (np.isfinite(samples).all() and np.isfinite(future).all()):
            raise TrajflowError("a forecast or a future is not finite; nothing can be calibrated")
        centre, spread = centre_and_spread(samples)
        own, path = (own_radii(samples, LEVELS, steps) for steps in ("each", "path"))
        return cls(length(future - centre), spread, own, path, person)


def gather(forecaster: Forecaster, batches: Iterable[Batch], samples: int, seed: int) -> Evidence:
    """Draw futures for all targets of the batches, and hold them against what happened.

    Args:
        forecaster: Who draws; what happened is hidden from it.
        batches: The windows.
        samples: Futures S of each target.
        seed: What the draws follow from.

    Raises:
        DataError: There are no windows.
        TrajflowError: A forecast is not finite.
    """
    found = []
    for count, batch in enumerate(batches):
        if not batch.targets:
            continue
        chance = int(np.random.SeedSequence([seed, count]).generate_state(1)[0])
        hidden = replace(batch, future=np.full_like(batch.future, np.nan))
        drawn = forecaster.forecast(hidden, samples, chance)[:, batch.target]
        found.append(Evidence.of(drawn, batch.future[batch.target], batch.agent[batch.target]))
    if not found:
        raise DataError("nothing to calibrate on: the part has no windows")
    return Evidence(
        away=np.concatenate([one.away for one in found]),
        spread=np.concatenate([one.spread for one in found]),
        own=np.concatenate([one.own for one in found], 1),
        own_path=np.concatenate([one.own_path for one in found], 1),
        person=np.concatenate([one.person for one in found]),
    )
