"""An ensemble of predictors: each draws its share of the futures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from trajflow.calibration import Calibration
from trajflow.errors import ConfigError
from trajflow.inference.base import DtRange, Predictor, TrackFormat
from trajflow.inference.choosing import LEARNED, Selection, draws_of
from trajflow.inference.noise import fresh
from trajflow.ood.detector import THRESHOLD, OODScores
from trajflow.selection import Chosen, choose, merge
from trajflow.types import Bools, Floats, Ints

# Offset between the seeds of members, so that ensembles with neighboring seeds share no draws.
SEED_STEP = 1_000_003


class Ensemble(Predictor):
    """An equally weighted mixture of predictors of the same kind of tracks.

    Each draw takes one network. Where members disagree, as on unusual tracks, the ensemble is wider
    than each of them. It is used like any predictor; `dt` must lie within the range that all
    members were trained for.

    Source: Lakshminarayanan, Pritzel, Blundell, Simple and Scalable Predictive Uncertainty
    Estimation using Deep Ensembles, 2017.

    Examples:
        >>> ensemble = Ensemble([Predictor.load(run) for run in runs])  # doctest: +SKIP
        >>> ensemble.predict(past, samples=20, seed=0).samples.shape  # doctest: +SKIP
        (20, 3, 12, 2)
    """

    FIT: ClassVar[str] = "`trajflow fit RUN DATA ood` fits that, for each member"

    def __init__(
        self, predictors: Sequence[Predictor], calibration: Calibration | None = None
    ) -> None:
        """Combine predictors.

        Args:
            predictors: The members.
            calibration: A calibration fitted on forecasts of this ensemble, by
                `trajflow.calibration.gather` and `fit`. Those of the members do not apply, because
                the ensemble is wider.

        Raises:
            ConfigError: There are no members, or they forecast different tracks.
        """
        self.predictors, self.calibration = tuple(predictors), calibration
        self.format = _common(self.predictors)
        self.facts = self.predictors[0].facts
        self.steps = self.predictors[0].steps
        able = all(predictor.detector is not None for predictor in self.predictors)
        self.detector = self.predictors[0].detector if able else None
        self.backend = " and ".join(sorted({one.backend for one in self.predictors}))

    def to(self, device: str) -> Ensemble:
        """Compute on another device from now on; see `Predictor.to`."""
        for one in self.predictors:
            one.to(device)
        return self

    def _facts(self) -> dict[str, object]:
        return {"members": len(self.predictors), **super()._facts()}

    def shares(self, samples: int, seed: int) -> list[int]:
        """Number of samples of each predictor; the seed decides who draws one more."""
        count = len(self.predictors)
        even, left = divmod(samples, count)
        more = np.random.default_rng(seed).permutation(count) < left
        return [even + int(extra) for extra in more]

    def _contexts(
        self, past: Floats, target: Bools, dt_ratio: float | Floats
    ) -> tuple[Floats, ...]:
        return tuple(
            predictor._contexts(past, target, dt_ratio)[0] for predictor in self.predictors
        )

    def _ood_scores(self, past: Floats, contexts: tuple[Floats, ...]) -> OODScores:
        """Mean scores of the members, with the reasons of the member with the highest score."""
        pairs = zip(self.predictors, contexts, strict=True)
        each = [one._ood_scores(past, (context,)) for one, context in pairs]
        names = ("ood_score", "typical_score", "forest", "distance", "expected_error")
        mean = {name: np.mean([getattr(one, name) for one in each], 0) for name in names}
        highest = np.argmax([one.ood_score for one in each], 0)
        reasons = tuple(
            each[member].reasons[row] if mean["ood_score"][row] > THRESHOLD else ""
            for row, member in enumerate(highest)
        )
        return OODScores(**mean, reasons=reasons)

    def _selection(self, samples: int, draws: int | None, select: str | None) -> Selection | None:
        if select is not None:
            return Selection(samples, select, draws_of(select, samples, draws))
        self.predictors[0]._selection(samples, draws, None)  # refuses draws without a rule
        return None

    def _draw(
        self,
        past: Floats,
        target: Bools,
        samples: int,
        seed: int | None,
        dt_ratio: float | Floats,
        memory: Floats | None = None,
        types: NDArray[np.str_] | None = None,
        keys: Ints | None = None,
    ) -> tuple[Floats, tuple[Floats, ...]]:
        rng = fresh(seed)
        shares = zip(self.predictors, self.shares(samples, rng), strict=True)
        futures: list[Floats] = []
        contexts: list[Floats] = []
        for number, (predictor, share) in enumerate(shares):
            if share:
                own_seed = rng + SEED_STEP * number
                drawn, member_contexts = predictor._draw(
                    past, target, share, own_seed, dt_ratio, memory, types, keys
                )
                futures.append(drawn)
            else:
                member_contexts = predictor._contexts(past, target, dt_ratio)
            contexts += member_contexts
        return np.concatenate(futures), tuple(contexts)

    def _chosen(
        self,
        past: Floats,
        target: Bools,
        wanted: Selection,
        seed: int | None,
        dt_ratio: float | Floats,
        memory: Floats | None = None,
        types: NDArray[np.str_] | None = None,
        keys: Ints | None = None,
    ) -> tuple[Floats, Floats]:
        """Select futures for the draws of all members, [S, N, F, D], with weights [S, N].

        The members' learned samples are merged; other rules select from the draws of the ensemble.
        """
        if wanted.rule == LEARNED:
            sets = [
                one._chosen(
                    past,
                    target,
                    one._selection(wanted.count, None, LEARNED),
                    seed,
                    dt_ratio,
                    memory,
                    types,
                    keys,
                )
                for one in self.predictors
            ]
            result = merge([Chosen(*map(torch.tensor, one)) for one in sets])
        else:
            rng = fresh(seed)
            drawn, _ = self._draw(past, target, wanted.draws, rng, dt_ratio, memory, types, keys)
            # Rules start from the first draws, and these are all of one member.
            order = np.random.default_rng(rng).permutation(len(drawn))
            result = choose(torch.as_tensor(drawn[order]), wanted.count, wanted.rule)
        return result.samples.numpy(), result.weights.numpy()


def _common(predictors: Sequence[Predictor]) -> TrackFormat:
    """The common format of the pasts and futures of all members.

    Raises:
        ConfigError: There are no members, or they forecast different tracks.
    """
    kinds = {
        (p.history, p.horizon, p.dims, p.dt, p.unit, p.steps, p.format.memory) for p in predictors
    }
    if len(kinds) != 1:
        text = "; ".join(
            f"{t} past and {f} future steps of {dt:g} s, {d} coordinates in {unit}, "
            f"{steps} evaluations, memory of {memory}"
            for t, f, d, dt, unit, steps, memory in sorted(kinds)
        )
        raise ConfigError(f"an ensemble needs predictors of one kind, got {text or 'none'}")
    least, most = (max(p.dts[0] for p in predictors), min(p.dts[1] for p in predictors))
    scale = min(p.format.displacement_scale for p in predictors)
    dts = DtRange(predictors[0].dt, least, most)
    limits = [p.format.neighbors for p in predictors]
    neighbors = None if None in limits else max(limit or 0 for limit in limits)
    return replace(
        predictors[0].format, displacement_scale=scale, dt_range=dts, neighbors=neighbors
    )
