"""Hostile observations, pushed into a loop: the others are forecast as if nobody had pushed them.

Each round some agents walk, and one more sends fixes that are absurd: (0, 0), jumps, huge, masked.
Whatever it sends, the forecasts of the others, asked for alone, are compared bit by bit with those
of a loop that never heard of it. Ids, times and positions that cannot be kept must be refused,
memory must not grow, and a forked child must forecast too.
"""

import itertools
import os
import signal
from datetime import datetime

import numpy as np
import torch
from networks import small_predictor
from report import arguments, tell
from soak import held

from trajflow import OnlinePredictor, TrajflowError

CENTER = np.array([5e5, 5e6])
FIXES = [(0, 0), (5e5, 0), (5.5e5, 5e6), (1e7, -1e7), (1e38, 1e38), (1e99, -1e99), (1e307, -1e307)]
FIXES += [(np.inf, 0), (np.nan, np.nan), (np.finfo(float).max, -np.finfo(float).max)]


class Changing:
    """An id whose hash is another one each time."""

    numbers = itertools.count()

    def __hash__(self) -> int:
        return next(self.numbers)


REFUSED = [
    (0.0, ["x" * 10**6], [[0, 0]]),
    (0.0, [10**400], [[0, 0]]),
    (0.0, [10**5000], [[0, 0]]),
    (0.0, [Changing()], [[0, 0]]),
    (0.0, [datetime(2024, 1, 1)], [[0, 0]]),
    (0.0, [1j], [[0, 0]]),
    (0.0, [tuple("x" * 200)], [[0, 0]]),
    (0.0, itertools.count(), [[0, 0]]),
    (0.0, ["bad"], [[10**400, 0]]),
    (0.0, ["bad"], np.array([[1j, 0]])),
    (0.0, ["bad"], np.array([["2024-01-01", "2024-01-02"]], "datetime64[D]")),
    (0.0, ["bad"], [[datetime(2024, 1, 1), 0]]),
    (0.0, ["bad"], [["1", "2"]]),
    (10**400, ["bad"], [[0, 0]]),
    ("0.0", ["bad"], [[0, 0]]),
    (datetime(2024, 1, 1), ["bad"], [[0, 0]]),
    (np.ma.masked, ["bad"], [[0, 0]]),
]


def attacked(loop: OnlinePredictor, alone: OnlinePredictor, chance: np.random.Generator) -> str:
    """One round; what went wrong, or nothing."""
    loop.reset()
    alone.reset()
    ids = [f"agent {n}" for n in range(chance.integers(1, 7))]
    pace, steps = chance.normal(size=(len(ids), 2)), int(chance.integers(4, 12))
    absurd_from = int(chance.integers(1, steps))
    for k in range(steps):
        points = CENTER + k * pace
        alone.push(0.4 * k, ids, points)
        loop.push(0.4 * k, ids, points)
        fix = np.add(CENTER, [3, k])
        if k >= absurd_from and chance.random() < 0.7:
            fix = FIXES[chance.integers(len(FIXES))]
        masked = chance.random(2) < 0.1
        loop.push(0.4 * k, ["bad"], np.ma.array([fix], mask=[masked]))
        time, names, positions = REFUSED[chance.integers(len(REFUSED))]
        try:
            loop.push(time, names, positions)
            return f"taken: {type(names)}, {type(positions)}, {type(time)}"
        except TrajflowError as error:
            if len(str(error)) > 400:
                return f"{len(str(error))} letters of an error"
    answer, expected = loop.forecast(), alone.forecast()
    if not np.isfinite(answer.forecast.samples).all():
        return "a forecast that is not finite"
    others = loop.forecast(ids).forecast.samples
    faults = [fault for fault in answer.forecast.faults if fault is not None]
    if len(faults) > 1:
        return f"{len(faults)} quarantined"
    alike = np.array_equal(others, expected.forecast.samples)
    if not alike and (faults or "bad" not in answer.ids):
        return "other bits for the others"
    return ""


def forked(loop: OnlinePredictor) -> int:
    """How a child ends that forecasts; negative where it never does."""
    child = os.fork()
    if not child:
        signal.alarm(30)
        code = 70
        try:
            code = int(loop.forecast().fallback)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Attack as often as asked, and from forked children."""
    asked = arguments(500, __doc__ or "")
    torch.set_num_threads(2)
    predictor, chance = small_predictor(), np.random.default_rng(asked.seed)
    loop, alone = (OnlinePredictor(predictor, samples=3) for _ in range(2))
    wrong: dict[str, int] = {}
    before = held()
    for round_ in range(asked.count):
        if round_ == asked.count // 10:
            before = held()
        if found := attacked(loop, alone, chance):
            wrong[found] = wrong.get(found, 0) + 1
    grown = held()[0] - before[0]
    timely = OnlinePredictor(predictor, samples=3, deadline_ms=10_000)
    timely.push(0.0, ["a"], [CENTER])
    children = [forked(one) for one in (loop, timely)]
    tell(
        {
            "rounds": asked.count,
            "wrong": wrong or "none",
            "quarantined": loop.dropped["quarantined"],
            "too large": loop.dropped["too_large"],
            "MB": round(grown, 2),
            "children": children,
        },
        asked.json,
    )
    raise SystemExit(bool(wrong) or grown > 8 or any(children))


if __name__ == "__main__":
    main()
