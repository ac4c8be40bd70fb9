"""Joint and independent forecasts of two walkers who meet, compared with the exact distribution.

    python examples/joint.py                                  # about two minutes on one core
    python examples/joint.py --epochs 4 --scenes 500          # a quick run

One of the two walkers goes first, at random; the joint distribution has a closed form. Each model
is scored with its samples as drawn, and with the same samples shuffled between the walkers.
Shuffling keeps the forecast of each walker and removes the dependence between them.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from experiments import generate_store, machine, markdown_table, train_run, write_tables

from trajflow.datasets.loader import TrackData
from trajflow.datasets.synthetic.crossing import conditional
from trajflow.evaluation import EvaluationOptions, evaluate_forecaster
from trajflow.evaluation.scores import SHUFFLES, shuffled
from trajflow.inference.predictor import TorchPredictor
from trajflow.metrics import energy_distance
from trajflow.types import Batch, Forecaster

SETTINGS = (
    "model.width=32",
    "model.decoder_width=64",
    "model.decoder_depth=3",
    "train.threads=1",
    "train.validate_every=4",
    "train.ema=0.99",
)
MODELS = {"joint": "true", "independent": "false"}
EVALUATION = EvaluationOptions(shuffles=SHUFFLES, collide=0.5)
"""Walkers pass each other within half a metre if neither waits."""
SAMPLES = 200
POINTS = 2 * 12
"""Two walkers and twelve steps: energy distances are divided by the root of this number."""


@dataclass(frozen=True)
class ExactForecaster:
    """The exact joint distribution of the crossing."""

    def forecast(self, batch: Batch, samples: int, seed: int) -> np.ndarray:
        """Joint futures, [S, B, A, F, D]."""
        return conditional(batch.past).sample(samples, np.random.default_rng(seed))


def joint_distance(samples: np.ndarray, exact: np.ndarray) -> float:
    """Energy distance between joint futures [S, B, A, F, D], mean over scenes, in metres."""
    scenes = range(samples.shape[1])
    distances = [energy_distance(samples[:, k], exact[:, k]) for k in scenes]
    return float(np.mean(distances)) / np.sqrt(POINTS)


def score_rows(
    name: str, forecaster: Forecaster, data: TrackData, steps: int
) -> Iterator[dict[str, object]]:
    """Two rows for a forecaster: its samples as drawn, and shuffled between the walkers."""
    report = evaluate_forecaster(
        forecaster, data.batches("test", 512), data.groups("test"), EVALUATION
    )
    batch = next(data.batches("test", 400))
    drawn = forecaster.forecast(batch, SAMPLES, 2)
    exact = ExactForecaster().forecast(batch, SAMPLES, 3)
    independent = shuffled(drawn, np.random.default_rng(1))
    for kind, suffix, samples in (
        ("as drawn", "", drawn),
        ("shuffled", "_independent", independent),
    ):
        yield {
            "model": name,
            "evaluations": steps,
            "samples": kind,
            "min_ade": report.mean["min_ade"],
            **{key: report.mean[key + suffix] for key in ("jade", "jfde", "collision_rate")},
            "energy_distance": joint_distance(samples, exact),
        }
    for key in ("jade", "jfde", "collision_rate"):
        low, high = report.overall.intervals[f"{key}_gain"]
        print(f"{name}, {steps} evaluation(s): gain in {key} {low:.4f} .. {high:.4f}", flush=True)
    print(f"true collision rate {report.mean['true_collision_rate']:.4f}", flush=True)


def main() -> None:
    """Train what is missing, score, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("results"), help="results folder")
    parser.add_argument("--epochs", type=int, default=12, help="epochs of training; 12")
    parser.add_argument("--scenes", type=int, default=3000, help="training scenes; 3000")
    options = parser.parse_args()
    start = time.monotonic()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"crossing-{options.scenes}.zarr"
    store = generate_store("crossing", path, train=options.scenes)
    data = TrackData(store, history=8, horizon=12)
    rows = [*score_rows("exact distribution", ExactForecaster(), data, 0)]
    for name, joint in MODELS.items():
        run = options.out / f"joint-{name}-{options.scenes}-{options.epochs}"
        own = (f"model.joint={joint}", f"train.epochs={options.epochs}")
        predictor = TorchPredictor.load(train_run(store, run, (*SETTINGS, *own)))
        for predictor.steps in (1, 4):
            rows += score_rows(name, predictor, data, predictor.steps)
    note = (
        f"`python examples/joint.py --epochs {options.epochs} --scenes {options.scenes}`: one "
        f"seed, 20 plain samples ({SAMPLES} for the distance), two walkers collide below "
        f"{EVALUATION.collide:g} m, data sha256 {store.fingerprint()[:16]}, "
        f"{time.monotonic() - start:.0f} s on {machine()}. Energy distance of joint futures to "
        "the exact distribution, divided by the root of walkers times steps. Metres."
    )
    table = pd.DataFrame(rows)
    markdown = markdown_table(list(table), table.itertuples(index=False))
    write_tables(table, markdown, note, options.out / "joint")


if __name__ == "__main__":
    main()
