"""People in a place, moved by JuPedSim step by step; who comes, pauses and turns is random."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from trajflow.datasets.synthetic._places import Place, Point
from trajflow.errors import MissingExtra

DT = 0.4
STRIDE = 0.02
RADIUS = 0.2
NARROW = 0.12
BESIDE = 0.65
PAUSES = 0.01
TURNS = 0.01


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
    """One or two people who walk together.

    Attributes:
        members: Their numbers in the simulation.
        speed: What they like best, metres per second.
        mood: How far they are off it now, in logarithms.
        pause: Seconds for which they go on standing.
        held: Seconds for which others have kept them from walking.
    """

    members: list[int]
    speed: float
    mood: float = 0.0
    pause: float = 0.0
    held: float = 0.0

    def wish(self, rng: np.random.Generator) -> float:
        """The speed they want for the next step; moods last for seconds."""
        self.mood += -0.15 * self.mood + rng.normal(0.0, 0.06)
        self.pause -= DT
        if rng.random() < PAUSES * DT:
            self.pause = rng.uniform(1.0, 5.0)
        return 0.0 if self.pause > 0 else self.speed * float(np.exp(self.mood))

    def radius(self, walked: float) -> float:
        """Metres of room each needs; who is held up turns sideways, or crowds would lock."""
        stands = walked < 0.1 and self.pause <= 0
        self.held = min(self.held + DT, 4.0) if stands else max(self.held - DT, 0.0)
        return NARROW if self.held > 2.0 else RADIUS


class Simulation:
    """A place with people in it.

    Args:
        place: Walls, gates and flows.
        rng: What all chance is drawn from.
        groups: Share of the parties that are two people, the rest is one.
    """

    def __init__(self, place: Place, rng: np.random.Generator, groups: float) -> None:
        jupedsim, shapely = packages()
        area = shapely.Polygon(place.outline)
        for obstacle in place.obstacles:
            area = area.difference(shapely.Polygon(obstacle))
        model = jupedsim.AnticipationVelocityModel(rng_seed=int(rng.integers(2**31)))
        self._agent = jupedsim.AnticipationVelocityModelAgentParameters
        self._world = jupedsim.Simulation(model=model, geometry=area, dt=STRIDE)
        self._place, self._rng, self._groups = place, rng, groups
        self._parties: list[Party] = []
        self._seen: dict[int, Point] = {}
        self._ways: list[list[tuple[int, int]]] = []
        for gate in place.gates:
            exits = [self._world.add_exit_stage(gate.exit(lane)) for lane in range(gate.lanes)]
            journeys = [self._world.add_journey(jupedsim.JourneyDescription([e])) for e in exits]
            self._ways.append(list(zip(journeys, exits, strict=True)))

    def step(self) -> dict[int, Point]:
        """Where everybody is, by number; then DT seconds pass."""
        self._arrive()
        seen = {agent.id: agent.position for agent in self._world.agents()}
        for party in self._parties:
            party.members = [number for number in party.members if number in seen]
            self._live(party, seen)
        self._parties = [party for party in self._parties if party.members]
        self._seen = seen
        self._world.iterate(round(DT / STRIDE))
        return seen

    def _live(self, party: Party, seen: dict[int, Point]) -> None:
        """What a party wants and how much room it takes until the next step."""
        wish = party.wish(self._rng)
        walked = [math.dist(seen[n], self._seen[n]) for n in party.members if n in self._seen]
        radius = party.radius(min(walked, default=RADIUS))
        for number in party.members:
            state = self._world.agent(number).model
            state.desired_speed, state.radius = wish, radius
        if self._rng.random() < (0.2 if party.held >= 4.0 else TURNS * DT):
            self._turn(party)

    def _arrive(self) -> None:
        """New parties come through the gates; who finds no room stays away."""
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
        """They make for another gate, a busy one rather than a quiet one."""
        busy = self._place.flow.sum(0)
        way = self._way(self._rng.choice(len(busy), p=busy / busy.sum()))
        for number in party.members:
            self._world.switch_agent_journey(number, *way)

    def _way(self, gate: int) -> tuple[int, int]:
        lanes = self._ways[gate]
        return lanes[self._rng.integers(len(lanes))]
