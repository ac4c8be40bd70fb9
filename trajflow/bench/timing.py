"""Times of several cases, taken in turns so that whatever else the machine does hits them alike."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
TURN = 0.02
"""Seconds of a case's turn: a quick case is called several times in it."""
CALLS = 20


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Case:
    """Something that can be timed.

    Attributes:
        facts: What it is, as JSON values.
        run: One call of it.
        prepare: What comes before its turn and is not timed.
    """

    facts: dict[str, Any]
    run: Callable[[], object]
    prepare: Callable[[], object] = _nothing


@dataclass
class Times:
    """Seconds of the calls of a case, turn by turn; of each turn a call's processor seconds."""

    turns: list[Floats] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    @property
    def all(self) -> Floats:
        """Seconds of every call, [N]."""
        return np.concatenate(self.turns)

    @property
    def middles(self) -> Floats:
        """Median of each turn, [N], seconds."""
        return np.array([np.median(turn) for turn in self.turns])

    def over(self, other: "Times") -> float:
        """How many times as long as another case: the median over the turns both had."""
        both = min(len(self.turns), len(other.turns))
        return float(np.median(self.middles[:both] / other.middles[:both]))

    def to_dict(self) -> dict[str, float | int]:
        """Milliseconds at least, in the middle, in the slowest of a hundred, of the processor."""
        ms = 1e3 * self.all
        return {
            "least_ms": float(ms.min()),
            "p50_ms": float(np.median(ms)),
            "p99_ms": float(np.quantile(ms, 0.99)),
            "cpu_ms": 1e3 * float(np.median(self.processor)),
            "calls": len(ms),
        }


def take_turns(
    cases: Sequence[Case],
    seconds: float = 1.0,
    tell: Callable[[float], object] = lambda share: None,
    least: int = 5,
    hopeless: float = float("inf"),
) -> list[Times]:
    """Times of all cases, each about `seconds` long in total and `least` turns at least.

    Args:
        cases: What is timed; every round gives each of them one turn.
        seconds: For each case.
        tell: Hears the share that is done, in [0, 1].
        least: Turns at least, however long they last.
        hopeless: Seconds of a call above which a case has one turn only.
    """
    warm = [_warm(case) for case in cases]
    found = [Times() for _ in cases]
    began, limit, done = time.perf_counter(), seconds * len(cases), 0
    while done < least or time.perf_counter() - began < limit:
        for case, times, taken in zip(cases, found, warm, strict=True):
            if times.turns and taken > hopeless:
                continue
            count = int(np.clip(TURN / max(1e-9, taken), 1, CALLS))
            before = time.process_time()
            times.turns.append(_turn(case, count))
            times.processor.append((time.process_time() - before) / count)
        done += 1
        tell(min(1.0, done / least, _share(began, limit)))
    return found


def _share(began: float, limit: float) -> float:
    return (time.perf_counter() - began) / limit if limit > 0 else 1.0


def _warm(case: Case) -> float:
    """Seconds of a call after one that warms it up."""
    case.prepare()
    case.run()
    return float(_turn(case, 1)[0])


def _turn(case: Case, calls: int) -> Floats:
    case.prepare()
    taken = np.empty(calls)
    for k in range(calls):
        began = time.perf_counter()
        case.run()
        taken[k] = time.perf_counter() - began
    return taken
