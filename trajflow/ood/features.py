"""Features of an observed track, and reasons in words why a track is unusual.

All features are invariant to rotation and translation. Numpy only.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trajflow.types import Bools, Floats, Ints

# Share of the typical step that is added to the speed that accelerations are divided by.
STANDING = 0.1
# Number of features of the whole track; they come first in `track_features`.
WHOLE = 16
# Interpolated positions have accelerations below this share of the typical step; sensors do not.
EXACT = 1e-5
# Accelerations below this share of the agent's own step count as uniform motion.
STRAIGHT = 5e-3
TINY = 1e-5


@dataclass(frozen=True)
class TrackSteps:
    """Steps of N agents; NaN where a position was not observed.

    Attributes:
        seen: Whether a position was observed, [N, T].
        moves: Displacements, [N, T - 1, D].
        turns: Changes of the displacement at inner positions, [N, T - 2, D].
        scale: Typical displacement per step of training tracks.
    """

    seen: Bools
    moves: Floats
    turns: Floats
    scale: float

    @classmethod
    def of(cls, past: Floats, scale: float) -> "TrackSteps":
        """The steps of pasts [N, T, D]."""
        moves = np.diff(past, axis=1)
        turns = np.diff(moves, axis=1)
        return cls(np.asarray(np.isfinite(past).all(-1)), moves, turns, scale)

    @cached_property
    def observed(self) -> Ints:
        """Number of steps since an agent was first observed, [N]; 0 if it is complete or absent."""
        late = self.seen.argmax(1)
        return np.where(late > 0, self.seen.shape[1] - late, 0)

    @cached_property
    def lengths(self) -> Floats:
        """Length of each displacement, [N, T - 1]."""
        return lengths_of(self.moves)

    @cached_property
    def net(self) -> Floats:
        """Sum of the observed displacements, [N, D]."""
        return np.asarray(np.where(np.isfinite(self.moves), self.moves, 0).sum(1))

    @cached_property
    def bends(self) -> Floats:
        """Length of each change of displacement, [N, T - 2]."""
        return lengths_of(self.turns)

    @cached_property
    def speed(self) -> Floats:
        """Mean length of the observed displacements, [N]; 0 if there is none."""
        return row_mean(self.lengths)

    @cached_property
    def unit(self) -> Floats:
        """Length that accelerations are divided by, [N]; above 0 for those who stand."""
        return np.asarray(np.sqrt(self.speed**2 + (STANDING * self.scale) ** 2))

    @cached_property
    def moving(self) -> Bools:
        """Whether the agent moved before and after each inner position, [N, T - 2]."""
        moved: Bools = np.asarray(self.lengths > STRAIGHT * self.scale)
        return np.asarray(moved[:, 1:] & moved[:, :-1])

    @cached_property
    def computed(self) -> Bools:
        """Whether an inner position lies exactly halfway between its neighbors, [N, T - 2]."""
        return np.asarray(self.moving & (self.bends < EXACT * self.scale))

    @cached_property
    def between(self) -> Bools:
        """Whether an inner position lies nearly halfway between its neighbors, [N, T - 2]."""
        shorter = np.minimum(self.lengths[:, 1:], self.lengths[:, :-1])
        return np.asarray(self.moving & (self.bends < STRAIGHT * shorter))

    @cached_property
    def gaps(self) -> Bools:
        """Steps at which an agent is not observed although it was before, [N, T]."""
        return np.asarray(~self.seen & np.logical_or.accumulate(self.seen, 1))

    @cached_property
    def repeats(self) -> Bools:
        """Whether a position repeats the one before, [N, T - 1]."""
        return np.asarray(self.lengths < EXACT * self.scale)


def track_features(steps: TrackSteps) -> Floats:
    """Features that distinguish ordinary tracks from corrupted ones, [N, ...]; NaN if unknown."""
    return np.concatenate([_whole_features(steps), _step_features(steps)], 1)


def _whole_features(steps: TrackSteps) -> Floats:
    """Features of the whole track, [N, 16]."""
    bends = steps.bends / steps.unit[:, None]
    lengths = np.where(np.isfinite(steps.lengths), steps.lengths, 0)
    columns = [
        np.log(steps.speed / steps.scale + 0.02),
        lengths_of(steps.net) / np.maximum(lengths.sum(1), TINY * steps.scale),
        steps.computed.sum(1),
        _longest_run(steps.computed),
        _longest_run(bends < STRAIGHT),
        steps.computed[:, ::2].sum(1) - steps.computed[:, 1::2].sum(1),
        (~steps.moving).sum(1),
        _log(row_mean(bends)),
        _log(_row_max(bends)),
        _log(_row_median(bends)),
        (bends < STRAIGHT).sum(1),
        _log(_row_median(steps.bends) / steps.scale),
        _log((_row_max(steps.bends) - _row_median(steps.bends)) / steps.scale),
        np.abs(row_mean(_log(bends[:, ::2])) - row_mean(_log(bends[:, 1::2]))),
        _log(row_mean(lengths_of(np.diff(steps.turns, axis=1))) / steps.unit),
        row_mean(_undone(steps)) / (row_mean(bends**2) + TINY),
    ]
    return np.stack(columns, 1)


def _step_features(steps: TrackSteps) -> Floats:
    """Features of each step, [N, ...]."""
    unit = steps.unit[:, None]
    ahead = steps.net / np.maximum(lengths_of(steps.net)[:, None], TINY * steps.scale)
    along = (steps.turns * ahead[:, None]).sum(-1) / unit
    side = np.sqrt(np.maximum((steps.bends / unit) ** 2 - along**2, 0))
    exact = np.where(np.isfinite(steps.bends), steps.computed, np.nan)
    columns = [exact, steps.lengths / unit, along, side, _log(steps.bends / unit), _undone(steps)]
    return np.concatenate(columns, 1)


def _undone(steps: TrackSteps) -> Floats:
    """Products of successive accelerations, [N, T - 3]; noise makes them negative."""
    product = (steps.turns[:, 1:] * steps.turns[:, :-1]).sum(-1)
    return np.asarray(product / steps.unit[:, None] ** 2)


def lengths_of(vectors: Floats) -> Floats:
    """Lengths of vectors, [*, D] -> [*]; on short vectors faster than `numpy.linalg.norm`."""
    return np.asarray(np.sqrt(np.square(vectors).sum(-1)))


def _longest_run(flags: Bools) -> Ints:
    """Length of the longest run of true values in each row, [N]."""
    longest = run = np.zeros(len(flags), np.int64)
    for column in flags.T:
        run = np.where(column, run + 1, 0)
        longest = np.maximum(longest, run)
    return longest


def row_mean(values: Floats) -> Floats:
    """Mean of the finite values of each row, [N]; 0 if there is none."""
    finite = np.isfinite(values)
    if values.size and finite.all():
        return np.asarray(values.sum(1) / values.shape[1])
    return np.asarray(np.where(finite, values, 0).sum(1) / np.maximum(finite.sum(1), 1))


def _row_max(values: Floats) -> Floats:
    return np.asarray(np.where(np.isfinite(values), values, 0).max(1, initial=0))


def _row_median(values: Floats) -> Floats:
    if not values.shape[1]:
        return np.zeros(len(values))
    complete = np.where(np.isfinite(values), values, row_mean(values)[:, None])
    ordered, middle = np.sort(complete, 1), (values.shape[1] - 1) / 2
    pair = ordered[:, [math.floor(middle), math.ceil(middle)]]
    return np.asarray(pair.mean(1))


def _log(values: Floats) -> Floats:
    return np.asarray(np.log(values + TINY))


# Reasons. Each is a number of a track that is large where something is wrong with it, and the words
# for it. Their quantiles among training people say from where on a reason is worth telling; they
# enter no decision.


@dataclass(frozen=True)
class Units:
    """Seconds per step (0 if unknown) and unit of length, to write quantities."""

    dt: float = 0.0
    length: str = ""

    def size(self, value: float) -> str:
        """A length, such as "0.12 m"."""
        return f"{value:.2g} {self.length}".rstrip()

    def speed(self, value: float) -> str:
        """A displacement per step as a speed."""
        if not self.dt:
            return f"{self.size(value)} per step"
        return f"{self.size(value / self.dt)}/s"


@dataclass(frozen=True)
class Reason:
    """A value of each track, [N], and a function that describes that of a row in words."""

    value: Callable[[TrackSteps], Floats]
    words: Callable[[TrackSteps, int, float, Units, str], str]
    both_sides: bool = False


def _missing(steps: TrackSteps) -> Floats:
    return np.asarray(steps.gaps.sum(1).astype(float))


def _missing_words(steps: TrackSteps, row: int, value: float, units: Units, rare: str) -> str:
    missing, count = np.flatnonzero(steps.gaps[row]), steps.seen.shape[1]
    return f"{len(missing)} of {count} steps are missing: {_listed(missing + 1)}"


def _repeated(steps: TrackSteps) -> Floats:
    """Number of exactly repeated positions of an agent that moves, weighted by its speed."""
    fastest = _row_max(steps.lengths) / steps.scale
    count = steps.repeats.sum(1) * np.minimum(fastest, 1)
    return np.asarray(np.where(fastest > STRAIGHT, count, 0.0))


def _repeated_words(steps: TrackSteps, row: int, value: float, units: Units, rare: str) -> str:
    where = np.flatnonzero(steps.repeats[row]) + 2
    return f"step{'s' if len(where) > 1 else ''} {_listed(where)} repeat the one before"


def _interpolated(steps: TrackSteps) -> Floats:
    """Number of positions halfway between their neighbors; alternating ones count more."""

    def alternating(flags: Bools) -> Ints:
        return np.asarray(np.abs(flags[:, ::2].sum(1) - flags[:, 1::2].sum(1)))

    exact, near = steps.computed, steps.between
    count = exact.sum(1) + 0.5 * alternating(exact)
    return np.asarray(count + 0.2 * near.sum(1) + 0.1 * alternating(near))


def _interpolated_words(steps: TrackSteps, row: int, value: float, units: Units, rare: str) -> str:
    exact = steps.computed[row]
    where = np.flatnonzero(exact if exact.any() else steps.between[row]) + 1
    if len(where) > 1 and (np.diff(where) == 2).all():
        return f"every other position, {_listed(where + 1)}, lies halfway between its neighbors"
    runs = np.split(where, np.flatnonzero(np.diff(where) > 1) + 1)
    spans = ", ".join(f"{run[0]}-{run[-1] + 2}" for run in runs if len(run))
    return f"steps {spans} lie on a straight line at equal distances"


def _jump(steps: TrackSteps) -> Floats:
    """Logarithm of the largest acceleration less the median one, over the scale."""
    bends = steps.bends
    if not bends.shape[1]:
        return np.full(len(bends), np.nan)
    plain = np.nan_to_num(bends)
    jump = np.log((plain.max(1) - _row_median(plain)) / steps.scale + 1e-3)
    return np.asarray(np.where(np.isfinite(bends).any(1), jump, np.nan))


def _jump_words(steps: TrackSteps, row: int, value: float, units: Units, rare: str) -> str:
    size = float(np.exp(value)) * steps.scale
    return f"it jumps by {units.size(size)} at step {_jump_step(steps, row) + 1}: {rare}"


def _jump_step(steps: TrackSteps, row: int) -> int:
    """Step of the largest jump, which may be the first or the last step of the track."""
    bends, lengths = np.nan_to_num(steps.bends[row]), np.nan_to_num(steps.lengths[row])
    inner, last = int(bends.argmax()) + 1, steps.seen.shape[1] - 1
    if inner == 1 and lengths.argmax() == 0 and bends[1:2].sum() < bends[0] / 2:
        return 0
    if inner == last - 1 and lengths.argmax() == last - 1 and bends[-2:-1].sum() < bends[-1] / 2:
        return int(last)
    return int(inner)


def _log_speed(steps: TrackSteps) -> Floats:
    """Logarithm of the speed; those who stand have equal values."""
    speed = np.log(steps.speed + 0.02 * steps.scale)
    return np.asarray(np.where(np.isfinite(steps.lengths).any(1), speed, np.nan))


def _speed_words(steps: TrackSteps, row: int, value: float, units: Units, rare: str) -> str:
    return f"speed {units.speed(float(steps.speed[row]))}: {rare}"


def _tremble(steps: TrackSteps) -> Floats:
    """Logarithm of the standard deviation of noise that would explain the third differences.

    The median ignores a single jump. The third difference of noise has 20 times its variance.
    """
    third = lengths_of(np.diff(steps.turns, axis=1))
    size = _row_median(third) / np.sqrt(20 * steps.moves.shape[-1]) / steps.scale
    return np.asarray(np.where(np.isfinite(third).any(1), np.log(size + 1e-4), np.nan))


def _tremble_words(steps: TrackSteps, row: int, value: float, units: Units, rare: str) -> str:
    return f"positions are noisy by {units.size(float(np.exp(value)) * steps.scale)}: {rare}"


def _listed(steps: Ints) -> str:
    return ", ".join(str(step) for step in steps)


# Reasons with equal rarity are given in this order. They do not enter the score.
REASONS: Mapping[str, Reason] = {
    "missing": Reason(_missing, _missing_words),
    "repeated": Reason(_repeated, _repeated_words),
    "interpolated": Reason(_interpolated, _interpolated_words),
    "jump": Reason(_jump, _jump_words),
    "speed": Reason(_log_speed, _speed_words, both_sides=True),
    "tremble": Reason(_tremble, _tremble_words),
}
# Levels of the quantiles that are stored for each reason.
LEVELS = np.concatenate([[0.001, 0.002, 0.005], np.arange(1, 100) / 100, [0.995, 0.998, 0.999]])


def reason_quantiles(steps: TrackSteps, weight: Floats) -> dict[str, Floats]:
    """Quantiles of each reason's value among training agents with weights [N], at `LEVELS`."""
    result = {}
    for name, reason in REASONS.items():
        values = reason.value(steps)
        finite = np.isfinite(values)
        values, weights = (values[finite], weight[finite]) if finite.any() else (np.zeros(1),) * 2
        order = np.argsort(values, kind="stable")
        reached = np.cumsum(weights[order]) / max(weights.sum(), TINY)
        result[name] = np.interp(LEVELS, reached, values[order])
    return result


