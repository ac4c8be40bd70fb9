"""Can anything tell a past played backwards, or rounded positions, from ordinary ones?

    python examples/reversal.py RUN DATA [--windows N]

Trains a classifier for each of these alone, on the training people of a run: on every step of the
track turned into its own heading, on all features of the track, and on these with the encoder's
context. What it reaches on validation people (AUROC, 95 % of resamples of people) bounds what a
score that knows nothing of it could reach. Changed pasts are those of other windows than the
ordinary ones, so that none is beside its own mirror; whole windows are reversed, and only those who
are seen in all of one are shown, because who comes and who goes would tell the direction of time.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from trajflow.datasets.store import open_store
from trajflow.inference.predictor import TorchPredictor
from trajflow.ood.changes import World, reversed_time
from trajflow.ood.evaluate import turned_steps
from trajflow.ood.features import TrackSteps, track_features
from trajflow.ood.statistics import Rates, bootstrap_weights, interval
from trajflow.runs import RunFolder, track_data
from trajflow.types import Batch

CASES = ("reversed", "rounded to 1 mm", "rounded to 1 cm", "rounded to 5 cm", "rounded to 10 cm")


def alone(batch: Batch) -> Batch:
    """The batch with its targets only."""
    here = batch.target[..., None, None]
    past, future = (np.where(here, path, np.nan) for path in (batch.past, batch.future))
    return replace(batch, past=past, future=future)


def changed(batch: Batch, case: str) -> np.ndarray:
    """Pasts [B, A, T, D] under a case."""
    if case == "reversed":
        severity = np.ones(len(batch.scene))
        return reversed_time(batch, severity, np.random.default_rng(0), World()).past
    number, unit = case.removeprefix("rounded to ").split()
    size = float(number) * {"mm": 1e-3, "cm": 1e-2}[unit]
    return np.round(batch.past / size) * size


def seen(predictor: TorchPredictor, batch: Batch, past: np.ndarray) -> list[np.ndarray]:
    """What classifiers look at: steps, features of the track, these and the context, [N, ...]."""
    pasts = past[batch.target]
    track = track_features(TrackSteps.of(pasts, predictor.displacement_scale))
    context = predictor.contexts(replace(batch, past=past))
    return [turned_steps(pasts), track, np.concatenate([track, context], 1)]


def rows(predictor: TorchPredictor, batches: list[Batch], case: str | None) -> list[np.ndarray]:
    """The same of all batches."""
    found = [seen(predictor, b, b.past if case is None else changed(b, case)) for b in batches]
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def main() -> None:
    """Print a row for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--windows", type=int, default=8000)
    asked = parser.parse_args()
    predictor = TorchPredictor.load(asked.run / "weights.safetensors")
    data = track_data(open_store(asked.data), RunFolder.open(asked.run).config)
    parts = {}
    for part in ("train", "val"):
        found = [alone(b) for b in data.validation(256, asked.windows, part) if b.targets]
        person = np.concatenate([b.agent[b.target] for b in found])
        half = np.random.default_rng(0).random(len(person)) < 0.5
        parts[part] = (found, person, half, rows(predictor, found, None))
    print(f"{'':18}{'turned steps':>20}{'track features':>20}{'with the context':>20}")
    for case in CASES:
        line = f"{case:18}"
        other = {part: rows(predictor, found, case) for part, (found, *_) in parts.items()}
        for kind in range(3):
            line += f"{auroc(parts, other, kind):>20}"
        print(line, flush=True)


def auroc(parts: dict, other: dict, kind: int) -> str:
    """How well a classifier of one kind of rows does on validation people."""
    (_, _, half, plain), bad = parts["train"], other["train"]
    x = np.concatenate([plain[kind][half], bad[kind][~half]])
    y = np.repeat([0, 1], [half.sum(), (~half).sum()])
    grower = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.08, random_state=0)
    (_, person, half, plain), bad = parts["val"], other["val"]
    grower.fit(x, y)
    ordinary, corrupted = (grower.decision_function(one[kind]) for one in (plain, bad))
    weights = bootstrap_weights((person[half], person[~half]), 0)
    estimate = interval(Rates.of(ordinary[half], corrupted[~half], weights).auroc)
    low, high = estimate["interval"]
    return f"{estimate['value']:.2f} [{low:.2f}-{high:.2f}]"


if __name__ == "__main__":
    main()
