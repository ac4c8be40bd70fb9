"""Evaluate a run, an exported model or a baseline on the windows of a split."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.baselines import load as load_baseline
from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store, open_store
from trajflow.earlier_paths import TRACKS
from trajflow.errors import ConfigError, DataError, RunError
from trajflow.evaluation.batches import BATCH, RunScorer, parts_of, split_batches
from trajflow.evaluation.earlier_paths import WithEarlierPaths, check_earlier_paths
from trajflow.evaluation.report import GroupScore, Report, write_report
from trajflow.evaluation.scores import (
    JOINT,
    NAMES,
    RATIO,
    SHUFFLES,
    BatchScores,
    EvaluationOptions,
    score_batches,
    with_ratio,
)
from trajflow.evaluation.thresholds import standing_speed, with_thresholds
from trajflow.inference.loading import load_predictor
from trajflow.inference.tables import check_fit
from trajflow.remote import local_copy
from trajflow.runs import RunFolder, run_settings, track_data
from trajflow.statistics import People, Tally, intervals
from trajflow.types import Batch, Floats, Forecaster, OnProgress, counted, silent
from trajflow.workers import Jobs, in_order

log = logging.getLogger("trajflow")


Score = Callable[[EvaluationOptions], Iterator[BatchScores]]
"""Scores the batches of a split; it gets the options with all that depends on the run."""
Fit = Callable[[Iterable[Batch], int, int], Forecaster]
"""Fits a forecaster: training batches, number of samples, seed."""


def evaluate_forecaster(
    forecaster: Forecaster,
    batches: Iterable[Batch],
    groups: Mapping[str, Sequence[int]],
    options: EvaluationOptions,
) -> Report:
    """Evaluate a forecaster on batches of windows.

    A score is averaged over the windows of a group and then over the groups, so that a crowded
    recording does not outweigh the others. Intervals are by bootstrap over people.

    Args:
        forecaster: The forecaster. It gets the batches with NaN in place of the future.
        batches: The windows.
        groups: Indexes of the recordings of each group.
        options: How to evaluate; `split` and `fold` are not used.

    Raises:
        DataError: There are no windows, or a recording is in no group.
        ConfigError: The options select samples, and the forecaster cannot.
        TrajflowError: A forecast has the wrong shape or is not finite.
    """
    evaluation = _Evaluation(options)
    evaluation.add(score_batches(forecaster, batches, options), groups)
    return evaluation.report()


def evaluate_folds(
    fit: Fit,
    folds: Iterable[TrackData],
    options: EvaluationOptions | None = None,
    batch_size: int = 256,
) -> Report:
    """Fit on the training split and evaluate on the test split of each fold, then average.

    Args:
        fit: Fits a forecaster, as `trajflow.baselines.load` returns it.
        folds: The tracks, split for each fold.
        options: How to evaluate; None: the defaults.
        batch_size: Targets in a batch, about.
    """
    options = options or EvaluationOptions()
    evaluation = _Evaluation(options)
    for data in folds:
        if not evaluation.seconds:  # the first fold, whose thresholds serve all
            evaluation.options, _ = with_thresholds(options, data)
        forecaster = fit(data.batches("train", batch_size), options.samples, options.seed)
        batches, number = data.batches("test", batch_size), len(evaluation.seconds)
        evaluation.add(score_batches(forecaster, batches, options, number), data.groups("test"))
    return evaluation.report()


class _Evaluation:
    """Sums of scores by person, and the seconds and targets of each batch, so far."""

    def __init__(self, options: EvaluationOptions) -> None:
        self.options, self.tally = options, Tally()
        self.by_motion = {"standing": Tally(), "moving": Tally()}
        self.by_type: dict[str, Tally] = {}
        self.groups: list[str] = []
        self.seconds: list[float] = []
        self.targets: list[int] = []
        self.sensitivities: list[float] = []

    def add(self, scored: Iterable[BatchScores], groups: Mapping[str, Sequence[int]]) -> None:
        group_of = {scene: name for name, scenes in groups.items() for scene in scenes}
        for tally in (self.tally, *self.by_motion.values()):
            tally.add_groups(groups)
        self.groups += groups
        for batch in scored:
            self._add(batch, group_of)

    def _add(self, batch: BatchScores, group_of: Mapping[int, str]) -> None:
        missing = sorted(set(batch.scene.tolist()) - set(group_of))
        if missing:
            raise DataError(f"scenes {missing} are in no group; name every evaluated scene")
        group = np.array([group_of[index] for index in batch.scene.tolist()])
        self.seconds.append(batch.seconds)
        self.targets.append(len(group))
        if batch.sensitivity is not None:
            self.sensitivities.append(batch.sensitivity)
        self.tally.add(group, batch.agent, batch.scores)
        self._add_types(batch, group)
        if self.options.standing is None:
            return
        standing = batch.speed < self.options.standing
        for motion, rows in (("standing", standing), ("moving", ~standing)):
            self.by_motion[motion].add(group[rows], batch.agent[rows], batch.scores[rows])

    def _add_types(self, batch: BatchScores, group: NDArray[np.str_]) -> None:
        """Add the scores to those of each agent's type, where there are several."""
        if batch.types is None:
            return
        for name in np.unique(batch.types).tolist():
            tally, rows = self.by_type.setdefault(name, Tally()), batch.types == name
            tally.add_groups(self.groups)
            tally.add(group[rows], batch.agent[rows], batch.scores[rows])

    def report(self) -> Report:
        people = self.tally.people()
        empty = [name for name in self.tally.parts if name not in people]
        if empty or not people:
            raise DataError(f"nothing to evaluate: no windows in {empty or 'any group'}")
        scenes, overall = self._group_scores(people)
        motions = {motion: tally.people() for motion, tally in self.by_motion.items()}
        seconds, energy = np.array(self.seconds), [NAMES.index("energy_score")]
        return Report(
            options=self.options,
            scenes=scenes,
            overall=overall,
            seconds_per_batch=float(np.median(seconds)),
            seconds_per_forecast=float(np.median(seconds / np.array(self.targets))),
            sample_sensitivity=min(self.sensitivities),
            by_motion={m: self._group_scores(groups)[1] for m, groups in motions.items() if groups},
            by_type={
                name: self._group_scores(tally.people())[1]
                for name, tally in sorted(self.by_type.items())
            },
            people={g: replace(group, sums=group.sums[:, energy]) for g, group in people.items()},
        )

    def _group_scores(
        self, people: Mapping[str, People]
    ) -> tuple[dict[str, GroupScore], GroupScore]:
        """The scores of each group, and their mean over the groups."""
        options = self.options
        group_ends, overall_ends = intervals(people, options.resamples, options.seed, with_ratio)
        means = {name: with_ratio(group.means) for name, group in people.items()}
        counts = {name: (int(p.windows.sum()), len(p.agent)) for name, p in people.items()}
        windows, persons = (sum(column) for column in zip(*counts.values(), strict=True))
        names = (*NAMES, *(JOINT if options.shuffles else ()), RATIO)
        scenes = {g: _score(*counts[g], names, means[g], group_ends[g]) for g in people}
        mean = np.mean(list(means.values()), 0)
        return scenes, _score(windows, persons, names, mean, overall_ends)


