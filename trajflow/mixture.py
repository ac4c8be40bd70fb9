"""Several predictors as one: each draws its share of the futures."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from trajflow.batch import Batch, Floats
from trajflow.errors import ConfigError, TrajflowError
from trajflow.forecast import Forecast
from trajflow.predictor import Predictor

APART = 1_000_003
"""Between the seeds of two members: neighbouring seeds of a mixture shall share no draws."""


class Mixture:
    """An even mixture of the distributions of several predictors of the same kind of tracks.

    A draw is still one evaluation of one network. Where they disagree, as on tracks unlike those
    they learned from, the mixture is wider than each of them.

    Source: Lakshminarayanan, Pritzel, Blundell, Simple and Scalable Predictive Uncertainty
    Estimation using Deep Ensembles, 2017.
    """

    def __init__(self, predictors: Sequence[Predictor]) -> None:
        """Take predictors together.

        Raises:
            ConfigError: There are none, or they do not forecast the same.
        """
        kinds = {(p.history, p.horizon, p.dims, p.dt, p.unit) for p in predictors}
        if len(kinds) != 1:
            told = "; ".join(
                f"{t} past and {f} future steps of {dt:g} s, {d} coordinates in {unit}"
                for t, f, d, dt, unit in sorted(kinds)
            )
            raise ConfigError(f"a mixture needs predictors of one kind, got {told or 'none'}")
        self.predictors = tuple(predictors)

    @property
    def history(self) -> int:
        """Past steps T."""
        return self.predictors[0].history

    @property
    def horizon(self) -> int:
        """Future steps F."""
        return self.predictors[0].horizon

    @property
    def dims(self) -> int:
        """Coordinates D."""
        return self.predictors[0].dims

    @property
    def dt(self) -> float:
        """Seconds per step."""
        return self.predictors[0].dt

    @property
    def unit(self) -> str:
        """Unit of the coordinates."""
        return self.predictors[0].unit

    def shares(self, samples: int, seed: int) -> list[int]:
        """How many of S samples each predictor draws; who draws one more is left to the seed."""
        count = len(self.predictors)
        even, left = divmod(samples, count)
        more = np.random.default_rng(seed).permutation(count) < left
        return [even + int(one) for one in more]

    def predict(
        self,
        past: ArrayLike,
        neighbours: ArrayLike | Sequence[ArrayLike] | None = None,
        samples: int = 20,
        seed: int | None = None,
        agents: Sequence[object] = (),
        dt: float | None = None,
    ) -> Forecast:
        """Draw `samples` futures of every agent; the arguments are those of `Predictor.predict`.

        Args:
            past: World positions of the last T steps, oldest first, [*, A, T, D].
            neighbours: Others who are around but are not forecast, [*, N, T, D].
            samples: Draws S, shared out among the predictors.
            seed: Equal seeds give equal forecasts; None draws afresh.
            agents: Ids of the A agents.
            dt: Seconds per step of the past; None: as trained.

        Returns:
            Samples [S, *, A, F, D].

        Raises:
            TrajflowError: A shape is wrong, or an agent was never seen.
        """
        if samples < 1:
            raise TrajflowError(f"samples must be at least 1, got {samples}")
        chance = secrets.randbits(31) if seed is None else seed
        shares = zip(self.predictors, self.shares(samples, chance), strict=True)
        parts = [
            one.predict(past, neighbours, share, chance + APART * number, agents, dt=dt)
            for number, (one, share) in enumerate(shares)
            if share
        ]
        drawn = np.concatenate([part.samples for part in parts])
        return Forecast(drawn, parts[0].dt, tuple(agents))

    def forecast(self, batch: Batch, samples: int, seed: int) -> Floats:
        """Samples of the batch's targets, [S, B, A, F, D]; NaN for the other agents."""
        drawn = [
            predictor.forecast(batch, share, seed + APART * number)
            for number, (predictor, share) in enumerate(
                zip(self.predictors, self.shares(samples, seed), strict=True)
            )
            if share
        ]
        return np.concatenate(drawn)
