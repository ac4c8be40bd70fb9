"""People who walk, for tests of what is strange about walking."""

import numpy as np

from trajflow.batch import Batch

A = 3


def walkers(people, seed, history, horizon, windows=4):
    """Batches of three people each, who walk their own pace with some sway; windows overlap."""
    chance = np.random.default_rng(seed)
    found = []
    for first in range(0, people, A):
        length = history + horizon + windows
        pace = chance.uniform(0.3, 0.6, (A, 1, 1))
        turn = chance.normal(0, 0.03, (A, length, 1)).cumsum(1) + chance.uniform(0, 6.3, (A, 1, 1))
        step = pace * np.concatenate([np.cos(turn), np.sin(turn)], 2)
        step = step * chance.uniform(0.9, 1.1, (A, length, 1))
        path = step.cumsum(1) + chance.uniform(-20, 20, (A, 1, 2))
        shots = np.stack([path[:, n : n + history + horizon] for n in range(windows)])
        agent = np.broadcast_to(np.arange(first, first + A), (windows, A))
        found.append(
            Batch(
                past=shots[:, :, :history],
                future=shots[:, :, history:],
                target=np.ones((windows, A), bool),
                scene=np.zeros(windows, np.int64),
                start=np.arange(windows),
                agent=agent + 1000 * seed,
            )
        )
    return found
