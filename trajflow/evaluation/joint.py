"""Whether agents agree: joint scores of the same samples, shuffled so that no agreement is left."""

import numpy as np

from trajflow import metrics
from trajflow.evaluation.protocol import Judging
from trajflow.types import Batch, Floats

SHUFFLES = 5
"""Shuffles that a report takes the mean over: one alone is noisy where few agents meet."""
PAIRS = {
    "jade": "jade_independent",
    "jfde": "jfde_independent",
    "collision_rate": "collision_rate_independent",
}
"""Joint scores, and the names they have of shuffled samples."""
JOINT = (*PAIRS.values(), *(f"{name}_gain" for name in PAIRS))
"""A gain is what agreement takes off a score: the shuffled one minus the plain one."""


def shuffled(samples: Floats, chance: np.random.Generator) -> Floats:
    """The same samples, in an order of its own for each agent, [S, B, A, F, D].

    What is drawn of each agent stays the same to the last digit; which draws of two agents have
    the same number is up to chance, as if everyone had been forecast alone.

    Args:
        samples: Sample s of all agents of a scene is one future, [S, B, A, F, D].
        chance: What decides.
    """
    count, scenes, agents = samples.shape[:3]
    orders = np.broadcast_to(np.arange(count)[:, None, None], (count, scenes, agents))
    orders = chance.permuted(orders, axis=0)
    return np.take_along_axis(samples, orders[..., None, None], 0)


def independent_scores(samples: Floats, batch: Batch, judging: Judging, seed: int) -> Floats:
    """One row per target of the batch, one column per name of JOINT; means over the shuffles.

    Args:
        samples: What was forecast, [S, B, A, F, D].
        batch: What happened.
        judging: The terms; `shuffles` of them is how often.
        seed: What the shuffles follow from.
    """
    chance = np.random.default_rng(seed)
    plain = _joint_scores(samples, batch, judging)
    times = judging.shuffles
    total = np.zeros_like(plain)
    for _ in range(times):
        total += _joint_scores(shuffled(samples, chance), batch, judging)
    alone = total / times
    return np.concatenate([alone, alone - plain], -1)


def _joint_scores(samples: Floats, batch: Batch, judging: Judging) -> Floats:
    target = batch.target
    columns = {
        "jade": metrics.joint_ade(samples, batch.future, target),
        "jfde": metrics.joint_fde(samples, batch.future, target),
        "collision_rate": metrics.collision_rate(samples, target, judging.collide),
    }
    return np.stack([columns[name][target] for name in PAIRS], -1)
