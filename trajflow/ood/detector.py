"""The out-of-distribution (OOD) detector of a run, as plain numpy.

It has two parts: a boosted forest on features of the track, trained on the catalogue of
corruptions, and the Mahalanobis distance of the encoder's context, which needs no corruptions.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
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
from trajflow.ood.forest import Forest
from trajflow.ood.ranks import PARTS, PastRanks
from trajflow.types import Bools, Floats, Ints

FORMAT = 3
THRESHOLD = 0.95
"""OOD score above which reasons are given; about one in twenty new people exceeds it."""
# Principal components of the context that the expected error is computed from.
COMPONENTS = 16


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


# The entry of `Detector.ranks` for pasts of which no beginning is missing.
FULL = 0


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
            rows = np.flatnonzero(observed == length)
            among = self.ranks.get(int(length), self.ranks[FULL])
            ranks = among.ranks_of({name: value[rows] for name, value in values.items()})
            for name, rank in ranks.items():
                result[name][rows] = rank
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
        units = Units(self.origin.dt, self.origin.unit)
        likeliest = self.kinds.most_like(features[rows])
        for index, words in enumerate(explain(steps, rows, self.quantiles, units)):
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


def error_features(features: Floats, components: Floats) -> Floats:
    """Features that the expected error is computed from, [N, ...]."""
    distance = lengths_of(components)[:, None]
    return np.concatenate([features[:, :WHOLE], distance, components[:, :COMPONENTS]], 1)


def _members(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}
