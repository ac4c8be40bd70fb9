"""The report of an OOD evaluation: its values, its file, and summaries of it. Without torch."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trajflow.errors import RunError
from trajflow.ood.statistics import (
    KEPT_SHARES,
    Rates,
    bootstrap_weights,
    drop80,
    interval,
    retained,
    weighted_mean,
)
from trajflow.statistics import person_weights
from trajflow.types import Floats, Ints

Values = dict[str, Any]
BASELINES = ("baseline speed", "baseline steps", "baseline nearest")
ERRORS = ("min_ade", "energy_score", "coverage_90", "conformal_90")
OOD_SCORE, TYPICAL, DISTANCE, EXPECTED = "ood_score", "typical_score", "distance", "expected_error"
# Half the mean distance between the draws of a forecast: its own estimate of its energy score.
SELF_EXPECTED = "self_expected"
# Scores with a retention curve.
RETENTION_SCORES = (OOD_SCORE, EXPECTED, SELF_EXPECTED, *BASELINES)
PREFIX = "ood-"
KEYS = ("ordinary", "corruptions", "protocol")


WINDOWS = 600


@dataclass(frozen=True)
class OODTerms:
    """Options of an OOD evaluation.

    Attributes:
        split: Split of the ordinary windows.
        windows: Number of targets in it, about; also of each pool.
        samples: Futures of each target.
        steps: Network evaluations per draw.
        seed: Seed of corruptions, draws and resamples.
        names: Corruptions, or severities of them; empty: all.
    """

    split: str = "test"
    windows: int = WINDOWS
    samples: int = 20
    steps: int = 1
    seed: int = 0
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, protocol: Mapping[str, Any]) -> "OODTerms":
        """The options that a report was made with."""
        names = ("split", "windows", "samples", "steps", "seed")
        return cls(**{name: protocol[name] for name in names}, names=tuple(protocol["only"]))


@dataclass(frozen=True)
class Stage:
    """Progress of an evaluation.

    Attributes:
        done: Number of finished corruptions, ordinary windows included.
        total: Number of all of them.
        note: The one that is next.
        report: The report so far; None before the first corruption.
    """

    done: int
    total: int
    note: str
    report: Values | None = None


@dataclass(frozen=True)
class ScoredWindows:
    """Scores and errors of N targets.

    Attributes:
        scores: Scores by name, [N]; larger is more unusual.
        errors: Errors by name (`ERRORS`), [N]; NaN without a known future or a calibration.
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
    """The energy scores that forecasts predict for themselves.

    Attributes:
        own: Energy score that each forecast expects of itself, [N].
        drawn: Energy score of each forecast against one more draw in place of the truth, [N].
    """

    own: Floats
    drawn: Floats


@dataclass(frozen=True)
class Reference:
    """The ordinary windows, with which every corruption is compared.

    Attributes:
        windows: The scored windows.
        threshold: 95 % quantile of each score among reference people.
        seed: Seed of the bootstrap.
        expectation: The errors that their forecasts predict for themselves.
    """

    windows: ScoredWindows
    threshold: Mapping[str, float]
    seed: int = 0
    expectation: SelfExpectation | None = None

    def report(self) -> Values:
        """Accuracy, false alarms and retention of the ordinary windows."""
        windows, expectation = self.windows, self.expectation
        (weights,) = bootstrap_weights((windows.person,), self.seed)
        scores, ceiling = dict(windows.scores), {}
        if expectation is not None:
            scores[SELF_EXPECTED] = expectation.own
            ceiling = _drop80(retained(expectation.own, expectation.drawn, weights))
        return {
            **_counts(windows),
            "accuracy": _accuracy(windows, weights),
            "alarms": self._alarms(windows, weights),
            "threshold": dict(self.threshold),
            **_retention(scores, windows.errors["energy_score"], weights),
            "ceiling": ceiling,
        }

    def compare(self, corrupted: ScoredWindows) -> Values:
        """Detection and accuracy of corrupted windows."""
        ordinary = self.windows
        before, after = bootstrap_weights((ordinary.person, corrupted.person), self.seed)
        return {
            **_counts(corrupted),
            "scored": int(np.isfinite(corrupted.errors["energy_score"]).sum()),
            "detection": _detection(ordinary, corrupted, (before, after)),
            "alarms": self._alarms(corrupted, after),
            "accuracy": _accuracy(corrupted, after),
        }

    def _alarms(self, windows: ScoredWindows, weights: Floats) -> Values:
        """Share of windows above the threshold of each score; every person counts once."""
        once = weights * person_weights(windows.person)
        return {
            name: interval(weighted_mean((windows.scores[name] > limit).astype(float), once))
            for name, limit in self.threshold.items()
        }


def _counts(windows: ScoredWindows) -> Values:
    return {"windows": len(windows.person), "people": len(np.unique(windows.person))}


def _accuracy(windows: ScoredWindows, weights: Floats) -> Values:
    """Means over windows; of calibrated regions over people, which is what they guarantee."""
    once = weights * person_weights(windows.person)
    return {
        name: interval(
            weighted_mean(windows.errors[name], once if name == "conformal_90" else weights)
        )
        for name in ERRORS
    }


