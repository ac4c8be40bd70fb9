"""Attack a predictor's `on_bad="quarantine"`: nobody else may suffer, in numbers or in time.

    python examples/faults/quarantine.py [--count 200] [--scenes 500] [--json]

Random batches get bad agents (missing, infinite, absurdly large, jumping, far away, of a repeated
id, masked) and bad neighbors. The others' forecasts must be, bit for bit, those of a call in which
these agents' pasts are missing, and without interaction between agents those of the clean call.
Then the processor time of a batch with bad agents is held against that of the clean batch, in
turns, for a predictor and an ensemble, and that of finding repeated ids for 10 and 80 thousand.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from networks import crowd, small_predictor
from report import arguments, tell

from trajflow import Ensemble, Predictor
from trajflow.inference.inputs import faults_of

ATTACKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "missing": lambda past: past * np.nan,
    "infinite": lambda past: np.where(past == past.max(), np.inf, past),
    "minus infinite": lambda past: np.where(past == past.min(), -np.inf, past),
    "huge": lambda past: past * 1e307,
    "jumping": lambda past: past + np.arange(len(past))[:, None] * 1e6,
    "far away": lambda past: past + 1e12 * (1 + abs(past[0, 0])),
}
LIMIT = 1.1
"""Most processor time of a batch with bad agents, over that of the clean batch."""


def attacked(ensemble: Ensemble, seed: int) -> bool:
    """Whether a random attack changes what others are forecast."""
    chance = np.random.default_rng(seed)
    scenes, agents = (int(chance.integers(1, most)) for most in (6, 9))
    past = np.stack([crowd(agents, seed + 1000 * one) for one in range(scenes)])
    around = past[:, ::-1] + 1.0
    asked = {"samples": 5, "seed": seed, "on_bad": "quarantine"}
    asked |= {"select": "kmeans", "draws": 20} if seed % 4 == 0 else {}
    bad = chance.random((scenes, agents)) < 0.3
    bad[:, 0] = False  # of equals the first agent's place is the scene's
    spoiled, missing = past.copy(), past.copy()
    for place in np.argwhere(bad):
        attack = list(ATTACKS.values())[int(chance.integers(len(ATTACKS)))]
        spoiled[*place] = attack(past[*place])
    missing[bad] = np.nan
    near, without = around.copy(), around.copy()
    near[0, 0], without[0, 0] = np.inf, np.nan
    masked = np.ma.masked_array(np.nan_to_num(missing, nan=1e30), np.isnan(missing))
    for predictor in (*ensemble.predictors[:1], ensemble):
        told = predictor.predict(spoiled, near, **asked)
        hidden = predictor.predict(masked, near, **asked)
        expected = predictor.predict(missing, without, **asked)
        for one in (told, hidden):
            if not np.array_equal(one.samples, expected.samples, equal_nan=True):
                return True
            if not np.array_equal(one.faults.astype(bool), bad):
                return True
        if not np.array_equal(np.isfinite(told.samples).all((0, 3, 4)), ~bad):
            return True
    return False


def apart(seed: int) -> bool:
    """Whether a bad agent changes the noise of others, who do not look at each other."""
    alone = small_predictor()
    alone.model.social = None
    past = np.stack([crowd(7, seed + 1000 * one) for one in range(4)])
    clean = alone.predict(past, samples=5, seed=seed).samples
    past[1, 3] = np.inf
    told = alone.predict(past, samples=5, seed=seed, on_bad="quarantine").samples
    others = np.ones((4, 7), bool)
    others[1, 3] = False
    return bool(np.abs(told - clean)[:, others].max() > 1e-4)


def cost(predictor: Predictor | Ensemble, scenes: int) -> float:
    """Processor time of a batch with a bad agent in every scene, over that of a clean one."""
    past = np.stack([crowd(10, one) for one in range(scenes)])
    spoiled = past.copy()
    spoiled[:, 4] = np.inf
    taken: list[list[float]] = []
    for _ in range(9):
        pair = []
        for one in (past, spoiled):
            began = time.process_time()
            predictor.predict(one, samples=20, seed=0, on_bad="quarantine")
            pair.append(time.process_time() - began)
        taken.append(pair)
    return float(np.median([bad / clean for clean, bad in taken[2:]]))


def growth() -> float:
    """How much longer 8 times as many ids take to be looked through, 8 if that is linear."""
    seconds = []
    for count in (10_000, 80_000):
        points, ids = np.zeros((1, count, 8, 2)), [f"agent {n}" for n in range(count)]
        began = time.process_time()
        faults_of(points, 1.0, ids)
        seconds.append(time.process_time() - began)
    return seconds[1] / seconds[0]


def main() -> None:
    """Attack as often as asked."""
    asked = arguments(200, __doc__ or "", scenes=500)
    torch.set_num_threads(1)
    predictor = small_predictor()
    ensemble = Ensemble([predictor, small_predictor()])
    found: dict[str, object] = {
        "attacks": asked.count,
        "others changed": sum(attacked(ensemble, asked.seed + n) for n in range(asked.count)),
        "noise of others changed": sum(apart(asked.seed + n) for n in range(20)),
    }
    held = not found["others changed"] and not found["noise of others changed"]
    for name, one in (("predictor", predictor), ("ensemble", ensemble)):
        ratio = cost(one, asked.scenes)
        found[f"cost, {name}"], held = round(ratio, 3), held and ratio <= LIMIT
    found["8 times the ids"] = round(growth(), 1)
    tell(found, asked.json)
    raise SystemExit(not held)


if __name__ == "__main__":
    main()
