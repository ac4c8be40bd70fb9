"""Which agents are learned from when data shall be few, and which agents are in two parts."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from trajflow.batch import Ints
from trajflow.errors import ConfigError


def draw_agents(agents: Ints, fraction: float, seed: int) -> Ints:
    """A share of the agents, at least one; of one seed, the larger share holds the smaller.

    Args:
        agents: Numbers of agents, each once, [N].
        fraction: Share to keep.
        seed: Which agents.

    Raises:
        ConfigError: The share is not above 0 and at most 1.
    """
    if not 0 < fraction <= 1:
        raise ConfigError(f"fraction of the agents must be above 0 and at most 1, got {fraction}")
    count = min(len(agents), max(1, round(fraction * len(agents))))
    return np.sort(np.random.default_rng(seed).permutation(agents)[:count])


def leakage(agents: Mapping[str, Ints]) -> dict[str, Ints]:
    """Agents who are targets in two parts, by the names of both ("train+test").

    Args:
        agents: Numbers of the target agents of each part, [N].
    """
    pairs = combinations(agents, 2)
    return {f"{one}+{two}": np.intersect1d(agents[one], agents[two]) for one, two in pairs}
