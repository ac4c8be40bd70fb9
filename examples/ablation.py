"""Train with one setting changed at a time, and compare validation scores.

    python examples/ablation.py ethucy.zarr -o results/ablation --seeds 3 --jobs 2
    python examples/ablation.py ethucy.zarr -o results/ablation --rows final "final, no neighbors"
    python examples/ablation.py ethucy.zarr --folds zara1 --held biwi_eth biwi_hotel

With `--held`, whole recordings are held out of training and scored too, so rows are compared in
places that the network has never seen. The test split is never read. Finished trainings in the
folder are not repeated. The table is written as CSV and Markdown: means over the folds of the
scores at the epoch with the best validation energy score, and the change of that score from `base`
or `final` with its standard deviation over the seeds. Rows of the first kind change one of the
library's defaults, rows "final, ..." one of the settings in benchmarks/pedestrians.toml.
`curves.md` has the energy score after shares of the updates: how fast and how steadily each row
converges.
"""

import argparse
import json
import multiprocessing
import platform
import shlex
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from experiments import load_data, markdown_table, write_tables

from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import open_store
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.tensors import device_of
from trajflow.training.events import Evaluated
from trajflow.training.setup import new_trainer
from trajflow.training.validation import validate
from trajflow.types import Batch

COMMON = (
    "train.validation_windows=4000",
    "train.choose_temperature=false",
    "train.threads=1",
)
FINAL_CONFIG = Path(__file__).parent / "benchmarks" / "pedestrians.toml"
BASE: dict[str, tuple[str, ...]] = {
    "base": (),
    "scale jitter .2": ("train.scale_jitter=0.2",),
    "scale jitter .4": ("train.scale_jitter=0.4",),
    "reversed .3": ("train.reverse_prob=0.3",),
    "reversed .5": ("train.reverse_prob=0.5",),
    "time stretch .77": ("train.time_stretch=[0.769,1]",),
    "time stretch .67, with dt": ("train.time_stretch=[0.667,1]", "model.condition_on_dt=true"),
    "dropout .1": ("train.dropout=0.1",),
    "agent dropout .1": ("train.agent_dropout=0.1",),
    "history dropout .3": ("train.history_dropout=0.3",),
    "position noise .03": ("train.position_noise=0.03",),
    "heading of 3 steps": ("model.heading_steps=3",),
    "own speed": ("model.own_speed=true",),
    "batch size 256": ("train.batch_size=256", "train.lr=0.002", "train.noise_samples=2"),
    "width 256": ("model.width=256", "model.decoder_width=256"),
    "width 64": ("model.width=64", "model.decoder_width=64"),
    "components 16": ("model.components=16",),
    "transformer": ("model.encoder=transformer",),
    "flow ratio .25": ("flow.flow_ratio=0.25",),
    "flow ratio .75": ("flow.flow_ratio=0.75",),
    "loss power .5": ("flow.loss_power=0.5",),
    "r near 0": ("flow.r_mean=-3.0",),
    "ema .9995": ("train.ema=0.9995",),
    "weight decay .1": ("train.weight_decay=0.1",),
}
"""Rows by name: settings that differ from the library's defaults."""
FINAL: dict[str, tuple[str, ...]] = {
    "final": (),
    "final, no position noise": ("train.position_noise=0",),
    "final, no own speed": ("model.own_speed=false",),
    "final, no scale jitter": ("train.scale_jitter=0",),
    "final, not reversed": ("train.reverse_prob=0",),
    "final, no mirror": ("train.mirror=false",),
    "final, one dt": ("model.condition_on_dt=false", "train.time_stretch=[1,1]", "data.reach=1"),
    "final, without dt": ("model.condition_on_dt=false",),
    "final, dropout .1": ("train.dropout=0.1",),
    "final, history dropout .4": ("train.history_dropout=0.4",),
    "final, heading of 3 steps": ("model.heading_steps=3",),
    "final, speed floor .4": ("model.speed_floor=0.4",),
    "final, no neighbors": ("model.social=false",),
    "final, width 192": ("model.width=192", "model.decoder_width=192"),
    "final, 1200 updates": ("train.updates=1200",),
    "final, memory from the start": ("model.memory=8",),
    "final, lambda 0": ("flow.lambda_end=0",),
    "final, energy": ("flow.preset=energy",),
    "final, meanflow": ("flow.preset=meanflow",),
    "final, mmf-paper": ("flow.preset=mmf-paper",),
    "final, terminal": ("flow.preset=terminal",),
    "final, flow": ("flow.preset=flow",),
}
"""Rows by name: settings that differ from `FINAL_CONFIG`."""
ROWS = {**BASE, **FINAL}
SHARES = (0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1.0)
"""Shares of the updates after which the table of curves has scores."""
TEMPERATURE = 1.1
SPEEDS = (0.6, 1.6)
"""Validation tracks are also scaled by these factors: a stand-in for places with other speeds."""
Scores = dict[str, float]


