"""Which agents are learned from, which ones select and which calibrate, who is in two parts."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import combinations

import numpy as np

from trajflow.batch import Bools, Ints
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


def selects(scenes: Sequence[str], labels: Sequence[str]) -> Bools:
    """Whether each agent is of the half that selects rather than the one that calibrates, [N].

    It follows from the agent alone, so nobody changes sides where others come or go.

    Args:
        scenes: Name of each agent's recording, N of them.
        labels: The source's own id of each.
    """
    names = [f"{scene}\0{label}".encode() for scene, label in zip(scenes, labels, strict=True)]
    return np.array([blake2b(name, digest_size=1).digest()[0] % 2 == 0 for name in names], bool)
