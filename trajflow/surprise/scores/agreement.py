"""How far futures of one and of two evaluations of the network are apart."""

import numpy as np

from trajflow.surprise.scores import State
from trajflow.surprise.scores._sides import both, quantiles, rarity
from trajflow.surprise.sight import Sight
from trajflow.types import Floats


def fit(sight: Sight, weight: Floats) -> State:
    """What is usual of the distance of agents of weights [N]."""
    return quantiles(sight.agreement, weight)


def values(state: State, sight: Sight) -> Floats:
    """How unusual the distance is, over the spread of futures, [N]."""
    return both(state, sight.agreement)


def reasons(state: State, sight: Sight) -> list[str]:
    """How far they are apart, [N]."""
    told = rarity(state, sight.agreement)
    return [
        f"futures of one and two evaluations are apart by {np.exp(far):.2g} of their spread: {rare}"
        for far, rare in zip(sight.agreement, told, strict=True)
    ]
