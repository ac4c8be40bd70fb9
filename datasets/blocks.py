"""What a block of tracks must fulfil before it is stored."""

import numpy as np

from trajflow.datasets.grid import find_fault, first_rows
from trajflow.datasets.tracks import TrackBlock
from trajflow.errors import DataError


def check_block(block: TrackBlock, dims: int, dt: float) -> None:
    """Refuse a block that is inconsistent, or tracks that are no positions in time.

    Args:
        block: Trajectories of one scene.
        dims: Coordinates of a position in this store, D.
        dt: Seconds per step of this store.

    Raises:
        DataError: With the scene and, where it is one agent's fault, the agent.
    """
    _check_sizes(block, dims)
    fault = find_fault(block.time, first_rows(block.rowsize), dt)
    if fault is not None:
        raise DataError(
            f"{_where(block, fault.row)}: {fault.what}; times must increase and lie within a "
            "quarter of dt of a step: repair or resample the track, or give another dt"
        )
    bad = ~np.isfinite(block.position).all(-1)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"{_where(block, row)}: position {block.position[row].tolist()} at "
            f"{block.time[row]} s is not finite; leave the row out"
        )


def _check_sizes(block: TrackBlock, dims: int) -> None:
    rows, count = len(block.time), len(block.rowsize)
    if not block.scene:
        raise DataError("a block has no scene name; name the recording it comes from")
    claims = {
        f"position must be [{rows}, {dims}]": np.shape(block.position) == (rows, dims),
        f"time must be [{rows}]": np.shape(block.time) == (rows,),
        f"labels must be {count}": len(block.labels) == count,
        f"types must be {count}": len(block.types) == count,
        f"rowsize must be whole positive numbers that sum to {rows}": count > 0
        and np.asarray(block.rowsize).dtype.kind in "iu"
        and int(np.min(block.rowsize)) > 0
        and int(np.sum(block.rowsize)) == rows,
        f"split must be one name or {rows}": isinstance(block.split, str)
        or np.shape(block.split) == (rows,),
    }
    wrong = [claim for claim, holds in claims.items() if not holds]
    if wrong:
        sizes = f"position {list(np.shape(block.position))}, time {list(np.shape(block.time))}"
        raise DataError(f"scene {block.scene!r}: {'; '.join(wrong)}; got {sizes}")


def _where(block: TrackBlock, row: int) -> str:
    track = int(np.searchsorted(np.cumsum(block.rowsize), row, side="right"))
    return f"scene {block.scene!r}, agent {block.labels[track]!r}"
