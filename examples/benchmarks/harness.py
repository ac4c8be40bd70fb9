"""What both benchmarks share: their command line, and processes that train and judge trials.

A results folder holds plan.json, a run folder for each training (runs/), the reports of baselines
(baselines/), logs/ and the table. What is finished there is not done again.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from plan import Benchmark, Plan, Trial, make_plan, read_plan
from table import make_table, summary, write_table

from trajflow import Ensemble, baselines
from trajflow.config import Config
from trajflow.datasets import Store, TrackData, open_store
from trajflow.errors import RunError, TrajflowError
from trajflow.evaluation import EvaluationOptions, evaluate_forecaster
from trajflow.evaluation.batches import read_clocks, with_clocks
from trajflow.evaluation.report import is_current, report_name, write_report
from trajflow.fitting import fit_learned_samples
from trajflow.inference.choosing import LEARNED
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.tensors import device_of
from trajflow.runs import CONFIG, RunFolder, track_data
from trajflow.text import plain
from trajflow.training import Trainer
from trajflow.training.events import Finished
from trajflow.training.start import resume_training, start_training
from trajflow.types import Forecaster

STAGES = ("all", "train", "evaluate", "refresh", "table")
FAILED, INTERRUPTED = 1, 130
BATCH = 512
"""Targets in a batch of an evaluation."""
TICK = 0.2
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Session:
    """A plan, and where it is carried out.

    Attributes:
        benchmark: What the plan is of.
        plan: The trials.
        data: The store.
        results: Folder of all results.
        device: Where to compute.
        jobs: Trials at once, which share the machine.
    """

    benchmark: Benchmark
    plan: Plan
    data: Path
    results: Path
    device: str = "cpu"
    jobs: int = 1

    def log(self, name: str) -> Path:
        """What the process of a trial prints."""
        return self.results / "logs" / f"{name}.log"

    def is_trained(self, trial: Trial) -> bool:
        """Whether nothing of a trial is left to be trained."""
        if trial.members:
            return all(self.is_trained(self.plan.trial(name)) for name in trial.members)
        return trial.baseline or _ended(trial.folder(self.results)) is not None

    def missing(self, trial: Trial) -> list[EvaluationOptions]:
        """The evaluations that have no report, or one by definitions of an earlier version."""
        where = {
            "split": "test",
            "fold": trial.config.data.fold,
            "fingerprint": self.plan.fingerprint,
        }
        names = {terms: report_name(where, asdict(terms)) for terms in trial.evaluations}
        folder = trial.folder(self.results)
        return [terms for terms, name in names.items() if not is_current(folder / name)]

    def has_work(self, trial: Trial, stage: str) -> bool:
        """Whether a stage leaves something to do for a trial; only what is trained is judged."""
        trained = self.is_trained(trial)
        if stage == "train":
            return not trained and not trial.members
        judging = bool(self.missing(trial))
        return (judging and trained) if stage == "evaluate" else (judging or not trained)

    def train(self, trial: Trial, going: Callable[[], bool] = lambda: True) -> bool:
        """Train, or go on training, unless it is done; whether it is done now.

        Args:
            trial: The trial.
            going: Called after each event; once it is false, the training saves and ends.

        Raises:
            RunError: The folder holds another run.
        """
        if trial.members or self.is_trained(trial):
            return self.is_trained(trial)
        trainer = self._trainer(trial)
        for _ in trainer.run():
            if not going():
                trainer.stop()
        return self.is_trained(trial)

    def evaluate(self, trial: Trial) -> None:
        """Write every report that is missing.

        Raises:
            RunError: The trial is not trained yet.
        """
        folder = trial.folder(self.results)
        if not self.is_trained(trial):
            raise RunError(f"{folder} is not trained to its end; run the stage train first")
        store = open_store(self.data)
        data = track_data(store, trial.config)
        ended = None if trial.baseline or trial.members else _ended(folder)
        facts = {
            "name": trial.name,
            "trial": {name: getattr(trial, name) for name in ("fold", "method", "seed")},
            "protocol": self._protocol(trial, store, data),
            "training": {} if ended is None else ended.to_dict(),
            "machine": _machine("cpu" if trial.baseline else self.device) | {"jobs": self.jobs},
        }
        for terms in self.missing(trial):
            began = time.monotonic()
            groups = data.groups("test")
            if self.benchmark.pooled:
                scenes = sorted(scene for group in groups.values() for scene in group)
                groups = {self.benchmark.name: scenes}
            clocks = read_clocks(terms.clocks)
            batches = with_clocks(data.batches("test", BATCH), store.scenes, clocks, store.dt)
            report = evaluate_forecaster(
                self._forecaster(trial, terms, data), batches, groups, terms
            ).to_json()
            folder.mkdir(parents=True, exist_ok=True)
            taken = {"evaluation_seconds": time.monotonic() - began}
            write_report(RunFolder(folder), facts | report | taken)

    def _trainer(self, trial: Trial) -> Trainer:
        folder = trial.folder(self.results)
        if not (folder / CONFIG).exists():
            # All settings count as given, so that none is chosen from the tracks.
            config = Config.from_dict(trial.config.model_dump())
            return start_training(self.data, config, folder, self.device)
        if RunFolder.open(folder).config != trial.config:
            raise RunError(f"{folder} was made with other settings; choose another --out")
        return resume_training(self.data, folder, self.device)

    def _forecaster(self, trial: Trial, terms: EvaluationOptions, data: TrackData) -> Forecaster:
        if trial.baseline:
            fit = baselines.load(trial.method)
            return fit(data.batches("train", BATCH), terms.samples, terms.seed)
        if trial.members:
            members = [self.plan.trial(name) for name in trial.members]
            return Ensemble([self._predictor(member, terms) for member in members])
        return self._predictor(trial, terms)

    def _predictor(self, trial: Trial, terms: EvaluationOptions) -> TorchPredictor:
        """The network of a trial, with learned samples where the terms ask for them."""
        folder = trial.folder(self.results)
        predictor = TorchPredictor.load(folder, self.device, terms.steps)
        if terms.selection != LEARNED or terms.samples in predictor.sets:
            return predictor
        count = f"samples.count={terms.samples}"
        fit_learned_samples(folder, self.data, [count], device=self.device)
        return TorchPredictor.load(folder, self.device, terms.steps)

    def _protocol(self, trial: Trial, store: Store, data: TrackData) -> dict[str, Any]:
        shape, description = trial.config.data, data.describe()
        return {
            "benchmark": self.benchmark.name,
            "data": self.plan.data,
            "fingerprint": self.plan.fingerprint,
            "split": "test",
            **{name: getattr(shape, name) for name in ("fold", "history", "horizon", "stride")},
            "unit": store.unit,
            "selected_on": None if trial.baseline else "val",
            "validation": list(shape.validation),
            **{name: description[name] for name in ("hash", "parts", "leakage")},
        }


def _ended(folder: Path) -> Finished | None:
    return Finished.of(RunFolder(folder)) if folder.is_dir() else None


def _machine(device: str) -> dict[str, str | int]:
    """What a result was computed on."""
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


def run_trials(session: Session, stage: str) -> tuple[dict[str, str], bool]:
    """Run trials as processes of their own, several at once; one that fails stops no other.

    Returns:
        Why trials failed, by name, and whether an interrupt ended the work; then every training
        has saved where it is.
    """
    waiting = [trial for trial in session.plan.trials if session.has_work(trial, stage)]
    waiting.sort(key=lambda trial: 2 * bool(trial.members) + trial.baseline)
    running: dict[str, subprocess.Popen[bytes]] = {}
    failed: dict[str, str] = {}
    interrupted = False
    total, began = len(waiting), time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while running or waiting:
            open_ones = {*running, *(trial.name for trial in waiting)}
            ready = [trial for trial in waiting if open_ones.isdisjoint(trial.members)]
            for trial in ready[: session.jobs - len(running)]:
                waiting.remove(trial)
                running[trial.name] = _start(session, trial, stage)
                _say(f"{trial.name} begins")
            time.sleep(TICK)
            for name in [name for name, process in running.items() if process.poll() is not None]:
                if code := running.pop(name).returncode:
                    failed[name] = f"{_last_line(session.log(name))} (exit code {code})"
                    _say(f"failed: {name}: {failed[name]}; {session.log(name)} has all of it")
                done = total - len(waiting) - len(running)
                left = (time.monotonic() - began) / done * (total - done) / 60
                _say(f"{done}/{total} trials, {name} ended; about {left:.0f} min left")
    except KeyboardInterrupt:
        interrupted = True
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    return failed, interrupted


def _start(session: Session, trial: Trial, stage: str) -> "subprocess.Popen[bytes]":
    script = Path(__file__).with_name(session.benchmark.script)
    words = [sys.executable, script, session.data, "-o", session.results, "--trial", trial.name]
    words += ["--stage", stage, "--device", session.device, "--jobs", session.jobs]
    # Results of a processor depend on the number of threads.
    cores = 1 if session.device == "cpu" else max(1, (os.cpu_count() or 1) // session.jobs)
    log = session.log(trial.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.Popen(
            list(map(str, words)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | dict.fromkeys(THREADS, str(cores)),
            start_new_session=True,  # an interrupt of the terminal reaches the parent alone
        )


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")


def _work(session: Session, name: str, stage: str) -> int:
    """Do a trial in this process; the exit code, 130 where it was stopped and can go on later."""
    parent, trial, stopped = os.getppid(), session.plan.trial(name), list[int]()
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    if stage != "evaluate":
        session.train(trial, lambda: not stopped and os.getppid() == parent)
    if stopped:
        return INTERRUPTED
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if stage != "train":
        session.evaluate(trial)
    return 0


def _say(text: str) -> None:
    print(plain(text), file=sys.stderr, flush=True)


def _names(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _steps(text: str) -> list[int]:
    return [_positive(word) for word in _names(text)]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _settings(text: str) -> Path | None:
    return None if text == "none" else Path(text)


def command_line(benchmark: Benchmark, text: str = "") -> argparse.ArgumentParser:
    """The options of a benchmark's script, which `text` describes."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    usual = Path(__file__).with_name(benchmark.script).with_suffix(".toml")
    add("data", type=Path, help="store of the tracks")
    add("-o", "--out", type=Path, default=Path("results"), help="folder of all results")
    add("--folds", type=_names, default=[], help="some of the folds, as eth,hotel")
    add("--seeds", type=_positive, default=benchmark.seeds, help="trainings of a preset and fold")
    add("--presets", type=_names, default=["mmf"], help="what is trained, as mmf,flow")
    add("--baselines", type=_names, default=baselines.available(), help="as cv,analog")
    add("--steps", type=_steps, default=[1], help="network evaluations per draw, as 1,2,4")
    add("--select", type=_names, default=[], help="also judge 20 samples chosen so, as learned")
    add("--draws", type=_positive, default=1000, help="draws that these are chosen from")
    add("--ensemble", action="store_true", help="also judge all seeds as one forecaster")
    add("--clock", default="", help="also judge with real seconds per step, as biwi_eth=0.6667")
    add("--config", type=_settings, default=usual, help=f"settings, or none; {usual.name} if not")
    add("--set", action="append", default=[], metavar="SECTION.NAME=VALUE", help="one setting")
    add("--jobs", "-j", type=_positive, default=1, help="trials at once")
    stages = "a part of it; refresh judges again, by the plan that is there, what has no report"
    add("--stage", choices=STAGES, default="all", help=f"{stages} by today's definitions")
    add("--device", default="auto", help="cpu, cuda or auto")
    add("--trial", help=argparse.SUPPRESS)
    return parser


