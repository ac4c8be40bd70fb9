"""The report of an OOD evaluation: values that JSON can hold, and the file they are kept in."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trajflow.errors import RunError
from trajflow.ood.statistics import (
    KEPT,
    Rates,
    Retention,
    bootstrap_weights,
    interval,
    retained,
    weighted_mean,
)
from trajflow.types import Floats, Ints

Values = dict[str, Any]
BASELINES = ("baseline speed", "baseline steps", "baseline nearest")
ERRORS = ("min_ade", "energy_score", "coverage_90", "conformal_90")
OOD_SCORE, TYPICAL, DISTANCE, EXPECTED = "ood_score", "typical_score", "distance", "expected_error"
SELF_EXPECTED = "self_expected"
"""Energy score that a forecast expects of itself, by how far its draws are apart."""
DRAWN = (OOD_SCORE, DISTANCE, *BASELINES)
"""Scores whose curves and histograms are kept."""
KEPT_BY = (OOD_SCORE, EXPECTED, SELF_EXPECTED, *BASELINES)
"""Scores that windows are kept by in the retention curves."""
BINS = 20
PREFIX = "ood-"
KEYS = ("ordinary", "corruptions", "protocol")


WINDOWS = 600


@dataclass(frozen=True)
class OODTerms:
    """Terms of an OOD evaluation.

    Attributes:
        split: Split whose windows are ordinary.
        windows: Number of its targets, about, and of each pool of others.
        samples: Futures of each target.
        steps: Network evaluations per draw.
        seed: Seed of corruptions, draws and resamples.
        names: Corruptions, or severities of them; none: all.
    """

    split: str = "test"
    windows: int = WINDOWS
    samples: int = 20
    steps: int = 1
    seed: int = 0
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, protocol: Mapping[str, Any]) -> "OODTerms":
        """The terms of a report, by its protocol."""
        names = ("split", "windows", "samples", "steps", "seed")
        return cls(**{name: protocol[name] for name in names}, names=tuple(protocol["only"]))


@dataclass(frozen=True)
class Stage:
    """Progress of an evaluation.

    Attributes:
        done: Sets of windows done.
        total: All of them.
        note: The set that is next.
        report: The report of the corruptions so far; None before the first one.
    """

    done: int
    total: int
    note: str
    report: Values | None = None


@dataclass(frozen=True)
class ScoredWindows:
    """N targets of some batches.

    Attributes:
        scores: Scores by name, larger is further out of distribution, [N].
        errors: Errors of the forecasts by name of `ERRORS`, [N]; NaN where what follows or a
            calibration is not known.
        person: Agent, [N].
        scene: Recording, [N].
        start: First step of the window, [N].
        place: Batch, row and column of the target, [N, 3].
        reasons: N strings.
    """

    scores: Mapping[str, Floats]
    errors: Mapping[str, Floats]
    person: Ints
    scene: Ints
    start: Ints
    place: Ints
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class SelfExpectation:
    """What forecasts say of their own errors.

    Attributes:
        own: Energy score that each forecast expects of itself, [N].
        drawn: Energy score of its draws, had one more draw been what happened, [N].
    """

    own: Floats
    drawn: Floats


@dataclass(frozen=True)
class Reference:
    """Ordinary windows, which every corruption is compared with.

    Attributes:
        windows: The scored windows.
        threshold: By score, what 95 % of the reference people stay below.
        seed: Seed of the bootstrap.
        expectation: What their forecasts say of their own errors.
    """

    windows: ScoredWindows
    threshold: Mapping[str, float]
    seed: int = 0
    expectation: SelfExpectation | None = None

    def report(self) -> Values:
        """Accuracy, false alarms, and how well scores predict errors, of ordinary windows."""
        windows, expectation = self.windows, self.expectation
        (weights,) = bootstrap_weights((windows.person,), self.seed)
        scores, ceiling = dict(windows.scores), {}
        if expectation is not None:
            scores[SELF_EXPECTED] = expectation.own
            oracle = retained(expectation.drawn, expectation.drawn, weights)
            ceiling = _gains(
                Retention(retained(expectation.own, expectation.drawn, weights), oracle)
            )
        return {
            **_counts(windows),
            "accuracy": _accuracy(windows, weights),
            "alarms": self._alarms(windows, weights),
            "threshold": dict(self.threshold),
            **_retention(scores, windows.errors["energy_score"], weights),
            "ceiling": ceiling,
        }

    def compare(self, corrupted: ScoredWindows) -> Values:
        """Detection, accuracy and retention of corrupted windows; retention of both together."""
        ordinary = self.windows
        weights = bootstrap_weights((ordinary.person, corrupted.person), self.seed)
        scores = {
            name: np.concatenate([values, corrupted.scores[name]])
            for name, values in ordinary.scores.items()
        }
        error = np.concatenate([w.errors["energy_score"] for w in (ordinary, corrupted)])
        return {
            **_counts(corrupted),
            "scored": int(np.isfinite(corrupted.errors["energy_score"]).sum()),
            **_detection(ordinary, corrupted, weights),
            "alarms": self._alarms(corrupted, weights[1]),
            "accuracy": _accuracy(corrupted, weights[1]),
            **_retention(scores, error, np.concatenate(weights, 1)),
        }

    def _alarms(self, windows: ScoredWindows, weights: Floats) -> Values:
        """Share of windows above the threshold of each score; every person counts once."""
        once = _once(windows.person, weights)
        return {
            name: interval(weighted_mean((windows.scores[name] > limit).astype(float), once))
            for name, limit in self.threshold.items()
        }


def _counts(windows: ScoredWindows) -> Values:
    return {"windows": len(windows.person), "people": len(np.unique(windows.person))}


def _accuracy(windows: ScoredWindows, weights: Floats) -> Values:
    """Means over windows; of the calibrated regions over people, as they promise."""
    once = _once(windows.person, weights)
    return {
        name: interval(
            weighted_mean(windows.errors[name], once if name == "conformal_90" else weights)
        )
        for name in ERRORS
    }


def _once(person: Ints, weights: Floats) -> Floats:
    """Weights that sum to how often each person was drawn, however many windows they have."""
    _, index, count = np.unique(person, return_inverse=True, return_counts=True)
    return np.asarray(weights / count[index])


def _detection(
    ordinary: ScoredWindows, corrupted: ScoredWindows, weights: tuple[Floats, ...]
) -> Values:
    detection, roc = {}, {}
    for name in ordinary.scores:
        both = ordinary.scores[name], corrupted.scores[name]
        rates = Rates.of(*both, (weights[0], weights[1]))
        kinds = {"auroc": rates.auroc, "aupr": rates.aupr, "fpr95": rates.fpr95}
        detection[name] = {kind: interval(values) for kind, values in kinds.items()}
        if name in DRAWN:
            roc[name] = rates.curve()
    drawn = {name: _histogram(ordinary.scores[name], corrupted.scores[name]) for name in roc}
    return {"detection": detection, "roc": roc, "histogram": drawn}


def _histogram(ordinary: Floats, corrupted: Floats) -> Values:
    """Shares of both in equal bins of the middle 98 %; what lies beyond is in the last ones."""
    both = np.concatenate([ordinary, corrupted])
    low, high = np.quantile(both, (0.01, 0.99))
    if both.min() >= 0 and both.max() <= 1:
        low, high = 0.0, 1.0
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    shares = [
        (np.histogram(np.clip(some, edges[0], edges[-1]), edges)[0] / len(some)).round(4).tolist()
        for some in (ordinary, corrupted)
    ]
    return {"edges": edges.round(6).tolist(), "ordinary": shares[0], "corrupted": shares[1]}


def _retention(scores: Mapping[str, Floats], error: Floats, weights: Floats) -> Values:
    known = np.isfinite(error)
    if known.sum() < 2:
        return {"retention": {}, "curves": {}}
    error, weights = error[known], weights[:, known]
    oracle = retained(error, error, weights)
    retention = {"oracle": _gains(Retention(oracle, oracle))}
    curves: Values = {"kept": KEPT.tolist(), "oracle": oracle[0].round(6).tolist()}
    for name in (name for name in scores if name in KEPT_BY):
        one = Retention(retained(scores[name][known], error, weights), oracle)
        retention[name] = _gains(one)
        curves[name] = one.curve[0].round(6).tolist()
    return {"retention": retention, "curves": curves}


def _gains(one: Retention) -> Values:
    kinds = {"area": one.area, "gain": one.gain, "drop80": one.drop80}
    return {kind: interval(values) for kind, values in kinds.items()}


def examples(windows: ScoredWindows, count: int = 12) -> dict[str, list[Values]]:
    """The windows with the highest and the lowest OOD score, one of each person."""
    order = np.argsort(-windows.scores[OOD_SCORE], kind="stable")
    return {
        "most": _one_per_person(windows, order, count),
        "least": _one_per_person(windows, order[::-1], count),
    }


def _one_per_person(
    windows: ScoredWindows, order: Sequence[int] | Ints, count: int
) -> list[Values]:
    _, first = np.unique(windows.person[order], return_index=True)
    rows = np.asarray(order)[np.sort(first)][:count]
    return [_example(windows, int(row)) for row in rows]


def _example(windows: ScoredWindows, row: int) -> Values:
    batch, place, column = windows.place[row].tolist()
    return {
        "scene": int(windows.scene[row]),
        "start": int(windows.start[row]),
        "agent": int(windows.person[row]),
        "batch": batch,
        "row": place,
        "column": column,
        "ood_score": float(windows.scores[OOD_SCORE][row]),
        "parts": {name: round(float(of[row]), 4) for name, of in windows.scores.items()},
        "reasons": windows.reasons[row],
        "energy_score": float(windows.errors["energy_score"][row]),
    }


def finite(value: Any) -> Any:
    """The same values to six digits, None for numbers that JSON has not."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def flagged_share(windows: Mapping[str, Any]) -> float:
    """Share of windows above the threshold of the OOD score; every person counts once."""
    return float(windows["alarms"][OOD_SCORE]["value"] or 0.0)


