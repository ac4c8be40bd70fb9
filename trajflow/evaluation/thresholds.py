"""Chooses distances of a miss and of a collision, and the speed of standing, for given tracks."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from trajflow.datasets.loader import TrackData
from trajflow.errors import DataError
from trajflow.evaluation.batches import BATCH
from trajflow.evaluation.scores import EvaluationOptions
from trajflow.metrics import typical_speed
from trajflow.text import with_unit
from trajflow.types import Batch

# Windows behind a threshold.
WINDOWS = 5000
# The field's distance of a miss, and the distance of a collision, of people in metres.
PEOPLE_MISS, PEOPLE_COLLISION = 2.0, 0.2
# Metres per second up to which nine of ten agents move like people.
PEOPLE_SPEED = 2.5
# Elsewhere a miss is further than this share of the way of a fast agent in a horizon. It is 52 px
# on the drone data, where the benchmark has 50.
MISS_SHARE = 0.25
# Elsewhere a collision is as near as a fast agent moves in this many seconds, as people who walk
# at 1.3 m/s move 0.2 m.
COLLISION_SECONDS = PEOPLE_COLLISION / 1.3
# Collisions are left out if fewer agents than this share have another one within so many times
# the distance of a collision.
NEAR_SHARE, NEAR = 0.01, 10
DEGREE, UNKNOWN = "degree", "unknown"
# Annotation jitter makes standing people move at up to 0.2 m/s. Where the unit is not the metre,
# 15 % of the 90th percentile of the speed stands for it: of 1.3 m/s, a walk, that is 0.2 m/s.
STANDING_METRES_PER_SECOND, STANDING_SHARE = 0.2, 0.15


def standing_speed(data: TrackData, split: str) -> float:
    """Speed below which an agent counts as standing, in the store's unit per step.

    In metres it is 0.2 metres per second. In any other unit it is 15 % of the 90th percentile of
    the mean speed of the split's windows.

    Args:
        data: The tracks.
        split: "train", "val" or "test".

    Raises:
        DataError: The split is empty.
    """
    if data.store.unit == "m":
        return STANDING_METRES_PER_SECOND * data.store.dt
    return STANDING_SHARE * typical_speed(data.validation(BATCH, WINDOWS, split))


def with_thresholds(
    options: EvaluationOptions, data: TrackData, speed: float | None = None
) -> tuple[EvaluationOptions, dict[str, str]]:
    """Set the thresholds of a miss and of a collision that the options leave open.

    In metres, people (nine of ten no faster than 2.5 m/s) keep the 2 m and 0.2 m of the field. In
    any other case a miss is further than a quarter of the way of a fast agent within the horizon,
    and a collision as near as it moves in 0.15 s. Only the training split is read.

    Args:
        options: The options.
        data: The tracks.
        speed: Typical displacement per step of a run, for tracks without a training split.

    Returns:
        The options, and why each threshold is what it is, under "miss" and "collide". A threshold
        of None leaves the score out.
    """
    miss, collide = (options.miss, "set by the user"), (options.collide, "set by the user")
    if options.miss is None or options.collide is None:
        try:
            batches = list(data.validation(BATCH, WINDOWS, "train"))
            speed = typical_speed(batches)
        except DataError:
            batches = []
            if speed is None:
                raise
        people = data.store.unit == "m" and speed <= PEOPLE_SPEED * data.store.dt
        miss = miss if options.miss is not None else _miss(data, speed, people)
        if options.collide is None:
            collide = _collision(data, speed, people, batches)
    reasons = {"miss": miss[1], "collide": collide[1]}
    return replace(options, miss=miss[0], collide=collide[0]), reasons


def _miss(data: TrackData, speed: float, people: bool) -> tuple[float | None, str]:
    if people:
        return PEOPLE_MISS, "as in the field, for people in metres"
    if not speed > 0:
        return None, "the training agents stand still; set --miss"
    least = PEOPLE_MISS if data.store.unit == "m" else 0.0
    way = MISS_SHARE * speed * data.shape.horizon
    return _rounded(max(least, way)), "a quarter of the way of a fast agent within the horizon"


def _collision(
    data: TrackData, speed: float, people: bool, batches: Sequence[Batch]
) -> tuple[float | None, str]:
    unit = data.store.unit
    if unit == DEGREE:
        return None, (
            "a degree of longitude is shorter than one of latitude; import without --no-project "
            "for metres, or set --collide"
        )
    if unit == UNKNOWN:
        return None, "the unit of the tracks is not known; set --collide"
    distance, why = PEOPLE_COLLISION, "for people in metres"
    if not people:
        distance = _rounded(speed / data.store.dt * COLLISION_SECONDS)
        why = f"the way of a fast agent in {COLLISION_SECONDS:.2f} s"
    if not distance > 0:
        return None, "the training agents stand still; set --collide"
    reach = NEAR * distance
    if batches and (share := _near_share(batches, reach)) < NEAR_SHARE:
        near = with_unit(reach, unit)
        return None, f"{100 * share:.1g} % of the training agents have another one within {near}"
    return distance, why


def _near_share(batches: Sequence[Batch], reach: float) -> float:
    """Share of the targets that have another agent within reach at the present."""
    from scipy.spatial import cKDTree

    near = []
    for batch in batches:
        for position, target in zip(batch.past[:, :, -1], batch.target, strict=True):
            present = np.isfinite(position).all(-1)
            distance = cKDTree(position[present]).query(position[present], k=2)[0][:, 1]
            near.append((distance < reach)[target[present]])
    return float(np.concatenate(near).mean())


def _rounded(value: float) -> float:
    """Two significant digits, because a threshold is a convention and no measurement."""
    return float(f"{value:.2g}")
