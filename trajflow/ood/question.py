"""What a run is asked about what it was not made for: values that travel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WINDOWS = 600
"""Ordinary targets; 142 people of one street are seen four times each by so many."""


@dataclass(frozen=True)
class Question:
    """What is asked of a run.

    Attributes:
        part: Part whose windows are ordinary.
        windows: How many of its targets, about, and of each pool of others.
        samples: Futures of each.
        steps: Network evaluations per draw.
        seed: What shifts, draws and resamples follow from.
        names: Shifts, or severities of them; none: all.
    """

    part: str = "test"
    windows: int = WINDOWS
    samples: int = 20
    steps: int = 1
    seed: int = 0
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, protocol: Mapping[str, Any]) -> "Question":
        """What a report was the answer to, by its protocol."""
        return cls(
            part=protocol["split"],
            windows=protocol["windows"],
            samples=protocol["samples"],
            steps=protocol["steps"],
            seed=protocol["seed"],
            names=tuple(protocol["only"]),
        )
