"""Each lever alone and the final stack, on the validation splits of the leave-one-out folds.

Usage:
  python examples/ablation.py ethucy.zarr -o results/ablation --seeds 3 --jobs 2
  python examples/ablation.py ethucy.zarr -o results/ablation --rows final "final, alone"

  python examples/ablation.py ethucy.zarr --folds zara1 --held biwi_eth biwi_hotel
      whole recordings of the training split are held out, so rows are judged in places they never
      saw; scores of these recordings stand beside those of the usual validation split

No test split is read. A trial that is already in the folder is not trained again. The table is
written as CSV and Markdown: means over the folds of the scores at the epoch with the best
validation energy score, their deviation over the seeds, and the change from `base` or `final`,
seed by seed. Rows of the first kind change the library's defaults, the others the final stack.
"""

import argparse
import json
import multiprocessing
import platform
import shlex
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import open_store
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.tensors import device_of
from trajflow.training.events import Evaluated
from trajflow.training.setup import new_trainer
from trajflow.training.validation import validate

COMMON = (
    "train.validate_every=4",
    "train.validation_windows=4000",
    "train.choose_temperature=false",
    "train.threads=1",
)
FINAL = Path(__file__).parent / "benchmarks" / "pedestrians.toml"
LEVERS: dict[str, tuple[str, ...]] = {
    "base": (),
    "stretch .2": ("train.scale_jitter=0.2",),
    "stretch .4": ("train.scale_jitter=0.4",),
    "reverse .3": ("train.reverse_prob=0.3",),
    "reverse .5": ("train.reverse_prob=0.5",),
    "slower .3": ("train.time_stretch=[0.769,1]",),
    "slower .5, told": ("train.time_stretch=[0.667,1]", "model.condition_on_dt=true"),
    "dropout .1": ("train.dropout=0.1",),
    "drop .1": ("train.agent_dropout=0.1",),
    "shorten .3": ("train.history_dropout=0.3",),
    "jitter .03": ("train.position_noise=0.03",),
    "heading of 3": ("model.heading_steps=3",),
    "own pace": ("model.own_speed=true",),
    "batch 256": ("train.batch_size=256", "train.lr=0.002", "train.noise_samples=2"),
    "width 256": ("model.width=256", "model.decoder_width=256"),
    "width 64": ("model.width=64", "model.decoder_width=64"),
    "components 16": ("model.components=16",),
    "transformer": ("model.encoder=transformer",),
    "equal .25": ("flow.flow_ratio=0.25",),
    "equal .75": ("flow.flow_ratio=0.75",),
    "power .5": ("flow.loss_power=0.5",),
    "r near 0": ("flow.r_mean=-3.0",),
    "ema .9995": ("train.ema=0.9995",),
    "decay .1": ("train.weight_decay=0.1",),
}
"""Settings of each row that differ from the library's defaults."""
WITHOUT: dict[str, tuple[str, ...]] = {
    "final": (),
    "final, no jitter": ("train.position_noise=0",),
    "final, no own pace": ("model.own_speed=false",),
    "final, no stretch": ("train.scale_jitter=0",),
    "final, no reverse": ("train.reverse_prob=0",),
    "final, no mirror": ("train.mirror=false",),
    "final, one rate": ("model.condition_on_dt=false", "train.time_stretch=[1,1]", "data.reach=1"),
    "final, rates untold": ("model.condition_on_dt=false",),
    "final, dropout .1": ("train.dropout=0.1",),
    "final, shorten .4": ("train.history_dropout=0.4",),
    "final, heading of 3": ("model.heading_steps=3",),
    "final, floor .4": ("model.speed_floor=0.4",),
    "final, alone": ("model.social=false",),
    "final, lambda 0": ("flow.lambda_end=0",),
    "final, meanflow": ("flow.preset=meanflow",),
    "final, mmf-paper": ("flow.preset=mmf-paper",),
    "final, terminal": ("flow.preset=terminal",),
    "final, flow": ("flow.preset=flow",),
}
"""Settings of each row that differ from the final stack, `benchmarks/pedestrians.toml`."""
TEMPERATURES = (1.1,)
PACES = (0.6, 1.6)
"""Validation tracks are also scaled by these: a stand-in for places where people walk otherwise."""