def main(benchmark: Benchmark, text: str, words: Sequence[str] | None = None) -> None:
    """Run a benchmark's command line and leave with its exit code.

    Args:
        benchmark: The benchmark.
        text: Its description.
        words: The command line; None: that of this process.
    """
    options = command_line(benchmark, text).parse_args(words)
    try:
        code = _run(benchmark, options)
    except TrajflowError as error:
        _say(f"error: {error}")
        code = error.exit_code
    sys.exit(code)


def _run(benchmark: Benchmark, options: argparse.Namespace) -> int:
    failed: dict[str, str] = {}
    code = 0
    if options.stage != "table":
        session, stage = _session(benchmark, options)
        if options.trial:
            return _work(session, options.trial, stage)
        failed, interrupted = run_trials(session, stage)
        code = FAILED if failed else INTERRUPTED if interrupted else 0
    plan = read_plan(options.out)
    all_trials = Session(benchmark, plan, options.data, options.out)
    missing = [trial.name for trial in plan.trials if all_trials.has_work(trial, "all")]
    table = make_table(benchmark, plan, options.out, missing, failed)
    paths = write_table(table, options.out)
    print(plain(summary(table)))
    _say(f"wrote {', '.join(map(str, paths))}")
    return code


def _session(benchmark: Benchmark, options: argparse.Namespace) -> tuple[Session, str]:
    """The plan that is carried out, and the stage of it; that of a trial's process is on disk.

    Raises:
        TrajflowError: It cannot be made, or does not fit the results that are there.
    """
    store = open_store(options.data)
    stage = "evaluate" if options.stage == "refresh" else options.stage
    if options.trial or options.stage == "refresh":
        plan = read_plan(options.out)
        if (plan.benchmark, plan.fingerprint) != (benchmark.name, store.fingerprint()):
            raise RunError(
                f"{options.out} holds results of {plan.benchmark} on {plan.data} "
                f"({plan.fingerprint[:8]}), not of {benchmark.name} on {store.path} "
                f"({store.fingerprint()[:8]}); give the tracks that its runs were trained on"
            )
    else:
        plan = make_plan(benchmark, options, store)
        plan.save(options.out)
    if options.folds and not options.trial:
        kept = tuple(trial for trial in plan.trials if trial.fold in options.folds)
        plan = replace(plan, trials=kept)
    device = str(device_of(options.device))
    return Session(benchmark, plan, options.data, options.out, device, options.jobs), stage