def _detection(
    ordinary: ScoredWindows, corrupted: ScoredWindows, weights: tuple[Floats, Floats]
) -> Values:
    detection = {}
    for name in ordinary.scores:
        rates = Rates.of(ordinary.scores[name], corrupted.scores[name], weights)
        detection[name] = {"auroc": interval(rates.auroc), "fpr95": interval(rates.fpr95)}
    return detection


def _retention(scores: Mapping[str, Floats], error: Floats, weights: Floats) -> Values:
    finite_error = np.isfinite(error)
    if finite_error.sum() < 2:
        return {"retention": {}, "curves": {}}
    error, weights = error[finite_error], weights[:, finite_error]
    orders = {"oracle": error}
    orders |= {name: scores[name][finite_error] for name in RETENTION_SCORES if name in scores}
    kept = {name: retained(values, error, weights) for name, values in orders.items()}
    curves = {name: curve[0].round(6).tolist() for name, curve in kept.items()}
    return {
        "retention": {name: _drop80(curve) for name, curve in kept.items()},
        "curves": {"kept": KEPT_SHARES.tolist(), **curves},
    }


def _drop80(curve: Floats) -> Values:
    return {"drop80": interval(drop80(curve))}


def examples(windows: ScoredWindows, count: int = 12) -> dict[str, list[Values]]:
    """The windows with the highest and the lowest OOD scores, one for each person."""
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
    """Round floats to six digits; None in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def flagged_share(windows: Mapping[str, Any]) -> float:
    """Share of windows above the threshold of the OOD score; every person counts once."""
    return float(windows["alarms"][OOD_SCORE]["value"] or 0.0)


def cost(corruption: Mapping[str, Any], ordinary: Mapping[str, Any]) -> float:
    """Relative rise of the energy score under a corruption; NaN if not known."""
    if not corruption["windows"]:
        return math.nan
    after, before = (
        windows["accuracy"]["energy_score"]["value"] for windows in (corruption, ordinary)
    )
    return float(after / before - 1) if after is not None and before else math.nan


def hidden_cost(corruption: Mapping[str, Any], ordinary: Mapping[str, Any]) -> float:
    """Relative rise of the energy score times the share of windows not flagged; NaN if not known.

    It is 0 if the corruption lowers the energy score.
    """
    paid = cost(corruption, ordinary)
    if math.isnan(paid):
        return math.nan
    return max(0.0, paid) * (1 - flagged_share(corruption))


def is_hidden(corruption: Mapping[str, Any], ordinary: Mapping[str, Any]) -> bool:
    """Whether a corruption degrades forecasts and is flagged in less than half of its windows.

    It degrades forecasts if the energy score is higher, or the coverage lower, than that of
    ordinary windows, and their 95 % intervals do not overlap. Recordings that the run was trained
    on do not count: their scores differ because the recordings do.
    """
    if not corruption["windows"] or corruption["trained_on"]:
        return False
    if flagged_share(corruption) >= 0.5:
        return False
    return _above(corruption, ordinary, "energy_score") or _above(
        ordinary, corruption, "coverage_90"
    )


def by_hidden_cost(report: Mapping[str, Any]) -> list[Values]:
    """The corruptions of a report by falling hidden cost; those without one last."""

    def rank(corruption: Values) -> tuple[bool, float]:
        hidden = hidden_cost(corruption, report["ordinary"])
        return math.isnan(hidden), 0.0 if math.isnan(hidden) else -hidden

    return sorted(report["corruptions"], key=rank)


def hidden_summary(report: Mapping[str, Any]) -> str:
    """One sentence on how many corruptions degrade forecasts without being flagged."""
    rows, ordinary = report["corruptions"], report["ordinary"]
    hidden = sum(is_hidden(row, ordinary) for row in rows)
    verbs = "hurts and is" if hidden == 1 else "hurt and are"
    return f"{hidden} of {len(rows)} corruptions {verbs} flagged in less than half of the windows"


def _above(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    """Whether the 95 % interval of a value lies above that of another."""
    high, low = (report["accuracy"][name]["interval"] for report in (one, other))
    return high is not None and low is not None and high[0] > low[1]


def report_name(protocol: Mapping[str, Any]) -> str:
    """Name of the file of a report; a report with the same options replaces it."""
    parts = [protocol["split"], protocol["fold"], protocol["fingerprint"][:8]]
    if protocol.get("against_fingerprint"):
        parts += ["against", protocol["against_fingerprint"][:8]]
    if protocol.get("only"):
        parts += ["only", *protocol["only"]]
    return PREFIX + "-".join(str(part) for part in parts if part)[:120] + ".json"


def read_report(path: Path) -> dict[str, Any]:
    """Read a report.

    Raises:
        RunError: The file is not a report.
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
    """The newest report of a run, preferably one of all corruptions; None if there is none.

    Args:
        run: The run folder.
        fingerprint: Fingerprint of the tracks; None: of any tracks.

    Raises:
        RunError: There are reports, but none can be read.
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
