"""Judge a forecaster on batches of windows, or a floor on every fold of a store."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from trajflow.datasets.loader import TrackData
from trajflow.errors import ConfigError
from trajflow.evaluation.chosen import chosen_scores
from trajflow.evaluation.intervals import intervals
from trajflow.evaluation.joint import JOINT, independent_scores
from trajflow.evaluation.motion import MotionTally
from trajflow.evaluation.protocol import Chooser, Forecaster, Judging
from trajflow.evaluation.report import Report, Score
from trajflow.evaluation.scores import NAMES, RATIO, target_scores, with_ratio
from trajflow.evaluation.seeds import sample_sensitivity
from trajflow.evaluation.tally import People, Tally
from trajflow.types import Batch, Floats

Fit = Callable[[Iterable[Batch], int, int], Forecaster]
"""Learns a forecaster from batches, for so many samples, with a seed."""


def evaluate(
    forecaster: Forecaster,
    batches: Iterable[Batch],
    groups: Mapping[str, Sequence[int]],
    samples: int = 20,
    seed: int = 0,
    miss: float = 2.0,
    collide: float = 0.2,
) -> Report:
    """Judge plain draws of a forecaster by all targets of the batches.

    Args:
        forecaster: Who is judged.
        batches: The windows; the forecaster gets them with NaN for what happened.
        groups: Indexes of the recordings of each group, as `TrackData.groups` gives them.
        samples: Futures S of each target.
        seed: What draws and intervals follow from.
        miss: Distance beyond which the best endpoint counts as a miss, in the store's unit.
        collide: Distance below which two agents collide, in the store's unit.

    Raises:
        DataError: There are no windows, or scenes and groups do not fit.
        TrajflowError: A forecast has the wrong shape or is not finite.
    """
    terms = Judging(samples=samples, seed=seed, miss=miss, collide=collide)
    return judge(forecaster, batches, groups, terms)


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
    session = _Session(judging)
    session.judge(forecaster, batches, groups)
    return session.report()


def evaluate_folds(
    fit: Fit, folds: Iterable[TrackData], judging: Judging | None = None, size: int = 256
) -> Report:
    """Fit on the training part and judge on the test part of every fold; their mean is the score.

    Args:
        fit: What learns, as `trajflow.baselines.load` gives it.
        folds: The tracks under the split of each fold, made one by one.
        judging: The terms; None for those of the field.
        size: Targets in a batch, about.
    """
    terms = judging or Judging()
    session = _Session(terms)
    for data in folds:
        forecaster = fit(data.batches("train", size), terms.samples, terms.seed)
        session.judge(forecaster, data.batches("test", size), data.groups("test"))
    return session.report()


class _Session:
    """What is known so far: sums of scores by person, seconds by batch and targets of it."""

    def __init__(self, judging: Judging) -> None:
        self.judging, self.tally = judging, Tally()
        self.seconds: list[float] = []
        self.targets: list[int] = []
        self.moved: list[float] = []
        self.motion = None if judging.standing is None else MotionTally(judging.standing)

    def judge(
        self,
        forecaster: Forecaster,
        batches: Iterable[Batch],
        groups: Mapping[str, Sequence[int]],
    ) -> None:
        group_of = self.tally.expect(groups)
        if self.motion is not None:
            self.motion.expect(groups)
        first = True
        for batch in batches:
            if not batch.targets:
                continue
            other = self._draw(forecaster, batch, 1) if first else None
            samples, weights = self._timed(forecaster, batch)
            scores = self._scores(samples, weights, batch)
            self.tally.add(batch, scores, group_of)
            if self.motion is not None:
                self.motion.add(batch, scores, group_of)
            if other is not None:
                pair = samples[:, batch.target], other[0][:, batch.target]
                self.moved.append(sample_sensitivity(*pair))
            first = False

    def _scores(self, samples: Floats, weights: Floats | None, batch: Batch) -> Floats:
        if weights is not None:
            return chosen_scores(samples, weights, batch, self.judging)
        scores = target_scores(samples, batch, self.judging)
        if not self.judging.shuffles:
            return scores
        alone = independent_scores(samples, batch, self.judging, self._seed(2))
        return np.concatenate([scores, alone], -1)

    def _timed(self, forecaster: Forecaster, batch: Batch) -> tuple[Floats, Floats | None]:
        begin = time.perf_counter()
        drawn = self._draw(forecaster, batch, 0)
        self.seconds.append(time.perf_counter() - begin)
        self.targets.append(batch.targets)
        return drawn

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
        scenes, overall = self._judged(people)
        apart = {} if self.motion is None else self.motion.people()
        seconds = np.array(self.seconds)
        return Report(
            judging=self.judging,
            scenes=scenes,
            overall=overall,
            seconds_per_batch=float(np.median(seconds)),
            seconds_per_forecast=float(np.median(seconds / np.array(self.targets))),
            sample_sensitivity=min(self.moved),
            by_motion={motion: self._judged(some)[1] for motion, some in apart.items()},
            people={group: _energy(one) for group, one in people.items()},
        )

    def _judged(self, people: Mapping[str, People]) -> tuple[dict[str, Score], Score]:
        """The scores of each group, and their mean over the groups."""
        each, overall = intervals(people, self.judging.resamples, self.judging.seed)
        means = {group: with_ratio(one.means) for group, one in people.items()}
        counts = {group: (int(p.windows.sum()), len(p.agent)) for group, p in people.items()}
        windows, persons = (sum(column) for column in zip(*counts.values(), strict=True))
        names = (*NAMES, *(JOINT if self.judging.shuffles else ()), RATIO)
        scenes = {g: _score(*counts[g], names, means[g], each[g]) for g in people}
        mean = np.mean(list(means.values()), 0)
        return scenes, _score(windows, persons, names, mean, overall)


def _energy(people: People) -> People:
    return replace(people, sums=people.sums[:, [NAMES.index("energy_score")]])


def _score(windows: int, people: int, names: Sequence[str], means: Floats, bounds: Floats) -> Score:
    ends = {name: (float(low), float(high)) for name, low, high in zip(names, *bounds, strict=True)}
    return Score(windows, people, dict(zip(names, means.tolist(), strict=True)), ends)
