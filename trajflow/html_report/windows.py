"""Forecasts of a split for a report: scores, curves, and example windows as JSON values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trajflow import metrics
from trajflow.calibration import LEVELS, Calibration, person_means
from trajflow.datasets.store import Store
from trajflow.html_report.page import digits
from trajflow.inference.base import Predictor
from trajflow.ood.statistics import KEPT_SHARES, retained
from trajflow.regions import region_of
from trajflow.types import Batch, Floats, Ints, OnProgress

BATCH = 256
# Targets drawn with their samples, bounded to keep the file small.
MOST_TARGETS = 12


@dataclass(frozen=True)
class ForecastTargets:
    """N targets of some batches and the scores of their forecasts.

    Attributes:
        batches: The windows.
        samples: Futures of each batch, [S, B, A, F, D].
        place: Batch, row and column of each target, [N, 3].
        person: Agent, [N].
        scores: Scores by name, [N].
        inside: Share of steps inside the regions at `LEVELS`, by kind of region, [N, Q].
        reasons: Reasons of the OOD score, N strings.
    """

    batches: list[Batch]
    samples: list[Floats]
    place: Ints
    person: Ints
    scores: Mapping[str, Floats]
    inside: Mapping[str, Floats]
    reasons: tuple[str, ...]

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        batches: Iterable[Batch],
        samples: int,
        seed: int,
        on_progress: OnProgress,
    ) -> ForecastTargets:
        """Forecast all targets of the batches."""
        kept, draws, places, scores, inside = [], [], [], [], []
        reasons: list[str] = []
        for number, batch in enumerate(batches):
            drawn = predictor.forecast(batch, samples, seed + number)
            own, future = drawn[:, batch.target], batch.future[batch.target]
            each = {
                "min_ade": metrics.min_ade(own, future),
                "min_fde": metrics.min_fde(own, future),
                "energy_score": metrics.energy_score(own, future),
            }
            if predictor.detector is not None:
                ood = predictor.ood(batch)
                each |= {"ood_score": ood.ood_score, "expected_error": ood.expected_error}
                reasons += ood.reasons
            kept.append(batch)
            draws.append(drawn)
            scores.append(each)
            inside.append(_inside(predictor.calibration, own, future))
            rows, columns = np.nonzero(batch.target)
            places.append(np.stack([np.full(len(rows), number), rows, columns], 1))
            on_progress("windows to show", sum(map(len, places)), None)
        place = np.concatenate(places)
        return cls(
            kept,
            draws,
            place,
            np.concatenate([batch.agent[batch.target] for batch in kept]),
            {
                name: np.concatenate([batch_scores[name] for batch_scores in scores])
                for name in scores[0]
            },
            {
                name: np.concatenate([batch_scores[name] for batch_scores in inside])
                for name in inside[0]
            },
            tuple(reasons) or ("",) * len(place),
        )


def _inside(calibration: Calibration | None, samples: Floats, future: Floats) -> dict[str, Floats]:
    """Share of steps of N futures inside the regions at `LEVELS`, [N, Q] by kind of region."""
    kinds: dict[str, Calibration | None] = {"regions of the samples": None}
    if calibration is not None and calibration.serves(len(samples)):
        kinds["calibrated regions"] = calibration
    result = {}
    for name, kind in kinds.items():
        regions = [region_of(samples, level, "each", kind) for level in LEVELS.tolist()]
        result[name] = np.stack([region.contains(future).mean(-1) for region in regions], 1)
    return result


def reliability(targets: ForecastTargets) -> list[dict[str, Any]]:
    """Coverage over level for each kind of region; every person counts once."""
    colors = {"regions of the samples": "draw", "calibrated regions": "past"}
    return [
        _curve(name, colors[name], LEVELS, person_means(inside, targets.person))
        for name, inside in targets.inside.items()
    ]


def retention(targets: ForecastTargets) -> list[dict[str, Any]]:
    """Mean energy score of the windows kept by each score, over their share."""
    error, once = targets.scores["energy_score"], np.ones((1, len(targets.person)))
    kinds = {
        "ood_score": ("OOD score", "draw"),
        "expected_error": ("expected error", "past"),
        "energy_score": ("the error itself", "other"),
    }
    return [
        _curve(words, color, KEPT_SHARES, retained(targets.scores[name], error, once)[0])
        for name, (words, color) in kinds.items()
        if name in targets.scores
    ]


def _curve(name: str, color: str, x: Floats, y: Floats) -> dict[str, Any]:
    points = [[float(f"{v:.5g}") for v in point] for point in zip(x, y, strict=True)]
    return {"name": name, "color": color, "points": points}


def by_kind(targets: ForecastTargets, store: Store, panels: int) -> list[dict[str, Any]]:
    """Windows with the largest error, with a typical error, and with the highest OOD score."""
    error = targets.scores["energy_score"]
    keys = {"Largest error": -error, "Typical error": np.abs(error - np.median(error))}
    if "ood_score" in targets.scores:
        keys["Highest OOD score"] = -targets.scores["ood_score"]
    return [
        {
            "name": name,
            "windows": [
                _window(targets, store, row)
                for row in _without_overlap(targets, np.argsort(key, kind="stable"), panels)
            ],
        }
        for name, key in keys.items()
    ]


def _without_overlap(targets: ForecastTargets, order: Ints, count: int) -> list[int]:
    """The first targets in order whose windows share no target."""
    rows: list[int] = []
    shown: set[int] = set()
    for row in order.tolist():
        number, scene, _ = targets.place[row].tolist()
        batch = targets.batches[number]
        agents = set(batch.agent[scene][batch.target[scene]].tolist())
        if len(rows) < count and not agents & shown:
            rows.append(row)
            shown |= agents
    return rows


def _window(targets: ForecastTargets, store: Store, row: int) -> dict[str, Any]:
    """A window as JSON values: its nearest targets with their samples, and all neighbors."""
    number, scene, column = targets.place[row].tolist()
    batch, drawn = targets.batches[number], targets.samples[number]
    past, target = batch.past[scene], batch.target[scene]
    wanted, others = np.flatnonzero(target), np.flatnonzero(~target & batch.seen[scene].any(-1))
    away = np.linalg.norm(past[wanted, -1] - past[column, -1], axis=-1)
    shown = np.concatenate([wanted[np.argsort(away, kind="stable")[:MOST_TARGETS]], others])
    same = np.flatnonzero((targets.place[:, :2] == (number, scene)).all(1))
    row_of = dict(zip(targets.place[same, 2].tolist(), same.tolist(), strict=True))
    step = float(np.nanmax(np.abs(np.diff(past[wanted], axis=1)), initial=1e-9))
    decimals = max(0, 3 - math.floor(math.log10(step)))
    agents = [
        {
            "id": label,
            "target": bool(target[agent]),
            "past": _path(past[agent], decimals),
            "future": _path(batch.future[scene, agent], decimals),
            "samples": [_path(path, decimals) for path in drawn[:, scene, agent] if target[agent]],
            "scores": _agent_scores(targets, row_of[agent]) if target[agent] else [],
        }
        for agent, label in zip(
            shown.tolist(), store.labels(batch.agent[scene, shown]), strict=True
        )
    ]
    name, start = store.scenes[int(batch.scene[scene])], int(batch.start[scene])
    present = (start + past.shape[1] - 1) * store.dt
    hidden = max(0, len(wanted) - MOST_TARGETS)
    return {
        "name": f"{name}, {present:.1f} s",
        "about": f"Recording {name}, window from step {start}: {len(wanted)} targets, "
        f"{len(others)} neighbors{f'; {hidden} targets are not drawn' if hidden else ''}. Agent "
        f"{agents[0]['id']} has energy score {digits(targets.scores['energy_score'][row])}.",
        "time": present,
        "least": 4 * step,
        "agents": agents,
    }


def _agent_scores(targets: ForecastTargets, row: int) -> list[str]:
    names = ("min_ade", "min_fde", "energy_score", "ood_score")
    scores = [
        digits(targets.scores[name][row]) if name in targets.scores else "-" for name in names
    ]
    return [*scores, targets.reasons[row]]


def _path(points: Floats, decimals: int) -> list[list[float] | None]:
    """The first two coordinates of points [T, D]; None where not observed."""
    rounded = np.round(points[:, :2], decimals).tolist()
    return [point if np.isfinite(point).all() else None for point in rounded]