@dataclass(frozen=True)
class Trial:
    """One training: a lever on a fold with a seed."""

    lever: str
    fold: str
    seed: int
    held: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What its file is called."""
        lever = self.lever.replace(" ", "_").replace(".", "")
        return "-".join([lever, self.fold, str(self.seed), *self.held])


def trained(job: tuple[Trial, Path, Path, int, str]) -> str:
    """Train a trial, and leave its validations in the folder."""
    trial, data, out, updates, device = job
    torch.set_num_threads(1)
    final = trial.lever in WITHOUT
    held = [f"data.validation={json.dumps(list(trial.held))}"] if trial.held else []
    words = [
        *held,
        *COMMON,
        f"train.updates={updates}",
        *(WITHOUT if final else LEVERS)[trial.lever],
    ]
    config = Config.load(
        FINAL if final else None, [*words, f"data.fold={trial.fold}", f"train.seed={trial.seed}"]
    )
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
        "held": _held(Path(scratch) / "run", tracks, trial.held, device),
    }
    (out / f"{trial.name}.json").write_text(json.dumps(found))
    shutil.rmtree(scratch)
    return f"{trial.name}: {best.metrics['energy_score']:.4f} in {found['seconds']:.0f} s"


def _elsewhere(
    run: Path, tracks: TrackData, config: Config, device: str
) -> dict[str, dict[str, object]]:
    """Validation scores of the kept weights under wider noise, and on scaled tracks."""
    model = TorchPredictor.load(run, device).model
    steps = 1 if model.architecture.average else 8

    def scores(temperature: float, pace: float) -> dict[str, float]:
        batches = tracks.validation(config.train.batch_size, config.train.validation_windows)
        scaled = (replace(b, past=b.past * pace, future=b.future * pace) for b in batches)
        found = validate(model, scaled, 20, steps, 0, temperature)
        lengths = ("energy_score", "min_ade", "min_fde")
        return {k: v / pace if k in lengths else v for k, v in found.items()}

    return {
        "temperatures": {str(t): scores(t, 1.0) for t in TEMPERATURES},
        "paces": {str(p): scores(1.0, p) for p in PACES},
    }


def _held(run: Path, tracks: TrackData, held: Sequence[str], device: str) -> dict[str, object]:
    """Scores of the kept weights on the recordings held out, one by one, and on the others."""
    if not held:
        return {}
    model = TorchPredictor.load(run, device).model
    steps = 1 if model.architecture.average else 8
    numbers = {name: tracks.store.scenes.index(name) for name in held}

    def scores(wanted: set[int]) -> dict[str, float]:
        batches = tracks.batches("val", 512)
        parts = (b.take(np.flatnonzero(np.isin(b.scene, list(wanted)))) for b in batches)
        return validate(model, (part for part in parts if part.targets), 20, steps)

    found = {name: scores({number}) for name, number in numbers.items()}
    return {**found, "others": scores(set(range(len(tracks.store.scenes))) - {*numbers.values()})}


def table(out: Path) -> pd.DataFrame:
    """One row per lever: means over folds, their deviation over seeds, the change it makes."""
    rows = []
    for file in sorted(out.glob("*.json")):
        found = json.loads(file.read_text())
        slow, fast = (found["paces"][pace]["energy_score"] for pace in ("0.6", "1.6"))
        scores = found["metrics"] | {"es_slower": slow, "es_faster": fast}
        for name, there in found["held"].items():
            scores |= {f"{name} {key}": there[key] for key in ("energy_score", "min_ade")}
        rows.append({name: found[name] for name in ("lever", "fold", "seed", "epoch")} | scores)
    by_seed = pd.DataFrame(rows).groupby(["lever", "seed"])[list(scores)].mean()
    mean = by_seed.groupby("lever").mean()
    mean["seeds"] = by_seed.groupby("lever").size()
    for lever in mean.index:
        start = "final" if lever in WITHOUT else "base"
        if start in mean.index:
            scores_of = by_seed["energy_score"]
            change = 100 * (scores_of[lever] / scores_of[start] - 1).dropna()
            mean.loc[lever, ["change_%", "change_sd"]] = change.mean(), change.std()
    order = [lever for lever in (*LEVERS, *WITHOUT) if lever in mean.index]
    return mean.loc[order].reset_index()


def markdown(found: pd.DataFrame) -> str:
    """The table as Markdown."""
    lines = [list(map(str, found.columns)), ["---"] * found.shape[1]]
    lines += [[f"{x:.4g}" if isinstance(x, float) else str(x) for x in row] for row in found.values]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Read the command line, train what is missing, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("results/ablation"))
    parser.add_argument("--rows", nargs="*", default=[*LEVERS, *WITHOUT])
    parser.add_argument("--folds", nargs="*")
    parser.add_argument("--held", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=1800)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    trials = given.out / "trials"
    trials.mkdir(parents=True, exist_ok=True)
    folds = given.folds or list(open_store(given.data).folds or {})
    wanted = [
        Trial(lever, fold, seed, tuple(given.held))
        for seed in range(given.seeds)
        for lever in given.rows
        for fold in folds
    ]
    jobs = [
        (trial, given.data, trials, given.updates, given.device)
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
    tracks = open_store(given.data).fingerprint()[:8]
    held = f" --held {' '.join(given.held)}" if given.held else ""
    asked = "" if given.rows == [*LEVERS, *WITHOUT] else " --rows " + shlex.join(given.rows)
    told = (
        f"`python examples/ablation.py {given.data.name} --folds {' '.join(folds)}{held}{asked} "
        f"--seeds {given.seeds} --updates {given.updates}`; validation splits of tracks {tracks}; "
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread each."
    )
    (given.out / "ablation.md").write_text(f"{markdown(found)}\n\n{told}\n")


if __name__ == "__main__":
    main()
