"""What the marks of shifted windows say beside those of ordinary ones, in values JSON can hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trajflow.ood.detection import rates
from trajflow.ood.floor import FLOORS
from trajflow.ood.foreseen import Foreseen
from trajflow.ood.marks import ERRORS, RISK, SURPRISE, UNAWARE, Marks
from trajflow.ood.people import told, weighted_mean, weights
from trajflow.ood.retention import KEPT, Retention, retained
from trajflow.types import Floats, Ints

ERROR = "energy_score"
"""What the surprise should predict."""
DRAWN = (SURPRISE, UNAWARE, *FLOORS)
"""Scores whose curves and histograms are kept."""
OWN = "own"
"""Error that a forecast expects of itself, by how far its draws are apart."""
KEEPING = (SURPRISE, RISK, OWN, *FLOORS)
"""Scores that windows are kept by."""
BINS = 20
Values = dict[str, Any]


@dataclass(frozen=True)
class Ordinary:
    """Ordinary windows, and what every shift is held against.

    Attributes:
        marks: Of the windows.
        threshold: By score, what 95 % of the validation people stay below.
        seed: What resamples follow from.
        foreseen: What their forecasts say of their own errors.
    """

    marks: Marks
    threshold: Mapping[str, float]
    seed: int = 0
    foreseen: Foreseen | None = None

    def report(self) -> Values:
        """Accuracy, false alarms and whether the surprise predicts error, among ordinary people."""
        marks, told = self.marks, self.foreseen
        (times,) = weights((marks.person,), self.seed)
        scores = marks.scores if told is None else {**marks.scores, OWN: told.own}
        return {
            **_counts(marks),
            "accuracy": _accuracy(marks, times),
            "alarms": self._alarms(marks, times),
            "threshold": dict(self.threshold),
            **_kept(scores, marks.errors[ERROR], times),
            "ceiling": {} if told is None else _won(told.own, told.drawn, times),
        }

    def against(self, shifted: Marks) -> Values:
        """Detection, accuracy and retention of shifted windows.

        Windows of ordinary people and of shifted ones are kept together in the retention curves.
        """
        marks = self.marks
        plain, times = weights((marks.person, shifted.person), self.seed)
        scores = {n: np.concatenate([marks.scores[n], shifted.scores[n]]) for n in marks.scores}
        error = np.concatenate([marks.errors[ERROR], shifted.errors[ERROR]])
        return {
            **_counts(shifted),
            "scored": int(np.isfinite(shifted.errors[ERROR]).sum()),
            **_detection(marks, shifted, (plain, times)),
            "alarms": self._alarms(shifted, times),
            "accuracy": _accuracy(shifted, times),
            **_kept(scores, error, np.concatenate([plain, times], 1)),
        }

    def _alarms(self, marks: Marks, times: Floats) -> Values:
        """Share of windows above the threshold of each score; everybody counts once."""
        each = _once(marks.person, times)
        return {
            name: told(weighted_mean((marks.scores[name] > limit).astype(float), each))
            for name, limit in self.threshold.items()
        }


def _counts(marks: Marks) -> Values:
    return {"windows": len(marks.person), "people": len(np.unique(marks.person))}


def _accuracy(marks: Marks, times: Floats) -> Values:
    """Means over windows; of the calibrated regions over people, as they promise."""
    each = _once(marks.person, times)
    return {
        name: told(weighted_mean(marks.errors[name], each if "conformal" in name else times))
        for name in ERRORS
    }


def _once(person: Ints, times: Floats) -> Floats:
    """Weights that sum to how often each person was drawn, however many windows they have."""
    _, which, count = np.unique(person, return_inverse=True, return_counts=True)
    return np.asarray(times / count[which])


def _detection(ordinary: Marks, shifted: Marks, times: tuple[Floats, Floats]) -> Values:
    found: Values = {}
    roc: Values = {}
    for name in ordinary.scores:
        one = rates(ordinary.scores[name], shifted.scores[name], times)
        kinds = {"auroc": one.auroc, "aupr": one.aupr, "fpr95": one.fpr95}
        found[name] = {kind: told(values) for kind, values in kinds.items()}
        if name in DRAWN:
            roc[name] = one.curve()
    kept = [name for name in DRAWN if name in ordinary.scores]
    drawn = {n: _histogram(ordinary.scores[n], shifted.scores[n]) for n in kept}
    return {"detection": found, "roc": roc, "histogram": drawn}


def _histogram(ordinary: Floats, shifted: Floats) -> Values:
    """Shares of both in equal bins of the middle 98 %; what lies beyond is in the last ones."""
    both = np.concatenate([ordinary, shifted])
    low, high = np.quantile(both, (0.01, 0.99))
    if both.min() >= 0 and both.max() <= 1:
        low, high = 0.0, 1.0
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    shares = [
        (np.histogram(np.clip(some, edges[0], edges[-1]), edges)[0] / len(some)).round(4).tolist()
        for some in (ordinary, shifted)
    ]
    return {"edges": edges.round(6).tolist(), "ordinary": shares[0], "shifted": shares[1]}


def _kept(scores: Mapping[str, Floats], error: Floats, times: Floats) -> Values:
    known = np.isfinite(error)
    if known.sum() < 2:
        return {"retention": {}, "curves": {}}
    found: Values = {}
    error, times = error[known], times[:, known]
    oracle = retained(error, error, times)
    found["oracle"] = _gains(Retention(oracle, oracle))
    curves: Values = {"kept": KEPT.tolist(), "oracle": oracle[0].round(6).tolist()}
    for name in (name for name in scores if name in KEEPING):
        one = Retention(retained(scores[name][known], error, times), oracle)
        found[name] = _gains(one)
        curves[name] = one.curve[0].round(6).tolist()
    return {"retention": found, "curves": curves}


def _won(score: Floats, error: Floats, times: Floats) -> Values:
    return _gains(Retention(retained(score, error, times), retained(error, error, times)))


def _gains(one: Retention) -> Values:
    kinds = {"area": one.area, "gain": one.gain, "drop80": one.drop80}
    return {kind: told(values) for kind, values in kinds.items()}


def telling(marks: Marks, count: int = 12) -> dict[str, list[Values]]:
    """The most and the least surprising windows, one of each person."""
    order = np.argsort(-marks.scores[SURPRISE], kind="stable")
    return {"most": _of_people(marks, order, count), "least": _of_people(marks, order[::-1], count)}


def _of_people(marks: Marks, order: Sequence[int] | Ints, count: int) -> list[Values]:
    _, first = np.unique(marks.person[order], return_index=True)
    chosen = np.asarray(order)[np.sort(first)][:count]
    return [_window(marks, int(row)) for row in chosen]


def _window(marks: Marks, row: int) -> Values:
    error = float(marks.errors[ERROR][row])
    batch, place, column = marks.place[row].tolist()
    return {
        "scene": int(marks.scene[row]),
        "start": int(marks.start[row]),
        "agent": int(marks.person[row]),
        "batch": batch,
        "row": place,
        "column": column,
        "surprise": float(marks.scores[SURPRISE][row]),
        "parts": {name: round(float(of[row]), 4) for name, of in marks.scores.items()},
        "reasons": marks.reasons[row],
        ERROR: error if np.isfinite(error) else None,
    }
