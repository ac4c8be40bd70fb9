"""Fits the out-of-distribution detector of a run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from trajflow.errors import DataError
from trajflow.metrics import energy_score
from trajflow.ood.changes import shortened
from trajflow.ood.corruptions import Corruption, corrupt, trained
from trajflow.ood.detector import (
    FULL,
    CorruptionClassifier,
    Detector,
    Gaussian,
    Origin,
    error_features,
    part_values,
)
from trajflow.ood.features import TrackSteps, reason_quantiles, track_features
from trajflow.ood.forest import Forest
from trajflow.ood.ranks import PastRanks
from trajflow.statistics import person_weights
from trajflow.types import Batch, Bools, Floats, Ints

# Corrupted versions of each training window.
ROUNDS = 4
# Share of training people that the parts are not fitted on, but ranked among.
HELD_SHARE = 0.2
MIN_PEOPLE = 6
SAMPLES = 20
# Least energy score, as a share of the typical step: the regression needs values above 0.
LEAST_ERROR = 1e-3


class ContextForecaster(Protocol):
    """The predictor that a detector is fitted for."""

    @property
    def displacement_scale(self) -> float:
        """Typical displacement per step of training tracks."""

    def contexts(self, batch: Batch) -> Floats:
        """Contexts of the batch's targets, [N, H]."""

    def forecast(self, batch: Batch, samples: int, seed: int) -> Floats:
        """Futures of the batch's targets, [S, B, A, F, D]."""


@dataclass(frozen=True)
class SplitWindows:
    """Windows of a split, with past, context, person and recording of the N targets."""

    batches: Sequence[Batch]
    past: Floats
    context: Floats
    person: Ints
    scene: Ints

    @classmethod
    def of(cls, model: ContextForecaster, batches: Iterable[Batch]) -> "SplitWindows":
        """Collect all targets of the batches.

        Raises:
            DataError: There are none.
        """
        kept = [replace(batch, around=None) for batch in batches if batch.targets]
        if not kept:
            raise DataError("no windows to fit the OOD detector on; choose another split or fold")
        return cls(
            kept,
            np.concatenate([batch.past[batch.target] for batch in kept]),
            np.concatenate([model.contexts(batch) for batch in kept]),
            np.concatenate([batch.agent[batch.target] for batch in kept]),
            np.concatenate([batch.scene[np.nonzero(batch.target)[0]] for batch in kept]),
        )

    def cut(self, model: ContextForecaster, length: int) -> "SplitWindows":
        """The windows with their pasts cut to the last steps; see `shortened`."""
        return SplitWindows.of(
            model, (shortened(b, np.full(len(b.scene), length)) for b in self.batches)
        )

    @property
    def weight(self) -> Floats:
        """Weight of each window, [N]: every person counts once, and the mean is 1."""
        weight = person_weights(self.person)
        return np.asarray(weight / weight.mean())


def fit_detector(
    model: ContextForecaster,
    training: Iterable[Batch],
    reference: Iterable[Batch],
    seed: int = 0,
    corruptions: Sequence[str] | None = None,
    origin: Origin | None = None,
) -> Detector:
    """Fit a detector to a trained model.

    Args:
        model: The predictor, with the temperature and evaluations that it predicts with.
        training: Windows that the model was trained on; both parts are fitted on them.
        reference: Windows of people used neither for training nor for selection; scores are ranked
            among them, and they calibrate the expected error.
        seed: Seed of corruptions and draws.
        corruptions: Names of the corruptions to train on; None: all that can be trained on.
        origin: Facts to store; people and windows are counted here.

    Raises:
        DataError: There are too few people.
        ConfigError: There is no such corruption.
    """
    kinds = trained(corruptions)
    training_windows, reference_windows = (
        SplitWindows.of(model, training),
        SplitWindows.of(model, reference),
    )
    fitted = ~_held_out(training_windows.person, seed)
    scale = model.displacement_scale
    steps = TrackSteps.of(training_windows.past, scale)
    gaussian = Gaussian.fit(training_windows.context[fitted], training_windows.weight[fitted])
    forest, named = _fit_forest(training_windows, steps, fitted, kinds, scale, seed)

    ranks = _fit_ranks(model, forest, gaussian, training_windows, ~fitted, reference_windows)
    error, level = _fit_error(model, gaussian, training_windows, reference_windows, kinds, seed)
    counted = {
        "fitted_people": len(np.unique(training_windows.person)),
        "people": len(np.unique(reference_windows.person)),
        "windows": len(reference_windows.person),
        "seed": seed,
    }
    return Detector(
        scale,
        gaussian,
        forest,
        named,
        reason_quantiles(steps, training_windows.weight),
        ranks,
        error,
        level,
        Origin(**(vars(origin or Origin()) | counted)),
    )


def _held_out(person: Ints, seed: int) -> Bools:
    """Whether each window's person is held out, [N]."""
    people, index = np.unique(person, return_inverse=True)
    if len(people) < MIN_PEOPLE:
        raise DataError(
            f"the OOD detector needs {MIN_PEOPLE} training people or more, got {len(people)}; "
            "use more tracks, or another split or fold"
        )
    order = np.random.default_rng(seed).permutation(len(people))
    return np.asarray((order < HELD_SHARE * len(people))[index])


