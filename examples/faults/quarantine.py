"""Attack a predictor with `on_bad="quarantine"`: other agents' forecasts must not change.

    python examples/faults/quarantine.py [--count 200] [--scenes 500] [--json]

Random batches get bad agents (missing, infinite, huge, jumping, far away) and a bad neighbor.
The forecasts of the other agents must be equal, bit for bit, to those of a call in which the pasts
of the bad agents are missing; without interaction between agents, also to those of the clean batch.
The CPU time of a batch with bad agents is compared with that of the clean batch, in turns, for a
predictor and an ensemble; and the time to check ids for duplicates, for 10 and 80 thousand ids.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from fixtures import random_pasts, small_predictor
from report import option_parser, print_report

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
MAX_COST = 1.1
"""Largest CPU time of a batch with bad agents, relative to that of the clean batch."""


def random_scenes(scenes: int, agents: int, seed: int) -> np.ndarray:
    """Pasts of several scenes, [B, A, T, D]."""
    return np.stack([random_pasts(agents, seed + 1000 * scene) for scene in range(scenes)])


def attack_changes_others(ensemble: Ensemble, seed: int) -> bool:
    """Whether a random attack changes the forecasts of other agents."""
    rng = np.random.default_rng(seed)
    scenes, agents = (int(rng.integers(1, high)) for high in (6, 9))
    past = random_scenes(scenes, agents, seed)
    neighbors = past[:, ::-1] + 1.0
    options = {"samples": 5, "seed": seed, "on_bad": "quarantine"}
    options |= {"select": "kmeans", "draws": 20} if seed % 4 == 0 else {}
    bad = rng.random((scenes, agents)) < 0.3
    bad[:, 0] = False  # the first agent may define the origin of the scene
    attacked, missing = past.copy(), past.copy()
    for index in np.argwhere(bad):
        attack = list(ATTACKS.values())[int(rng.integers(len(ATTACKS)))]
        attacked[*index] = attack(past[*index])
    missing[bad] = np.nan
    masked = np.ma.masked_array(np.nan_to_num(missing, nan=1e30), np.isnan(missing))
    bad_neighbors, missing_neighbors = neighbors.copy(), neighbors.copy()
    bad_neighbors[0, 0], missing_neighbors[0, 0] = np.inf, np.nan
    for predictor in (*ensemble.predictors[:1], ensemble):
        expected = predictor.predict(missing, missing_neighbors, **options)
        for batch in (attacked, masked):
            forecast = predictor.predict(batch, bad_neighbors, **options)
            if not np.array_equal(forecast.samples, expected.samples, equal_nan=True):
                return True
            if not np.array_equal(forecast.faults.astype(bool), bad):
                return True
            if not np.array_equal(np.isfinite(forecast.samples).all((0, 3, 4)), ~bad):
                return True
    return False


def attack_changes_noise(seed: int) -> bool:
    """Whether a bad agent changes the forecasts of a model without interaction."""
    predictor = small_predictor()
    predictor.model.social = None
    past = random_scenes(4, 7, seed)
    clean = predictor.predict(past, samples=5, seed=seed).samples
    past[1, 3] = np.inf
    attacked = predictor.predict(past, samples=5, seed=seed, on_bad="quarantine").samples
    others = np.ones((4, 7), bool)
    others[1, 3] = False
    return bool(np.abs(attacked - clean)[:, others].max() > 1e-4)


def cpu_seconds(call: Callable[[], object]) -> float:
    """CPU time of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def quarantine_cost(predictor: Predictor | Ensemble, scenes: int) -> float:
    """CPU time of a batch with one bad agent per scene, relative to that of a clean one."""
    clean = random_scenes(scenes, 10, 0)
    bad = clean.copy()
    bad[:, 4] = np.inf

    def cost(past: np.ndarray) -> float:
        return cpu_seconds(lambda: predictor.predict(past, samples=20, seed=0, on_bad="quarantine"))

    ratios = [1 / cost(clean) * cost(bad) for _ in range(9)]
    return float(np.median(ratios[2:]))


def id_check_growth() -> float:
    """CPU time to check 80 000 ids relative to 10 000; 8 if it is linear."""

    def seconds(count: int) -> float:
        pasts, ids = np.zeros((1, count, 8, 2)), [f"agent {n}" for n in range(count)]
        return cpu_seconds(lambda: faults_of(pasts, 1.0, ids))

    return 1 / seconds(10_000) * seconds(80_000)


def main() -> None:
    """Run the attacks and measure their cost."""
    parser = option_parser(__doc__, 200)
    parser.add_argument("--scenes", type=int, default=500, help="scenes of the timed batch; 500")
    options = parser.parse_args()
    torch.set_num_threads(1)
    predictor = small_predictor()
    ensemble = Ensemble([predictor, small_predictor()])
    seeds = range(options.seed, options.seed + options.count)
    changed = sum(attack_changes_others(ensemble, seed) for seed in seeds)
    noise = sum(attack_changes_noise(options.seed + n) for n in range(20))
    costs = {
        "cost, predictor": round(quarantine_cost(predictor, options.scenes), 3),
        "cost, ensemble": round(quarantine_cost(ensemble, options.scenes), 3),
    }
    results: dict[str, object] = {"attacks": options.count, "others changed": changed}
    results |= {"noise of others changed": noise, **costs}
    print_report(results | {"8 times the ids": round(id_check_growth(), 1)}, options.json)
    sys.exit(bool(changed or noise) or max(costs.values()) > MAX_COST)


if __name__ == "__main__":
    main()
