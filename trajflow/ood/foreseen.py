"""How much of an error can be known before it happens: draws in place of what happened."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from trajflow import metrics
from trajflow.ood.marks import Judged
from trajflow.types import Batch, Floats

APART = 1 << 20
"""Between the seeds of these draws and those that errors are of."""


@dataclass(frozen=True)
class Foreseen:
    """What forecasts say of their own errors.

    Attributes:
        own: Energy score that each forecast expects of itself, [N].
        drawn: Energy score of its draws, had one more draw been what happened, [N].
    """

    own: Floats
    drawn: Floats


def foreseen(batches: Iterable[Batch], judged: Judged, samples: int, seed: int) -> Foreseen:
    """Ask all targets' forecasts what they expect of themselves, N in the order of the batches.

    If every forecast was the true distribution, `drawn` would be like the errors that happen, and
    nothing that is known before could foretell them better than `own` does.

    Args:
        batches: The windows.
        judged: Who forecasts.
        samples: Futures S that an energy score is of.
        seed: What the draws follow from.

    Source: Gneiting and Raftery 2007, "Strictly proper scoring rules, prediction, and estimation",
    eq. 22: the score that a forecast expects of itself is half the mean distance of its draws.
    """
    found = []
    for number, batch in enumerate(batches):
        if batch.targets:
            hidden = replace(batch, future=np.full_like(batch.future, np.nan), around=None)
            drawn = judged.forecast(hidden, 2 * samples + 1, APART + seed + number)
            drawn = drawn[:, batch.target]
            own = _half_apart(drawn[samples + 1 :])
            found.append((own, metrics.energy_score(drawn[:samples], drawn[samples])))
    return Foreseen(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _half_apart(drawn: Floats) -> Floats:
    """Half the mean distance between two of the draws [S, N, F, D], per step, [N]."""
    count, agents, horizon, _ = drawn.shape
    total = np.zeros(agents)
    for later in range(1, count):
        away = np.square(drawn[later:] - drawn[:-later]).sum((-1, -2))
        total += np.sqrt(away).sum(0)
    return np.asarray(total / (count * (count - 1)) / np.sqrt(horizon))
