"""Evaluate a run, an exported model or a baseline on a split of a store."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajflow.baselines import load as load_baseline
from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store, open_store
from trajflow.errors import ConfigError, RunError
from trajflow.evaluation.clocks import read_clocks, told
from trajflow.evaluation.joint import SHUFFLES
from trajflow.evaluation.judging import evaluate_folds, judge
from trajflow.evaluation.motion import standing_pace
from trajflow.evaluation.protocol import Judging
from trajflow.evaluation.reports import write_report
from trajflow.inference.predict import load_predictor
from trajflow.inference.tables import check_fit
from trajflow.run_data import track_data
from trajflow.runs import RunFolder
from trajflow.types import OnProgress, counted, silent

if TYPE_CHECKING:
    from trajflow.evaluation.protocol import Forecaster

log = logging.getLogger("trajflow")

BATCH = 512
"""Targets in a batch."""


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and how.

    Attributes:
        split: "train", "val" or "test".
        fold: Leave-one-out fold; None: the one that the run left out, if any.
        samples: Futures of each agent.
        steps: Network evaluations per draw.
        seed: Seed of draws and intervals.
        miss: Distance beyond which the best endpoint is a miss, in the unit of the tracks.
        collide: Distance below which two agents collide, in the unit of the tracks.
        shuffled: Whether samples are also scored shuffled between agents; always if the run draws
            the agents of a scene together.
        select: Rule that chooses the samples of more draws; None: plain draws.
        draws: How many draws they are chosen from; None: 20 for each sample.
        clocks: Real seconds per step of some recordings, "NAME=SECONDS,NAME=SECONDS".
    """

    split: str = "test"
    fold: str | None = None
    samples: int = 20
    steps: int = 1
    seed: int = 0
    miss: float = 2.0
    collide: float = 0.2
    shuffled: bool = False
    select: str | None = None
    draws: int | None = None
    clocks: str = ""

    def judging(self, joint: bool = False, standing: float | None = None) -> Judging:
        """The terms of the evaluation.

        Raises:
            ConfigError: The samples cannot be chosen so.
        """
        from trajflow.inference.choosing import selection_of

        chosen = selection_of(self.select, self.samples, self.draws)
        return Judging(
            samples=self.samples,
            draws=chosen.draws if chosen else 0,
            selection=chosen.rule if chosen else "plain",
            joint=joint,
            steps=self.steps,
            seed=self.seed,
            miss=self.miss,
            collide=self.collide,
            shuffles=SHUFFLES if (joint and not chosen) or self.shuffled else 0,
            standing=standing,
            clocks=self.clocks,
        )


