"""The fingerprint of training tracks: the numbers from which settings are chosen (see plan.py)."""

from dataclasses import dataclass

import numpy as np

from trajflow.datasets.schema import Tracks
from trajflow.types import Bools, Floats, Ints

MAX_MOMENTS = 2000  # moments, drawn at random, at which distances between agents are measured
STANDING = 0.15  # a step shorter than this share of the fast speed counts as standing still
SPEED_STEPS = 4  # steps whose mean speeds before and after a moment are compared
TYPE_AGENTS = 20  # agents of a type that are enough to learn how it differs


@dataclass(frozen=True)
class Fingerprint:
    """Numbers that describe training tracks; lengths in the unit of the tracks, times in steps.

    Attributes:
        dt: Seconds per step.
        dims: Coordinates of a position.
        agents: Agents with training rows.
        recordings: Recordings with training rows.
        lengths: 10, 25, 50, 75 and 90 % quantiles of the rows of stretches without a gap.
        speed: Fast speed: the 90 % quantile of the length of a step.
        standing: Share of steps during which an agent stands still.
        crowd: Mean number of agents at a moment.
        near: Share of agents with a neighbor within the distance of a fast agent's horizon.
        roughness: Median change from a step to the next, as a share of `speed`.
        persistence: Correlation of the logs of the mean speeds before and after a moment.
        chirality: Mean turn over mean absolute turn; 0 if left and right are equally frequent.
        speeding: Mean change of log speed over its deviation; 0 if time has no direction.
        types: Types with enough agents to learn from.
    """

    dt: float
    dims: int
    agents: int
    recordings: int
    lengths: tuple[float, ...]
    speed: float
    standing: float
    crowd: float
    near: float
    roughness: float
    persistence: float
    chirality: float
    speeding: float
    types: int = 1


def fingerprint(tracks: Tracks, rows: Bools, horizon: int) -> Fingerprint:
    """The fingerprint of some rows of tracks.

    Args:
        tracks: The tracks.
        rows: The rows to describe, [N].
        horizon: Future steps; they determine which neighbors are near.
    """
    track, step, position = tracks.track[rows], tracks.step[rows], tracks.position[rows]
    consecutive = (np.diff(track) == 0) & (np.diff(step) == 1)
    displacement = np.diff(position, axis=0)
    length = np.where(consecutive, np.linalg.norm(displacement, axis=1), np.nan)
    steps = length[consecutive]
    speed = float(np.quantile(steps, 0.9)) if len(steps) else 0.0
    moment = tracks.scene[track] * (int(np.ptp(step)) + 1 if len(step) else 1) + step
    chirality, speeding, persistence, bend = _motion(displacement, length, STANDING * speed)
    agents_of_type = np.bincount(tracks.kind[np.unique(track)], minlength=1)
    return Fingerprint(
        dt=tracks.dt,
        dims=int(position.shape[1]),
        agents=len(np.unique(track)),
        recordings=len(np.unique(tracks.scene[track])),
        lengths=tuple(np.quantile(stretches(track, step), (0.1, 0.25, 0.5, 0.75, 0.9)).tolist())
        if len(step)
        else (0.0,) * 5,
        speed=speed,
        standing=float((steps < STANDING * speed).mean()) if len(steps) else 1.0,
        crowd=float(np.unique(moment, return_counts=True)[1].mean()) if len(moment) else 0.0,
        near=_share_near(moment, position, speed * horizon),
        roughness=bend / speed if speed > 0 else 0.0,
        persistence=persistence,
        chirality=chirality,
        speeding=speeding,
        types=int((agents_of_type >= TYPE_AGENTS).sum()),
    )


def stretches(track: Ints, step: Ints) -> Ints:
    """Rows of each stretch of a track without a gap, [N]."""
    breaks = np.flatnonzero((np.diff(track) != 0) | (np.diff(step) != 1)) + 1
    return np.diff(np.concatenate([[0], breaks, [len(track)]]))


def _motion(
    displacement: Floats, length: Floats, standing: float
) -> tuple[float, float, float, float]:
    """Chirality, speeding, persistence and bend, the median change from a step to the next.

    Args:
        displacement: Displacements between rows, [N, D].
        length: Their lengths, [N]; NaN between two tracks.
        standing: Length below which an agent stands still.
    """
    floor = max(standing, 1e-12)
    moving = length > floor
    pair = moving[1:] & moving[:-1]
    first, second = displacement[:-1][pair], displacement[1:][pair]
    sine = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / (
        np.linalg.norm(first[:, :2], axis=1) * np.linalg.norm(second[:, :2], axis=1) + 1e-300
    )
    chirality = float(sine.mean() / (np.abs(sine).mean() + 1e-12)) if len(sine) else 0.0
    bend = float(np.median(np.linalg.norm(second - first, axis=1))) if len(sine) else 0.0
    if len(length) < 2 * SPEED_STEPS + 1:
        return chirality, 0.0, 0.0, bend
    mean = np.lib.stride_tricks.sliding_window_view(length, SPEED_STEPS).mean(1)
    before, after = mean[:-SPEED_STEPS], mean[SPEED_STEPS:]
    whole = np.isfinite(before) & np.isfinite(after) & np.isfinite(length[SPEED_STEPS : len(mean)])
    before, after = np.log(before[whole] + floor), np.log(after[whole] + floor)
    if len(before) < 3 or before.std() < 1e-9 or after.std() < 1e-9:
        return chirality, 0.0, 1.0 if len(before) else 0.0, bend
    change = after - before
    speeding = float(change.mean() / (change.std() + 1e-12))
    return chirality, speeding, float(np.corrcoef(before, after)[0, 1]), bend


def _share_near(moment: Ints, position: Floats, radius: float) -> float:
    """Share of the agents, at some moments, with another agent within a radius."""
    order = np.argsort(moment, kind="stable")
    moments, first, count = np.unique(moment[order], return_index=True, return_counts=True)
    near = total = 0
    for number in np.random.default_rng(0).permutation(len(moments))[:MAX_MOMENTS]:
        scene = position[order[first[number] : first[number] + min(count[number], 200)]]
        distance = np.linalg.norm(scene[:, None] - scene, axis=-1)
        np.fill_diagonal(distance, np.inf)
        near += int((distance.min(1) < radius).sum()) if len(scene) > 1 else 0
        total += len(scene)
    return near / total if total else 0.0