@dataclass(frozen=True)
class Trial:
    """One training: a row on a fold with a seed, validated after every so many epochs."""

    row: str
    fold: str
    seed: int
    held: tuple[str, ...] = ()
    every: int = 4

    @property
    def name(self) -> str:
        """The name of its result file."""
        row = self.row.replace(" ", "_").replace(".", "")
        return "-".join([row, self.fold, str(self.seed), *self.held])

    def settings(self, updates: int) -> list[str]:
        """Its settings, as `SECTION.NAME=VALUE`."""
        held = [f"data.validation={json.dumps(list(self.held))}"] if self.held else []
        own = [f"data.fold={self.fold}", f"train.seed={self.seed}"]
        own.append(f"train.validate_every={self.every}")
        return [*held, *COMMON, f"train.updates={updates}", *ROWS[self.row], *own]


@dataclass(frozen=True)
class Job:
    """A trial, and where to compute it and write the result."""

    trial: Trial
    data: Path
    out: Path
    updates: int
    device: str


def run_job(job: Job) -> str:
    """Train and validate a trial and write its result; a line about it."""
    trial, start = job.trial, time.monotonic()
    torch.set_num_threads(1)
    settings = trial.settings(job.updates)
    config = Config.load(FINAL_CONFIG if trial.row in FINAL else None, settings)
    store = open_store(job.data)
    data = load_data(store, config)
    facts = {"dims": store.dims, "dt": store.dt, "unit": store.unit}
    device = device_of(job.device)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        trainer = new_trainer(config, data, str(run), data.describe(), facts, device)
        events = [event for event in trainer.run() if isinstance(event, Evaluated)]
        best = next(event for event in reversed(events) if event.best)
        result = {
            "row": trial.row,
            "fold": trial.fold,
            "seed": trial.seed,
            "seconds": time.monotonic() - start,
            "epoch": best.epoch,
            "metrics": best.metrics,
            "validated": [event.step for event in events],
            "energy_scores": [event.metrics["energy_score"] for event in events],
            "settings": settings,
            "fingerprint": store.fingerprint(),
            **best_weights_scores(run, data, config, trial.held, job.device),
        }
    (job.out / f"{trial.name}.json").write_text(json.dumps(result))
    energy = best.metrics["energy_score"]
    return f"{trial.name}: energy score {energy:.4f} in {result['seconds']:.0f} s"


def best_weights_scores(
    run: Path, data: TrackData, config: Config, held: Iterable[str], device: str
) -> dict[str, dict[str, Scores]]:
    """Scores of the best weights: with more noise, on scaled tracks, and by held-out recording."""
    model = TorchPredictor.load(run, device).model
    steps = 1 if model.architecture.average else 8
    train = config.train

    def scaled_scores(temperature: float, factor: float) -> Scores:
        batches = data.validation(train.batch_size, train.validation_windows)
        scaled = (replace(b, past=b.past * factor, future=b.future * factor) for b in batches)
        scores = validate(model, scaled, 20, steps, 0, temperature)
        lengths = ("energy_score", "min_ade", "min_fde")
        return {name: v / factor if name in lengths else v for name, v in scores.items()}

    def scene_scores(scenes: Iterable[int]) -> Scores:
        batches = select_scenes(data.batches("val", 512), list(scenes))
        return validate(model, batches, 20, steps)

    numbers = {name: data.store.scenes.index(name) for name in held}
    others = set(range(len(data.store.scenes))) - set(numbers.values())
    by_scene = {name: scene_scores([number]) for name, number in numbers.items()}
    return {
        "temperatures": {str(TEMPERATURE): scaled_scores(TEMPERATURE, 1.0)},
        "speeds": {str(speed): scaled_scores(1.0, speed) for speed in SPEEDS},
        "held": {**by_scene, "others": scene_scores(others)} if numbers else {},
    }


def select_scenes(batches: Iterator[Batch], scenes: list[int]) -> Iterator[Batch]:
    """The windows of some recordings."""
    for batch in batches:
        selected = batch.take(np.flatnonzero(np.isin(batch.scene, scenes)))
        if selected.targets:
            yield selected


