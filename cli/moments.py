"""Which moments of the tracks are looked at, when only a few can be."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trajflow.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from trajflow.batch import Batch
    from trajflow.datasets.data import TrackData


def some_moments(data: "TrackData", part: str, scenes: Sequence[str] | None, count: int) -> "Batch":
    """At most `count` windows of a part as one batch, spread evenly over the recordings wanted.

    Raises:
        DataError: A recording is unknown, or has no window in this part.
    """
    import numpy as np

    known = data.store.scenes
    for name in scenes or ():
        if name not in known:
            raise DataError(did_you_mean("recording", name, known))
    wanted = [known.index(name) for name in scenes or known]
    for windows in data.stream(part):
        rows = np.flatnonzero(np.isin(windows.scene, wanted))
        if len(rows):
            rows = rows[np.lexsort((windows.start[rows], windows.scene[rows]))]
            middle = (np.arange(count) + 0.5) / count * len(rows)
            return windows.gather(rows[np.unique(middle.astype(np.int64))])
    raise DataError(f"no window of {', '.join(scenes or ())} is in part {part!r}; choose another")
