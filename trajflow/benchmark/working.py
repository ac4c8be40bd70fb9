"""One trial done: trained as far as it is not yet, judged where no report says how it did."""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trajflow.baselines import load as load_floor
from trajflow.benchmark.machine import machine
from trajflow.benchmark.plan import Plan, Trial
from trajflow.benchmark.recipes import recipe
from trajflow.benchmark.standing import is_ready, is_trained, last_event, missing
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store
from trajflow.errors import RunError
from trajflow.evaluation import Judging, judge
from trajflow.evaluation.evaluate import read_clocks, with_clocks
from trajflow.evaluation.report import report_name
from trajflow.inference.choosing import LEARNED
from trajflow.inference.ensemble import Ensemble
from trajflow.inference.predictor import TorchPredictor
from trajflow.io import write_whole
from trajflow.models.tensors import device_of
from trajflow.runs import CONFIG, RESUME, RunFolder, facts_of, run_data, track_data
from trajflow.training import Trainer
from trajflow.training.learned_samples import LearnedSamplesTrainer, keep_samples
from trajflow.training.setup import new_trainer, resumed_trainer
from trajflow.types import Forecaster

SIZE = 512
"""Targets in a batch of an evaluation."""


@dataclass(frozen=True)
class Where:
    """What a trial is computed on.

    Attributes:
        device: The device, by name.
        jobs: Trials that share it, which is what its times are to be read with.
    """

    device: str = "cpu"
    jobs: int = 1

    def facts(self, floor: bool) -> dict[str, str | int]:
        """Names and versions; a floor knows no device."""
        return machine(device_of("cpu" if floor else self.device)) | {"jobs": self.jobs}


@dataclass(frozen=True)
class Work:
    """A trial, and where it is done.

    Attributes:
        plan: The plan it is of.
        trial: The trial.
        store: The tracks.
        results: Folder of all results.
        where: What it is computed on.
    """

    plan: Plan
    trial: Trial
    store: Store
    results: Path
    where: Where = Where()

    @property
    def folder(self) -> Path:
        """Where the trial's weights and reports are."""
        return self.trial.folder(self.results)

    def train(self, going: Callable[[], bool] = lambda: True) -> bool:
        """Train, or go on training, unless it is done; whether it is done now.

        Args:
            going: Asked after each event; once it says no, the training saves and ends.

        Raises:
            RunError: The folder holds another run.
        """
        if self.trial.members or is_ready(self.trial, self.results):
            return is_ready(self.trial, self.results)
        trainer = self._trainer()
        for _ in trainer.run():
            if not going():
                trainer.stop()
        return is_trained(self.folder)

    def evaluate(self) -> None:
        """Write every report that is missing.

        Raises:
            RunError: The trial is not trained yet.
        """
        wanted = missing(self.plan, self.trial, self.results)
        if not wanted:
            return
        if not is_ready(self.trial, self.results):
            raise RunError(f"{self.folder} is not trained to its end; run the stage train first")
        data = track_data(self.store, self.trial.config)
        known = self._protocol(data)
        for terms in wanted:
            began = time.monotonic()
            groups = recipe(self.plan.benchmark).groups(data)
            forecaster = self._forecaster(data, terms)
            clocks = read_clocks(terms.clocks)
            batches = with_clocks(
                data.batches("test", SIZE), self.store.scenes, clocks, self.store.dt
            )
            report = judge(forecaster, batches, groups, terms).to_json()
            taken = {"evaluation_seconds": time.monotonic() - began}
            self._keep(known, report | taken)

    def _trainer(self) -> Trainer:
        config, device = self.trial.config, device_of(self.where.device)
        data = track_data(self.store, config)
        facts = facts_of(self.store)
        if (self.folder / CONFIG).exists():
            if RunFolder.open(self.folder).config != config:
                raise RunError(f"{self.folder} was made with other settings; choose another --out")
            if (self.folder / RESUME).exists():
                folder = RunFolder.open(self.folder)
                return resumed_trainer(folder, run_data(self.store, folder), facts, device)
            shutil.rmtree(self.folder)
        record = data.describe()
        return new_trainer(config, data, str(self.folder), record, facts, device)

    def _forecaster(self, data: TrackData, terms: Judging) -> Forecaster:
        if self.trial.members:
            members = (self.plan.trial(name) for name in self.trial.members)
            return Ensemble([replace(self, trial=one)._network(terms) for one in members])
        if not self.trial.floor:
            return self._network(terms)
        fit = load_floor(self.trial.method)
        return fit(data.batches("train", SIZE), terms.samples, terms.seed)

    def _network(self, terms: Judging) -> TorchPredictor:
        """What was trained, with a learned set where the terms ask for one."""
        predictor = self._predictor(terms.steps)
        if terms.selection == LEARNED and terms.samples not in predictor.sets:
            self._learn_set(predictor, terms.samples)
            predictor = self._predictor(terms.steps)
        return predictor

    def _predictor(self, steps: int) -> TorchPredictor:
        return TorchPredictor.load(self.folder, str(device_of(self.where.device)), steps)

    def _learn_set(self, predictor: TorchPredictor, count: int) -> None:
        config, folder = self.trial.config, RunFolder.open(self.folder)
        data = run_data(self.store, folder)
        samples = config.samples.model_copy(update={"count": count})
        config = config.model_copy(update={"samples": samples})
        trainer = LearnedSamplesTrainer(predictor.model, data, config, predictor.device)
        for _ in trainer.run():
            pass
        keep_samples(folder, trainer)

    def _protocol(self, data: TrackData) -> dict[str, Any]:
        shape, found = self.trial.config.data, data.describe()
        return {
            "benchmark": self.plan.benchmark,
            "data": self.plan.data,
            "fingerprint": self.plan.fingerprint,
            "hash": found["hash"],
            "split": "test",
            "fold": shape.fold,
            "history": shape.history,
            "horizon": shape.horizon,
            "stride": shape.stride,
            "unit": self.store.unit,
            "selected_on": None if self.trial.floor else "val",
            "validation": list(shape.validation),
            "parts": found["parts"],
            "leakage": found["leakage"],
        }

    def _keep(self, protocol: Mapping[str, Any], report: Mapping[str, Any]) -> None:
        trial = {name: getattr(self.trial, name) for name in ("fold", "method", "seed", "floor")}
        whole = {
            "name": self.trial.name,
            "trial": trial,
            "protocol": protocol,
            **report,
            "training": last_event(self.folder),
            "machine": self.where.facts(self.trial.floor),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps(whole, indent=1).encode()
        write_whole(self.folder / report_name(protocol, report), content)
