"""Scores of whole windows, by which they are put in order."""

from collections.abc import Iterator

import numpy as np

from trajflow.batch import Batch, Floats, Ints
from trajflow.browsing.judged import scores, spread_out
from trajflow.browsing.rivals import Rival
from trajflow.errors import RunError

CHUNK = 192
"""Targets that are scored at once; a key that waits for them must not be felt."""
SAMPLES = 20
SURPRISE = "surprise"
RANKINGS = ("energy_score", "min_ade", "min_fde", "miss", "spread", SURPRISE)


def window_scores(rival: Rival, batch: Batch, by: str) -> Floats:
    """A score of each window, [B]: the mean over its targets, or the surprise of the strangest.

    Args:
        rival: Who forecasts them.
        batch: The windows.
        by: One of `RANKINGS`.

    Raises:
        RunError: There is no surprise of those who learn nothing.
        ConfigError: The run does not know what is strange to it.
    """
    if by == SURPRISE:
        if rival.predictor is None:
            raise RunError(f"{rival.name} does not tell how strange a past is")
        found = rival.predictor(1).surprise_of(batch)
        return np.asarray(np.nanmax(spread_out(batch.target, found.score), 1))
    drawn = rival.draw(batch, SAMPLES, 0, 1, None)
    return np.asarray(np.nanmean(scores(drawn, batch)[by], 1))


def chunks(targets: Ints) -> Iterator[Ints]:
    """Windows that follow each other, of about as many targets, [N]."""
    group = (np.cumsum(targets) - 1) // CHUNK
    yield from np.split(np.arange(len(targets)), np.flatnonzero(np.diff(group)) + 1)
