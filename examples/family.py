"""The members of the flow family side by side, on data with and without a known answer.

Usage:
  python examples/family.py fork -o results            generated fork, against its exact density
  python examples/family.py zara1 --data ethucy.zarr   validation split of a leave-one-out fold
  python examples/family.py lowdata --data ethucy.zarr the same with 1 %, 10 %, 100 % of the people
  python examples/family.py ode                        parameters in and out of the trained range

A run that is already in the results folder is not trained again. Each table is written as CSV and
Markdown, with the command, the data's checksum, the seeds, the draws and the machine.
"""

import argparse
import platform
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from trajflow.config import Config
from trajflow.datasets import synthetic
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store, open_store
from trajflow.datasets.synthetic.fork import conditional
from trajflow.datasets.writer import StoreWriter
from trajflow.inference.predictor import TorchPredictor
from trajflow.metrics import deviation_ratio, energy_distance
from trajflow.runs import RunFolder
from trajflow.training.setup import new_trainer
from trajflow.training.validation import validate

PRESETS = ("flow", "meanflow", "mmf-paper", "mmf")
STEPS = {"flow": (1, 4, 16), "meanflow": (1, 2), "mmf-paper": (1, 2), "mmf": (1, 2)}
ALONE = ("model.social=false", "train.validate_every=2")
SMALL = ("model.width=64", "model.decoder_width=96", "model.decoder_depth=3", "train.threads=1")
SETTINGS = {
    "fork": (*SMALL, *ALONE, "train.epochs=8"),
    "ode": (*SMALL, *ALONE, "data.fold=ood", "train.epochs=8"),
    "zara1": ("data.fold=zara1", "train.epochs=5", "train.threads=1"),
    "lowdata": (*SMALL, "data.fold=zara1"),
}
MADE: dict[str, dict[str, int]] = {"fork": {"train": 32_000}, "ode": {}}
"""Options of the generators. The fork has so many paths that what they teach is no limit."""
LOW = {0.01: (120, 40), 0.1: (25, 5), 1.0: (4, 1)}
"""Share of the people learned from; epochs, so that all train for a while, and between checks."""


def generated(name: str, folder: Path, seed: int = 0) -> Store:
    """The store of a generator, made on first use."""
    path = folder / f"{name}.zarr"
    if not path.exists():
        made = synthetic.make(name, seed=seed, **MADE[name])
        with StoreWriter(path, **made.facts) as writer:
            for block in made.blocks:
                writer.append(block)
    return open_store(path)


def data_of(store: Store, config: Config) -> TrackData:
    """The parts of a store under a run's settings."""
    return TrackData(store, **config.data.model_dump(), order=config.train.seed)


def trained(store: Store, out: Path, preset: str, seed: int, words: tuple[str, ...]) -> Path:
    """The run of a preset and a seed, trained if it is not there yet."""
    if not (out / "done").exists():
        chosen = [*words, f"flow.preset={preset}", f"train.seed={seed}"]
        config = Config.load(None, chosen)
        data = data_of(store, config)
        facts = {"dims": store.dims, "dt": store.dt, "unit": store.unit}
        trainer = new_trainer(config, data, str(out), data.describe(), facts, torch.device("cpu"))
        for event in trainer.run():
            last = event
        print(f"{out.name}: {last.seconds:.0f} s, energy score {trainer.best:.4f}", flush=True)
        (out / "done").touch()
    return out


def fork_scores(run: Path, store: Store, steps: int, windows: int = 200) -> dict[str, float]:
    """A run against the exact law of the fork: means over pasts of 200 draws each."""
    data = data_of(store, RunFolder.open(run).config)
    predictor = TorchPredictor.load(run, steps=steps)
    batch = next(data.batches("test", windows))
    drawn = predictor.forecast(batch, 200, seed=0)[:, :, 0]
    law = conditional(batch.past[:, 0])
    truth = law.sample(200, np.random.default_rng(1))
    length = np.sqrt(truth.shape[-2])
    pairs = [(drawn[:, k], truth[:, k]) for k in range(drawn.shape[1])]
    left = law.branch(drawn).mean(0)
    return {
        "energy_distance": float(np.mean([energy_distance(*pair) for pair in pairs])) / length,
        "deviation_ratio": float(np.mean([deviation_ratio(*pair) for pair in pairs])),
        "left_share": float(left.mean()),
        "left_share_truth": float(law.probability.mean()),
        "branch_error": float(np.abs(left - law.probability).mean()),
        **plain_scores(run, store, steps, "test"),
    }


