"""What the speeds of agents tell about units: which one it may be, and who has another one."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from trajflow.batch import Bools, Floats, Ints
from trajflow.datasets.motion import medians

WALKING = ("pedestrian", "person", "people", "walker", "human")
SPEEDS = {
    **dict.fromkeys(WALKING, (0.3, 3.0)),
    **dict.fromkeys(("biker", "bicycle", "cyclist", "skater", "cart", "scooter"), (0.5, 15.0)),
    **dict.fromkeys(("car", "vehicle", "truck", "bus", "van", "motorcycle"), (0.5, 45.0)),
    **dict.fromkeys(("ship", "boat", "vessel"), (0.3, 30.0)),
}
"""Metres per second between which the usual speed of a moving agent of a type lies."""
APART, AGENT_APART = 20.0, 30.0
FEW_APART = 300.0
ENOUGH = 5
SPREAD = 5.0


@dataclass(frozen=True)
class Odd:
    """Trajectories whose unit differs from the rest.

    Attributes:
        tracks: Whether a trajectory is one of them, [K].
        scenes: Speed of each odd scene, by its code, as a multiple of that of the others.
        agents: Trajectories that are odd though their scene is not.
    """

    tracks: Bools
    scenes: dict[int, float] = field(default_factory=dict)
    agents: list[int] = field(default_factory=list)


def plausible_metres(kind: str, speed: float) -> bool | None:
    """Whether the usual speed of a type fits metres per second; None for an unknown type."""
    if kind not in SPEEDS:
        return None
    low, high = SPEEDS[kind]
    return low <= speed <= high


def guess_unit(kinds: Sequence[str], paces: Sequence[float], extent: float) -> str:
    """The unit that the usual speeds of the known types fit: "m", "px" or "unknown".

    Args:
        kinds: Types of agents.
        paces: Usual speed of each type, in the unit to be guessed per second.
        extent: Width of the area, in that unit.
    """
    known = [(SPEEDS[k], pace) for k, pace in zip(kinds, paces, strict=True) if k in SPEEDS]
    if known and all(low <= pace <= high for (low, high), pace in known):
        return "m"
    if known and all(pace > 3 * high for (_, high), pace in known) and extent > 100:
        return "px"
    return "unknown"


def odd_units(
    pace: Floats, travels: Bools, scene: Ints, kind: Ints, low: Floats, high: Floats
) -> Odd:
    """Find scenes and agents whose steps are orders of magnitude from those of the rest.

    Only agents that go somewhere are compared, and only with their own type. A scene is odd when
    both its usual speed (20 times; 300 times too slow where fewer than five agents tell, because
    they may loiter) and its extent (5 times) differ the same way from the median scene. An agent
    is odd when its speed differs 30 times from its scene's and it is far outside its area.

    Args:
        pace: Usual speed of each trajectory while it moves, [K].
        travels: Whether a trajectory goes anywhere, [K].
        scene: Code of its scene, [K].
        kind: Code of its type, [K].
        low: Lower corner of the box around it, [K, D].
        high: Upper corner of the box around it, [K, D].
    """
    odd = Odd(np.zeros(len(pace), np.bool_))
    for code in np.unique(kind):
        chosen = travels & np.isfinite(pace) & (kind == code)
        if chosen.any():
            _odd_scenes(odd, pace, chosen, scene, low, high)
            _odd_agents(odd, pace, chosen, scene, (low + high) / 2)
    return odd


def _odd_scenes(
    odd: Odd, pace: Floats, chosen: Bools, scene: Ints, low: Floats, high: Floats
) -> None:
    count = int(scene.max()) + 1
    usual = medians(pace[chosen], scene[chosen], count)
    agents = np.bincount(scene[chosen], minlength=count)
    extent = _extents(scene[chosen], low[chosen], high[chosen], count)
    if np.isfinite(usual).sum() < 3:
        return
    speed = usual / np.nanmedian(usual)
    size = extent / np.nanmedian(extent)
    slow = np.where(agents >= ENOUGH, APART, FEW_APART)
    with np.errstate(invalid="ignore"):
        wrong = (speed >= APART) & (size >= SPREAD)
        wrong |= (speed <= 1 / slow) & (size <= 1 / SPREAD)
    odd.scenes.update({int(code): float(speed[code]) for code in np.flatnonzero(wrong)})
    odd.tracks[wrong[scene]] = True


def _odd_agents(odd: Odd, pace: Floats, chosen: Bools, scene: Ints, centre: Floats) -> None:
    count = int(scene.max()) + 1
    agents = np.bincount(scene[chosen], minlength=count)
    usual = medians(pace[chosen], scene[chosen], count)[scene]
    middle = np.stack([medians(c, scene, count) for c in centre.T], 1)[scene]
    away = np.linalg.norm(centre - middle, axis=1)
    near = medians(away, scene, count)[scene]
    ratio = np.divide(pace, usual, out=np.ones_like(pace), where=chosen)
    far = (agents[scene] >= ENOUGH) & (away > 2 * SPREAD * near) & ~odd.tracks
    wrong = chosen & far & ((ratio >= AGENT_APART) | (ratio <= 1 / AGENT_APART))
    odd.agents.extend(np.flatnonzero(wrong).tolist())
    odd.tracks[wrong] = True


def _extents(scene: Ints, low: Floats, high: Floats, count: int) -> Floats:
    corners = np.full((2, count, low.shape[1]), np.nan)
    np.fmin.at(corners[0], scene, low)
    np.fmax.at(corners[1], scene, high)
    return np.asarray(np.linalg.norm(corners[1] - corners[0], axis=1))
