"""What drawing agents together is worth: two walkers who meet, a joint and an independent model.

One of the two goes first, and nobody knows which; the joint law is known in closed form. Each model
is scored with its samples as drawn and with the same samples shuffled between the walkers, which
leaves every walker's own forecast as it is. What changes is what the walkers agreed on.

    python examples/joint.py                                  # about two minutes of one core
    python examples/joint.py --epochs 4 --scenes 500          # a first look
"""

import argparse
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from trajflow.config import Config
from trajflow.datasets import synthetic
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store, open_store
from trajflow.datasets.synthetic.crossing import conditional
from trajflow.datasets.writer import StoreWriter
from trajflow.evaluation import EvaluationOptions, evaluate_forecaster
from trajflow.evaluation.scores import SHUFFLES, shuffled
from trajflow.inference.predictor import TorchPredictor
from trajflow.metrics import energy_distance
from trajflow.training.setup import new_trainer
from trajflow.types import Batch, Forecaster

SMALL = ("model.width=32", "model.decoder_width=64", "model.decoder_depth=3", "train.threads=1")
MODELS = {"joint": "true", "independent": "false"}
TERMS = EvaluationOptions(shuffles=SHUFFLES, collide=0.5)
"""Walkers are nearer than half a metre when neither waits."""
DRAWS = 200
ROOT_OF_NUMBERS = np.sqrt(2 * 12)
"""Two walkers, twelve steps: the distance of a joint future is told per walker and step."""


@dataclass(frozen=True)
class Law:
    """The exact joint law of the crossing as a forecaster."""

    def forecast(self, batch: Batch, samples: int, seed: int) -> np.ndarray:
        """Joint futures, [S, B, A, F, D]."""
        return conditional(batch.past).sample(samples, np.random.default_rng(seed))


def generated(folder: Path, scenes: int) -> Store:
    """The store of the crossing with so many scenes to learn from, made on first use."""
    path = folder / f"crossing-{scenes}.zarr"
    if not path.exists():
        made = synthetic.make("crossing", seed=0, train=scenes)
        with StoreWriter(path, **made.facts) as writer:
            for block in made.blocks:
                writer.append(block)
    return open_store(path)


def trained(store: Store, out: Path, joint: str, words: tuple[str, ...]) -> TorchPredictor:
    """The model of a run, trained if it is not there yet."""
    if not (out / "done").exists():
        config = Config.load(None, [*SMALL, f"model.joint={joint}", *words])
        data = TrackData(store, **config.data.model_dump(), order=config.train.seed)
        facts = {"dims": store.dims, "dt": store.dt, "unit": store.unit}
        trainer = new_trainer(config, data, str(out), data.describe(), facts, torch.device("cpu"))
        for event in trainer.run():
            last = event
        print(f"{out.name}: {last.seconds:.0f} s, energy score {trainer.best:.4f}", flush=True)
        (out / "done").touch()
    return TorchPredictor.load(out)


def distances(forecaster: Forecaster, batch: Batch) -> dict[str, float]:
    """Energy distance of joint futures to the law, as drawn and shuffled, metres."""
    chance = np.random.default_rng(1)
    drawn = forecaster.forecast(batch, DRAWS, 2)
    truth = Law().forecast(batch, DRAWS, 3)
    kinds = {"as drawn": drawn, "shuffled": shuffled(drawn, chance)}
    return {
        kind: float(np.mean([energy_distance(s[:, k], truth[:, k]) for k in range(s.shape[1])]))
        / ROOT_OF_NUMBERS
        for kind, s in kinds.items()
    }


def rows(name: str, forecaster: Forecaster, data: TrackData, steps: int) -> list[dict[str, object]]:
    """Two rows of a forecaster: its samples as drawn, and shuffled between the walkers."""
    report = evaluate_forecaster(forecaster, data.batches("test", 512), data.groups("test"), TERMS)
    apart = distances(forecaster, next(data.batches("test", 400)))
    found: list[dict[str, object]] = []
    for kind, ending in (("as drawn", ""), ("shuffled", "_independent")):
        scores = {key: report.mean[key + ending] for key in ("jade", "jfde", "collision_rate")}
        found.append(
            {
                "model": name,
                "evaluations": steps,
                "samples": kind,
                "min_ade": report.mean["min_ade"],
            }
            | scores
            | {"energy_distance": apart[kind]}
        )
    for key in ("jade", "jfde", "collision_rate"):
        low, high = report.overall.intervals[f"{key}_gain"]
        print(f"{name}, {steps}: gain in {key} {low:.4f} .. {high:.4f}", flush=True)
    print(f"what happened: collisions {report.mean['true_collision_rate']:.4f}", flush=True)
    return found


def write(table: pd.DataFrame, path: Path, about: str) -> None:
    """All rows as CSV and as Markdown."""
    table.to_csv(path.with_suffix(".csv"), index=False)
    lines = ["| " + " | ".join(table) + " |", "|" + "---|" * len(table.columns)]
    for row in table.itertuples(index=False):
        cells = [f"{value:.4f}" if isinstance(value, float) else str(value) for value in row]
        lines.append("| " + " | ".join(cells) + " |")
    path.with_suffix(".md").write_text("\n".join([*lines, "", about, ""]))
    print("\n".join(lines))


def main() -> None:
    """Train what is missing, score, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("results"))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--scenes", type=int, default=3000)
    options = parser.parse_args()
    began = time.monotonic()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    store = generated(options.out, options.scenes)
    words = (f"train.epochs={options.epochs}", "train.validate_every=4", "train.ema=0.99")
    data = TrackData(store, history=8, horizon=12)
    found = rows("the law", Law(), data, 0)
    for name, joint in MODELS.items():
        run = f"joint-{name}-{options.scenes}-{options.epochs}"
        predictor = trained(store, options.out / run, joint, words)
        for predictor.steps in (1, 4):
            found += rows(name, predictor, data, predictor.steps)
    about = (
        f"`python examples/joint.py --epochs {options.epochs} --scenes {options.scenes}`: one "
        f"seed, 20 plain draws ({DRAWS} for the distance), two walkers collide below "
        f"{TERMS.collide:g} m, data sha256 {store.fingerprint()[:16]}, "
        f"{time.monotonic() - began:.0f} s on {platform.machine()} {platform.processor()}, "
        f"one thread, torch {torch.__version__}. Energy distance of joint futures to the exact "
        "law, over the root of walkers times steps. Metres."
    )
    write(pd.DataFrame(found), options.out / "joint", about)


if __name__ == "__main__":
    main()
