"""Groups of tracks that are loaded together: whole recordings, or some steps of a large one."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from trajflow.datasets.schema import Tracks
from trajflow.types import Bools, Ints


@dataclass(frozen=True)
class Group:
    """Tracks that are loaded together.

    Attributes:
        scenes: Names of the recordings.
        steps: First step, and the step after the last, of the part of a recording that is larger
            than a group; None: all steps.
    """

    scenes: list[str]
    steps: tuple[int, int] | None = None


def count_steps(
    pieces: Iterable[Tracks], chosen: Callable[[Tracks], Bools] | None = None
) -> tuple[Ints, Ints]:
    """The distinct steps of rows, increasing, and the number of rows at each, [S].

    Args:
        pieces: The rows, of one recording.
        chosen: Says which rows [N] of a piece count; None: all.
    """
    steps = counts = np.zeros(0, np.int64)
    for piece in pieces:
        added = piece.step if chosen is None else piece.step[chosen(piece)]
        steps, which = np.unique(np.concatenate([steps, added]), return_inverse=True)
        weights = np.concatenate([counts, np.ones(len(added))])
        counts = np.bincount(which, weights, len(steps)).astype(np.int64)
    return steps, counts


def divide_steps(
    steps: Ints, counts: Ints, max_rows: int, before: int = 0, after: int = 0
) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of steps [first, last) for `Store.groups`.

    Args:
        steps: Distinct steps of a recording, increasing, [S].
        counts: Rows at each, [S].
        max_rows: Most rows from `before` steps before a range to `after` steps after it.
        before: Steps before a range that are loaded with it.
        after: Steps after it.
    """
    ends = np.cumsum(counts)
    first, end = int(steps[0]), int(steps[-1]) + 1
    while first < end:
        skipped = np.searchsorted(steps, first - before)
        limit = max_rows + int(ends[skipped - 1] if skipped else 0)
        fitting = int(np.searchsorted(ends, limit, side="right"))
        last = end if fitting == len(steps) else int(steps[fitting]) - after
        last = min(end, max(last, first + max(1, before + after)))
        yield first, last
        first = last
