"""Each lever alone and the final stack, on the validation parts of the leave-one-out folds.

Usage:
  python examples/ablation.py ethucy.zarr -o results/ablation --seeds 3 --jobs 2
  python examples/ablation.py ethucy.zarr -o results/ablation --levers base stretch reverse

No test part is read. A trial that is already in the folder is not trained again. The table is
written as CSV and Markdown: means over the folds of the scores at the epoch with the best
validation energy score, their deviation over the seeds, and the change from `base`, seed by seed.
"""

import argparse
import json
import multiprocessing
import platform
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from trajflow.config import Config
from trajflow.datasets.data import TrackData
from trajflow.datasets.store import open_store
from trajflow.predictor import Predictor
from trajflow.training.events import Evaluated
from trajflow.training.setup import device_of, new_trainer
from trajflow.training.validation import validate

COMMON = ("train.validate_every=1", "train.threads=1", "train.validation_windows=4000")
EPOCHS = 10
STACK = ("train.stretch=0.3", "train.reverse=0.4", "train.dropout=0.1")
WIDE = ("train.batch=256", "train.rate=0.002", "train.draws=2")
LEVERS: dict[str, tuple[str, ...]] = {
    "base": (),
    "stretch .2": ("train.stretch=0.2",),
    "stretch .35": ("train.stretch=0.35",),
    "no stretch": ("train.stretch=0",),
    "no mirror": ("train.mirror=false",),
    "reverse .3": ("train.reverse=0.3",),
    "drop .1": ("train.drop=0.1",),
    "drop .3": ("train.drop=0.3",),
    "shorten .3": ("train.shorten=0.3",),
    "jitter .03": ("train.jitter=0.03",),
    "jitter .1": ("train.jitter=0.1",),
    "tempo .5": ("train.tempo=0.5",),
    "tempo .5 told": ("train.tempo=0.5", "model.rate=true"),
    "dropout .1": ("train.dropout=0.1",),
    "dropout .3": ("train.dropout=0.3",),
    "decay .1": ("train.decay=0.1",),
    "heading of 2": ("model.heading_steps=2",),
    "heading of 3": ("model.heading_steps=3",),
    "own pace": ("model.own_pace=true",),
    "own pace, stretch .3": ("model.own_pace=true", "train.stretch=0.3"),
    "stack": STACK,
    "stack, longer": (*STACK, "train.epochs=20"),
    "stack, longer, rate .002": (*STACK, "train.epochs=20", "train.rate=0.002"),
    "stack, no dropout": (*STACK, "train.dropout=0"),
    "stack, dropout .2": (*STACK, "train.dropout=0.2"),
    "stack, tempo .5": (*STACK, "train.tempo=0.5"),
    "stack, heading of 3": (*STACK, "model.heading_steps=3"),
    "stack, own pace": (*STACK, "model.own_pace=true"),
    "stack, longer, own pace": (*STACK, "train.epochs=20", "model.own_pace=true"),
    "stack, longer, tempo .5": (*STACK, "train.epochs=20", "train.tempo=0.5"),
    "stack, longer, batch 256": (*STACK, *WIDE, "train.epochs=20"),
    "stack, longest, batch 256": (*STACK, *WIDE, "train.epochs=40"),
    "stack, longer, batch 256, rate .004": (*STACK, *WIDE, "train.epochs=20", "train.rate=0.004"),
    "stack, longer, batch 256, more": (
        *WIDE,
        "train.epochs=40",
        "train.stretch=0.4",
        "train.reverse=0.5",
        "train.dropout=0.15",
        "train.tempo=0.3",
    ),
    "stack, width 256": (*STACK, "model.width=256", "model.decoder_width=192"),
    "alone": ("model.social=false",),
    "width 64": ("model.width=64", "model.decoder_width=64"),
    "width 256": ("model.width=256", "model.decoder_width=256"),
    "depth 2": ("model.decoder_depth=2",),
    "depth 6": ("model.decoder_depth=6",),
    "transformer": ("model.encoder=transformer",),
    "tcn": ("model.encoder=tcn",),
    "components 4": ("model.components=4",),
    "components 16": ("model.components=16",),
    "draws 8": ("train.draws=8",),
    "batch 512": ("train.batch=512", "train.rate=0.002"),
    "rate .0005": ("train.rate=0.0005",),
    "rate .002": ("train.rate=0.002",),
    "ema .9995": ("train.ema=0.9995",),
    "ema .99": ("train.ema=0.99",),
    "equal .25": ("flow.equal=0.25",),
    "equal .75": ("flow.equal=0.75",),
    "power .25": ("flow.power=0.25",),
    "power .5": ("flow.power=0.5",),
    "r near 0": ("flow.r_mean=-3.0",),
    "image times": ("flow.t_mean=-0.4", "flow.t_std=1.0", "flow.r_mean=-0.4", "flow.r_std=1.0"),
    "lambda 0": ("flow.end=0",),
    "lambda 1 at once": ("flow.start=1",),
    "meanflow": ("flow.preset=meanflow",),
    "mmf-paper": ("flow.preset=mmf-paper",),
    "terminal": ("flow.preset=terminal",),
    "flow": ("flow.preset=flow",),
}
"""Settings of each row that differ from the default."""
TEMPERATURES = (1.0, 1.1, 1.2)
PACES = (0.6, 1.0, 1.6)
"""Validation tracks are also scaled by these: a stand-in for places where people walk otherwise."""