def _fit_ranks(
    model: ContextForecaster,
    forest: Forest,
    gaussian: Gaussian,
    training_windows: SplitWindows,
    held_out: Bools,
    reference_windows: SplitWindows,
) -> dict[int, PastRanks]:
    """Ranks among full pasts and, for tracks that have just begun, among pasts cut to each length.

    `held_out` are the training windows of people that forest and Gaussian were not fitted on, [N].
    """

    def values(windows: SplitWindows, rows: Bools | slice) -> dict[str, Floats]:
        features = track_features(TrackSteps.of(windows.past[rows], model.displacement_scale))
        return part_values(forest, features, gaussian.components(windows.context[rows]))

    def ranks(training: SplitWindows, reference: SplitWindows) -> PastRanks:
        return PastRanks.of(
            values(training, held_out),
            training.person[held_out],
            values(reference, slice(None)),
            reference.person,
            reference.scene,
        )

    result = {FULL: ranks(training_windows, reference_windows)}
    for length in range(1, training_windows.past.shape[1]):
        short = (windows.cut(model, length) for windows in (training_windows, reference_windows))
        result[length] = ranks(*short)
    return result


def _fit_forest(
    training_windows: SplitWindows,
    steps: TrackSteps,
    fitted: Bools,
    kinds: Sequence[Corruption],
    scale: float,
    seed: int,
) -> tuple[Forest, CorruptionClassifier]:
    """Fit the classifiers to the windows and to corrupted copies of them."""
    # The root lies between counting people and counting windows: people who stand for long have
    # many windows.
    weight = np.sqrt(training_windows.weight)
    rows, weights, names = [track_features(steps)[fitted]], [weight[fitted]], []
    for number in range(ROUNDS):
        past, which = _corrupted(training_windows.batches, kinds, scale, [seed, number])
        usable = fitted & np.isfinite(past).all(-1).any(-1)
        rows.append(track_features(TrackSteps.of(past[usable], scale)))
        weights.append(weight[usable] / ROUNDS)
        names.append(which[usable])
    corrupted = np.repeat([False, True], [len(rows[0]), sum(map(len, rows[1:]))])
    forest = Forest.classifier(np.concatenate(rows), corrupted, np.concatenate(weights))
    words = tuple(kind.reason for kind in kinds)
    features, which = np.concatenate(rows[1:]), np.concatenate(names)
    # That a track has just begun is no reason: it is ranked among tracks that have.
    named = np.array([kind.name != "late" or len(kinds) < 3 for kind in kinds])[which]
    return forest, CorruptionClassifier.fit(features[named], which[named], words)


def _corrupted(
    batches: Sequence[Batch], kinds: Sequence[Corruption], scale: float, seed: list[int]
) -> tuple[Floats, Ints]:
    """Corrupted pasts of all targets, [N, T, D], NaN where it failed; which corruption, [N]."""
    rng = np.random.default_rng(seed)
    pasts, places = [], []
    for batch in batches:
        bad, which = corrupt(batch, kinds, scale, rng)
        past = np.where(bad.target[..., None, None], bad.past, np.nan)
        pasts.append(past[batch.target])
        places.append(which[np.nonzero(batch.target)[0]])
    return np.concatenate(pasts), np.concatenate(places)


def _fit_error(
    model: ContextForecaster,
    gaussian: Gaussian,
    training_windows: SplitWindows,
    reference_windows: SplitWindows,
    kinds: Sequence[Corruption],
    seed: int,
) -> tuple[Forest, Floats]:
    """Fit the expected error on training people, and its level on reference people.

    Corrupted pasts with an unchanged future are included, so that the error after a damaged past is
    known too. Errors on training people are too low; reference people correct the level by a power
    of the forest's prediction, which keeps its order.
    """
    from sklearn.linear_model import GammaRegressor

    rng = np.random.default_rng([seed, ROUNDS])
    kept = [kind for kind in kinds if kind.keeps_future]
    damaged = [
        corrupt(batch, kept, model.displacement_scale, rng)[0] for batch in training_windows.batches
    ]
    rows, errors = _errors(model, gaussian, training_windows, seed)
    if kept:
        more, worse = _errors(model, gaussian, SplitWindows.of(model, damaged), seed)
        rows, errors = np.concatenate([rows, more]), np.concatenate([errors, worse])
    forest = Forest.regressor(rows, errors)
    rows, errors = _errors(model, gaussian, reference_windows, seed)
    expected, weight = forest(rows), reference_windows.weight
    fit = GammaRegressor(alpha=0.0, max_iter=1000).fit(expected[:, None], errors, weight)
    level = np.array([fit.intercept_, fit.coef_[0]])
    if not np.isfinite(level).all() or level[1] <= 0:
        mean = np.average(errors, weights=weight) / np.average(np.exp(expected), weights=weight)
        level = np.array([np.log(mean), 1.0])
    return forest, level


def _errors(
    model: ContextForecaster, gaussian: Gaussian, windows: SplitWindows, seed: int
) -> tuple[Floats, Floats]:
    """Features of N targets, [N, ...], and the energy scores of their forecasts over the scale."""
    scale, scores = model.displacement_scale, []
    for number, batch in enumerate(windows.batches):
        drawn = model.forecast(batch.without_future(), SAMPLES, seed + number)[:, batch.target]
        scores.append(energy_score(drawn, batch.future[batch.target]))
    steps = TrackSteps.of(windows.past, scale)
    rows = error_features(track_features(steps), gaussian.components(windows.context))
    return rows, np.maximum(np.concatenate(scores) / scale, LEAST_ERROR)
