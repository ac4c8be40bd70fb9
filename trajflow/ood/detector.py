"""The out-of-distribution (OOD) detector of a run, as plain numpy.

It has two parts: a boosted forest on features of the track, trained on the catalogue of
corruptions, and the Mahalanobis distance of the encoder's context, which needs no corruptions.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from trajflow.ood.features import (
    REASONS,
    WHOLE,
    TrackSteps,
    Units,
    explain,
    lengths_of,
    track_features,
)
from trajflow.statistics import person_weights
from trajflow.types import Bools, Floats, Ints

FORMAT = 3
THRESHOLD = 0.95
"""OOD score above which reasons are given; about one in twenty new people exceeds it."""
# Looking at two parts doubles the false alarms; the distance pays for that.
NOVELTY_PENALTY = float(np.log(2))
# Principal components of the context that the expected error is computed from.
COMPONENTS = 16
# Recordings with fewer people cannot estimate a 95 % quantile.
FEW = 20
MAX_VALUES = 1000


@dataclass(frozen=True)
class OODScores:
    """The scores of N pasts.

    Attributes:
        ood_score: Share of reference people with less unusual pasts, [N], in (0, 1]. A track that
            has just begun is ranked among pasts of reference people that are cut to as many steps.
        typical_score: The same share within a typical recording, [N].
        forest, distance: Share of held-out training people with less unusual pasts according to one
            part alone, [N].
        expected_error: Expected energy score of a forecast, [N], in the unit of the tracks. An
            unusual past may be easy to forecast from, and an ordinary one hard.
        reasons: Why a past is unusual, N strings; "" if `ood_score` is at most `THRESHOLD`.
    """

    ood_score: Floats
    typical_score: Floats
    forest: Floats
    distance: Floats
    expected_error: Floats
    reasons: tuple[str, ...]

    def flagged(self, level: float = THRESHOLD) -> Bools:
        """Whether `ood_score` is above a level, [N]."""
        return self.ood_score > level


@dataclass(frozen=True)
class Origin:
    """What a detector was fitted on.

    Attributes:
        fitted_people: Number of training people.
        people: Number of reference people, among whom scores are ranked.
        left_out: Validation people that are not used because the run was trained on them.
        independent: Whether no reference person was used to choose weights or temperature.
        windows: Windows of the reference people.
        seed: Seed of corruptions and draws.
        store: Fingerprint of the tracks.
        weights: SHA-256 of the weights file.
        dt: Seconds per step; 0 if not known.
        unit: Unit of the tracks.
        evaluations: Network evaluations per draw for the expected error; 0 if not known.
        temperature: Standard deviation of the noise of the draws.
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
class Ranks:
    """Sorted values of the windows of P people, and the number of people up to each value.

    Attributes:
        values: Values, [N], ascending.
        mass: Number of people at or below each value, [N], up to P. The windows of a person share a
            weight of 1.
    """

    values: Floats
    mass: Floats

    @classmethod
    def of(cls, values: Floats, person: Ints) -> "Ranks":
        """Ranks of values [N] of windows of people [N]; values that are not finite rank lowest."""
        values = _finite(values)
        order = np.argsort(values, kind="stable")
        return cls(values[order], np.cumsum(person_weights(person)[order]))._thinned()

    @classmethod
    def in_typical_recording(cls, values: Floats, person: Ints, recording: Ints) -> "Ranks":
        """Ranks in a typical recording, of values, people and recordings [N] each.

        The rank of a value is the median over people of its rank in their own recording, so that
        one recording with another frame rate or more noise cannot raise the threshold for all.
        Recordings of fewer than `FEW` people are pooled.

        Source: Dunn, Wasserman and Ramdas 2022, "Distribution-free prediction sets for two-layer
        hierarchical models", for groups of people; the median over groups is ours.
        """
        _, index = np.unique(recording, return_inverse=True)
        people = [len(np.unique(person[index == code])) for code in range(index.max() + 1)]
        group = np.where(np.array(people) >= FEW, np.arange(len(people)), -1)[index]
        each = [cls.of(values[group == g], person[group == g]) for g in np.unique(group)]
        weight = np.array([ranks.people for ranks in each])
        grid = np.sort(_finite(values), kind="stable")
        shares = np.stack([ranks._up_to(grid) for ranks in each])
        order = np.argsort(shares, 0, kind="stable")
        half = (np.cumsum(weight[order], 0) >= weight.sum() / 2).argmax(0)
        share = np.take_along_axis(shares, np.take_along_axis(order, half[None], 0), 0)[0]
        return cls(grid, share / (1 - share[-1]))._thinned()

    @property
    def people(self) -> float:
        """Number of people, P."""
        return float(self.mass[-1])

    def below(self, values: Floats) -> Floats:
        """Share of the P people and one newcomer with a lower value, [N], above 0 and at most 1.

        The share is interpolated between known values and approaches 1 beyond the largest, so that
        the more extreme of two values has the larger share. The share of a new person exceeds a
        level with probability 1 - level, within 1 / (P + 1).

        Source: Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random world"; Lee,
        Barber and Willett 2023, "Distribution-free inference with hierarchical data".
        """
        values = _finite(values)
        index = np.searchsorted(self.values, values, side="left")
        low = np.concatenate([[0.0], self.mass])[index]
        high = np.minimum(np.concatenate([self.mass, [self.people + 1]])[index], low + 1)
        share = low + (high - low) * self._between(values, index)
        return np.asarray(np.clip(share / (self.people + 1), np.finfo(float).tiny, 1.0))

    def _up_to(self, values: Floats) -> Floats:
        index = np.searchsorted(self.values, values, side="right")
        return np.asarray(np.concatenate([[0.0], self.mass])[index] / (self.people + 1))

    @cached_property
    def _upper_range(self) -> float:
        return max(float(self.values[-1] - np.median(self.values)), 1e-12)

    def _between(self, values: Floats, index: Ints) -> Floats:
        """Position of each value between its neighbors in `values`, [N], from 0 to 1."""
        last = len(self.values) - 1
        left = self.values[np.clip(index - 1, 0, last)]
        right = self.values[np.clip(index, 0, last)]
        inside = np.clip((values - left) / np.where(right > left, right - left, 1), 0, 1)
        over = np.maximum(values - self.values[last], 0) / self._upper_range
        return np.asarray(
            np.where(index > last, over / (1 + over), np.where(index > 0, inside, 0.5))
        )

    def _thinned(self) -> "Ranks":
        """At most `MAX_VALUES` of the values, the largest among them."""
        if len(self.values) <= MAX_VALUES:
            return self
        kept = np.unique(np.linspace(0, len(self.values) - 1, MAX_VALUES).round().astype(int))
        return Ranks(self.values[kept], self.mass[kept])


