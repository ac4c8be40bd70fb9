"""Evaluate a run, an exported model or a baseline on the windows of a split."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajflow.baselines import load as load_baseline
from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store, open_store
from trajflow.errors import ConfigError, DataError, RunError, did_you_mean
from trajflow.evaluation.report import GroupScore, Report, write_report
from trajflow.evaluation.scores import (
    JOINT,
    NAMES,
    RATIO,
    SHUFFLES,
    Judging,
    independent_scores,
    sample_sensitivity,
    target_scores,
    with_ratio,
)
from trajflow.inference.predict import load_predictor
from trajflow.inference.tables import check_fit
from trajflow.metrics import mean_speed
from trajflow.runs import RunFolder, track_data
from trajflow.statistics import People, Tally, intervals
from trajflow.types import Batch, Chooser, Floats, Forecaster, Ints, OnProgress, counted, silent

log = logging.getLogger("trajflow")

BATCH = 512
"""Targets in a batch."""
STANDING, MOVING = "standing", "moving"
SLOW = 0.2
"""Metres per second below which a mean speed is no walk; annotation jitter stays below it."""
SLOW_SHARE, SPEED_QUANTILE = 0.15, 0.9
"""Where the unit is not the metre: this share of a speed that nine of ten windows do not exceed.
Of 1.3 metres per second it is 0.2."""
SPEED_WINDOWS = 5000
"""Windows that this speed is taken from."""

Fit = Callable[[Iterable[Batch], int, int], Forecaster]
"""Learns a forecaster from batches, for so many samples, with a seed."""


def judge(
    forecaster: Forecaster,
    batches: Iterable[Batch],
    groups: Mapping[str, Sequence[int]],
    judging: Judging,
) -> Report:
    """Judge a forecaster on terms of one's own.

    A score is a mean over the windows of a group and then over the groups, so that a crowded
    recording does not outvote the others. Intervals are drawn over people.

    Args:
        forecaster: Who is judged.
        batches: The windows; the forecaster gets them with NaN for what happened.
        groups: Indexes of the recordings of each group.
        judging: The terms.

    Raises:
        DataError: There are no windows, or scenes and groups do not fit.
        ConfigError: Samples shall be chosen of more draws, and the forecaster cannot.
        TrajflowError: A forecast has the wrong shape or is not finite.
    """
    evaluation = _Evaluation(judging)
    evaluation.run(forecaster, batches, groups)
    return evaluation.report()


def evaluate_folds(
    fit: Fit, folds: Iterable[TrackData], judging: Judging | None = None, size: int = 256
) -> Report:
    """Fit on the training split and judge on the test split of every fold; their mean is the score.

    Args:
        fit: What learns, as `trajflow.baselines.load` gives it.
        folds: The tracks under the split of each fold, made one by one.
        judging: The terms; None for those of the field.
        size: Targets in a batch, about.
    """
    terms = judging or Judging()
    evaluation = _Evaluation(terms)
    for data in folds:
        forecaster = fit(data.batches("train", size), terms.samples, terms.seed)
        evaluation.run(forecaster, data.batches("test", size), data.groups("test"))
    return evaluation.report()


class _Evaluation:
    """What is known so far: sums of scores by person, seconds by batch and targets of it."""

    def __init__(self, judging: Judging) -> None:
        self.judging, self.tally = judging, Tally()
        self.by_motion = {STANDING: Tally(), MOVING: Tally()}
        self.by_type: dict[str, Tally] = {}
        self.groups: list[str] = []
        self.seconds: list[float] = []
        self.targets: list[int] = []
        self.sensitivities: list[float] = []

    def run(
        self,
        forecaster: Forecaster,
        batches: Iterable[Batch],
        groups: Mapping[str, Sequence[int]],
    ) -> None:
        group_of = {scene: name for name, scenes in groups.items() for scene in scenes}
        for tally in (self.tally, *self.by_motion.values()):
            tally.expect(groups)
        self.groups += groups
        first = True
        for batch in batches:
            if not batch.targets:
                continue
            other = self._draw(forecaster, batch, 1) if first else None
            begin = time.perf_counter()
            samples, weights = self._draw(forecaster, batch, 0)
            self.seconds.append(time.perf_counter() - begin)
            self.targets.append(batch.targets)
            self._add(batch, self._scores(samples, weights, batch), group_of)
            if other is not None:
                pair = samples[:, batch.target], other[0][:, batch.target]
                self.sensitivities.append(sample_sensitivity(*pair))
            first = False

    def _scores(self, samples: Floats, weights: Floats | None, batch: Batch) -> Floats:
        scores = target_scores(samples, batch, self.judging, weights)
        if weights is not None or not self.judging.shuffles:
            return scores
        alone = independent_scores(samples, batch, self.judging, self._seed(2))
        return np.concatenate([scores, alone], -1)

    def _add(self, batch: Batch, scores: Floats, group_of: Mapping[int, str]) -> None:
        scene = np.broadcast_to(batch.scene[:, None], batch.target.shape)[batch.target]
        lost = sorted(set(scene.tolist()) - set(group_of))
        if lost:
            raise DataError(f"scenes {lost} are in no group; groups must name every scene judged")
        group = np.array([group_of[one] for one in scene.tolist()])
        agent = batch.agent[batch.target]
        self.tally.add(group, agent, scores)
        self._add_types(batch, scores, group, agent)
        if self.judging.standing is None:
            return
        stood = mean_speed(batch.past[batch.target]) < self.judging.standing
        for motion, mine in ((STANDING, stood), (MOVING, ~stood)):
            self.by_motion[motion].add(group[mine], agent[mine], scores[mine])

    def _add_types(
        self, batch: Batch, scores: Floats, group: NDArray[np.str_], agent: Ints
    ) -> None:
        """Add the scores to those of each agent's type, where there are several."""
        if batch.types is None:
            return
        types = batch.types[batch.target]
        for name in np.unique(types).tolist():
            tally, mine = self.by_type.setdefault(name, Tally()), types == name
            tally.expect(self.groups)
            tally.add(group[mine], agent[mine], scores[mine])

    def _draw(
        self, forecaster: Forecaster, batch: Batch, variant: int
    ) -> tuple[Floats, Floats | None]:
        """Samples under a seed of their own, so that no two batches share their chance."""
        hidden = replace(batch, future=np.full_like(batch.future, np.nan))
        terms, seed = self.judging, self._seed(variant)
        if terms.selection == "plain":
            return forecaster.forecast(hidden, terms.samples, seed), None
        if not isinstance(forecaster, Chooser):
            raise ConfigError(
                f"only a network's samples can be chosen by {terms.selection}; judge plain draws"
            )
        draws = terms.draws or terms.samples
        return forecaster.choose(hidden, terms.samples, draws, terms.selection, seed)

    def _seed(self, variant: int) -> int:
        words = [self.judging.seed, len(self.seconds), variant]
        return int(np.random.SeedSequence(words).generate_state(1)[0])

    def report(self) -> Report:
        people = self.tally.people()
        empty = [name for name in self.tally.held if name not in people]
        if empty or not people:
            raise DataError(f"nothing to judge: no windows in {empty or 'any group'}")
        scenes, overall = self._judged(people)
        motions = {motion: tally.people() for motion, tally in self.by_motion.items()}
        seconds, energy = np.array(self.seconds), [NAMES.index("energy_score")]
        return Report(
            judging=self.judging,
            scenes=scenes,
            overall=overall,
            seconds_per_batch=float(np.median(seconds)),
            seconds_per_forecast=float(np.median(seconds / np.array(self.targets))),
            sample_sensitivity=min(self.sensitivities),
            by_motion={motion: self._judged(some)[1] for motion, some in motions.items() if some},
            by_type={
                name: self._judged(tally.people())[1]
                for name, tally in sorted(self.by_type.items())
            },
            people={g: replace(one, sums=one.sums[:, energy]) for g, one in people.items()},
        )

    def _judged(self, people: Mapping[str, People]) -> tuple[dict[str, GroupScore], GroupScore]:
        """The scores of each group, and their mean over the groups."""
        terms = self.judging
        each, overall = intervals(people, terms.resamples, terms.seed, with_ratio)
        means = {group: with_ratio(one.means) for group, one in people.items()}
        counts = {group: (int(p.windows.sum()), len(p.agent)) for group, p in people.items()}
        windows, persons = (sum(column) for column in zip(*counts.values(), strict=True))
        names = (*NAMES, *(JOINT if terms.shuffles else ()), RATIO)
        scenes = {g: _score(*counts[g], names, means[g], each[g]) for g in people}
        mean = np.mean(list(means.values()), 0)
        return scenes, _score(windows, persons, names, mean, overall)


