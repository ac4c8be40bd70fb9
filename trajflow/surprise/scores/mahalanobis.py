"""How far a context lies from the middle of those learned from, in deviations."""

import numpy as np

from trajflow.surprise.scores import State
from trajflow.surprise.sight import Sight
from trajflow.types import Floats


def fit(sight: Sight, weight: Floats) -> State:
    """Mean and whitening of the contexts of agents of weights [N].

    Source: Lee, Lee, Lee and Shin 2018, "A simple unified framework for detecting
    out-of-distribution samples and adversarial attacks"; Ledoit and Wolf 2004 for the covariance.
    """
    from sklearn.covariance import LedoitWolf

    chosen = np.random.default_rng(0).choice(len(weight), len(weight), p=weight / weight.sum())
    found = LedoitWolf().fit(sight.context[chosen])
    values, vectors = np.linalg.eigh(found.covariance_)
    root = vectors / np.sqrt(np.maximum(values, 1e-12))
    usual = np.sqrt(np.mean(np.square((sight.context - found.location_) @ root).sum(1)))
    return {"mean": found.location_, "root": root, "usual": np.array([usual])}


def values(state: State, sight: Sight) -> Floats:
    """Mahalanobis distance, [N]."""
    return np.asarray(np.linalg.norm((sight.context - state["mean"]) @ state["root"], axis=1))


def reasons(state: State, sight: Sight) -> list[str]:
    """How far it is, [N]."""
    usual = float(state["usual"][0])
    return [
        f"what the network makes of it is {far / usual:.1f} times as far from the middle as usual"
        for far in values(state, sight)
    ]
