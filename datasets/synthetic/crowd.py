"""Pedestrians who walk, avoid each other, pause and change their minds, simulated by JuPedSim.

The walking model is the anticipation velocity model (Xu, Chraibi and Seyfried 2021, "Anticipation
in a velocity-based model for pedestrian dynamics"). Where people go, how fast, when they pause or
turn is random and not visible in a past, so futures have several modes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.synthetic import SyntheticTracks
from trajflow.errors import ConfigError, MissingExtra, did_you_mean

DT = 0.4
STRIDE = 0.02
RADIUS = 0.2
NARROW = 0.12
BESIDE = 0.65
PAUSES = 0.01
TURNS = 0.01
WARM_UP = 15.0

Point = tuple[float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gate:
    """A stretch of the outline through which people enter and leave, divided into lanes."""

    left: Point  # the end on the left of people who enter
    right: Point  # the other end

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
class FloorPlan:
    """The place of a recording."""

    outline: list[Point]  # corners of the walkable area
    obstacles: list[list[Point]]  # corners of each obstacle inside
    gates: list[Gate]  # N gates through which people enter and leave
    flow: Floats  # people per second from each gate to each other, [N, N]


def corridor(rng: np.random.Generator) -> FloorPlan:
    """A straight corridor with people in both directions."""
    length, width = rng.uniform(18, 24), rng.uniform(3.0, 5.0)
    gates = [Gate((0, width), (0, 0)), Gate((length, 0), (length, width))]
    forth, back = rng.uniform(0.3, 0.7, 2)
    return FloorPlan(_box(0, 0, length, width), [], gates, np.array([[0, forth], [back, 0]]))


def crossing(rng: np.random.Generator) -> FloorPlan:
    """Two corridors that cross; people go on or turn."""
    arm, w = rng.uniform(7, 9), rng.uniform(1.6, 2.4)
    far = arm + w
    quarter = [(-w, -far), (w, -far), (w, -w)]
    outline = [_turned(point, k) for k in range(4) for point in quarter]
    gates = [Gate(_turned((-w, -far), k), _turned((w, -far), k)) for k in range(4)]
    ways = np.array([0.0, 0.2, 0.6, 0.2])
    share = np.stack([np.roll(ways, k) for k in range(4)])
    return FloorPlan(outline, [], gates, rng.uniform(0.1, 0.35, (4, 1)) * share)


def door(rng: np.random.Generator) -> FloorPlan:
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
    return FloorPlan(_box(0, 0, far, width), walls, gates, flow)


def plaza(rng: np.random.Generator) -> FloorPlan:
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
    return FloorPlan(_box(0, 0, size, size), obstacles, gates, flow)


PLACES: dict[str, Callable[[np.random.Generator], FloorPlan]] = {
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


def packages() -> tuple[Any, Any]:
    """JuPedSim and shapely.

    Raises:
        MissingExtra: If one of them is not installed.
    """
    try:
        import jupedsim
        import shapely
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"simulated crowds need {error.name}, which is not installed; pip install trajflow[sim]"
        ) from error
    return jupedsim, shapely


@dataclass
class Party:
    """One or two people who walk together."""

    members: list[int]  # numbers in the simulation
    speed: float  # preferred, metres per second
    log_factor: float = 0.0  # current deviation from the preferred speed
    pause: float = 0.0  # seconds for which they still stand
    blocked: float = 0.0  # seconds for which others have kept them from walking

    def desired_speed(self, rng: np.random.Generator) -> float:
        """The speed for the next step; deviations last for seconds."""
        self.log_factor += -0.15 * self.log_factor + rng.normal(0.0, 0.06)
        self.pause -= DT
        if rng.random() < PAUSES * DT:
            self.pause = rng.uniform(1.0, 5.0)
        return 0.0 if self.pause > 0 else self.speed * float(np.exp(self.log_factor))

    def radius(self, walked: float) -> float:
        """Radius of each in metres; blocked people turn sideways, or crowds would lock."""
        stands = walked < 0.1 and self.pause <= 0
        change = DT if stands else -DT
        self.blocked = min(max(self.blocked + change, 0.0), 4.0)
        return NARROW if self.blocked > 2.0 else RADIUS


class Simulation:
    """A place with people in it.

    Args:
        place: Walls, gates and flows.
        rng: Source of all random numbers.
        groups: Share of the parties of two people.
    """

    def __init__(self, place: FloorPlan, rng: np.random.Generator, groups: float) -> None:
        jupedsim, shapely = packages()
        area = shapely.Polygon(place.outline)
        for obstacle in place.obstacles:
            area = area.difference(shapely.Polygon(obstacle))
        model = jupedsim.AnticipationVelocityModel(rng_seed=int(rng.integers(2**31)))
        self._agent = jupedsim.AnticipationVelocityModelAgentParameters
        self._world = jupedsim.Simulation(model=model, geometry=area, dt=STRIDE)
        self._place, self._rng, self._groups = place, rng, groups
        self._parties: list[Party] = []
        self._last: dict[int, Point] = {}
        self._ways: list[list[tuple[int, int]]] = []
        for gate in place.gates:
            exits = [self._world.add_exit_stage(gate.exit(lane)) for lane in range(gate.lanes)]
            journeys = [self._world.add_journey(jupedsim.JourneyDescription([e])) for e in exits]
            self._ways.append(list(zip(journeys, exits, strict=True)))

    def step(self) -> dict[int, Point]:
        """Positions of all people, by number, before DT seconds pass."""
        self._arrive()
        positions = {agent.id: agent.position for agent in self._world.agents()}
        for party in self._parties:
            party.members = [number for number in party.members if number in positions]
            self._update(party, positions)
        self._parties = [party for party in self._parties if party.members]
        self._last = positions
        self._world.iterate(round(DT / STRIDE))
        return positions

    def _update(self, party: Party, positions: dict[int, Point]) -> None:
        """Set the desired speed, radius and goal of a party until the next step."""
        speed = party.desired_speed(self._rng)
        walked = [math.dist(positions[n], self._last[n]) for n in party.members if n in self._last]
        radius = party.radius(min(walked, default=RADIUS))
        for number in party.members:
            state = self._world.agent(number).model
            state.desired_speed, state.radius = speed, radius
        if self._rng.random() < (0.2 if party.blocked >= 4.0 else TURNS * DT):
            self._turn(party)

    def _arrive(self) -> None:
        """Add parties at the gates, where there is room."""
        flow = self._place.flow
        for start, goal in np.argwhere(self._rng.random(flow.shape) < flow * DT):
            gate = self._place.gates[start]
            size = 1 + int(self._rng.random() < self._groups)
            lane = self._rng.uniform(0.4, gate.lanes - 0.4 - BESIDE * (size - 1))
            speed = float(np.clip(self._rng.normal(1.4, 0.2), 0.7, 2.0))
            way = self._way(goal)
            spots = [gate.spot(lane + BESIDE * k, 1.3) for k in range(size)]
            if not any(list(self._world.agents_in_range(spot, 0.6)) for spot in spots):
                self._parties.append(Party([self._add(s, speed, way) for s in spots], speed))

    def _add(self, spot: Point, speed: float, way: tuple[int, int]) -> int:
        journey, stage = way
        person = self._agent(
            position=spot, desired_speed=speed, radius=RADIUS, journey_id=journey, stage_id=stage
        )
        return int(self._world.add_agent(person))

    def _turn(self, party: Party) -> None:
        """Send a party to another gate, by its share of the flow."""
        busy = self._place.flow.sum(0)
        way = self._way(self._rng.choice(len(busy), p=busy / busy.sum()))
        for number in party.members:
            self._world.switch_agent_journey(number, *way)

    def _way(self, gate: int) -> tuple[int, int]:
        lanes = self._ways[gate]
        return lanes[self._rng.integers(len(lanes))]


@dataclass(frozen=True)
class _Recording:
    """The parameters of one scene; the same ones give the same tracks."""

    place: str
    part: str
    number: int
    seed: int

    @property
    def scene(self) -> str:
        return f"{self.place}-{self.part}-{self.number:03d}"

    def tracks(self, seconds: float, groups: float, noise: float) -> TrackBlock:
        rng = np.random.default_rng([self.seed, self.number, *self.place.encode()])
        people = Simulation(PLACES[self.place](rng), rng, groups)
        for _ in range(round(WARM_UP / DT)):
            people.step()
        steps = [people.step() for _ in range(round(seconds / DT))]
        rows = sorted((n, k, *spot) for k, step in enumerate(steps) for n, spot in step.items())
        table = np.array(rows).reshape(-1, 4)
        numbers, rowsize = np.unique(table[:, 0], return_counts=True)
        return TrackBlock(
            scene=self.scene,
            labels=list(range(len(numbers))),
            types=["pedestrian"] * len(numbers),
            rowsize=rowsize,
            time=DT * table[:, 1],
            position=table[:, 2:] + rng.normal(0.0, noise, (len(table), 2)),
            split=self.part,
        )


def generate(
    seed: int,
    *,
    place: str = "all",
    train: int = 3,
    val: int = 1,
    test: int = 1,
    seconds: float = 60.0,
    groups: float = 0.2,
    noise: float = 0.01,
) -> SyntheticTracks:
    """Recordings of each place, by split, each `seconds` long, in metres.

    `groups` is the share of parties of two, `noise` the standard deviation of a coordinate. Each
    fold leaves out one place, if there are several.

    Raises:
        ConfigError: If there is no such place or the recordings are too short.
        MissingExtra: If JuPedSim is not installed.
    """
    packages()
    chosen = list(PLACES) if place == "all" else [place]
    if place not in {"all", *PLACES}:
        raise ConfigError(did_you_mean("place", place, ["all", *PLACES]))
    if seconds < 10:
        raise ConfigError(f"option seconds of crowd must be at least 10, got {seconds}")
    parts = ["train"] * train + ["val"] * val + ["test"] * test
    plans = [_Recording(p, part, k, seed) for p in chosen for k, part in enumerate(parts)]
    return SyntheticTracks(
        blocks=(plan.tracks(seconds, groups, noise) for plan in plans),
        dims=2,
        dt=DT,
        unit="m",
        source=f"synthetic crowd {place}, seed {seed}",
        folds={name: _fold(name, plans) for name in chosen},
    )


def _fold(place: str, plans: list[_Recording]) -> list[str]:
    """Test scenes of the fold of a place."""
    several = len({plan.place for plan in plans}) > 1
    return [p.scene for p in plans if p.place == place and (several or p.part == "test")]
