"""The out-of-distribution detector of a run: how unlike the training tracks a past is, and why.

Two parts: a boosted forest on features of the track, which knows the corruptions of the catalogue,
and the Mahalanobis distance of the encoder's context, which knows none. Scoring needs numpy alone.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from trajflow.batch import Bools, Floats, Ints
from trajflow.ood.features import (
    REASONS,
    WHOLE,
    TrackSteps,
    Units,
    explain,
    lengths_of,
    track_features,
)
from trajflow.ood.forest import Forest
from trajflow.ood.ranks import Ranks

FORMAT = 3
THRESHOLD = 0.95
"""OOD score above which reasons are given: about one in twenty new people has more."""
NOVELTY_PENALTY = float(np.log(2))
"""How much rarer the distance must be than the forest's odds to decide; the price of looking
twice."""
COMPONENTS = 16
"""Principal components of the context that the expected error sees."""


@dataclass(frozen=True)
class OODScores:
    """What the detector says of N pasts.

    Attributes:
        ood_score: Share of the reference people who look less out of distribution, [N], in (0, 1].
        typical_score: The same among the people of a typical recording, [N].
        forest, distance: Share of training people, whom no part was fitted on, who look less so
            to each part alone, [N].
        expected_error: Energy score to expect of a forecast, [N], in the unit of the tracks. An
            unusual past may be easy to forecast from, and an ordinary one hard.
        reasons: Why, in words; "" where `ood_score` is at most `THRESHOLD`.
    """

    ood_score: Floats
    typical_score: Floats
    forest: Floats
    distance: Floats
    expected_error: Floats
    reasons: tuple[str, ...]

    def flagged(self, level: float = THRESHOLD) -> Bools:
        """Whether more than so many reference people look less out of distribution, [N]."""
        return self.ood_score > level


@dataclass(frozen=True)
class Origin:
    """What a detector was fitted with.

    Attributes:
        fitted_people: Training people.
        people: Reference people, whose scores are the scale of all others.
        left_out: Validation people who are none, because the run has trained on them.
        independent: Whether no reference person had a part in choosing weights or temperature.
        windows: Windows of the reference people.
        seed: Seed of corruptions and draws.
        store: Fingerprint of the tracks.
        weights: SHA-256 of the weights file.
        dt: Seconds per step; 0 if not known.
        unit: Unit of the tracks.
        evaluations: Network evaluations of the draws whose error is expected; 0: not known.
        temperature: Deviation of their noise.
    """

    fitted_people: int = 0
    people: int = 0
    left_out: int = 0
    independent: bool = False
    windows: int = 0
    seed: int = 0
    store: str = ""
    weights: str = ""
    dt: float = 0.0
    unit: str = ""
    evaluations: int = 0
    temperature: float = 1.0


@dataclass(frozen=True)
class Gaussian:
    """Mean and whitening of contexts, principal directions first.

    Attributes:
        mean: [H].
        root: Columns of unit variance, falling in variance, [H, H].
        typical: Root mean square distance of training contexts, [1].
    """

    mean: Floats
    root: Floats
    typical: Floats

    @classmethod
    def fit(cls, context: Floats, weight: Floats) -> "Gaussian":
        """Fit to contexts [N, H] of weights [N].

        Source: Lee et al. 2018, "A simple unified framework for detecting out-of-distribution
        samples and adversarial attacks"; Ledoit and Wolf 2004 for the covariance.
        """
        from sklearn.covariance import LedoitWolf

        rows = np.random.default_rng(0).choice(len(weight), len(weight), p=weight / weight.sum())
        found = LedoitWolf().fit(context[rows])
        values, vectors = np.linalg.eigh(found.covariance_)
        root = (vectors / np.sqrt(np.maximum(values, 1e-12)))[:, ::-1]
        typical = np.sqrt(np.mean(np.square((context - found.location_) @ root).sum(1)))
        return cls(found.location_, np.ascontiguousarray(root), np.array([typical]))

    def components(self, context: Floats) -> Floats:
        """Contexts [N, H] in directions of unit variance, [N, H]."""
        return np.asarray((context - self.mean) @ self.root)


@dataclass(frozen=True)
class Kinds:
    """Linear discriminants that say which corruption a track looks most like.

    Attributes:
        names: What tracks under each of K corruptions are called.
        mean, scale: Of each feature, [H].
        weight, start: Of each corruption, [K, H] and [K].
    """

    names: tuple[str, ...]
    mean: Floats
    scale: Floats
    weight: Floats
    start: Floats

    def most_like(self, features: Floats) -> list[str]:
        """Words for the likeliest corruption of features [N, H]."""
        scaled = np.clip(np.nan_to_num((features - self.mean) / self.scale), -4, 4)
        likeliest = (scaled @ self.weight.T + self.start).argmax(1)
        return [f"most like {self.names[k]}" for k in likeliest]

    @classmethod
    def fit(cls, features: Floats, which: Ints, names: tuple[str, ...]) -> "Kinds":
        """Learn from features [N, H] under corruptions [N].

        Source: Fisher 1936, "The use of multiple measurements in taxonomic problems".
        """
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        mean = np.nan_to_num(np.nanmean(features, 0))
        scale = np.nan_to_num(np.nanstd(features, 0)) + 1e-6
        scaled = np.clip(np.nan_to_num((features - mean) / scale), -4, 4)
        found = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.01).fit(scaled, which)
        weight, start = np.zeros((len(names), features.shape[1])), np.full(len(names), -1e9)
        if len(found.classes_) == 2:
            weight[found.classes_[1]], start[found.classes_] = found.coef_[0], [0, found.intercept_]
        else:
            weight[found.classes_], start[found.classes_] = found.coef_, found.intercept_
        return cls(names, mean, scale, weight, start)


@dataclass(frozen=True)
class Detector:
    """A fitted detector.

    Attributes:
        scale: Usual length of a displacement in training tracks.
        gaussian: Of the contexts.
        forest: Log odds that a track is corrupted.
        kinds: Which corruption.
        quantiles: Of each reason's number among training people, [Q] by name.
        held: Ranks of both parts among training people they were not fitted on.
        whole, typical: Ranks of the combination among reference people, and in a typical recording.
        error: Logarithm of the energy score over the scale.
        error_level: Start and slope of the logarithm of the mean error over what `error` says, [2].
        origin: What it was fitted with.
    """

    scale: float
    gaussian: Gaussian
    forest: Forest
    kinds: Kinds
    quantiles: Mapping[str, Floats]
    held: Mapping[str, Ranks]
    whole: Ranks
    typical: Ranks
    error: Forest
    error_level: Floats
    origin: Origin

    def score(self, past: Floats, context: Floats) -> OODScores:
        """Score N pasts.

        Args:
            past: Positions of the last T steps, [N, T, D]; NaN where not observed.
            context: What the encoder makes of them, [N, H].
        """
        steps = TrackSteps.of(past, self.scale)
        features, components = track_features(steps), self.gaussian.components(context)
        values = part_values(self.forest, features, components)
        parts = part_ranks(self.held, values)
        combination = combine(parts)
        ood_score = self.whole.below(combination)
        log_error = self.error(error_features(features, components))
        expected = np.exp(self.error_level[0] + self.error_level[1] * log_error)
        return OODScores(
            ood_score,
            self.typical.below(combination),
            parts["forest"],
            parts["distance"],
            self.scale * expected,
            self._reasons(steps, features, values["distance"], ood_score, parts),
        )

    def _reasons(
        self,
        steps: TrackSteps,
        features: Floats,
        distance: Floats,
        ood_score: Floats,
        parts: Mapping[str, Floats],
    ) -> tuple[str, ...]:
        rows = np.flatnonzero(ood_score > THRESHOLD)
        reasons = [""] * len(ood_score)
        if not len(rows):
            return tuple(reasons)
        some = TrackSteps(steps.seen[rows], steps.moves[rows], steps.turns[rows], steps.scale)
        units = Units(self.origin.dt, self.origin.unit)
        likeliest = self.kinds.most_like(features[rows])
        for place, words in enumerate(explain(some, self.quantiles, units)):
            row = rows[place]
            if parts["distance"][row] > THRESHOLD and len(words) < 3:
                times = distance[row] / self.gaussian.typical[0]
                words.append(f"its context is {times:.1f} times as far from the mean as is typical")
            if parts["forest"][row] > THRESHOLD or not words:
                words.append(likeliest[place])
            reasons[row] = "; ".join(words)
        return tuple(reasons)

    def packed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The detector as JSON values and as arrays by name."""
        arrays: dict[str, Any] = {"error_level": self.error_level}
        groups: dict[str, Mapping[str, Any]] = {
            "gaussian": _members(self.gaussian),
            "forest": self.forest.arrays(),
            "kinds": {k: v for k, v in _members(self.kinds).items() if k != "names"},
            "quantiles": self.quantiles,
            "error": self.error.arrays(),
            "whole": _members(self.whole),
            "typical": _members(self.typical),
        }
        groups |= {f"held/{name}": _members(ranks) for name, ranks in self.held.items()}
        for group, members in groups.items():
            arrays |= {f"{group}/{name}": np.ascontiguousarray(v) for name, v in members.items()}
        facts = {"format": FORMAT, "scale": self.scale, "kinds": list(self.kinds.names)}
        return facts | {"origin": asdict(self.origin)}, arrays

    @classmethod
    def unpacked(cls, facts: Mapping[str, Any], arrays: Mapping[str, Any]) -> "Detector":
        """The detector of what `packed` gave.

        Raises:
            KeyError, TypeError, ValueError, IndexError: It is none.
        """
        if facts["format"] != FORMAT:
            raise ValueError(f"it is of format {facts['format']}, not {FORMAT}")

        def group(name: str) -> dict[str, Any]:
            return {
                key.removeprefix(f"{name}/"): value
                for key, value in arrays.items()
                if key.startswith(f"{name}/")
            }

        kinds = Kinds(tuple(map(str, facts["kinds"])), **group("kinds"))
        gaussian, width = Gaussian(**group("gaussian")), len(kinds.mean)
        held = {name: Ranks(**group(f"held/{name}")) for name in PARTS}
        quantiles = {name: arrays[f"quantiles/{name}"] for name in REASONS}
        origin = Origin(**{f.name: facts["origin"][f.name] for f in fields(Origin)})
        forest = Forest.of(group("forest"), width)
        columns = WHOLE + 1 + min(COMPONENTS, len(gaussian.mean))
        error, level = Forest.of(group("error"), columns), arrays["error_level"]
        scale = float(facts["scale"])
        if level.shape != (2,) or not np.isfinite(level).all() or not 0 < scale < np.inf:
            raise ValueError("a number of it is out of bounds")
        whole, typical = Ranks(**group("whole")), Ranks(**group("typical"))
        return cls(
            scale, gaussian, forest, kinds, quantiles, held, whole, typical, error, level,
            origin,
        )  # fmt: skip


PARTS = ("forest", "distance")


def part_values(forest: Forest, features: Floats, components: Floats) -> dict[str, Floats]:
    """What both parts say of N tracks, [N] by name; the larger, the more out of distribution."""
    return {"forest": forest(features), "distance": lengths_of(components)}


def part_ranks(held: Mapping[str, Ranks], values: Mapping[str, Floats]) -> dict[str, Floats]:
    """Share of held training people with less of `part_values`, [N] by name."""
    return {name: ranks.below(values[name]) for name, ranks in held.items()}


def combine(parts: Mapping[str, Floats]) -> Floats:
    """The ranks [N] of both parts in one, [N], of which only the order counts.

    The rarer of the two decides, the distance at a penalty.
    """
    rarity = {name: -np.log1p(-rank + 1e-12) for name, rank in parts.items()}
    return np.asarray(np.maximum(rarity["forest"], rarity["distance"] - NOVELTY_PENALTY))


def error_features(features: Floats, components: Floats) -> Floats:
    """What tells how well agents of `track_features` [N, ...] can be forecast, [N, ...]."""
    distance = lengths_of(components)[:, None]
    return np.concatenate([features[:, :WHOLE], distance, components[:, :COMPONENTS]], 1)


def _members(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}
