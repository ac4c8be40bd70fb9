"""Places where people walk: walls, gates through which they come and go, and who goes where."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gate:
    """A stretch of the outline through which people come and go, cut into lanes.

    Attributes:
        left: The end on the left of those who come in.
        right: The other end.
    """

    left: Point
    right: Point

    @property
    def lanes(self) -> int:
        """How many people fit side by side, about a metre each."""
        return max(1, int(np.hypot(*np.subtract(self.right, self.left))))

    def spot(self, lane: float, depth: float) -> Point:
        """Point in a lane, `depth` metres inside; half lanes count from the left, in lanes."""
        left, right = np.array(self.left), np.array(self.right)
        across = right - left
        inward = np.array([-across[1], across[0]]) / np.hypot(*across)
        x, y = left + across * lane / self.lanes + depth * inward
        return float(x), float(y)

    def exit(self, lane: int) -> list[Point]:
        """Corners of the area at which people in a lane have left."""
        ends = ((lane + 0.05, 0.05), (lane + 0.95, 0.05), (lane + 0.95, 0.8), (lane + 0.05, 0.8))
        return [self.spot(*end) for end in ends]


@dataclass(frozen=True)
class Place:
    """Where a recording is made.

    Attributes:
        outline: Corners of the area people may walk in.
        obstacles: Corners of each obstacle inside.
        gates: Where people come and go, N.
        flow: People who go from each gate to each other per second, [N, N].
    """

    outline: list[Point]
    obstacles: list[list[Point]]
    gates: list[Gate]
    flow: Floats


def corridor(rng: np.random.Generator) -> Place:
    """A straight corridor with people in both directions."""
    length, width = rng.uniform(18, 24), rng.uniform(3.0, 5.0)
    gates = [Gate((0, width), (0, 0)), Gate((length, 0), (length, width))]
    one, other = rng.uniform(0.3, 0.7, 2)
    return Place(_box(0, 0, length, width), [], gates, np.array([[0, one], [other, 0]]))


def crossing(rng: np.random.Generator) -> Place:
    """Two corridors that cross; people go on or turn."""
    arm, w = rng.uniform(7, 9), rng.uniform(1.6, 2.4)
    far = arm + w
    quarter = [(-w, -far), (w, -far), (w, -w)]
    outline = [_turned(point, k) for k in range(4) for point in quarter]
    gates = [Gate(_turned((-w, -far), k), _turned((w, -far), k)) for k in range(4)]
    ways = np.array([0.0, 0.2, 0.6, 0.2])
    share = np.stack([np.roll(ways, k) for k in range(4)])
    return Place(outline, [], gates, rng.uniform(0.1, 0.35, (4, 1)) * share)


def door(rng: np.random.Generator) -> Place:
    """Two rooms and a door between them, used in one direction."""
    depth, width, gap = rng.uniform(8, 10), rng.uniform(5.0, 7.0), rng.uniform(1.2, 2.2)
    middle = rng.uniform(0.35, 0.65) * width
    walls = [
        _box(depth, -1, depth + 0.3, middle - gap / 2),
        _box(depth, middle + gap / 2, depth + 0.3, width + 1),
    ]
    far = 2 * depth
    gates = [Gate((0, width), (0, 0)), Gate((far, 0), (far, width))]
    flow = np.array([[0, rng.uniform(0.5, 0.9)], [0, 0]])
    return Place(_box(0, 0, far, width), walls, gates, flow)


def plaza(rng: np.random.Generator) -> Place:
    """An open square with a few obstacles and gates on all sides; people go anywhere."""
    size = rng.uniform(15, 19)
    sides = [((0.0, size), (0.0, 0.0)), ((0.0, 0.0), (size, 0.0))]
    sides += [((size, 0.0), (size, size)), ((size, size), (0.0, size))]
    gates = []
    for start, end in sides:
        at = rng.uniform(0.2, 0.65)
        ends = [np.array(start) + share * np.subtract(end, start) for share in (at, at + 0.17)]
        gates.append(Gate(*[(float(x), float(y)) for x, y in ends]))
    obstacles = []
    for k in range(int(rng.integers(2, 5))):
        x, y = size * (np.array([k % 2, k // 2]) * 0.35 + rng.uniform(0.26, 0.38, 2))
        a, b = rng.uniform(0.6, 1.6, 2)
        obstacles.append(_box(x - a, y - b, x + a, y + b))
    flow = rng.uniform(0.03, 0.2, (4, 4))
    np.fill_diagonal(flow, 0.0)
    return Place(_box(0, 0, size, size), obstacles, gates, flow)


PLACES: dict[str, Callable[[np.random.Generator], Place]] = {
    "corridor": corridor,
    "crossing": crossing,
    "door": door,
    "plaza": plaza,
}


def _box(left: float, low: float, right: float, high: float) -> list[Point]:
    return [(left, low), (right, low), (right, high), (left, high)]


def _turned(point: Point, quarters: int) -> Point:
    x, y = point
    for _ in range(quarters):
        x, y = -y, x
    return x, y
