"""Walkers who meet at one point and pass it one after the other, in a random order.

Each walker alone may be early or late; together exactly one of them is first. The joint density
of all futures has a closed form: `conditional(past)` is exact.
"""

from dataclasses import dataclass
from itertools import pairwise, permutations

import numpy as np
from numpy.typing import NDArray

from trajflow.datasets.synthetic import SyntheticTracks
from trajflow.datasets.synthetic.fork import Variation, read_motion, smooth, unit, walks
from trajflow.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DT = 0.4
HISTORY = 8
HORIZON = 12
GAP = 1.2
PATIENCE = 0.5
VARIATION = Variation(along=(0.15, 0.1), across=(0.1,), noise=0.01)


@dataclass(frozen=True)
class Crossing:
    """Joint distribution of the futures of A walkers: N = A! orders, Gaussian around paths."""

    orders: Ints  # walkers in the order in which they pass, [N, A]
    probability: Floats  # of each order, [*, N]
    mean: Floats  # mean paths in each order, [N, *, A, F, 2], metres
    heading: Floats  # direction of each walker, [*, A, F], radians

    @property
    def first(self) -> Floats:
        """Probability that each walker passes first, [*, A]."""
        return self._first(self.probability)

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """Draw S = n joint futures of each past, [S, *, A, F, 2], metres."""
        shape = self.probability.shape[:-1]
        draw = rng.random((n, *shape, 1)) > self.probability.cumsum(-1)[..., :-1]
        order = draw.sum(-1)[None, ..., None, None, None]
        mean = np.take_along_axis(self.mean[:, None], order, 0)[0]
        return VARIATION.sample(mean, np.broadcast_to(self.heading, mean.shape[:-1]), rng)

    def log_density(self, future: Floats) -> Floats:
        """Joint log density [*] of futures [*, A, F, 2], per metre to the power 2 A F."""
        return np.asarray(np.logaddexp.reduce(self._orders(future), -1))

    def goes_first(self, future: Floats) -> Floats:
        """Probability [*, A] that each walker passed first in futures [*, A, F, 2]."""
        joint = self._orders(future)
        return self._first(np.exp(joint - np.logaddexp.reduce(joint, -1, keepdims=True)))

    def _orders(self, future: Floats) -> Floats:
        """Log density [*, N] of futures together with each order."""
        parts = [VARIATION.log_density(future, mean, self.heading).sum(-1) for mean in self.mean]
        return np.asarray(np.log(self.probability) + np.stack(parts, -1))

    def _first(self, probability: Floats) -> Floats:
        leads = self.orders[:, :1] == np.arange(self.orders.shape[1])
        return np.asarray(probability @ leads.astype(np.float64))


def conditional(past: Floats) -> Crossing:
    """The joint distribution of the futures of pasts [*, A, 8, 2] of one crossing, metres.

    Walkers who would arrive sooner go first more often; the others slow down until the point has
    been free for a while.

    Raises:
        DataError: If the shape differs or the walkers do not head for one point.
    """
    if past.ndim < 3 or past.shape[-3] < 2 or past.shape[-2:] != (HISTORY, 2):
        raise DataError(f"past must be [*, A, {HISTORY}, 2] with A > 1, got {list(past.shape)}")
    motion = read_motion(past, DT)
    forward = unit(motion.heading)
    away = _meeting_point(motion.position, forward)[..., None, :] - motion.position
    arrival = (away * forward).sum(-1) / motion.speed
    orders = np.array(list(permutations(range(past.shape[-3]))))
    delay = _slots(arrival, orders) - arrival
    seconds = np.linspace(DT, HORIZON * DT, HORIZON)
    slow = smooth(seconds / np.maximum(1.6 * delay, DT)[..., None])
    walked = seconds - delay[..., None] * slow
    shift = (motion.speed[..., None] * walked)[..., None] * forward[..., None, :]
    heading = np.repeat(motion.heading[..., None], HORIZON, -1)
    probability = _order_probability(arrival, orders)
    return Crossing(orders, probability, motion.position[..., None, :] + shift, heading)


def _meeting_point(position: Floats, forward: Floats) -> Floats:
    """Point [*, 2] nearest to the lines through [*, A, 2] along [*, A, 2], by least squares."""
    across = np.eye(2) - forward[..., :, None] * forward[..., None, :]
    total = across.sum(-3)
    if (np.linalg.det(total) < 1e-3).any():
        raise DataError("the pasts run side by side; give walkers who head for one crossing")
    return np.linalg.solve(total, (across @ position[..., None]).sum(-3))[..., 0]


def _slots(arrival: Floats, orders: Ints) -> Floats:
    """When each walker passes the point in each order [N, A], at least GAP apart, [N, *, A]."""
    slots = np.broadcast_to(arrival, (len(orders), *arrival.shape)).copy()
    for slot, order in zip(slots, orders, strict=True):
        for before, after in pairwise(order):
            slot[..., after] = np.maximum(slot[..., after], slot[..., before] + GAP)
    return slots


def _order_probability(arrival: Floats, orders: Ints) -> Floats:
    """Probability [*, N] of each order [N, A]: the next is drawn among those who still wait."""
    weight = np.exp(-(arrival - arrival.min(-1, keepdims=True)) / PATIENCE)[..., orders]
    waiting = weight[..., ::-1].cumsum(-1)[..., ::-1]
    return np.asarray((weight / waiting).prod(-1))


def draw_pasts(scenes: int, agents: int, rng: np.random.Generator) -> Floats:
    """Observed pasts [B, A, 8, 2] of walkers from different arms of a crossing, metres."""
    turn = {2: np.pi / 2, 3: 2 * np.pi / 3}[agents]
    heading = rng.uniform(-np.pi, np.pi, (scenes, 1)) + turn * np.arange(agents)
    heading += rng.normal(0.0, 0.08, (scenes, agents))
    speed = rng.uniform(1.0, 1.6, (scenes, agents))
    late = rng.normal(0.0, 0.2, (scenes, agents)).clip(-0.4, 0.4)
    arrival = rng.uniform(2.0, 2.4, (scenes, 1)) + late
    before = arrival[..., None] + DT * np.arange(HISTORY - 1, -1, -1)
    path = -(speed[..., None] * before)[..., None] * unit(heading)[..., None, :]
    centre = rng.normal(0.0, 5.0, (scenes, 1, 1, 2))
    return np.asarray(centre + path + rng.normal(0.0, VARIATION.noise, path.shape))


def generate(
    seed: int, *, train: int = 2000, val: int = 250, test: int = 500, agents: int = 2
) -> SyntheticTracks:
    """Scenes of 20 steps in which 2 or 3 agents meet, by split, in metres."""
    if agents not in (2, 3):
        raise ConfigError(f"option agents of crossing must be 2 or 3, got {agents}")

    def draw(scenes: int, rng: np.random.Generator) -> Floats:
        past = draw_pasts(scenes, agents, rng)
        return np.concatenate([past, conditional(past).sample(1, rng)[0]], 2)

    sizes = {"train": train, "val": val, "test": test}
    source = f"synthetic crossing of {agents}, seed {seed}"
    return walks("crossing", source, sizes, draw, np.random.default_rng(seed))
