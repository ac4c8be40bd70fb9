"""All sections of a measurement by name, and their report."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch

from trajflow.bench.asked import Asked
from trajflow.bench.chosen import chosen_sets
from trajflow.bench.evaluations import evaluations
from trajflow.bench.footprint import footprint
from trajflow.bench.latency import Rows, latency
from trajflow.bench.subjects import Subject
from trajflow.bench.training import training_steps
from trajflow.benchmark.machine import machine
from trajflow.errors import ConfigError, did_you_mean

Told = Callable[[str, float], object]
SECTIONS: dict[str, str] = {
    "latency": "a forecast, by agents, backend, precision and threads, over its floor",
    "sets": "chosen sets against plain draws",
    "training": "a training step, by objective",
    "evaluations": "one network evaluation against ten and a hundred",
    "footprint": "imports, loading, first call, memory",
}


def check_sections(names: Sequence[str]) -> None:
    """Refuse a section that there is not.

    Raises:
        ConfigError: A name is unknown.
    """
    for name in names:
        if name not in SECTIONS:
            raise ConfigError(did_you_mean("section", name, list(SECTIONS)))


def measure(
    subjects: Sequence[Subject], sections: Sequence[str], asked: Asked, tell: Told
) -> dict[str, Any]:
    """A report: the machine, the terms, and the rows of each section.

    Args:
        subjects: What is timed.
        sections: Names of `SECTIONS`.
        asked: The terms.
        tell: Hears the section and the share of it that is done.
    """
    check_sections(sections)
    device = torch.device(subjects[0].device)
    with settings_kept():
        found = {name: _section(name, subjects, asked, tell) for name in sections}
        torch.set_num_threads(max(asked.threads))
        terms = asdict(asked) | {"data": str(asked.data) if asked.data else None}
        return {"machine": machine(device), "asked": terms, "sections": found}


@contextmanager
def settings_kept() -> Iterator[None]:
    """The threads and the matmul precision of torch are afterwards what they were before."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


def _section(name: str, subjects: Sequence[Subject], asked: Asked, tell: Told) -> Rows:
    def part(share: float) -> None:
        tell(name, share)

    part(0.0)
    if name == "latency":
        return latency(subjects, asked, part)
    if name == "sets":
        return chosen_sets(subjects, asked, part)
    if name == "training":
        return training_steps(asked, part, subjects[0].device)
    if name == "evaluations":
        return evaluations(subjects, asked, part)
    return footprint(subjects, asked, part)