def _finite(values: Floats) -> Floats:
    """Replace values that are not finite by the lowest single-precision number."""
    least = float(np.finfo(np.float32).min)
    return np.asarray(np.nan_to_num(values, nan=least, posinf=-least, neginf=least))


@dataclass(frozen=True)
class Forest:
    """A boosted forest of K trees with at most N nodes each; a leaf leads to itself.

    scikit-learn grows it. Arrays are kept because skl2onnx cannot convert these forests, and an
    exported model must score without scikit-learn.

    Attributes:
        feature: Index of the feature that a node splits by, [K, N].
        threshold: Largest value that goes left, [K, N].
        left, right: Index of the next node, [K, N].
        missing_left: Whether a missing value goes left, [K, N].
        value: Value that a leaf adds, [K, N].
        start: Value of the forest without trees, [1].
    """

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    missing_left: Bools
    value: Floats
    start: Floats

    @classmethod
    def classifier(cls, rows: Floats, corrupted: Bools, weight: Floats) -> "Forest":
        """Fit the log odds that rows [N, ...] are corrupted.

        Source: Friedman 2001, "Greedy function approximation: a gradient boosting machine"; on
        learning from corruptions: Hendrycks, Mazeika and Dietterich 2019, "Deep anomaly detection
        with outlier exposure".
        """
        from sklearn.ensemble import HistGradientBoostingClassifier

        grower = HistGradientBoostingClassifier(
            max_iter=120,
            max_leaf_nodes=31,
            max_depth=7,
            learning_rate=0.12,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=0,
        )
        return cls._of_grown(grower.fit(rows, corrupted, weight))

    @classmethod
    def regressor(cls, rows: Floats, outcome: Floats) -> "Forest":
        """Fit the logarithm of the mean outcome [N], above 0, of rows [N, ...]."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        grower = HistGradientBoostingRegressor(
            loss="gamma",
            max_iter=60,
            max_leaf_nodes=8,
            min_samples_leaf=40,
            learning_rate=0.08,
            l2_regularization=5.0,
            early_stopping=False,
            random_state=0,
        )
        return cls._of_grown(grower.fit(rows, outcome))

    @classmethod
    def _of_grown(cls, grower: Any) -> "Forest":
        trees = [tree[0].nodes for tree in grower._predictors]
        most = max(map(len, trees))

        def stacked(name: str, fill: float = 0) -> Any:
            columns = [np.asarray(nodes[name]) for nodes in trees]
            return np.stack([np.pad(c, (0, most - len(c)), constant_values=fill) for c in columns])

        leaf, own = stacked("is_leaf", 1).astype(bool), np.arange(most)
        return cls(
            np.where(leaf, 0, stacked("feature_idx")),
            stacked("num_threshold"),
            np.where(leaf, own, stacked("left")),
            np.where(leaf, own, stacked("right")),
            stacked("missing_go_to_left").astype(bool),
            stacked("value"),
            np.array([np.ravel(grower._baseline_prediction)[0]]),
        )

    def __call__(self, rows: Floats) -> Floats:
        """Sum of the trees for rows [N, ...], [N]."""
        base, left, right = self._flat
        feature, threshold = self.feature.ravel(), self.threshold.ravel()
        missing_left, flat = self.missing_left.ravel(), np.ascontiguousarray(rows).ravel()
        start = (np.arange(len(rows)) * rows.shape[1])[:, None]
        gaps = bool(np.isnan(flat).any())
        node = np.repeat(base[None], len(rows), 0)
        while True:
            value = flat.take(start + feature.take(node))
            goes_left = value <= threshold.take(node)
            if gaps:
                goes_left |= missing_left.take(node) & np.isnan(value)
            after = np.where(goes_left, left.take(node), right.take(node))
            if (after == node).all():
                return np.asarray(self.start[0] + self.value.ravel().take(node).sum(1))
            node = after

    @cached_property
    def _flat(self) -> tuple[Ints, Ints, Ints]:
        """Root of each tree, and left and right children, as indices into flattened arrays.

        numpy's `take` is several times faster along one axis than along two.
        """
        base = np.arange(len(self.feature)) * self.feature.shape[1]
        left, right = ((side + base[:, None]).ravel() for side in (self.left, self.right))
        return base, left, right

    def arrays(self) -> dict[str, Any]:
        """The arrays by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def of(cls, arrays: Mapping[str, Any], width: int) -> "Forest":
        """Build a forest from its arrays.

        Args:
            arrays: As `arrays` returns them; they may come from a damaged file.
            width: Number of features of a row.

        Raises:
            ValueError, KeyError: The arrays are not a forest.
        """
        types = {"feature": np.int64, "left": np.int64, "right": np.int64, "missing_left": bool}
        made: dict[str, Any] = {
            f.name: np.asarray(arrays[f.name]).astype(types.get(f.name, np.float64))
            for f in fields(cls)
        }
        shape = made["feature"].shape
        alike = all(array.shape == shape for name, array in made.items() if name != "start")
        if len(shape) != 2 or not alike or made["start"].shape != (1,):
            raise ValueError("the arrays of the trees have different shapes")
        own = np.arange(shape[1])
        # Only leaves lead to themselves and nothing leads back, so a walk down always ends.
        leaves = ((made["left"] == own) == (made["right"] == own)).all()
        inside = all(((made[k] >= own) & (made[k] < shape[1])).all() for k in ("left", "right"))
        features = ((made["feature"] >= 0) & (made["feature"] < width)).all()
        finite = np.isfinite(made["value"]).all() and np.isfinite(made["start"]).all()
        if not (leaves and inside and features and finite):
            raise ValueError("a node of the trees is invalid")
        return cls(**made)


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian fitted to contexts, principal directions first.

    Attributes:
        mean: [H].
        root: Columns that whiten a context, by falling variance, [H, H].
        typical: Root mean square distance of training contexts, [1].
    """

    mean: Floats
    root: Floats
    typical: Floats

    @classmethod
    def fit(cls, context: Floats, weight: Floats) -> "Gaussian":
        """Fit to contexts [N, H] with weights [N].

        Source: Lee et al. 2018, "A simple unified framework for detecting out-of-distribution
        samples and adversarial attacks"; Ledoit and Wolf 2004 for the covariance.
        """
        from sklearn.covariance import LedoitWolf

        rows = np.random.default_rng(0).choice(len(weight), len(weight), p=weight / weight.sum())
        result = LedoitWolf().fit(context[rows])
        values, vectors = np.linalg.eigh(result.covariance_)
        root = (vectors / np.sqrt(np.maximum(values, 1e-12)))[:, ::-1]
        typical = np.sqrt(np.mean(np.square((context - result.location_) @ root).sum(1)))
        return cls(result.location_, np.ascontiguousarray(root), np.array([typical]))

    def components(self, context: Floats) -> Floats:
        """Whitened contexts, [N, H] of contexts [N, H]."""
        return np.asarray((context - self.mean) @ self.root)


@dataclass(frozen=True)
class CorruptionClassifier:
    """Linear discriminants that name the corruption a track resembles most.

    Attributes:
        names: Names of K corruptions.
        mean, scale: Mean and scale of each feature, [H].
        weight, start: Weights and bias of each corruption, [K, H] and [K].
    """

    names: tuple[str, ...]
    mean: Floats
    scale: Floats
    weight: Floats
    start: Floats

    def most_like(self, features: Floats) -> list[str]:
        """Text that names the most likely corruption for each row of features [N, H]."""
        scaled = np.clip(np.nan_to_num((features - self.mean) / self.scale), -4, 4)
        likeliest = (scaled @ self.weight.T + self.start).argmax(1)
        return [f"most like {self.names[k]}" for k in likeliest]

    @classmethod
    def fit(cls, features: Floats, which: Ints, names: tuple[str, ...]) -> "CorruptionClassifier":
        """Fit to features [N, H] of tracks under corruptions [N].

        Source: Fisher 1936, "The use of multiple measurements in taxonomic problems".
        """
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        mean = np.nan_to_num(np.nanmean(features, 0))
        scale = np.nan_to_num(np.nanstd(features, 0)) + 1e-6
        scaled = np.clip(np.nan_to_num((features - mean) / scale), -4, 4)
        result = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.01).fit(scaled, which)
        weight, start = np.zeros((len(names), features.shape[1])), np.full(len(names), -1e9)
        if len(result.classes_) == 2:
            # Of two classes scikit-learn keeps the weights of the second alone.
            weight[result.classes_[1]] = result.coef_[0]
            start[result.classes_] = [0, result.intercept_]
        else:
            weight[result.classes_], start[result.classes_] = result.coef_, result.intercept_
        return cls(names, mean, scale, weight, start)


@dataclass(frozen=True)
class PastRanks:
    """Ranks among pasts of one length.

    Attributes:
        held_out: Ranks of both parts among held-out training people, by name.
        combined, typical: Ranks of the combination among reference people and in a typical
            recording.
    """

    held_out: Mapping[str, Ranks]
    combined: Ranks
    typical: Ranks

    @classmethod
    def of(
        cls,
        held_out: Mapping[str, Floats],
        held_person: Ints,
        values: Mapping[str, Floats],
        person: Ints,
        recording: Ints,
    ) -> "PastRanks":
        """Ranks from values of both parts, for held-out training windows and reference windows."""
        ranks = {name: Ranks.of(value, held_person) for name, value in held_out.items()}
        combination = combine(part_ranks(ranks, values))
        typical = Ranks.in_typical_recording(combination, person, recording)
        return cls(ranks, Ranks.of(combination, person), typical)

    def arrays(self) -> dict[str, Floats]:
        """Values and mass of all ranks by name, [N] each."""
        groups = {f"held/{name}": ranks for name, ranks in self.held_out.items()}
        groups |= {"whole": self.combined, "typical": self.typical}
        return {f"{g}/{k}": v for g, ranks in groups.items() for k, v in _members(ranks).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats], prefix: str = "") -> "PastRanks":
        """Ranks from what `arrays` returned, under names that begin with a prefix."""

        def ranks(group: str) -> Ranks:
            return Ranks(*(arrays[f"{prefix}{group}/{name}"] for name in ("values", "mass")))

        return cls({n: ranks(f"held/{n}") for n in PARTS}, ranks("whole"), ranks("typical"))


# The entry of `Detector.ranks` for pasts of which no beginning is missing.
FULL = 0
PARTS = ("forest", "distance")


@dataclass(frozen=True)
class Detector:
    """A fitted detector.

    Attributes:
        scale: Typical displacement per step of training tracks.
        gaussian: Gaussian of the contexts.
        forest: Log odds that a track is corrupted.
        kinds: Names the corruption.
        quantiles: Quantiles of each reason's value among training people, [Q] by name.
        ranks: Ranks among full pasts, under `FULL`, and among pasts that are cut to their last
            steps, by the number of these. Detectors of earlier versions have full pasts only.
        error: Logarithm of the energy score over `scale`.
        error_level: Intercept and slope that calibrate `error` on reference people, [2].
        origin: What it was fitted on.
    """

    scale: float
    gaussian: Gaussian
    forest: Forest
    kinds: CorruptionClassifier
    quantiles: Mapping[str, Floats]
    ranks: Mapping[int, PastRanks]
    error: Forest
    error_level: Floats
    origin: Origin

    def score(self, past: Floats, context: Floats) -> OODScores:
        """Score N pasts.

        Args:
            past: Positions at the last T steps, [N, T, D]; NaN where not observed.
            context: Contexts of the encoder, [N, H].
        """
        steps = TrackSteps.of(past, self.scale)
        features, components = track_features(steps), self.gaussian.components(context)
        values = part_values(self.forest, features, components)
        ranks = self._ranks(steps.observed, values)
        log_error = self.error(error_features(features, components))
        expected = np.exp(self.error_level[0] + self.error_level[1] * log_error)
        return OODScores(
            ranks["ood_score"],
            ranks["typical"],
            ranks["forest"],
            ranks["distance"],
            self.scale * expected,
            self._reasons(steps, features, values["distance"], ranks),
        )

    def _ranks(self, observed: Ints, values: Mapping[str, Floats]) -> dict[str, Floats]:
        """Ranks of N pasts among pasts of their own length, by name."""
        names = (*PARTS, "ood_score", "typical")
        result = {name: np.zeros(len(observed)) for name in names}
        for length in np.unique(observed):
            rows = observed == length
            among = self.ranks.get(int(length), self.ranks[FULL])
            parts = part_ranks(among.held_out, {name: v[rows] for name, v in values.items()})
            combination = combine(parts)
            for name, part in parts.items():
                result[name][rows] = part
            result["ood_score"][rows] = among.combined.below(combination)
            result["typical"][rows] = among.typical.below(combination)
        return result

    def _reasons(
        self,
        steps: TrackSteps,
        features: Floats,
        distance: Floats,
        ranks: Mapping[str, Floats],
    ) -> tuple[str, ...]:
        rows = np.flatnonzero(ranks["ood_score"] > THRESHOLD)
        reasons = [""] * len(distance)
        if not len(rows):
            return tuple(reasons)
        unusual = TrackSteps(steps.seen[rows], steps.moves[rows], steps.turns[rows], steps.scale)
        units = Units(self.origin.dt, self.origin.unit)
        likeliest = self.kinds.most_like(features[rows])
        for index, words in enumerate(explain(unusual, self.quantiles, units)):
            row = rows[index]
            if ranks["distance"][row] > THRESHOLD and len(words) < 3:
                times = distance[row] / self.gaussian.typical[0]
                words.append(f"its context is {times:.1f} times as far from the mean as is typical")
            if ranks["forest"][row] > THRESHOLD or not words:
                words.append(likeliest[index])
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
        }
        for group, members in groups.items():
            arrays |= {f"{group}/{name}": np.ascontiguousarray(v) for name, v in members.items()}
        for length, ranks in self.ranks.items():
            prefix = "" if length == FULL else f"short/{length}/"
            arrays |= {f"{prefix}{name}": v for name, v in ranks.arrays().items()}
        facts = {"format": FORMAT, "scale": self.scale, "kinds": list(self.kinds.names)}
        return facts | {"origin": asdict(self.origin)}, arrays

    @classmethod
    def unpacked(cls, facts: Mapping[str, Any], arrays: Mapping[str, Any]) -> "Detector":
        """Build a detector from what `packed` returned.

        Raises:
            KeyError, TypeError, ValueError, IndexError: The values are not a detector.
        """
        if facts["format"] != FORMAT:
            raise ValueError(f"it is of format {facts['format']}, not {FORMAT}")

        def group(name: str) -> dict[str, Any]:
            return {
                key.removeprefix(f"{name}/"): value
                for key, value in arrays.items()
                if key.startswith(f"{name}/")
            }

        kinds = CorruptionClassifier(tuple(map(str, facts["kinds"])), **group("kinds"))
        gaussian, width = Gaussian(**group("gaussian")), len(kinds.mean)
        lengths = {int(name.split("/")[1]) for name in arrays if name.startswith("short/")}
        ranks = {FULL: PastRanks.from_arrays(arrays)}
        ranks |= {n: PastRanks.from_arrays(arrays, f"short/{n}/") for n in sorted(lengths)}
        quantiles = {name: arrays[f"quantiles/{name}"] for name in REASONS}
        origin = Origin(**{f.name: facts["origin"][f.name] for f in fields(Origin)})
        forest = Forest.of(group("forest"), width)
        columns = WHOLE + 1 + min(COMPONENTS, len(gaussian.mean))
        error, level = Forest.of(group("error"), columns), arrays["error_level"]
        scale = float(facts["scale"])
        if level.shape != (2,) or not np.isfinite(level).all() or not 0 < scale < np.inf:
            raise ValueError("a number is out of bounds")
        return cls(scale, gaussian, forest, kinds, quantiles, ranks, error, level, origin)


def part_values(forest: Forest, features: Floats, components: Floats) -> dict[str, Floats]:
    """Log odds and distance of N tracks, [N] by name; larger is more unusual."""
    return {"forest": forest(features), "distance": lengths_of(components)}


def part_ranks(held_out: Mapping[str, Ranks], values: Mapping[str, Floats]) -> dict[str, Floats]:
    """Rank of `part_values` among held-out training people, [N] by name."""
    return {name: ranks.below(values[name]) for name, ranks in held_out.items()}


def combine(parts: Mapping[str, Floats]) -> Floats:
    """Combine the ranks [N] of both parts into one value, [N]; only its order matters.

    The part that finds the past rarer decides; the distance has to be rarer by `NOVELTY_PENALTY`.
    """
    rarity = {name: -np.log1p(-rank + 1e-12) for name, rank in parts.items()}
    return np.asarray(np.maximum(rarity["forest"], rarity["distance"] - NOVELTY_PENALTY))


def error_features(features: Floats, components: Floats) -> Floats:
    """Features that the expected error is computed from, [N, ...]."""
    distance = lengths_of(components)[:, None]
    return np.concatenate([features[:, :WHOLE], distance, components[:, :COMPONENTS]], 1)


def _members(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}