def _score(
    windows: int, people: int, names: Sequence[str], means: Floats, bounds: Floats
) -> GroupScore:
    ends = {name: (float(low), float(high)) for name, low, high in zip(names, *bounds, strict=True)}
    return GroupScore(windows, people, dict(zip(names, means.tolist(), strict=True)), ends)


def standing_speed(data: TrackData, split: str) -> float:
    """Speed below which an agent counts as standing, in the store's unit per step.

    In metres it is 0.2 metres per second; in any other unit 15 % of a speed that nine of ten
    windows of the split do not exceed.

    Args:
        data: The tracks.
        split: "train", "val" or "test".

    Raises:
        DataError: The split is empty.
    """
    if data.store.unit == "m":
        return SLOW * data.store.dt
    batches = data.validation(BATCH, SPEED_WINDOWS, split)
    result = np.concatenate([mean_speed(batch.past[batch.target]) for batch in batches])
    return SLOW_SHARE * float(np.quantile(result, SPEED_QUANTILE))


def read_clocks(words: str) -> dict[str, float]:
    """Seconds per step by the name of a recording, of "NAME=SECONDS,NAME=SECONDS".

    Raises:
        ConfigError: It is not written so, or a time is not positive.
    """
    clocks: dict[str, float] = {}
    for word in filter(None, (part.strip() for part in words.split(","))):
        name, _, value = word.rpartition("=")
        try:
            clocks[name.strip()] = seconds = float(value)
        except ValueError:
            seconds = 0.0
        if not name.strip() or not 0 < seconds < np.inf:
            raise ConfigError(
                f"a clock is RECORDING=SECONDS with more than 0 seconds per step, got {word!r}"
            )
    return clocks


