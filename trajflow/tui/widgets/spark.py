"""A course of values on one line, in blocks."""

import math
from collections.abc import Sequence
from itertools import pairwise

BLOCKS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float], columns: int) -> str:
    """Values from left to right, the largest as the highest block.

    Where there are more values than columns, each column shows the mean of its share; values that
    are not finite leave a gap.

    Example:
        >>> from trajflow.tui.widgets.spark import spark
        >>> spark([3, 2, 1, 0], 8)
        '█▆▃▁'
    """
    if columns < 1 or not len(values):
        return ""
    bins = min(columns, len(values))
    ends = [k * len(values) // bins for k in range(bins + 1)]
    means = [_mean(values[low:high]) for low, high in pairwise(ends)]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    span = (high - low) or 1.0
    top = len(BLOCKS) - 1
    return "".join(
        BLOCKS[round((mean - low) / span * top)] if math.isfinite(mean) else " " for mean in means
    )


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