def read_table(trials: Path) -> pd.DataFrame:
    """One row per change: means over folds and seeds, and the change from `base` or `final`."""
    rows = []
    for file in sorted(trials.glob("*.json")):
        result = json.loads(file.read_text())
        slow, fast = (result["speeds"][str(speed)]["energy_score"] for speed in SPEEDS)
        scores = result["metrics"] | {"es_slower": slow, "es_faster": fast}
        for name, held in result["held"].items():
            scores |= {f"{name} {key}": held[key] for key in ("energy_score", "min_ade")}
        rows.append({name: result[name] for name in ("row", "fold", "seed", "epoch")} | scores)
    by_seed = pd.DataFrame(rows).groupby(["row", "seed"])[list(scores)].mean()
    mean = by_seed.groupby("row").mean()
    mean["seeds"] = by_seed.groupby("row").size()
    energy = by_seed["energy_score"]
    for row in mean.index:
        reference = "final" if row in FINAL else "base"
        if reference in mean.index:
            change = 100 * (energy[row] / energy[reference] - 1).dropna()
            mean.loc[row, ["change_%", "change_sd"]] = change.mean(), change.std()
    return mean.loc[[row for row in ROWS if row in mean.index]].reset_index()


def read_curves(trials: Path) -> pd.DataFrame:
    """Validation energy score of each row after shares of its updates: means over folds and seeds.

    Between validations it is interpolated; before the first there is none.
    """
    parts = []
    for file in sorted(trials.glob("*.json")):
        result = json.loads(file.read_text())
        done = np.array(result["validated"]) / result["validated"][-1]
        scores = np.interp(SHARES, done, result["energy_scores"], left=np.nan)
        own = dict(zip(SHARES, scores, strict=True))
        parts.append({"row": result["row"], "seed": result["seed"]} | own)
    by_seed = pd.DataFrame(parts).groupby(["row", "seed"]).mean()
    curves = by_seed.groupby("row").mean()
    curves.columns = [f"{share:.0%}" for share in SHARES]
    curves["sd of seeds"] = by_seed[1.0].groupby("row").std()
    return curves.loc[[row for row in ROWS if row in curves.index]].reset_index()


def main() -> None:
    """Train what is missing, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("data", type=Path, help="store of the tracks")
    add("-o", "--out", type=Path, default=Path("results/ablation"), help="results folder")
    add(
        "--rows", nargs="*", default=list(ROWS), choices=list(ROWS), metavar="ROW", help="rows; all"
    )
    add("--folds", nargs="*", help="folds; all")
    add("--held", nargs="*", default=[], help="recordings to hold out of training")
    add("--seeds", type=int, default=3, help="trainings of each row and fold; 3")
    add("--updates", type=int, default=1800, help="updates of a training; 1800")
    add("--every", type=int, default=4, help="epochs between two validations; 4")
    add("--jobs", type=int, default=1, help="trainings at once; 1")
    add("--device", default="cpu", help="cpu or cuda; cpu")
    options = parser.parse_args()
    trials = options.out / "trials"
    trials.mkdir(parents=True, exist_ok=True)
    store = open_store(options.data)
    folds = options.folds or list(store.folds or {})
    wanted = [
        Trial(row, fold, seed, tuple(options.held), options.every)
        for seed in range(options.seeds)
        for row in options.rows
        for fold in folds
    ]
    jobs = [
        Job(trial, options.data, trials, options.updates, options.device)
        for trial in wanted
        if not (trials / f"{trial.name}.json").exists()
    ]
    start = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for done, line in enumerate(pool.imap_unordered(run_job, jobs), 1):
            left = (time.monotonic() - start) / done * (len(jobs) - done)
            print(f"{done}/{len(jobs)} {line}; {left / 60:.0f} min left", flush=True)
    held = f" --held {' '.join(options.held)}" if options.held else ""
    rows = "" if options.rows == list(ROWS) else f" --rows {shlex.join(options.rows)}"
    note = (
        f"`python examples/ablation.py {options.data.name} --folds {' '.join(folds)}{held}{rows} "
        f"--seeds {options.seeds} --updates {options.updates} --every {options.every}`; "
        f"validation splits of tracks {store.fingerprint()[:8]}; "
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread each."
    )
    for name, table in (("ablation", read_table(trials)), ("curves", read_curves(trials))):
        markdown = markdown_table(list(table), table.itertuples(index=False))
        write_tables(table, markdown, note, options.out / name)


if __name__ == "__main__":
    main()
