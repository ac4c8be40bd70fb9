"""How a surprise is fitted: scores on training people, ranks on validation people."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trajflow.batch import Batch, Bools, Floats, Ints
from trajflow.errors import DataError
from trajflow.metrics import energy_score
from trajflow.model import TrajectoryModel
from trajflow.surprise.faults import FAULTS, SHARES, Chance
from trajflow.surprise.features import track_features
from trajflow.surprise.forest import Forest
from trajflow.surprise.kinds import Kinds
from trajflow.surprise.motion import Motion
from trajflow.surprise.ranks import Ranks
from trajflow.surprise.scores import State, available, load
from trajflow.surprise.sight import Sight, futures, joined, look
from trajflow.surprise.surprise import (
    EXPOSURE,
    NOVELTY,
    Made,
    Origin,
    Surprise,
    combined,
)

ROUNDS = 4
"""Faulty versions of each training window."""
KEPT = 1000
"""Values that ranks keep."""
RANKED = 0.2
"""Share of the training people that scores are ranked among and not fitted on."""
LEAST = 6
"""Training people without whom nothing can be fitted."""


@dataclass(frozen=True)
class Seen:
    """N windows of one part, as the scores see them.

    Attributes:
        sight: What there is to see of them.
        person: Number of each window's agent, [N].
    """

    sight: Sight
    person: Ints

    def take(self, rows: Bools) -> "Seen":
        """Some of the windows."""
        return Seen(self.sight.take(rows), self.person[rows])

    @property
    def weight(self) -> Floats:
        """Weight of each window, [N]: every person counts once, and the mean is 1."""
        _, person, windows = np.unique(self.person, return_inverse=True, return_counts=True)
        return np.asarray(len(person) / len(windows) / windows[person])


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
        validation: Windows of people that nothing was learned from; they say what is usual.
        seed: Seed of the faults.
        faults: Names of the known faults to learn from; None: all of `FAULTS`.
        origin: What it is of; people and windows are counted here.

    Raises:
        DataError: There are too few people.
    """
    batches = [batch for batch in training if batch.targets]
    held = seen_of(model, validation)
    clean = seen_of(model, batches)
    ranked = _ranked(clean.person, seed)
    fitted = clean.take(~ranked)
    states = {name: _single(load(name).fit(fitted.sight, fitted.weight)) for name in available()}
    made = _made(batches, clean, ~ranked, states, seed, sorted(faults or FAULTS))
    values, others = made.values(held.sight), made.values(clean.sight)
    ranks = {
        name: Ranks.of(others[name][ranked], clean.person[ranked]).thinned(KEPT)
        for name in (EXPOSURE, *NOVELTY)
    }
    parts = {name: Ranks.of(one, held.person).thinned(KEPT) for name, one in values.items()}
    whole = Ranks.of(combined(ranks, values), held.person).thinned(KEPT)
    given = vars(origin or Origin()) | {
        "learned": len(np.unique(clean.person)),
        "people": len(np.unique(held.person)),
        "windows": len(held.person),
        "seed": seed,
    }
    risk = _risk(model, batches, clean, made, others)
    return Surprise(made, ranks, parts, whole, risk, Origin(**given))


def seen_of(model: TrajectoryModel, batches: Iterable[Batch]) -> Seen:
    """What there is to see of all targets of the batches.

    Raises:
        DataError: There are none.
    """
    found = [(look(model, b.past, b.target), b.agent[b.target]) for b in batches if b.targets]
    if not found:
        raise DataError("no windows to learn surprise from; choose another split or fold")
    return Seen(joined([one for one, _ in found]), np.concatenate([who for _, who in found]))


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
    batches: Sequence[Batch],
    clean: Seen,
    chosen: Bools,
    states: Mapping[str, State],
    seed: int,
    names: Sequence[str],
) -> Made:
    """What tells the chosen of all windows [N] from the same ones under faults."""
    usual = clean.sight.motion.usual
    # Between people and windows: those who stand for long are many windows and few people.
    weight = np.sqrt(clean.weight)
    rows, weights = [track_features(clean.take(chosen).sight.motion)], [weight[chosen]]
    kinds = []
    for number in range(ROUNDS):
        past, kind = _faulty(batches, names, usual, np.random.default_rng([seed, number]))
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
    """Pasts of all targets under faults, [N, T, D], and which, [N]: one fault for each scene."""
    found, kinds = [], []
    share = np.array([SHARES.get(name, 1.0) for name in names])
    for batch in batches:
        which = chance.choice(len(names), len(batch.scene), p=share / share.sum())
        past = batch.past.copy()
        for one in np.unique(which):
            rows = which == one
            past[rows] = FAULTS[names[one]](batch.past[rows], batch.future[rows], usual, chance)
        found.append(past[batch.target])
        kinds.append(np.broadcast_to(which[:, None], batch.target.shape)[batch.target])
    return np.concatenate(found), np.concatenate(kinds)


def _risk(
    model: TrajectoryModel,
    batches: Sequence[Batch],
    clean: Seen,
    made: Made,
    values: Mapping[str, Floats],
) -> Forest:
    """The forest of the logarithm of the mean energy score, over the usual pace."""
    score = np.concatenate([_energy_scores(model, batch) for batch in batches])
    outcome = np.maximum(score / clean.sight.motion.usual, 1e-3)
    return Forest.foretelling(made.outlook(values, clean.sight), outcome)


def _energy_scores(model: TrajectoryModel, batch: Batch) -> Floats:
    drawn = futures(model, batch.past, batch.target)
    return energy_score(drawn, batch.future[batch.target])