def plain_scores(run: Path, store: Store, steps: int, part: str) -> dict[str, float]:
    """Scores of 20 plain draws on a part."""
    config = RunFolder.open(run).config
    batches = data_of(store, config).validation(512, 5000, part)
    return validate(TorchPredictor.load(run).model, batches, 20, steps, seed=1)


def rows(task: str, store: Store, out: Path, seeds: int) -> list[dict[str, object]]:
    """One row for each preset, seed, share of the people and number of evaluations."""
    found: list[dict[str, object]] = []
    for share, (epochs, every) in (LOW if task == "lowdata" else {1.0: (0, 0)}).items():
        low = (f"data.fraction={share}", f"train.epochs={epochs}", f"train.validate_every={every}")
        extra = low if epochs else ()
        for preset in PRESETS:
            for seed in range(seeds):
                name = f"{preset}-{seed}" + (f"-{share:g}" if epochs else "")
                run = trained(store, out / name, preset, seed, (*SETTINGS[task], *extra))
                for steps in STEPS[preset]:
                    key = {"people": share, "preset": preset, "evaluations": steps, "seed": seed}
                    found += [key | {"part": p} | s for p, s in scores(task, run, store, steps)]
    return found


def scores(task: str, run: Path, store: Store, steps: int) -> list[tuple[str, dict[str, float]]]:
    """Scores of a run by part."""
    if task == "fork":
        return [("test", fork_scores(run, store, steps))]
    if task != "ode":
        return [("val", plain_scores(run, store, steps, "val"))]
    known = TrackData(store, history=8, horizon=12).validation(512, 5000, "test")
    inside = validate(TorchPredictor.load(run).model, known, 20, steps, seed=1)
    return [("test", inside), ("out of range", plain_scores(run, store, steps, "test"))]


def write(table: pd.DataFrame, path: Path, about: str) -> None:
    """All rows as CSV; mean and deviation over the seeds as Markdown."""
    table.to_csv(path.with_suffix(".csv"), index=False)
    keys = ["people", "part", "preset", "evaluations"]
    keys = [k for k in keys if k == "preset" or table[k].nunique() > 1 or k == "evaluations"]
    seeds = table["seed"].nunique()
    grouped = table.drop(columns=["seed"]).groupby(keys, sort=False)
    numbers = [c for c in table.select_dtypes("number") if c not in (*keys, "seed", "people")]
    mean, spread = grouped[numbers].mean(), grouped[numbers].std(ddof=0)
    heads = [*keys, *numbers]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for key, row in mean.iterrows():
        named = [str(k) for k in (key if isinstance(key, tuple) else (key,))]
        around = [f" ± {spread.loc[key, c]:.3f}" if seeds > 1 else "" for c in numbers]
        cells = [f"{row[c]:.3f}{more}" for c, more in zip(numbers, around, strict=True)]
        lines.append("| " + " | ".join([*named, *cells]) + " |")
    path.with_suffix(".md").write_text("\n".join([*lines, "", about, ""]))
    print("\n".join(lines))


def main() -> None:
    """Train what is missing, score, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=sorted(SETTINGS))
    parser.add_argument("--data", type=Path, help="a store, for zara1 and lowdata")
    parser.add_argument("-o", "--out", type=Path, default=Path("results"))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    began = time.monotonic()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.task in ("fork", "ode"):
        store = generated(options.task, options.out)
    elif options.data is None:
        parser.error(f"{options.task} needs --data STORE")
    else:
        store = open_store(options.data)
    table = pd.DataFrame(rows(options.task, store, options.out / options.task, options.seeds))
    asked = " ".join(Path(word).name for word in sys.argv[1:])
    about = (
        f"`python examples/family.py {asked}`: {options.seeds} seed(s), 20 plain draws (fork: 200 "
        f"for the distances), data sha256 {store.fingerprint()[:16]}, "
        f"{time.monotonic() - began:.0f} s on {platform.machine()} {platform.processor()}, "
        f"one thread, torch {torch.__version__}. Mean (± deviation) over the seeds; lengths in the "
        "unit of the data."
    )
    write(table, options.out / options.task, about)


if __name__ == "__main__":
    main()
