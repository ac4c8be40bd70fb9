"""The plan of a benchmark: its trials, decided before any training and stored in plan.json."""

import argparse
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from trajflow import baselines
from trajflow.config import Config
from trajflow.datasets import Store
from trajflow.errors import ConfigError, RunError, did_you_mean
from trajflow.evaluation import EvaluationOptions
from trajflow.inference.choosing import LEARNED, check_rule, draws_of
from trajflow.io import write_whole
from trajflow.text import file_name
from trajflow.training.setup import preset_of

FILE = "plan.json"
FLOW_STEPS = (1, 4, 16, 64)
"""Network evaluations per sample for presets that are not trained for one evaluation."""
MEMORY = (
    "model.memory=8",
    "train.updates=1000",
    "train.choose_temperature=false",
    "train.memory_dropout=0",
)
"""Settings with which memory is added to a trained run; see `trajflow.training.pretrained`."""
DERIVED = {"data.fold", "data.validation", "flow.preset", "train.seed"}
"""Settings that the benchmark chooses itself."""


@dataclass(frozen=True)
class Benchmark:
    """A public data set and its evaluation protocol.

    Attributes:
        name: Name in plans and in peers.toml.
        script: File name of its script.
        title: Title of tables.
        windows: Test windows of each fold in the literature, with 8 + 12 steps.
        folds: Returns the names of the folds of a store.
        settings: Returns the settings that define the splits of a fold.
        seeds: Default number of trainings of each preset and fold.
        pooled: Whether all test recordings are scored as one group.
        miss, collide: Thresholds of `EvaluationOptions`, in the unit of the tracks.
        note: A remark on its intervals, for the table.
    """

    name: str
    script: str
    title: str
    windows: Mapping[str, int]
    folds: Callable[[Store], Sequence[str]]
    settings: Callable[[Store, str], list[str]]
    seeds: int = 3
    pooled: bool = False
    miss: float = 2.0
    collide: float = 0.2
    note: str = ""


