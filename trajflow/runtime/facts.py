"""What an exported model says of itself, taken for nothing until it has been understood."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trajflow.asking import Known
from trajflow.calibration import Calibration
from trajflow.calibration.storage import understood
from trajflow.errors import RunError
from trajflow.rates import Rates
from trajflow.runtime.artefact import Artefact
from trajflow.surprise.packing import unpacked
from trajflow.surprise.surprise import Surprise

MOST = 10_000
"""Steps of a past or a future, and learned sets."""
WORD = 40
"""Letters of a unit."""


@dataclass(frozen=True)
class Facts:
    """What a predictor must know.

    Attributes:
        known: Of pasts and futures.
        temperature: Deviation of the noise.
        steps: Network evaluations per draw.
        limit: Neighbours each agent attends to; None: it attends to nobody.
        sets: Futures of each learned set.
        calibration: What makes regions hold as often as they say, if there is anything.
    """

    known: Known
    temperature: float
    steps: int
    limit: int | None
    sets: tuple[int, ...]
    calibration: Calibration | None

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Facts:
        """What JSON values say.

        Raises:
            RunError: They do not say it.
        """
        try:
            history, horizon, dims = (int(facts[name]) for name in ("history", "horizon", "dims"))
            dt, usual, temperature = (float(facts[name]) for name in ("dt", "usual", "temperature"))
            least, most = (float(facts[name]) * dt for name in ("least_rate", "most_rate"))
            limit, said = facts["neighbours"], facts["calibration"]
            limit = None if limit is None else int(limit)
            if not all(0 < one < math.inf for one in (dt, usual, temperature, least, most)):
                raise ValueError("dt, usual, temperature and rates must be above 0 and finite")
            if not (limit is None or limit > 0) or max(history, horizon, len(facts["sets"])) > MOST:
                raise ValueError(f"neighbours must be above 0, lengths at most {MOST}")
            if len(str(facts["unit"])) > WORD:
                raise ValueError("its unit is no short word")
            return cls(
                Known(history, horizon, dims, str(facts["unit"]), usual, Rates(dt, least, most)),
                temperature,
                int(facts["evaluations"]),
                limit,
                tuple(int(count) for count in facts["sets"]),
                None if said is None else understood(said),
            )
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise RunError(f"it does not say what a predictor must know: {error!r}") from None


def surprise_in(artefact: Artefact) -> Surprise | None:
    """The surprise that an exported model carries; None if it has none.

    Raises:
        RunError: It is not whole.
    """
    said = artefact.facts.get("surprise")
    if said is None:
        return None
    try:
        if not artefact.sight or "surprise/noise" not in artefact.arrays:
            raise ValueError("it has nothing to look by")
        return unpacked(said, artefact.under("surprise"))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise RunError(f"what it knows of surprise cannot be read: {error!r}") from None
