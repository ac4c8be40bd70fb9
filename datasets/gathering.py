"""Copy the positions of windows out of the rows, into batches of padded scenes."""

from dataclasses import dataclass

import numpy as np

from trajflow.batch import Batch, Bools, Floats, Ints
from trajflow.datasets.tracks import Tracks


@dataclass(frozen=True)
class Rows:
    """The N rows of K tracks that exist for a set of windows, and how to find them.

    Attributes:
        tracks: Where positions come from.
        history: Past steps, T.
        horizon: Future steps, F.
        row: Rows of the tracks, increasing, [N].
        key: Track and step of each row as one increasing number, [N].
        present: Order of the rows by scene, then step, then track, [N].
        whole: Whether the row is the present of a target: all T + F steps around it exist, [N].
        free: Tracks whose future may be seen, [K].
        reach: Times T and F that batches bring around the present.
    """

    tracks: Tracks
    history: int
    horizon: int
    row: Ints
    key: Ints
    present: Ints
    whole: Bools
    free: Bools
    reach: int = 1


def gather(rows: Rows, scene: Ints, start: Ints, first: Ints, visible: Ints, counts: Ints) -> Batch:
    """A batch of B windows.

    Args:
        rows: Where their rows are.
        scene: Index of the recording, [B].
        start: First step, [B].
        first: Where the agents visible at the present step begin in `rows.present`, [B].
        visible: How many they are, [B].
        counts: How many of them are kept, targets first, [B].
    """
    tracks = rows.tracks
    slot = np.arange(visible.max(initial=0))
    member = rows.present[first[:, None] + np.minimum(slot, visible[:, None] - 1)]
    target = rows.whole[member] & (slot < visible[:, None])
    order = _nearest(tracks.position[rows.row[member]], target, slot < visible[:, None])
    order = order[:, : counts.max(initial=0)]
    member = np.take_along_axis(member, order, 1)
    target = np.take_along_axis(target, order, 1)
    kept = slot[: order.shape[1]] < counts[:, None]
    position = _paths(rows, member, kept)
    agent = np.where(kept, tracks.agent[tracks.track[rows.row[member]]], -1)
    present = rows.reach * rows.history
    past = position[:, :, present - rows.history : present]
    future = position[:, :, present : present + rows.horizon]
    around = position if rows.reach > 1 else None
    return Batch(past, future, target, scene, start, agent, around)


def _nearest(here: Floats, target: Bools, seen: Bools) -> Ints:
    """Order of the agents of each window: targets, neighbours by distance, padding; [B, A]."""
    away = np.where(target, -1.0, np.inf)
    if (seen & ~target).any():
        count = int(target.sum(1).max())
        goals = np.argsort(~target, axis=1, kind="stable")[:, :count]
        real = np.take_along_axis(target, goals, 1)[:, None]
        square = np.zeros((*here.shape[:2], count))
        for axis in np.moveaxis(here, -1, 0):
            square += (axis[:, :, None] - np.take_along_axis(axis, goals, 1)[:, None]) ** 2
        nearest = np.where(real, square, np.inf).min(-1)
        away = np.where(seen & ~target, nearest, away)
    return np.argsort(away, axis=1, kind="stable")


def _paths(rows: Rows, member: Ints, kept: Bools) -> Floats:
    """Positions of agents around their rows at the present, [B, A, W, D]; W = R (T + F)."""
    steps = np.arange(1 - rows.reach * rows.history, rows.reach * rows.horizon + 1)
    wanted = rows.key[member][..., None] + steps
    found = np.minimum(np.searchsorted(rows.key, wanted), len(rows.key) - 1)
    free = rows.free[rows.tracks.track[rows.row[member]]]
    seen = (rows.key[found] == wanted) & kept[..., None] & ((steps <= 0) | free[..., None])
    position = rows.tracks.position[rows.row[found]]
    position[~seen] = np.nan
    return position
