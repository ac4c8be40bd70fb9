"""What is known of each window: how strange it looks, and how well it is forecast."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from trajflow import metrics
from trajflow.calibration import Calibration, region_of
from trajflow.errors import DataError
from trajflow.ood.floor import Floor
from trajflow.surprise.surprise import EXPOSURE
from trajflow.types import Batch, Floats, Ints

SURPRISE, RISK = "surprise", "risk"
"""The combined score, and the error that is expected."""
UNAWARE = "unaware"
"""The strangest of the scores that were not fitted on known faults: some shifts are much like
these faults, and this score says what is left where they are not."""
USUAL = "usual"
"""The combined score again, as it ranks among the people of a usual recording."""
ERRORS = ("min_ade", "energy_score", "coverage_90", "conformal_90")
LEVEL = 0.9
"""Level of the regions that are looked at."""


class Strange(Protocol):
    """How strange N pasts are, as `trajflow.surprise.Strangeness` tells."""

    @property
    def score(self) -> Floats:
        """All in one, [N]."""

    @property
    def parts(self) -> Mapping[str, Floats]:
        """Each score alone, [N] by name."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, in words."""

    @property
    def risk(self) -> Floats:
        """Energy score to be expected, [N]."""

    @property
    def usual(self) -> Floats:
        """Share of the people of a usual recording who are less strange, [N]."""


class Judged(Protocol):
    """Whoever forecasts and says how strange a past is, as a predictor does."""

    calibration: Calibration | None

    def forecast(self, batch: Batch, samples: int, seed: int) -> Floats:
        """Futures of the batch's targets, [S, B, A, F, D]; NaN for the other agents."""

    def surprise_of(self, batch: Batch) -> Strange:
        """How strange the batch's targets are, in the order of their places."""


@dataclass(frozen=True)
class Marks:
    """N targets of some batches.

    Attributes:
        scores: How strange each is by each score, larger is stranger, [N] by name.
        errors: How good its forecast is, [N] by name of `ERRORS`; NaN where what follows or a
            calibration is not known.
        person: Number of the agent, [N].
        scene: Index of the recording, [N].
        start: First step of the window, [N].
        place: Batch, row and column of the target, [N, 3].
        reasons: What is strange, N strings.
    """

    scores: Mapping[str, Floats]
    errors: Mapping[str, Floats]
    person: Ints
    scene: Ints
    start: Ints
    place: Ints
    reasons: tuple[str, ...]


Tell = Callable[[int], None]


def mark(
    batches: Iterable[Batch],
    judged: Judged,
    floor: Floor,
    *,
    samples: int = 20,
    seed: int = 0,
    forecasts: bool = True,
) -> Marks:
    """Look at all targets of the batches.

    Args:
        batches: The windows; what follows is hidden from whoever is judged.
        judged: Who.
        floor: Scores without a network.
        samples: Futures S that errors are of.
        seed: What they follow from.
        forecasts: Whether errors are wanted.

    Raises:
        DataError: There are no targets.
    """
    found = []
    for number, batch in enumerate(batches):
        if batch.targets:
            hidden = replace(batch, future=np.full_like(batch.future, np.nan), around=None)
            scores, reasons = _scores(hidden, judged, floor)
            errors = _errors(batch, hidden, judged, samples, seed + number) if forecasts else {}
            found.append(_of(batch, number, scores, errors, reasons))
    if not found:
        raise DataError("no window is left under the shift")
    return _joined(found)


def _scores(
    batch: Batch, judged: Judged, floor: Floor
) -> tuple[dict[str, Floats], tuple[str, ...]]:
    strange = judged.surprise_of(batch)
    scores = {SURPRISE: strange.score, USUAL: strange.usual, **strange.parts, RISK: strange.risk}
    unaware = [values for name, values in strange.parts.items() if name != EXPOSURE]
    if EXPOSURE in strange.parts and unaware:
        scores[UNAWARE] = np.max(unaware, axis=0)
    return scores | dict(floor.scores(batch.past[batch.target])), tuple(strange.reasons)


def _errors(
    batch: Batch, hidden: Batch, judged: Judged, samples: int, seed: int
) -> dict[str, Floats]:
    drawn = judged.forecast(hidden, samples, seed)[:, batch.target]
    future = batch.future[batch.target]
    known = np.isfinite(future).all((1, 2))
    held = np.full(len(future), np.nan)
    if judged.calibration is not None:
        inside = region_of(drawn, LEVEL, "each", judged.calibration).contains(future)
        held = np.where(known, inside.mean(1), np.nan)
    return {
        "min_ade": metrics.min_ade(drawn, future),
        "energy_score": metrics.energy_score(drawn, future),
        "coverage_90": metrics.coverage(drawn, future, LEVEL),
        "conformal_90": held,
    }


def _of(
    batch: Batch,
    number: int,
    scores: Mapping[str, Floats],
    errors: Mapping[str, Floats],
    reasons: tuple[str, ...],
) -> Marks:
    row, column = np.nonzero(batch.target)
    return Marks(
        scores=scores,
        errors=errors,
        person=batch.agent[row, column],
        scene=batch.scene[row],
        start=batch.start[row],
        place=np.stack([np.full_like(row, number), row, column], 1),
        reasons=reasons,
    )


def _joined(found: list[Marks]) -> Marks:
    def all_of(pick: Callable[[Marks], Mapping[str, Floats]]) -> dict[str, Floats]:
        return {name: np.concatenate([pick(one)[name] for one in found]) for name in pick(found[0])}

    return Marks(
        scores=all_of(lambda one: one.scores),
        errors=all_of(lambda one: one.errors),
        person=np.concatenate([one.person for one in found]),
        scene=np.concatenate([one.scene for one in found]),
        start=np.concatenate([one.start for one in found]),
        place=np.concatenate([one.place for one in found]),
        reasons=tuple(reason for one in found for reason in one.reasons),
    )