def _score(
    windows: int, people: int, names: Sequence[str], means: Floats, bounds: Floats
) -> GroupScore:
    ends = {name: (float(low), float(high)) for name, low, high in zip(names, *bounds, strict=True)}
    return GroupScore(windows, people, dict(zip(names, means.tolist(), strict=True)), ends)


def evaluate_run(
    run: str | Path,
    data: str | Path,
    options: EvaluationOptions | None = None,
    *,
    device: str = "auto",
    jobs: Jobs = 1,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Evaluate a run or an exported model. The report of a run is also written to its folder.

    Args:
        run: A run folder, or an exported model in one.
        data: A store.
        options: How to evaluate; None: 20 plain draws on the test split. `joint` and `standing`
            are set from the run and the tracks.
        device: Where a run computes.
        jobs: How many processes forecast and score, or Dask workers, which must see the same
            files. The scores are those of one process.
        on_progress: Called with "windows", the number done and their total.

    Returns:
        The report as `trajflow evaluate --json` prints it: name, protocol, the mean of each score
        over recordings or folds, intervals over people, and the scores of each recording. A run
        with memory, or with earlier paths, is evaluated with and without. The report is then the
        one with ("watched" in its protocol), with the other scores under "unwatched"; both are
        written.

    Raises:
        RunError: The run was trained on the windows to evaluate, or does not fit the tracks.
        ConfigError: Earlier paths do not fit the options or the run.
        DataError: There are no windows.

    Examples:
        >>> from trajflow.evaluation.evaluate import evaluate_run
        >>> evaluate_run("runs/none", "tracks.zarr")
        Traceback (most recent call last):
        ...
        trajflow.errors.RunError: runs/none is not a run folder (no config.toml and run.json); \
`trajflow train DATA.zarr --out RUN` makes one
    """
    options = options or EvaluationOptions()
    place = local_copy(run)
    folder, store = RunFolder.open(place), open_store(data)
    predictor = load_predictor(place, device, options.steps)
    check_fit(predictor, store, data)
    if options.earlier_paths:
        check_earlier_paths(predictor, jobs)
    config = run_settings(store, folder, options.fold)
    same = folder.read_record().get("store") == store.fingerprint()
    if same and config.data.fold != folder.config.data.fold:
        raise RunError(
            f"{run} was trained on {_fold(config)} of these tracks; it left out "
            f"{_fold(folder.config)}. Train with --set data.fold={options.fold} to evaluate there"
        )
    tracks, in_run = track_data(store, config), place.suffix != ".onnx"
    options, reasons = with_thresholds(options, tracks, predictor.displacement_scale)

    def score(resolved: EvaluationOptions) -> Iterator[BatchScores]:
        if jobs == 1:
            return score_batches(predictor, split_batches(tracks, resolved), resolved)
        scorer = RunScorer.of(place, store, device, resolved, bool(tracks.memory))
        return chain.from_iterable(in_order(scorer, parts_of(tracks, resolved), jobs))

    unwatched = replace(options, earlier_paths=False)
    report = _report(score, tracks, config, unwatched, str(run), on_progress, reasons)
    if in_run:
        write_report(folder, report)
    if not predictor.format.memory and not options.earlier_paths:
        return report
    # The first report compares with models without memory; this one does not.
    tracks.watch(predictor.format.memory or TRACKS, predictor.displacement_scale)

    def score_with_paths(resolved: EvaluationOptions) -> Iterator[BatchScores]:
        forecaster = WithEarlierPaths(predictor, store.scenes)
        batches = forecaster.watching(split_batches(tracks, resolved, by_time=True))
        return score_batches(forecaster, batches, resolved)

    scorer = score_with_paths if options.earlier_paths else score
    watched = _report(scorer, tracks, config, options, str(run), on_progress, reasons)
    watched["protocol"]["watched"] = "earlier paths" if options.earlier_paths else "yes"
    watched["unwatched"] = {name: report[name] for name in ("mean", "window_mean", "intervals")}
    if in_run:
        write_report(folder, watched)
    return watched


def evaluate_baseline(
    name: str,
    data: str | Path,
    options: EvaluationOptions | None = None,
    *,
    settings: Sequence[str] = (),
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Fit a baseline on the training split and evaluate it.

    If the tracks have folds and no test split, it is evaluated on each fold in turn.

    Args:
        name: One of `trajflow.baselines.available()`.
        data: A store.
        options: How to evaluate; None: 20 draws on the test split.
        settings: Settings of the windows, such as "data.history=8".
        on_progress: Called with "windows" or "folds", the number done and their total.

    Returns:
        The report, as of `evaluate_run`.

    Raises:
        ConfigError: There is no such baseline, or the options are for a run.
        DataError: There are no windows.
    """
    options = options or EvaluationOptions()
    load_baseline(name)
    if options.selection != "plain":
        raise ConfigError("--select is for a run; samples of a baseline are not chosen")
    if options.earlier_paths:
        raise ConfigError("--earlier-paths is for a run; leave it out")
    config, store = with_fold(Config.load(None, settings), options.fold), open_store(data)
    unsplit = options.split == "test" and "test" not in store.splits
    if config.data.fold is None and unsplit and store.folds:
        return _over_folds(name, store, config, options, on_progress)
    return evaluate_baseline_on(name, track_data(store, config), config, options, on_progress)


def evaluate_baseline_on(
    name: str,
    tracks: TrackData,
    config: Config,
    options: EvaluationOptions,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """As `evaluate_baseline`, on tracks that are already split."""
    log.info("fitting %s on the training split", name)
    baseline = load_baseline(name)(tracks.batches("train", BATCH), options.samples, options.seed)
    options, reasons = with_thresholds(options, tracks)

    def score(resolved: EvaluationOptions) -> Iterator[BatchScores]:
        return score_batches(baseline, split_batches(tracks, resolved), resolved)

    return _report(score, tracks, config, options, name, on_progress, reasons)


def _over_folds(
    name: str, store: Store, config: Config, options: EvaluationOptions, on_progress: OnProgress
) -> dict[str, Any]:
    """Fit a baseline on each fold's training split, and evaluate it on the test splits."""
    names, hashes = list(store.folds or {}), dict[str, str]()

    def folds() -> Iterator[TrackData]:
        for done, fold in enumerate(names):
            yield (data := track_data(store, with_fold(config, fold)))
            hashes[fold] = data.describe()["hash"]
            on_progress("folds", done + 1, len(names))

    first = track_data(store, with_fold(config, names[0]))
    options, reasons = with_thresholds(options, first)
    options = replace(options, standing=standing_speed(first, "train"))
    report = evaluate_folds(load_baseline(name), folds(), options, BATCH)
    protocol = _protocol(store, config, options, reasons)
    protocol |= {"fold": "each of " + ", ".join(names), "hash": hashes}
    return {"name": name, "protocol": protocol, **report.to_json()}


def _report(
    score: Score,
    data: TrackData,
    config: Config,
    options: EvaluationOptions,
    name: str,
    on_progress: OnProgress,
    reasons: Mapping[str, str],
) -> dict[str, Any]:
    description, split = data.describe(), options.split
    total = description["parts"][split]["windows"]
    options = _resolved(options, config.model.joint, standing_speed(data, split))
    evaluation = _Evaluation(options)
    evaluation.add(counted(score(options), "windows", on_progress, total), data.groups(split))
    protocol = _protocol(data.store, config, options, reasons) | {"hash": description["hash"]}
    return {"name": name, "protocol": protocol, **evaluation.report().to_json()}


def _resolved(options: EvaluationOptions, joint: bool, standing: float) -> EvaluationOptions:
    """The options with the number of draws, and with what depends on the run.

    Raises:
        ConfigError: There is no such selection, or the numbers of draws and samples do not fit.
    """
    from trajflow.inference.choosing import selection_of

    rule = None if options.selection == "plain" else options.selection
    selection = selection_of(rule, options.samples, options.draws or None)
    return replace(
        options,
        draws=selection.draws if selection else 0,
        joint=joint,
        shuffles=options.shuffles or (SHUFFLES if joint and selection is None else 0),
        standing=standing,
    )


def _protocol(
    store: Store, config: Config, options: EvaluationOptions, reasons: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "data": str(store.path),
        "fingerprint": store.fingerprint(),
        "split": options.split,
        "fold": config.data.fold,
        "history": config.data.history,
        "horizon": config.data.horizon,
        "stride": config.data.stride,
        "unit": store.unit,
        "thresholds": dict(reasons),
        "seed": options.seed,
    }


def with_fold(config: Config, fold: str | None) -> Config:
    """The configuration with another leave-one-out fold, or unchanged for None."""
    if fold is None:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"fold": fold})})


def _fold(config: Config) -> str:
    return f"fold {config.data.fold!r}" if config.data.fold else "the test split"