def cost(corruption: Mapping[str, Any], ordinary: Mapping[str, Any]) -> float:
    """By which share a corruption raises the energy score of ordinary windows; NaN if unknown."""
    if not corruption["windows"]:
        return math.nan
    after, before = (one["accuracy"]["energy_score"]["value"] for one in (corruption, ordinary))
    return float(after / before - 1) if after is not None and before else math.nan


def hidden_cost(corruption: Mapping[str, Any], ordinary: Mapping[str, Any]) -> float:
    """The cost of a corruption times the share of its windows that are not flagged; NaN if unknown.

    A corruption that lowers the energy score costs nothing.
    """
    paid = cost(corruption, ordinary)
    if math.isnan(paid):
        return math.nan
    return max(0.0, paid) * (1 - flagged_share(corruption))


def is_hidden(corruption: Mapping[str, Any], ordinary: Mapping[str, Any]) -> bool:
    """Whether a corruption hurts and is flagged in less than half of its windows.

    It hurts if its energy score is higher, or its coverage lower, than that of ordinary windows,
    and their 95 % intervals do not overlap. Recordings that the run was trained on are no
    corruption in this sense: their scores differ because the recordings do.
    """
    if not corruption["windows"] or corruption["trained_on"]:
        return False
    if flagged_share(corruption) >= 0.5:
        return False
    return _above(corruption, ordinary, "energy_score") or _above(
        ordinary, corruption, "coverage_90"
    )


