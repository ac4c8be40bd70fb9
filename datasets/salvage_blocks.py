"""Blocks of tracks out of what is left of a damaged store, and the count of what is not."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from trajflow.batch import Bools, Ints
from trajflow.datasets.fragments import Fragments
from trajflow.datasets.grid import find_fault, first_rows
from trajflow.datasets.header import Header
from trajflow.datasets.salvage_index import LeftIndex
from trajflow.datasets.schema import AXES, row_columns
from trajflow.datasets.tracks import TrackBlock

MANY = 500_000
"""Rows of a scene that are looked at together."""


def saved_blocks(
    fragments: Fragments, header: Header, left: LeftIndex
) -> Iterator[tuple[TrackBlock | None, Counter[str]]]:
    """The saved trajectories of some of a scene, and how many of them are lost, by scene."""
    unknown = int((~left.scene_known).sum())
    yield None, Counter({"": unknown} if unknown else {})
    for code, scene in enumerate(header.scenes):
        members = np.flatnonzero(left.scene_known & (left.scene == code))
        for chosen in _groups(members, np.where(left.whole, left.rowsize, 0)):
            block = _block(fragments, header, left, chosen[left.whole[chosen]])
            saved = 0 if block is None else len(block.labels)
            yield block, Counter({scene: len(chosen) - saved} if saved < len(chosen) else {})


def _groups(members: Ints, rows: Ints) -> list[Ints]:
    """Trajectories of a scene, [N], in groups of about half a million rows, as indexes."""
    if not len(members):
        return []
    part = np.cumsum(rows[members]) // MANY
    return np.split(members, np.flatnonzero(np.diff(part)) + 1)


def _block(
    fragments: Fragments, header: Header, left: LeftIndex, chosen: Ints
) -> TrackBlock | None:
    """The trajectories of one scene, given by number, whose every row is known and possible."""
    columns: dict[str, Any] = {name: [] for name in row_columns(int(header.dims), header.unit)}
    fit = np.ones(len(chosen), np.bool_)
    for place, number in enumerate(chosen.tolist()):
        end = int(left.ends[number])
        for name, spec in row_columns(int(header.dims), header.unit).items():
            piece = fragments.read(name, spec, end - int(left.rowsize[number]), end)
            columns[name].append(piece.values)
            fit[place] &= bool(piece.known.all())
    if not fit.any():
        return None
    sizes = left.rowsize[chosen]
    rows = {name: np.concatenate(pieces) for name, pieces in columns.items()}
    position = np.stack([rows[axis] for axis in AXES[: int(header.dims)]], 1)
    codes = rows["split"]
    sane = np.isfinite(position).all(1) & (codes >= 0) & (codes < len(header.splits))
    fit &= np.logical_and.reduceat(sane, np.cumsum(sizes) - sizes)
    fit &= _timely(rows["time"], sizes, header.dt)
    taken = np.repeat(fit, sizes)
    if not fit.any():
        return None
    return TrackBlock(
        scene=header.scenes[int(left.scene[chosen[0]])],
        labels=[left.labels[number] for number in chosen[fit]],
        types=[header.types[left.kind[number]] for number in chosen[fit]],
        rowsize=sizes[fit],
        time=rows["time"][taken],
        position=position[taken],
        split=np.array(header.splits, np.str_)[codes[taken]],
    )


def _timely(time: Any, sizes: Ints, dt: float) -> Bools:
    """Whether the times of each trajectory fit the grid, [K]."""
    fit = np.ones(len(sizes), np.bool_)
    if find_fault(time, first_rows(sizes), dt) is not None:
        begins = np.cumsum(sizes) - sizes
        for number, (first, size) in enumerate(zip(begins.tolist(), sizes.tolist(), strict=True)):
            alone = time[first : first + size]
            fit[number] = find_fault(alone, first_rows(sizes[number : number + 1]), dt) is None
    return fit
