"""Which backend, precision, threads and samples fit into a time: measured, then said as code."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from trajflow.bench.asked import Asked
from trajflow.bench.latency import Rows, Tell, latency
from trajflow.bench.subjects import Subject
from trajflow.errors import ConfigError

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
HOPELESS = 5.0
"""Budgets a call may take to be timed more than once."""
FEWER = (1.0, 0.5, 0.25)
"""Shares of the samples that are tried where all are too many."""


@dataclass(frozen=True)
class Choice:
    """What fits.

    Attributes:
        fits: Whether it does; else it is the quickest there is.
        row: The case, with its times.
        lines: Python that does it.
    """

    fits: bool
    row: dict[str, Any]
    lines: tuple[str, ...]


def milliseconds(text: str) -> float:
    """A time as "10ms", "0.5 s" or "800us"; without a unit milliseconds.

    Raises:
        ConfigError: It is no positive time.

    Example:
        >>> from trajflow.bench.budget import milliseconds
        >>> milliseconds("0.5 s")
        500.0
    """
    word = text.strip().lower()
    unit = next((one for one in UNITS if word.endswith(one)), "")
    try:
        found = float(word.removesuffix(unit)) * UNITS.get(unit, 1.0)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise ConfigError(f"a budget is a time as 10ms or 0.5s, got {text!r}")
    return found


def choose(rows: Rows, budget: float) -> tuple[bool, dict[str, Any]]:
    """The row to take, and whether its slowest calls in a hundred fit into `budget` ms.

    Of those that fit, the most samples; of these full precision before less, then the quickest.
    """
    fit = [row for row in rows if row["p99_ms"] <= budget]
    if not fit:
        return False, min(rows, key=lambda row: float(row["p99_ms"]))
    best = min(
        fit,
        key=lambda row: (-row["samples"], not row["precision"].startswith("fp32"), row["p99_ms"]),
    )
    return True, best


def within(
    subjects: Sequence[Subject], budget: float, agents: int, asked: Asked, tell: Tell
) -> tuple[Choice, Rows]:
    """What to use for so many agents within `budget` milliseconds, and all that was tried."""
    rows: Rows = []
    threads = tuple(sorted({1, os.cpu_count() or 1}))
    for k, share in enumerate(FEWER):
        samples = max(1, int(asked.samples * share))
        terms = replace(asked, agents=(agents,), samples=samples, threads=threads, hog=0)

        def part(done: float, k: int = k) -> None:
            tell((k + done) / len(FEWER))

        rows += latency(subjects, terms, part, HOPELESS * budget / 1e3)
        fits, row = choose(rows, budget)
        if fits:
            break
    return Choice(fits, row, _lines(subjects, row)), rows


def _lines(subjects: Sequence[Subject], row: dict[str, Any]) -> tuple[str, ...]:
    """Python that forecasts as the row was measured."""
    subject = next(one for one in subjects if one.name == row["model"])
    path, device = repr(str(subject.path or "RUN")), subject.device
    call = f"forecast = predictor.predict(past, neighbours, samples={row['samples']})"
    if subject.exported:
        load = f"predictor = Predictor.load({path}, threads={row['threads']})"
        return ("from trajflow.runtime import Predictor", load, call)
    if device != "cpu":
        lines = ["from trajflow import Predictor"]
        loads = [f"predictor = Predictor.load({path}, device={device!r})"]
        if row["backend"].startswith("graph"):
            lines.append("from trajflow.buckets import BucketedPredictor")
            loads.append(f"predictor = BucketedPredictor(predictor, {row['precision']!r})")
        return (*lines, *loads, call)
    lines = ["import torch", "from trajflow import Predictor"]
    lines.append(f"torch.set_num_threads({row['threads']})")
    if row["precision"].endswith(" medium"):
        lines.append('torch.set_float32_matmul_precision("medium")')
    return (*lines, f"predictor = Predictor.load({path})", call)