def by_hidden_cost(report: Mapping[str, Any]) -> list[Values]:
    """The corruptions of a report, those with the highest hidden cost first, unknown ones last."""

    def rank(corruption: Values) -> tuple[bool, float]:
        hidden = hidden_cost(corruption, report["ordinary"])
        return math.isnan(hidden), 0.0 if math.isnan(hidden) else -hidden

    return sorted(report["corruptions"], key=rank)


def hidden_summary(report: Mapping[str, Any]) -> str:
    """How many corruptions hurt without being flagged, in a sentence."""
    rows, ordinary = report["corruptions"], report["ordinary"]
    hidden = sum(is_hidden(row, ordinary) for row in rows)
    verbs = "hurts and is" if hidden == 1 else "hurt and are"
    return f"{hidden} of {len(rows)} corruptions {verbs} flagged in less than half of the windows"


def _above(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    """Whether the 95 % interval of a value lies above that of another."""
    ends, others = (each["accuracy"][name]["interval"] for each in (one, other))
    return ends is not None and others is not None and ends[0] > others[1]


def report_name(protocol: Mapping[str, Any]) -> str:
    """The file that a report is kept in; one of the same terms replaces the other."""
    parts = [protocol["split"], protocol["fold"], protocol["fingerprint"][:8]]
    if protocol.get("against_fingerprint"):
        parts += ["against", protocol["against_fingerprint"][:8]]
    if protocol.get("only"):
        parts += ["only", *protocol["only"]]
    return PREFIX + "-".join(str(part) for part in parts if part)[:120] + ".json"


def read_report(path: Path) -> dict[str, Any]:
    """A report as it was written.

    Raises:
        RunError: It is none.
    """
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not all(key in report for key in KEYS):
            raise ValueError
    except (OSError, ValueError, TypeError):
        raise RunError(
            f"{path} is not a report of this version; `trajflow evaluate RUN DATA --ood` makes one"
        ) from None
    return report


def newest_report(run: Path, fingerprint: str | None = None) -> dict[str, Any] | None:
    """The newest report of a run, whole ones before those of some corruptions; None without any.

    Args:
        run: The run folder.
        fingerprint: Of the tracks that it must be of; None: of any.

    Raises:
        RunError: There are reports, and none can be read.
    """
    reports, unreadable = [], None
    for path in sorted(run.glob(f"{PREFIX}*.json")):
        try:
            report = read_report(path)
        except RunError as error:
            unreadable = error
            continue
        if fingerprint in (None, report["protocol"]["fingerprint"]):
            reports.append((report, path.stat().st_mtime))
    if unreadable is not None and not reports:
        raise unreadable
    whole = [pair for pair in reports if not pair[0]["protocol"].get("only")]
    return max(whole or reports, key=lambda pair: pair[1])[0] if reports else None