def with_clocks(
    batches: Iterable[Batch], scenes: Sequence[str], clocks: Mapping[str, float], dt: float
) -> Iterator[Batch]:
    """The batches with the seconds per step of each scene, as a forecaster may use them.

    Args:
        batches: The batches.
        scenes: Names of the store's recordings.
        clocks: Real seconds per step of some of them.
        dt: Seconds per step of the others, and of all as the store says.

    Raises:
        ConfigError: There is no such recording.
    """
    for name in clocks:
        if name not in scenes:
            raise ConfigError(did_you_mean("recording", name, list(scenes)))
    rates = np.array([clocks.get(name, dt) / dt for name in scenes])
    return (
        (replace(batch, dt_ratio=rates[batch.scene]) for batch in batches)
        if clocks
        else iter(batches)
    )


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
        and the scores of each recording; as `trajflow evaluate --json` prints it. A run with memory
        is evaluated twice: what is returned is with memory ("watched" in its protocol), and its
        "unwatched" without. Both reports are kept.

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
    config = with_fold(folder.config, options.fold)
    same = folder.read_record().get("store") == store.fingerprint()
    if same and config.data != folder.config.data:
        raise RunError(
            f"{run} left out {_fold(folder.config)} of these very tracks and has learned from "
            f"{_fold(config)}; train with --set data.fold={options.fold} to judge it there"
        )
    tracks, kept = track_data(store, config), Path(run).suffix != ".onnx"
    report = _report(predictor, tracks, config, options, str(run), on_progress)
    if kept:
        write_report(folder, report)
    if not predictor.format.memory:
        return report
    # Without memory it answers the question that others do; with it, one that knows more.
    tracks.watch(predictor.format.memory, predictor.displacement_scale)
    watched = _report(predictor, tracks, config, options, str(run), on_progress)
    watched["unwatched"] = {name: report[name] for name in ("mean", "window_mean", "intervals")}
    if kept:
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
    load_baseline(name)
    if options.select is not None:
        raise ConfigError("--select is for a run; the samples of a baseline are not chosen")
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
    """Evaluate a baseline on splits that are made already; see `evaluate_baseline`."""
    log.info("%s learns from the training split", name)
    baseline = load_baseline(name)(tracks.batches("train", BATCH), options.samples, options.seed)
    return _report(baseline, tracks, config, options, name, on_progress)


def _over_folds(
    name: str, store: Store, config: Config, options: EvaluationOptions, on_progress: OnProgress
) -> dict[str, Any]:
    """The report of a baseline on every fold, after learning from the others' training splits."""
    names, hashes = list(store.folds or {}), dict[str, str]()

    def folds() -> Iterator[TrackData]:
        for done, fold in enumerate(names):
            yield (data := track_data(store, with_fold(config, fold)))
            hashes[fold] = data.describe()["hash"]
            on_progress("folds", done + 1, len(names))

    first = track_data(store, with_fold(config, names[0]))
    terms = options.judging(standing=standing_speed(first, "train"))
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
    batches = with_clocks(data.batches(split, BATCH), data.store.scenes, clocks, data.store.dt)
    terms = options.judging(config.model.joint, standing_speed(data, split))
    windows = counted(batches, "windows", on_progress, total)
    report = judge(forecaster, windows, data.groups(split), terms)
    protocol = _protocol(data.store, config, options) | {"hash": description["hash"]}
    protocol |= {"watched": "yes"} if data.memory else {}
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


def with_fold(config: Config, fold: str | None) -> Config:
    """Settings with another leave-one-out fold; the same where none is given."""
    if fold is None:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"fold": fold})})


def _fold(config: Config) -> str:
    return f"fold {config.data.fold!r}" if config.data.fold else "the test split"
