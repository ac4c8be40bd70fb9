"""Several predictors as one: each draws its share of the futures."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from trajflow.batch import Batch, Floats
from trajflow.choosing import LEARNED, Selection, draws_of
from trajflow.errors import ConfigError, TrajflowError
from trajflow.forecast import Forecast
from trajflow.predictor import Predictor
from trajflow.selection import Chosen, choose, merge

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
        draws: int | None = None,
        select: str | None = None,
        dt: float | None = None,
        on_bad: Literal["raise", "quarantine"] = "raise",
    ) -> Forecast:
        """Draw or choose futures of every agent; the arguments are those of `Predictor.predict`.

        Args:
            past: World positions of the last T steps, oldest first, [*, A, T, D].
            neighbours: Others who are around but are not forecast, [*, N, T, D].
            samples: Draws S, shared out among the predictors.
            seed: Equal seeds give equal forecasts; None draws afresh.
            agents: Ids of the A agents.
            draws: Draws of the mixture that are chosen from; None: 20 for each that is wanted.
            select: The rule that chooses, see `choose`; None: plain draws.
            dt: Seconds per step of the past; None: as trained.
            on_bad: "quarantine" keeps bad agents from plain draws and names their faults.

        Returns:
            Samples [S, *, A, F, D].

        Raises:
            TrajflowError: A shape is wrong, an agent was never seen, or `choose` would refuse.
        """
        if samples < 1:
            raise TrajflowError(f"samples must be at least 1, got {samples}")
        if select is not None and on_bad != "raise":
            raise ConfigError("a mixture quarantines bad agents of plain draws only; drop select")
        if select is not None:
            wanted = Selection(samples, select, draws_of(select, samples, draws))
            return self._chosen(past, neighbours, wanted, seed, agents, dt)
        chance = secrets.randbits(31) if seed is None else seed
        shares = zip(self.predictors, self.shares(samples, chance), strict=True)
        parts = [
            one.predict(
                past, neighbours, share, chance + APART * number, agents, dt=dt, on_bad=on_bad
            )
            for number, (one, share) in enumerate(shares)
            if share
        ]
        drawn = np.concatenate([part.samples for part in parts])
        return Forecast(drawn, parts[0].dt, tuple(agents), faults=parts[0].faults)

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

    def choose(
        self, batch: Batch, samples: int, draws: int, rule: str, seed: int
    ) -> tuple[Floats, Floats]:
        """Futures of the batch's targets that stand for the draws of all members.

        The members' learned sets are merged into one; any other rule chooses of the mixture's
        draws.

        Args:
            batch: The scenes.
            samples: Futures S of each target.
            draws: Draws they are chosen from; no matter where sets are learned, S by each member.
            rule: One of `trajflow.choosing.rules()`.
            seed: Equal seeds give equal futures.

        Returns:
            Samples [S, B, A, F, D] and weights [S, B, A]; NaN for the other agents.

        Raises:
            ConfigError: There is no such rule, there are too few draws, or a model is joint.
        """
        Selection(samples, rule, draws)
        target = batch.target
        if rule == LEARNED:
            sets = [one.choose(batch, samples, samples, rule, seed) for one in self.predictors]
            found = merge(
                [_few(futures[:, target], weights[:, target]) for futures, weights in sets]
            )
        else:
            found = _shuffled(self.forecast(batch, draws, seed)[:, target], samples, rule, seed)
        return batch.placed(found.samples.numpy()), batch.placed(found.weights.numpy())

    def _chosen(
        self,
        past: ArrayLike,
        neighbours: ArrayLike | Sequence[ArrayLike] | None,
        wanted: Selection,
        seed: int | None,
        agents: Sequence[object],
        dt: float | None,
    ) -> Forecast:
        count, rule = wanted.count, wanted.rule
        if rule == LEARNED:
            parts = [
                one.predict(past, neighbours, count, seed, agents, select=rule, dt=dt)
                for one in self.predictors
            ]
            found = merge([_few(part.samples, part.weights) for part in parts])
        else:
            parts = [self.predict(past, neighbours, wanted.draws, seed, agents, dt=dt)]
            found = _shuffled(_few(parts[0].samples).samples.numpy(), count, rule, seed or 0)
        lead = parts[0].samples.shape[1:]
        samples = found.samples.numpy().reshape(count, *lead)
        weights = found.weights.numpy().reshape(count, *lead[:-2])
        return Forecast(samples, parts[0].dt, tuple(agents), weights)


def _few(samples: Floats, weights: Floats | None = None) -> Chosen:
    """Futures [S, ..., F, D] and weights [S, ...] of agents in a row, [S, N, F, D] and [S, N]."""
    flat = samples.reshape(len(samples), -1, *samples.shape[-2:])
    even = np.full(flat.shape[:2], 1 / len(flat)) if weights is None else weights
    return Chosen(torch.tensor(flat), torch.tensor(even.reshape(flat.shape[:2])))


def _shuffled(draws: Floats, count: int, rule: str, seed: int) -> Chosen:
    """Chosen of draws [S, N, F, D] in a random order: rules start from the first ones."""
    order = np.random.default_rng(seed).permutation(len(draws))
    return choose(torch.as_tensor(draws)[order], count, rule)
