"""Compare the presets of the flow family, on data with and without a known distribution.

  python examples/family.py fork -o results             generated fork, with its exact density
  python examples/family.py zara1 --data ethucy.zarr    validation split of a leave-one-out fold
  python examples/family.py lowdata --data ethucy.zarr  the same with 1 %, 10 %, 100 % of the people
  python examples/family.py ode                         parameters in and outside the trained range

A run that is already in the results folder is not trained again. Each table is written as CSV and
Markdown, with the command, the checksum of the data, the seeds, the samples and the machine.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from experiments import (
    SMALL_MODEL,
    generate_store,
    load_data,
    machine,
    markdown_table,
    train_run,
    write_tables,
)

from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store, open_store
from trajflow.datasets.synthetic.fork import conditional
from trajflow.inference.predictor import TorchPredictor
from trajflow.metrics import deviation_ratio, energy_distance
from trajflow.runs import RunFolder
from trajflow.training.validation import validate

EVALUATIONS = {"flow": (1, 4, 16), "meanflow": (1, 2), "mmf-paper": (1, 2), "mmf": (1, 2)}
"""Presets, with the numbers of network evaluations per sample at which each is scored."""
WITHOUT_NEIGHBORS = ("model.social=false", "train.validate_every=2")
SETTINGS = {
    "fork": (*SMALL_MODEL, *WITHOUT_NEIGHBORS, "train.epochs=8"),
    "ode": (*SMALL_MODEL, *WITHOUT_NEIGHBORS, "data.fold=ood", "train.epochs=8"),
    "zara1": ("data.fold=zara1", "train.epochs=5", "train.threads=1"),
    "lowdata": (*SMALL_MODEL, "data.fold=zara1"),
}
FORK_PATHS = 32_000
"""Training paths of the fork: so many that the amount of data is no limit."""
LOW_DATA = {0.01: (120, 40), 0.1: (25, 5), 1.0: (4, 1)}
"""Fraction of the people: epochs, for similar training times, and epochs between validations."""
Scores = dict[str, float]


def sample_scores(run: Path, data: TrackData, steps: int, split: str) -> Scores:
    """Scores of 20 plain samples on a split."""
    batches = data.validation(512, 5000, split)
    return validate(TorchPredictor.load(run).model, batches, 20, steps, seed=1)


def fork_scores(run: Path, data: TrackData, steps: int, windows: int = 200) -> Scores:
    """Compare a run with the exact distribution of the fork, 200 samples for each past."""
    batch = next(data.batches("test", windows))
    samples = TorchPredictor.load(run, steps=steps).forecast(batch, 200, seed=0)[:, :, 0]
    law = conditional(batch.past[:, 0])
    exact = law.sample(200, np.random.default_rng(1))
    pairs = [(samples[:, k], exact[:, k]) for k in range(samples.shape[1])]
    distance = float(np.mean([energy_distance(*pair) for pair in pairs]))
    left = law.branch(samples).mean(0)
    return {
        "energy_distance": distance / np.sqrt(exact.shape[-2]),
        "deviation_ratio": float(np.mean([deviation_ratio(*pair) for pair in pairs])),
        "left_share": float(left.mean()),
        "left_share_truth": float(law.probability.mean()),
        "branch_error": float(np.abs(left - law.probability).mean()),
        **sample_scores(run, data, steps, "test"),
    }


def scores(task: str, run: Path, store: Store, steps: int) -> dict[str, Scores]:
    """Scores of a run by split."""
    data = load_data(store, RunFolder.open(run).config)
    if task == "fork":
        return {"test": fork_scores(run, data, steps)}
    if task != "ode":
        return {"val": sample_scores(run, data, steps, "val")}
    in_range = TrackData(store, history=8, horizon=12)
    return {
        "test": sample_scores(run, in_range, steps, "test"),
        "out of range": sample_scores(run, data, steps, "test"),
    }


def score_rows(task: str, store: Store, out: Path, seeds: int) -> list[dict[str, object]]:
    """Train what is missing; a row for each preset, seed, fraction and number of evaluations."""
    rows: list[dict[str, object]] = []
    for fraction, (epochs, every) in (LOW_DATA if task == "lowdata" else {1.0: (0, 0)}).items():
        low_data = (
            f"data.fraction={fraction}",
            f"train.epochs={epochs}",
            f"train.validate_every={every}",
        )
        settings = (*SETTINGS[task], *(low_data if epochs else ()))
        for preset, evaluations in EVALUATIONS.items():
            for seed in range(seeds):
                run = out / (f"{preset}-{seed}" + (f"-{fraction:g}" if epochs else ""))
                own = (f"flow.preset={preset}", f"train.seed={seed}")
                train_run(store, run, (*settings, *own))
                for steps in evaluations:
                    key = {"people": fraction, "preset": preset, "evaluations": steps, "seed": seed}
                    by_split = scores(task, run, store, steps)
                    rows += [key | {"split": split} | one for split, one in by_split.items()]
    return rows


def summarize(table: pd.DataFrame) -> str:
    """Mean and standard deviation over the seeds, as a Markdown table."""
    keys = [k for k in ("people", "split") if table[k].nunique() > 1] + ["preset", "evaluations"]
    numbers = [c for c in table.select_dtypes("number") if c not in (*keys, "seed", "people")]
    grouped = table.groupby(keys, sort=False)[numbers]
    mean, deviation = grouped.mean(), grouped.std(ddof=0)
    rows = []
    for key in mean.index:
        cells = [f"{mean.loc[key, name]:.3f}" for name in numbers]
        if table["seed"].nunique() > 1:
            cells = [
                f"{c} ± {deviation.loc[key, n]:.3f}" for c, n in zip(cells, numbers, strict=True)
            ]
        rows.append([*map(str, key), *cells])
    return markdown_table([*keys, *numbers], rows)


def main() -> None:
    """Train what is missing, score, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=sorted(SETTINGS))
    parser.add_argument("--data", type=Path, help="store for zara1 and lowdata")
    parser.add_argument("-o", "--out", type=Path, default=Path("results"), help="results folder")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each preset; 3")
    options = parser.parse_args()
    start, task = time.monotonic(), options.task
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    if task in ("fork", "ode"):
        sizes = {"train": FORK_PATHS} if task == "fork" else {}
        store = generate_store(task, options.out / f"{task}.zarr", **sizes)
    elif options.data is None:
        parser.error(f"{task} needs --data STORE")
    else:
        store = open_store(options.data)
    table = pd.DataFrame(score_rows(task, store, options.out / task, options.seeds))
    command = " ".join(Path(word).name for word in sys.argv[1:])
    note = (
        f"`python examples/family.py {command}`: {options.seeds} seed(s), 20 plain samples (fork: "
        f"200 for the distances), data sha256 {store.fingerprint()[:16]}, "
        f"{time.monotonic() - start:.0f} s on {machine()}. Mean (± standard deviation) over the "
        "seeds; lengths in the unit of the data."
    )
    write_tables(table, summarize(table), note, options.out / task)


if __name__ == "__main__":
    main()