def evaluate_run(
    run: str | Path,
    data: str | Path,
    options: EvaluationOptions | None = None,
    *,
    device: str = "auto",
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Evaluate a run or an exported model; the report is also kept in the folder of a run.

    Args:
        run: A run folder, or an exported model in one.
        data: A store.
        options: What is evaluated; None: 20 plain draws on the test split.
        device: Where a run computes.
        on_progress: Called with "windows", the number done and their total.

    Returns:
        name, protocol, the mean of each score over recordings or folds, intervals over people,
        and the scores of each recording; as `trajflow evaluate --json` prints it.

    Raises:
        RunError: The run has learned from what is to be evaluated, or does not fit the tracks.
        DataError: There are no windows.

    Example:
        >>> from trajflow.evaluation.evaluate import evaluate_run
        >>> evaluate_run("runs/none", "tracks.zarr")
        Traceback (most recent call last):
        ...
        trajflow.errors.RunError: runs/none is not a run folder (no config.toml and run.json); \
`trajflow train DATA.zarr --out RUN` makes one
    """
    options = options or EvaluationOptions()
    folder, store = RunFolder.open(run), open_store(data)
    predictor = load_predictor(run, device, options.steps)
    check_fit(predictor, store, data)
    config = _with_fold(folder.config, options.fold)
    same = folder.read_record().get("store") == store.fingerprint()
    if same and config.data != folder.config.data:
        raise RunError(
            f"{run} left out {_fold(folder.config)} of these very tracks and has learned from "
            f"{_fold(config)}; train with --set data.fold={options.fold} to judge it there"
        )
    report = _report(predictor, track_data(store, config), config, options, str(run), on_progress)
    if Path(run).suffix != ".onnx":
        write_report(folder, report)
    return report


def evaluate_baseline(
    name: str,
    data: str | Path,
    options: EvaluationOptions | None = None,
    *,
    settings: Sequence[str] = (),
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Evaluate a baseline that learns from the training split of the same tracks.

    Where the tracks have folds and no test split, it is evaluated on each fold in turn.

    Args:
        name: One of `trajflow.baselines.available()`.
        data: A store.
        options: What is evaluated; None: 20 draws on the test split.
        settings: How windows are cut, as "data.history=8".
        on_progress: Called with "windows" or "folds", the number done and their total.

    Returns:
        The report, as of `evaluate_run`.

    Raises:
        ConfigError: There is no such baseline, or its samples are to be chosen.
        DataError: There are no windows.
    """
    options = options or EvaluationOptions()
    fit = load_baseline(name)
    if options.select is not None:
        raise ConfigError("--select is for a run; the samples of a baseline are not chosen")
    config, store = _with_fold(Config.load(None, settings), options.fold), open_store(data)
    unsplit = options.split == "test" and "test" not in store.splits
    if config.data.fold is None and unsplit and store.folds:
        return _over_folds(name, store, config, options, on_progress)
    tracks = track_data(store, config)
    log.info("%s learns from the training split", name)
    baseline = fit(tracks.batches("train", BATCH), options.samples, options.seed)
    return _report(baseline, tracks, config, options, name, on_progress)


def _over_folds(
    name: str, store: Store, config: Config, options: EvaluationOptions, on_progress: OnProgress
) -> dict[str, Any]:
    """The report of a baseline on every fold, after learning from the others' training splits."""
    names, hashes = list(store.folds or {}), dict[str, str]()

    def folds() -> Iterator[TrackData]:
        for done, fold in enumerate(names):
            yield (data := track_data(store, _with_fold(config, fold)))
            hashes[fold] = data.describe()["hash"]
            on_progress("folds", done + 1, len(names))

    first = track_data(store, _with_fold(config, names[0]))
    terms = options.judging(standing=standing_pace(first, "train"))
    report = evaluate_folds(load_baseline(name), folds(), terms, BATCH)
    made = {"fold": "each of " + ", ".join(names), "hash": hashes}
    protocol = _protocol(store, config, options) | made
    return {"name": name, "protocol": protocol, **report.to_json()}


def _report(
    forecaster: Forecaster,
    data: TrackData,
    config: Config,
    options: EvaluationOptions,
    name: str,
    on_progress: OnProgress,
) -> dict[str, Any]:
    description, split = data.describe(), options.split
    total = description["parts"][split]["windows"]
    clocks = read_clocks(options.clocks)
    batches = told(data.batches(split, BATCH), data.store.scenes, clocks, data.store.dt)
    terms = options.judging(config.model.joint, standing_pace(data, split))
    windows = counted(batches, "windows", on_progress, total)
    report = judge(forecaster, windows, data.groups(split), terms)
    protocol = _protocol(data.store, config, options) | {"hash": description["hash"]}
    return {"name": name, "protocol": protocol, **report.to_json()}


def _protocol(store: Store, config: Config, options: EvaluationOptions) -> dict[str, Any]:
    return {
        "data": str(store.path),
        "fingerprint": store.fingerprint(),
        "split": options.split,
        "fold": config.data.fold,
        "history": config.data.history,
        "horizon": config.data.horizon,
        "stride": config.data.stride,
        "unit": store.unit,
        "seed": options.seed,
    }


def _with_fold(config: Config, fold: str | None) -> Config:
    if fold is None:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"fold": fold})})


def _fold(config: Config) -> str:
    return f"fold {config.data.fold!r}" if config.data.fold else "the test part"
