"""Push hostile observations into an online predictor: other agents' forecasts must not change.

    python examples/faults/hostile_observations.py [--count 500] [--seed 0] [--json]

In each round some agents walk, and one more sends absurd positions: (0, 0), jumps, huge or masked
values. The forecasts of the other agents are compared, bit for bit, with those of a predictor that
never saw it. Ids, times and positions of impossible types must be refused, memory must not grow,
and a forked child process must be able to forecast.
"""

import itertools
import os
import signal
import sys
from collections import Counter
from datetime import datetime

import numpy as np
import torch
from fixtures import small_predictor
from measure import process_usage
from report import option_parser, print_report

from trajflow import OnlinePredictor, TrajflowError

CENTER = np.array([5e5, 5e6])
POSITIONS = [(0, 0), (5e5, 0), (5.5e5, 5e6), (1e7, -1e7), (1e38, 1e38), (1e99, -1e99)]
POSITIONS += [(1e307, -1e307), (np.inf, 0), (np.nan, np.nan)]
POSITIONS += [(np.finfo(float).max, -np.finfo(float).max)]
MAX_ERROR_LENGTH = 400
MAX_GROWTH_MB = 8


class ChangingHash:
    """An id whose hash differs at each call."""

    numbers = itertools.count()

    def __hash__(self) -> int:
        return next(self.numbers)


REFUSED = [
    (0.0, ["x" * 10**6], [[0, 0]]),
    (0.0, [10**400], [[0, 0]]),
    (0.0, [10**5000], [[0, 0]]),
    (0.0, [ChangingHash()], [[0, 0]]),
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
"""Times, ids and positions that `push` must refuse."""


def attack(attacked: OnlinePredictor, clean: OnlinePredictor, rng: np.random.Generator) -> str:
    """One round of attacks; a description of the problem, "" if there is none."""
    attacked.reset()
    clean.reset()
    ids = [f"agent {n}" for n in range(rng.integers(1, 7))]
    velocity, steps = rng.normal(size=(len(ids), 2)), int(rng.integers(4, 12))
    first_absurd = int(rng.integers(1, steps))
    for k in range(steps):
        positions = CENTER + k * velocity
        clean.push(0.4 * k, ids, positions)
        attacked.push(0.4 * k, ids, positions)
        position = np.add(CENTER, [3, k])
        if k >= first_absurd and rng.random() < 0.7:
            position = POSITIONS[rng.integers(len(POSITIONS))]
        masked = rng.random(2) < 0.1
        attacked.push(0.4 * k, ["bad"], np.ma.array([position], mask=[masked]))
        if problem := push_problem(attacked, *REFUSED[rng.integers(len(REFUSED))]):
            return problem
    return forecast_problem(attacked, clean, ids)


def push_problem(predictor: OnlinePredictor, time: object, ids: object, positions: object) -> str:
    """Push an observation that must be refused, and check the error."""
    try:
        predictor.push(time, ids, positions)
    except TrajflowError as error:
        long = len(str(error)) > MAX_ERROR_LENGTH
        return f"an error of {len(str(error))} characters" if long else ""
    return f"accepted: {type(ids)}, {type(positions)}, {type(time)}"


def forecast_problem(attacked: OnlinePredictor, clean: OnlinePredictor, ids: list[str]) -> str:
    """Compare the forecasts of the other agents, `ids`, after an attack."""
    forecast, expected = attacked.forecast(), clean.forecast()
    if not np.isfinite(forecast.forecast.samples).all():
        return "a forecast is not finite"
    faults = [fault for fault in forecast.forecast.faults if fault is not None]
    if len(faults) > 1:
        return f"{len(faults)} agents quarantined"
    others = attacked.forecast(ids).forecast.samples
    # An attacker that looks plausible is a neighbor like any other.
    excluded = bool(faults) or "bad" not in forecast.ids
    if excluded and not np.array_equal(others, expected.forecast.samples):
        return "forecasts of others changed"
    return ""


def forecast_in_fork(predictor: OnlinePredictor) -> int:
    """Forecast in a forked child; its exit code, 0 if it drew samples, negative if it hung."""
    child = os.fork()
    if not child:
        signal.alarm(30)
        code = 70
        try:
            code = int(predictor.forecast().fallback)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Attack `--count` times, then forecast in forked children."""
    options = option_parser(__doc__, 500).parse_args()
    torch.set_num_threads(2)
    predictor, rng = small_predictor(), np.random.default_rng(options.seed)
    attacked, clean = (OnlinePredictor(predictor, samples=3) for _ in range(2))
    problems: Counter[str] = Counter()
    memory = process_usage()[0]
    for number in range(options.count):
        if number == options.count // 10:
            memory = process_usage()[0]
        if problem := attack(attacked, clean, rng):
            problems[problem] += 1
    grown = process_usage()[0] - memory
    with_deadline = OnlinePredictor(predictor, samples=3, deadline_ms=10_000)
    with_deadline.push(0.0, ["a"], [CENTER])
    children = [forecast_in_fork(one) for one in (attacked, with_deadline)]
    print_report(
        {
            "rounds": options.count,
            "problems": dict(problems) or "none",
            "quarantined": attacked.dropped["quarantined"],
            "too large": attacked.dropped["too_large"],
            "MB": round(grown, 2),
            "children": children,
        },
        options.json,
    )
    sys.exit(bool(problems) or grown > MAX_GROWTH_MB or any(children))


if __name__ == "__main__":
    main()
