"""How a surprise is fitted: scores on training people, ranks on validation people."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from trajflow.errors import DataError
from trajflow.models.trajectory_model import TrajectoryModel
from trajflow.surprise.faults import FAULTS, Chance, faulted
from trajflow.surprise.features import track_features
from trajflow.surprise.forest import Forest
from trajflow.surprise.foretelling import Drawing, Windows, fit_risk
from trajflow.surprise.kinds import Kinds
from trajflow.surprise.motion import Motion
from trajflow.surprise.ranks import Ranks
from trajflow.surprise.scores import State, available, load
from trajflow.surprise.surprise import (
    EXPOSURE,
    NOVELTY,
    Made,
    Origin,
    Surprise,
    combined,
)
from trajflow.surprise.viewing import evaluations
from trajflow.types import Batch, Bools, Floats, Ints

ROUNDS = 4
"""Faulty versions of each training window."""
KEPT = 1000
"""Values that ranks keep."""
RANKED = 0.2
"""Share of the training people that scores are ranked among and not fitted on."""
LEAST = 6
"""Training people without whom nothing can be fitted."""


def fit(
    model: TrajectoryModel,
    training: Iterable[Batch],
    validation: Iterable[Batch],
    seed: int = 0,
    faults: Sequence[str] | None = None,
    origin: Origin | None = None,
) -> Surprise:
    """Fit the scores of a model's pasts and calibrate what they say together.

    Args:
        model: The trained model.
        training: Windows of the training part; their people fit the scores.
        validation: Windows of people that nothing was learned from; they say what is usual. Best
            people who had no part in choosing the weights either.
        seed: Seed of the faults.
        faults: Names of the known faults to learn from; None: all of `FAULTS`.
        origin: What it is of; people and windows are counted here. Its `evaluations` and
            `temperature` are those of the draws whose error is to be expected.

    Raises:
        DataError: There are too few people.
    """
    known, others = Windows.of(model, training), Windows.of(model, validation)
    clean, held = known.seen, others.seen
    ranked = _ranked(clean.person, seed)
    fitted = clean.take(~ranked)
    states = {name: _single(load(name).fit(fitted.sight, fitted.weight)) for name in available()}
    made = _made(known, ~ranked, states, seed, sorted(faults or FAULTS))
    values, usual = made.values(held.sight), made.values(clean.take(ranked).sight)
    people = clean.person[ranked]
    ranks = {name: Ranks.of(usual[name], people).thinned(KEPT) for name in (EXPOSURE, *NOVELTY)}
    parts = {name: Ranks.of(one, held.person).thinned(KEPT) for name, one in values.items()}
    score = combined(ranks, values)
    whole = Ranks.of(score, held.person).thinned(KEPT)
    common = Ranks.usual(score, held.person, held.scene).thinned(KEPT)
    given = vars(origin or Origin()) | {
        "learned": len(np.unique(clean.person)),
        "people": len(np.unique(held.person)),
        "windows": len(held.person),
        "seed": seed,
    }
    drawing = Drawing(given["evaluations"] or evaluations(model), given["temperature"], seed)
    given["evaluations"] = drawing.evaluations
    risk = fit_risk(model, made, known, others, drawing)
    return Surprise(made, ranks, parts, whole, common, risk, Origin(**given))


def _ranked(person: Ints, seed: int) -> Bools:
    """Whether each window's person is kept apart for the ranks, [N]."""
    people, where = np.unique(person, return_inverse=True)
    if len(people) < LEAST:
        raise DataError(
            f"surprise needs {LEAST} training people or more, got {len(people)}; "
            "give more tracks, or another split or fold"
        )
    order = np.random.default_rng(seed).permutation(len(people))
    return np.asarray((order < RANKED * len(people))[where])


def _single(state: State) -> State:
    """Numbers as they are stored, so that what is read back says the same."""
    return {name: value.astype(np.float32).astype(np.float64) for name, value in state.items()}


def _made(
    known: Windows, chosen: Bools, states: Mapping[str, State], seed: int, names: Sequence[str]
) -> Made:
    """What tells the chosen of all windows [N] from the same ones under faults."""
    clean = known.seen
    usual = clean.sight.motion.usual
    # Between people and windows: those who stand for long are many windows and few people.
    weight = np.sqrt(clean.weight)
    rows, weights = [track_features(clean.take(chosen).sight.motion)], [weight[chosen]]
    kinds = []
    for number in range(ROUNDS):
        past, kind = _faulty(known.batches, names, usual, np.random.default_rng([seed, number]))
        seen = chosen & np.isfinite(past).all(-1).any(-1)
        rows.append(track_features(Motion.of(past[seen], usual)))
        weights.append(weight[seen] / ROUNDS)
        kinds.append(kind[seen])
    bad = np.repeat([False, True], [len(rows[0]), sum(map(len, rows[1:]))])
    forest = Forest.telling(np.concatenate(rows), bad, np.concatenate(weights))
    named = Kinds.fit(np.concatenate(rows[1:]), np.concatenate(kinds), names)
    return Made(states, forest, named)


def _faulty(
    batches: Sequence[Batch], names: Sequence[str], usual: float, chance: Chance
) -> tuple[Floats, Ints]:
    """Pasts of all targets under faults, [N, T, D], and which, [N]."""
    found = [
        (bad.past[batch.target], which[np.nonzero(batch.target)[0]])
        for batch, (bad, which) in zip(batches, faulted(batches, names, usual, chance), strict=True)
    ]
    pasts, kinds = zip(*found, strict=True)
    return np.concatenate(pasts), np.concatenate(kinds)