@dataclass(frozen=True)
class Trial:
    """One forecaster on one fold.

    Attributes:
        fold: The fold.
        method: The trained preset, or the baseline.
        seed: Seed of the training.
        config: All settings.
        evaluations: Options of its evaluations.
        baseline: Whether the forecaster is a baseline.
        members: Names of the trials of an ensemble; an ensemble is not trained itself.
        init: Name of the trial that memory is added to.
    """

    fold: str
    method: str
    seed: int
    config: Config
    evaluations: tuple[EvaluationOptions, ...]
    baseline: bool = False
    members: tuple[str, ...] = ()
    init: str = ""

    @property
    def name(self) -> str:
        """A unique name, usable as a folder name."""
        return _name(self.fold, self.method, self.seed)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the trials that must be finished first."""
        return (*self.members, self.init) if self.init else self.members

    def folder(self, results: Path) -> Path:
        """The folder of its weights and reports; version 0.1.0 called baselines floors."""
        if not self.baseline:
            return results / "runs" / self.name
        kind = "floors" if (results / "floors").is_dir() else "baselines"
        return results / kind / self.name


@dataclass(frozen=True)
class Plan:
    """All trials of a benchmark on one store.

    Attributes:
        benchmark: Name of the benchmark.
        data: Name of the store, without its folder.
        fingerprint: Checksum of the tracks.
        trials: The trials.
    """

    benchmark: str
    data: str
    fingerprint: str
    trials: tuple[Trial, ...]

    def trial(self, name: str) -> Trial:
        """The trial with a name."""
        return next(trial for trial in self.trials if trial.name == name)

    def save(self, results: Path) -> None:
        """Write the plan, merged with the stored one.

        Raises:
            RunError: The stored plan has other tracks, or other settings for a trial.
        """
        results.mkdir(parents=True, exist_ok=True)
        plan = _merged(self, read_plan(results)) if (results / FILE).exists() else self
        trials = [
            {**vars(trial), "config": trial.config.model_dump(mode="json")}
            | {"evaluations": [asdict(options) for options in trial.evaluations]}
            for trial in plan.trials
        ]
        content = json.dumps({**vars(plan), "trials": trials}, indent=1)
        write_whole(results / FILE, content.encode())


def read_plan(results: Path) -> Plan:
    """Read the plan of a results folder, of this version or 0.1.0.

    Raises:
        RunError: There is no plan.
    """
    try:
        values = json.loads((results / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise RunError(f"{results} has no {FILE}; run this script without --stage first") from None
    return Plan(**{**values, "trials": tuple(map(_read_trial, values["trials"]))})


def _read_trial(values: Mapping[str, Any]) -> Trial:
    return Trial(
        fold=values["fold"],
        method=values["method"],
        seed=values["seed"],
        config=Config.recorded(values["config"]),
        evaluations=tuple(EvaluationOptions(**options) for options in values["evaluations"]),
        baseline=bool(values.get("baseline", values.get("floor"))),
        members=tuple(values.get("members", ())),
        init=values.get("init", ""),
    )


def _merged(new: Plan, old: Plan) -> Plan:
    if (new.benchmark, new.fingerprint) != (old.benchmark, old.fingerprint):
        raise RunError(
            f"these results are of {old.benchmark} on {old.data} ({old.fingerprint[:8]}), not of "
            f"{new.benchmark} on {new.data} ({new.fingerprint[:8]}); choose another --out"
        )
    trials = {trial.name: trial for trial in old.trials}
    for trial in new.trials:
        before = trials.get(trial.name, trial)
        if trial.config != before.config:
            raise RunError(
                f"trial {trial.name} was planned with other settings "
                f"({_changes(trial.config, before.config)}); give the same ones, or choose "
                "another --out"
            )
        others = [terms for terms in before.evaluations if terms not in trial.evaluations]
        trials[trial.name] = replace(trial, evaluations=(*trial.evaluations, *others))
    return replace(new, trials=tuple(trials.values()))


def _changes(new: Config, old: Config) -> str:
    before = dict(_flat(old))
    changed = [(name, value) for name, value in _flat(new) if value != before[name]]
    return ", ".join(f"{name} {before[name]!r}, now {value!r}" for name, value in changed)


def _flat(config: Config) -> Iterator[tuple[str, Any]]:
    for section, values in config.model_dump(mode="json").items():
        yield from ((f"{section}.{name}", value) for name, value in values.items())


def settings_of(trial: Trial) -> dict[str, Any]:
    """Settings of a trial that differ from the defaults and are not chosen by the benchmark."""
    defaults = dict(_flat(Config()))
    changed = {name: value for name, value in _flat(trial.config) if value != defaults[name]}
    return {name: value for name, value in changed.items() if name not in DERIVED}


def make_plan(benchmark: Benchmark, options: argparse.Namespace, store: Store) -> Plan:
    """The trials for the options of the command line.

    Raises:
        ConfigError: A name or a setting is wrong, or the store is unsuitable.
    """
    for rule in options.select:
        check_rule(rule)
    names = list(benchmark.folds(store))
    for name in options.folds:
        if name not in names:
            raise ConfigError(did_you_mean("fold", name, names))
    selected = [name for name in names if name in (options.folds or names)]
    folds = {name: benchmark.settings(store, name) for name in selected}
    trials = tuple(_trials(benchmark, options, folds))
    return Plan(benchmark.name, store.path.name, store.fingerprint(), trials)


def _name(fold: str, method: str, seed: int) -> str:
    return f"{file_name(fold)}-{method}-{seed}"


def _trials(
    benchmark: Benchmark, options: argparse.Namespace, folds: Mapping[str, Sequence[str]]
) -> Iterator[Trial]:
    """Baselines, then trainings (seed by seed, so one seed is complete early), then ensembles."""

    def config(fold: str, *more: str) -> Config:
        return Config.load(options.config, [*options.set, *folds[fold], *more])

    evaluation = EvaluationOptions(miss=benchmark.miss, collide=benchmark.collide)
    for name, fold in product(options.baselines, folds):
        baselines.load(name)
        yield Trial(fold, name, 0, Config(data=config(fold).data), (evaluation,), baseline=True)
    methods: dict[str, tuple[str, tuple[str, ...]]] = {name: (name, ()) for name in options.presets}
    if options.memory:
        if has := Config.load(options.config, options.set).model.memory:
            raise ConfigError(
                f"--memory adds memory to trainings without; leave it or model.memory={has} out"
            )
        methods |= {f"{preset}-memory": (preset, MEMORY) for preset in options.presets}
    for method, (preset, more) in methods.items():
        for seed, fold in product(range(options.seeds), folds):
            settings = config(fold, f"flow.preset={preset}", f"train.seed={seed}", *more)
            evaluations = tuple(_evaluations(evaluation, options, settings))
            init = _name(fold, preset, seed) if more else ""
            yield Trial(fold, method, seed, settings, evaluations, init=init)
    for method, fold in product(methods if options.ensemble else (), folds):
        preset, more = methods[method]
        settings = config(fold, f"flow.preset={preset}", *more)
        if options.seeds < 2 or settings.model.joint:
            raise ConfigError("--ensemble needs 2 seeds or more and model.joint=false")
        members = tuple(_name(fold, method, seed) for seed in range(options.seeds))
        one_step = [e for e in _evaluations(evaluation, options, settings) if e.steps == 1]
        evaluations = tuple(  # learned samples use the samples of all members
            replace(e, draws=len(members) * e.samples) if e.selection == LEARNED else e
            for e in one_step
        )
        yield Trial(fold, f"{method}-ensemble", 0, settings, evaluations, members=members)


def _evaluations(
    evaluation: EvaluationOptions, options: argparse.Namespace, config: Config
) -> Iterator[EvaluationOptions]:
    """Plain samples by number of evaluations, selection rules, and all with real time steps."""
    one_step, joint = preset_of(config.flow).average, config.model.joint
    if options.select and joint:
        raise ConfigError("samples of whole scenes cannot be selected; leave out --select")
    if options.clock and not config.model.condition_on_dt:
        raise ConfigError(
            "--clock needs a model that gets the time step: model.condition_on_dt=true"
        )
    if options.earlier_paths and joint:
        raise ConfigError("whole scenes have no earlier paths; leave out --earlier-paths")
    plain = replace(evaluation, joint=joint)
    steps = sorted({1, *options.steps}) if one_step else FLOW_STEPS
    evaluations = [replace(plain, steps=count) for count in steps]
    for rule in options.select if one_step else ():
        draws = draws_of(rule, plain.samples, options.draws)
        evaluations.append(replace(plain, selection=rule, draws=draws))
    yield from evaluations
    one_step = [e for e in evaluations if e.steps == 1]
    if options.clock:
        yield from (replace(e, clocks=options.clock) for e in one_step)
    if options.earlier_paths:
        with_paths = [replace(e, earlier_paths=True) for e in one_step]
        yield from with_paths
        one_step += with_paths
    if options.min_agents > 1:
        yield from (replace(e, min_agents=options.min_agents) for e in one_step)


def command_of(benchmark: Benchmark, plan: Plan, method: str, report: Mapping[str, Any]) -> str:
    """The command that reproduces the row of a method and a report."""
    trials = [trial for trial in plan.trials if trial.method == method]
    first, folds = trials[0], dict.fromkeys(trial.fold for trial in trials)
    own = method.removesuffix("-ensemble")
    preset = own.removesuffix("-memory")
    words = ["python", f"examples/benchmarks/{benchmark.script}", plan.data]
    words += ["--folds", ",".join(folds)] if set(folds) != set(benchmark.windows) else []
    if first.baseline:
        words += ["--presets", "", "--baselines", method]
    else:
        seeds = len(first.members) or 1 + max(trial.seed for trial in trials)
        words += ["--seeds", str(seeds), "--presets", preset]
        words += ["--memory"] if own != preset else []
        words += ["--baselines", "", *(["--ensemble"] if first.members else [])]
        words += ["--steps", str(report["steps"])] if report["steps"] > 1 else []
    if report["selection"] != "plain":
        words += ["--select", report["selection"]]
        more_draws = report["selection"] != LEARNED and report["draws"] > report["samples"]
        words += ["--draws", str(report["draws"])] if more_draws else []
    words += ["--clock", report["clocks"]] if report["clocks"] else []
    words += ["--earlier-paths"] if report["earlier_paths"] else []
    words += ["--min-agents", str(report["min_agents"])] if report["min_agents"] > 1 else []
    words += ["--config", "none"]
    plain = next((trial for trial in plan.trials if trial.method == preset), first)
    for name, value in settings_of(plain).items():
        words += ["--set", f"{name}={json.dumps(value)}"]
    return shlex.join([*words, "-o", "results"])