def explain(
    steps: TrackSteps,
    rows: Ints,
    quantiles: Mapping[str, Floats],
    units: Units,
    level: float = 0.95,
) -> list[list[str]]:
    """The reasons that apply to some tracks [N], at most three, the rarest first; lists, [N]."""
    ranked: dict[int, list[tuple[float, int, float, str]]] = {row: [] for row in rows.tolist()}
    names = list(REASONS)
    for order, name in enumerate(names):
        ordered, values = quantiles[name], REASONS[name].value(steps)[rows]
        high = np.searchsorted(ordered, values, side="left") > level * len(ordered)
        unusual = high
        if REASONS[name].both_sides:
            unusual = high | (
                np.searchsorted(ordered, values, side="right") < (1 - level) * len(ordered)
            )
        which = np.flatnonzero(unusual & np.isfinite(values))
        if not len(which):
            continue
        rising = ordered + 1e-9 * max(TINY, float(np.ptp(ordered))) * np.arange(len(ordered))
        shares = np.interp(values[which], rising, LEVELS, 0.0, 1.0)
        parts = (rows[which], values[which], shares, high[which])
        for row, value, share, above in zip(*(part.tolist() for part in parts), strict=True):
            rarity, side = (1 - share, "above") if above else (share, "below")
            rare = f"{side} all but {100 * max(rarity, 1e-3):.2g} % of training people"
            ranked[row].append((round(rarity, 2), order, value, rare))
    return [
        [
            REASONS[names[order]].words(steps, row, value, units, rare)
            for _, order, value, rare in sorted(each)[:3]
        ]
        for row, each in ranked.items()
    ]
