"""How wide the forecast is for the pace of the agent."""

import numpy as np

from trajflow.surprise.scores import State
from trajflow.surprise.scores._sides import both, quantiles, rarity
from trajflow.surprise.sight import Sight
from trajflow.types import Floats


def fit(sight: Sight, weight: Floats) -> State:
    """What is usual of the spread of agents of weights [N]."""
    return quantiles(sight.spread, weight)


def values(state: State, sight: Sight) -> Floats:
    """How unusual the spread is, over the agent's own pace, [N]."""
    return both(state, sight.spread)


def reasons(state: State, sight: Sight) -> list[str]:
    """How wide it is, [N]."""
    told = rarity(state, sight.spread)
    return [
        f"its forecast spreads by {np.exp(wide):.2g} of a step: {rare}"
        for wide, rare in zip(sight.spread, told, strict=True)
    ]
