"""How someone moves at present: the last step, its direction and what it is to turn by it."""

import numpy as np

from trajflow.types import Floats


def last_step(past: Floats) -> Floats:
    """The last step of each agent, [N, D]; zero if the past [N, T, D] has one step only."""
    now = past[:, -1]
    return now - past[:, -2] if past.shape[1] > 1 else np.zeros_like(now)


def headings(past: Floats) -> Floats:
    """Direction in the plane of the last step that moved at all, [N], radians.

    It is NaN for those who never moved in the past [N, T, D]: they have no direction, and an angle
    made of rounding or of a zero vector would be one of the world, not of theirs.
    """
    steps = np.diff(past[..., :2], axis=1)[:, ::-1]
    moved = (steps != 0).any(-1)
    if not moved.any():
        return np.full(len(past), np.nan)
    last = steps[np.arange(len(past)), moved.argmax(1)]
    return np.where(moved.any(1), np.arctan2(last[:, 1], last[:, 0]), np.nan)


def turned(points: Floats, angles: Floats) -> Floats:
    """Points [..., D] turned in the plane about the origin; a third coordinate stays.

    Args:
        points: What to turn, [..., D].
        angles: Radians, counter-clockwise, one per point once broadcast, [...].
    """
    cosine, sine = np.cos(angles), np.sin(angles)
    x, y = points[..., 0], points[..., 1]
    flat = [cosine * x - sine * y, sine * x + cosine * y]
    rest = [np.broadcast_to(points[..., k], flat[0].shape) for k in range(2, points.shape[-1])]
    return np.stack(flat + rest, -1)
