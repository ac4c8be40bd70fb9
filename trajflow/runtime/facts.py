"""What an exported model says of itself, taken for nothing until it has been understood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

BOUNDS: Mapping[str, tuple[float, float]] = {
    "history": (1, 10_000),
    "horizon": (1, 10_000),
    "dims": (2, 3),
    "dt": (1e-6, 1e6),
    "usual": (1e-9, 1e9),
    "temperature": (1e-2, 1e2),
    "least_rate": (1 / 64, 1),
    "most_rate": (1, 64),
    "evaluations": (1, 1000),
    "golden": (0, 0.25),
}
"""What the numbers of a file may be; a file that says more was not made by `trajflow export`."""
WHOLE = {"history", "horizon", "dims", "evaluations"}
NEIGHBOURS, SETS = 10_000, 64
"""Neighbours that are attended to, and learned sets, at most; the futures of one are bounded by
the arrays it carries."""
LARGEST = 1e15
"""Any other number."""
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
        joint: Whether the agents of a scene are drawn together.
        sets: Futures of each learned set.
        calibration: What makes regions hold as often as they say, if there is anything.
    """

    known: Known
    temperature: float
    steps: int
    limit: int | None
    joint: bool
    sets: tuple[int, ...]
    calibration: Calibration | None

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Facts:
        """What JSON values say.

        Raises:
            RunError: They do not say it.
        """
        try:
            told = {name: _number(name, facts[name]) for name in BOUNDS}
            _check_numbers(facts)
            limit, said, sets = facts["neighbours"], facts["calibration"], facts["sets"]
            unit = facts["unit"]
            if limit is not None and not (type(limit) is int and 0 < limit <= NEIGHBOURS):
                raise ValueError(f"neighbours are a number from 1 to {NEIGHBOURS}")
            if not isinstance(sets, list) or len(sets) > SETS or {*map(type, sets)} - {int}:
                raise ValueError(f"sets are a list of at most {SETS} numbers")
            if not isinstance(unit, str) or len(unit) > WORD:
                raise ValueError("its unit is no short word")
            if type(facts["joint"]) is not bool:
                raise ValueError("joint is neither true nor false")
            history, horizon, dims = (int(told[name]) for name in ("history", "horizon", "dims"))
            dt = told["dt"]
            rates = Rates(dt, told["least_rate"] * dt, told["most_rate"] * dt)
            return cls(
                Known(history, horizon, dims, unit, told["usual"], rates),
                told["temperature"],
                int(told["evaluations"]),
                limit,
                facts["joint"],
                tuple(sets),
                None if said is None else understood(said),
            )
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise RunError(f"it does not say what a predictor must know: {error!r}") from None


def _number(name: str, value: Any) -> float:
    """A number of a file within its bounds.

    Raises:
        ValueError: It is none, or beyond them.
    """
    least, most = BOUNDS[name]
    whole = type(value) is int
    if not (whole or (type(value) is float and name not in WHOLE)) or not least <= value <= most:
        raise ValueError(f"{name} is {str(value)[:20]}, and must be from {least:g} to {most:g}")
    return float(value)


def _check_numbers(value: Any) -> None:
    """Refuse numbers of JSON that are absurdly large, wherever they stand.

    Raises:
        ValueError: There is one.
    """
    level = [value]
    while level:
        numbers = [one for one in level if isinstance(one, (int, float))]
        if not all(abs(one) <= LARGEST for one in numbers):
            raise ValueError(f"a number is beyond {LARGEST:g}")
        level = [inner for one in level for inner in _inside(one)]


def _inside(value: Any) -> Iterable[Any]:
    """What lies directly in a value of JSON."""
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


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
