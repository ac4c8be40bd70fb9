"""How well the model foretells the last steps of a past from the ones before."""

import numpy as np

from trajflow.surprise.scores import State
from trajflow.surprise.scores._sides import both, quantiles, rarity, share
from trajflow.surprise.sight import Sight
from trajflow.types import Floats


def fit(sight: Sight, weight: Floats) -> State:
    """What is usual of the energy score of agents of weights [N]."""
    return quantiles(sight.foretold, weight)


def values(state: State, sight: Sight) -> Floats:
    """How unusual the energy score is, [N]: too high is no less strange than too low.

    Source: Nalisnick et al. 2019, "Detecting out-of-distribution inputs to deep generative models
    using typicality".
    """
    return both(state, sight.foretold)


def reasons(state: State, sight: Sight) -> list[str]:
    """Which way it is unusual, and how much, [N]."""
    worse = share(state, sight.foretold) >= 0.5
    told = rarity(state, sight.foretold)
    return [
        f"its last steps follow {'worse' if bad else 'better'} from the ones before, "
        f"energy score {np.exp(score):.2g} of its pace: {rare}"
        for bad, score, rare in zip(worse, sight.foretold, told, strict=True)
    ]