@dataclass(frozen=True)
class Trial:
    """One training: a lever on a fold with a seed."""

    lever: str
    fold: str
    seed: int

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"{self.lever.replace(' ', '_').replace('.', '')}-{self.fold}-{self.seed}"


def trained(job: tuple[Trial, Path, Path, int, str]) -> str:
    """Train a trial, and leave its validations in the folder."""
    trial, data, out, epochs, device = job
    torch.set_num_threads(1)
    words = [*COMMON, f"train.epochs={epochs}", *LEVERS[trial.lever]]
    config = Config.load(None, [*words, f"data.fold={trial.fold}", f"train.seed={trial.seed}"])
    store = open_store(data)
    tracks = TrackData(store, **config.data.model_dump(), order=trial.seed)
    facts = {"dims": store.dims, "dt": store.dt, "unit": store.unit}
    scratch, began = tempfile.mkdtemp(), time.monotonic()
    place = device_of(device)
    trainer = new_trainer(config, tracks, f"{scratch}/run", tracks.describe(), facts, place)
    events = [event for event in trainer.run() if isinstance(event, Evaluated)]
    best = next(event for event in reversed(events) if event.best)
    found = {
        "lever": trial.lever,
        "fold": trial.fold,
        "seed": trial.seed,
        "seconds": time.monotonic() - began,
        "epoch": best.epoch,
        "metrics": best.metrics,
        "energy_scores": [event.metrics["energy_score"] for event in events],
        "words": words,
        "fingerprint": store.fingerprint(),
        **_elsewhere(Path(scratch) / "run", tracks, config, device),
    }
    (out / f"{trial.name}.json").write_text(json.dumps(found))
    shutil.rmtree(scratch)
    return f"{trial.name}: {best.metrics['energy_score']:.4f} in {found['seconds']:.0f} s"


def _elsewhere(
    run: Path, tracks: TrackData, config: Config, device: str
) -> dict[str, dict[str, object]]:
    """Validation scores of the kept weights under wider noise, and on scaled tracks."""
    model = Predictor.load(run, device).model
    steps = 1 if model.architecture.average else 8

    def scores(temperature: float, pace: float) -> dict[str, float]:
        batches = tracks.validation(config.train.batch, config.train.validation_windows)
        scaled = (replace(b, past=b.past * pace, future=b.future * pace) for b in batches)
        found = validate(model, scaled, 20, steps, 0, temperature)
        lengths = ("energy_score", "min_ade", "min_fde")
        return {k: v / pace if k in lengths else v for k, v in found.items()}

    return {
        "temperatures": {str(t): scores(t, 1.0) for t in TEMPERATURES},
        "paces": {str(p): scores(1.0, p) for p in PACES},
    }


def table(out: Path) -> pd.DataFrame:
    """One row per lever: means over folds, their deviation over seeds, the change from base."""
    rows = []
    for file in sorted(out.glob("*.json")):
        found = json.loads(file.read_text())
        rows.append({k: found[k] for k in ("lever", "fold", "seed", "epoch")} | found["metrics"])
    scores = list(found["metrics"])
    by_seed = pd.DataFrame(rows).groupby(["lever", "seed"])[[*scores, "epoch"]].mean()
    mean = by_seed.groupby("lever").mean()
    mean["energy_score_sd"] = by_seed["energy_score"].groupby("lever").std()
    mean["seeds"] = by_seed.groupby("lever").size()
    base = by_seed.xs("base")["energy_score"]
    change = by_seed["energy_score"].sub(base, level="seed") / base.mean()
    mean["change_%"] = 100 * change.groupby("lever").mean()
    mean["change_sd"] = 100 * change.groupby("lever").std()
    order = [lever for lever in LEVERS if lever in mean.index]
    return mean.loc[order].reset_index()


def main() -> None:
    """Read the command line, train what is missing, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("results/ablation"))
    parser.add_argument("--levers", nargs="*", default=list(LEVERS))
    parser.add_argument("--folds", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    trials = given.out / "trials"
    trials.mkdir(parents=True, exist_ok=True)
    folds = given.folds or list(open_store(given.data).folds or {})
    wanted = [
        Trial(lever, fold, seed)
        for seed in range(given.seeds)
        for lever in given.levers
        for fold in folds
    ]
    jobs = [
        (trial, given.data, trials, given.epochs, given.device)
        for trial in wanted
        if not (trials / f"{trial.name}.json").exists()
    ]
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        for done, said in enumerate(pool.imap_unordered(trained, jobs), 1):
            left = (time.monotonic() - began) / done * (len(jobs) - done)
            print(f"{done}/{len(jobs)} {said}; {left / 60:.0f} min left", flush=True)
    found = table(trials)
    found.to_csv(given.out / "ablation.csv", index=False, float_format="%.5g")
    print(found.to_string(index=False, float_format="%.4g"))
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
