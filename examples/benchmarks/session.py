"""Trains and evaluates the trials of a plan."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from plan import Benchmark, Plan, Trial

from trajflow import Ensemble, baselines
from trajflow.config import Config
from trajflow.datasets import Store, TrackData, open_store
from trajflow.earlier_paths import TRACKS
from trajflow.errors import RunError
from trajflow.evaluation import EvaluationOptions, evaluate_forecaster
from trajflow.evaluation.batches import split_batches
from trajflow.evaluation.earlier_paths import WithEarlierPaths
from trajflow.evaluation.report import is_current, read_report, report_name, write_report
from trajflow.fitting import fit_learned_samples
from trajflow.inference.choosing import LEARNED
from trajflow.inference.predictor import TorchPredictor
from trajflow.runs import CONFIG, RunFolder, track_data
from trajflow.training import Trainer
from trajflow.training.events import Finished
from trajflow.training.start import resume_training, start_training
from trajflow.types import Forecaster

BATCH_SIZE = 512
"""Targets in a batch of an evaluation."""


@dataclass(frozen=True)
class Session:
    """A plan, and where it is run.

    Attributes:
        benchmark: The benchmark.
        plan: The trials.
        data: The store.
        results: Results folder.
        device: Device of the networks.
        jobs: Number of trials at once.
    """

    benchmark: Benchmark
    plan: Plan
    data: Path
    results: Path
    device: str = "cpu"
    jobs: int = 1

    def log(self, name: str) -> Path:
        """The output of the process of a trial."""
        return self.results / "logs" / f"{name}.log"

    def is_trained(self, trial: Trial) -> bool:
        """Whether the training of a trial is finished."""
        if trial.members:
            return all(self.is_trained(self.plan.trial(name)) for name in trial.members)
        return trial.baseline or _finished(trial.folder(self.results)) is not None

    def missing(self, trial: Trial) -> list[EvaluationOptions]:
        """The evaluations without a report, or with a report of an earlier version."""
        fold, folder = trial.config.data.fold, trial.folder(self.results)
        protocol = {"split": "test", "fold": fold, "fingerprint": self.plan.fingerprint}

        def name(options: EvaluationOptions) -> str:
            return report_name(protocol | _watched(trial, options), asdict(options))

        return [o for o in trial.evaluations if not _is_own(folder / name(o))]

    def has_work(self, trial: Trial, stage: str) -> bool:
        """Whether a stage has work for a trial; only trained trials are evaluated."""
        trained = self.is_trained(trial)
        if stage == "train":
            return not trained and not trial.members
        missing = bool(self.missing(trial))
        return (missing and trained) if stage == "evaluate" else (missing or not trained)

    def train(self, trial: Trial, going: Callable[[], bool] = lambda: True) -> bool:
        """Train or resume a trial; whether it is finished.

        Args:
            trial: The trial.
            going: Called after each event; when it returns False, the training saves and stops.

        Raises:
            RunError: The folder has another run.
        """
        if trial.members or self.is_trained(trial):
            return self.is_trained(trial)
        trainer = self._trainer(trial)
        for _ in trainer.run():
            if not going():
                trainer.stop()
        return self.is_trained(trial)

    def evaluate(self, trial: Trial) -> None:
        """Write the missing reports.

        Raises:
            RunError: The trial is not trained.
        """
        folder = trial.folder(self.results)
        if not self.is_trained(trial):
            raise RunError(f"{folder} is not trained to its end; run with --stage train first")
        store = open_store(self.data)
        data = track_data(store, trial.config)
        finished = None if trial.baseline or trial.members else _finished(folder)
        protocol = self._protocol(trial, store, data)
        facts = {
            "name": trial.name,
            "trial": {name: getattr(trial, name) for name in ("fold", "method", "seed")},
            "training": {} if finished is None else finished.to_dict(),
            "machine": _machine("cpu" if trial.baseline else self.device) | {"jobs": self.jobs},
        }
        for options in self.missing(trial):
            start = time.monotonic()
            groups = data.groups("test")
            if self.benchmark.pooled:
                scenes = sorted(scene for group in groups.values() for scene in group)
                groups = {self.benchmark.name: scenes}
            forecaster = self._forecaster(trial, options, data)
            memory = trial.config.model.memory or (TRACKS if options.earlier_paths else 0)
            data.watch(memory, forecaster.displacement_scale if memory else 1.0)
            if options.earlier_paths:
                forecaster = WithEarlierPaths(forecaster, store.scenes)
                batches = forecaster.watching(split_batches(data, options, by_time=True))
            else:
                batches = split_batches(data, options)
            report = evaluate_forecaster(forecaster, batches, groups, options).to_json()
            report["protocol"] = protocol | _watched(trial, options)
            folder.mkdir(parents=True, exist_ok=True)
            seconds = {"evaluation_seconds": time.monotonic() - start}
            write_report(RunFolder(folder), facts | report | seconds)

    def _trainer(self, trial: Trial) -> Trainer:
        folder = trial.folder(self.results)
        if not (folder / CONFIG).exists():
            # All settings are explicit, so that none is chosen from the tracks.
            config = Config.from_dict(trial.config.model_dump())
            init = self.plan.trial(trial.init).folder(self.results) if trial.init else None
            return start_training(self.data, config, folder, self.device, init=init)
        if RunFolder.open(folder).config != trial.config:
            raise RunError(f"{folder} was made with other settings; choose another --out")
        return resume_training(self.data, folder, self.device)

    def _forecaster(self, trial: Trial, options: EvaluationOptions, data: TrackData) -> Forecaster:
        if trial.baseline:
            fit = baselines.load(trial.method)
            return fit(data.batches("train", BATCH_SIZE), options.samples, options.seed)
        if trial.members:
            members = [self.plan.trial(name) for name in trial.members]
            return Ensemble([self._predictor(member, options) for member in members])
        return self._predictor(trial, options)

    def _predictor(self, trial: Trial, options: EvaluationOptions) -> TorchPredictor:
        """The predictor of a trial, with learned samples if the evaluation needs them."""
        folder = trial.folder(self.results)
        predictor = TorchPredictor.load(folder, self.device, options.steps)
        if options.selection != LEARNED or options.samples in predictor.sets:
            return predictor
        count = f"samples.count={options.samples}"
        fit_learned_samples(folder, self.data, [count], device=self.device)
        return TorchPredictor.load(folder, self.device, options.steps)

    def _protocol(self, trial: Trial, store: Store, data: TrackData) -> dict[str, Any]:
        settings, description = trial.config.data, data.describe()
        return {
            "benchmark": self.benchmark.name,
            "data": self.plan.data,
            "fingerprint": self.plan.fingerprint,
            "split": "test",
            **{name: getattr(settings, name) for name in ("fold", "history", "horizon", "stride")},
            "unit": store.unit,
            "selected_on": None if trial.baseline else "val",
            "validation": list(settings.validation),
            **{name: description[name] for name in ("hash", "parts", "leakage")},
        }


def _watched(trial: Trial, options: EvaluationOptions) -> dict[str, str]:
    if options.earlier_paths:
        return {"watched": "earlier paths"}
    return {"watched": "yes"} if trial.config.model.memory else {}


def _is_own(path: Path) -> bool:
    """Whether a report is of this version, and of a trial, not of `trajflow evaluate`."""
    return is_current(path) and "trial" in read_report(path)


def _finished(folder: Path) -> Finished | None:
    return Finished.of(RunFolder(folder)) if folder.is_dir() else None


def _machine(device: str) -> dict[str, str | int]:
    """The machine on which a result is computed."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    cpus = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.startswith("cuda") else {}
    return {
        "cpu": (cpus or [platform.processor() or platform.machine()])[0],
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "device": device,
        "torch": torch.__version__,
        "python": platform.python_version(),
        **gpu,
    }
