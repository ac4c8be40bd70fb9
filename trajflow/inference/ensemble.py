"""An ensemble of predictors: each draws its share of the futures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch

from trajflow.calibration import Calibration
from trajflow.errors import ConfigError
from trajflow.inference.base import Predictor
from trajflow.inference.choosing import LEARNED, Selection
from trajflow.inference.inputs import DtRange, TrackFormat
from trajflow.inference.noise import fresh
from trajflow.inference.scenes import Request
from trajflow.ood.detector import THRESHOLD, OODScores
from trajflow.selection import Chosen, choose, merge
from trajflow.types import Floats

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

    def _contexts(self, request: Request) -> tuple[Floats, ...]:
        return tuple(predictor._contexts(request)[0] for predictor in self.predictors)

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

    def _draw(
        self, request: Request, samples: int, seed: int | None
    ) -> tuple[Floats, tuple[Floats, ...]]:
        rng = fresh(seed)
        futures: list[Floats] = []
        contexts: list[Floats] = []
        shares = zip(self.predictors, self.shares(samples, rng), strict=True)
        for number, (predictor, share) in enumerate(shares):
            if share:
                drawn, own = predictor._draw(request, share, rng + SEED_STEP * number)
                futures.append(drawn)
            else:
                own = predictor._contexts(request)
            contexts += own
        return np.concatenate(futures), tuple(contexts)

    def _chosen(
        self, request: Request, wanted: Selection, seed: int | None
    ) -> tuple[Floats, Floats]:
        """The members' learned samples, merged; other rules choose from the draws of all."""
        if wanted.rule == LEARNED:
            for one in self.predictors:
                one._selection(wanted.count, None, LEARNED)  # refuses what it has not learned
            sets = [one._chosen(request, wanted, seed) for one in self.predictors]
            result = merge([Chosen(*map(torch.tensor, one)) for one in sets])
        else:
            rng = fresh(seed)
            drawn, _ = self._draw(request, wanted.draws, rng)
            # Rules start from the first draws, and these are all of one member.
            order = np.random.default_rng(rng).permutation(len(drawn))
            result = choose(torch.as_tensor(drawn[order]), wanted.count)
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
