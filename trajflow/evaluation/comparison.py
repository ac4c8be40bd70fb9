"""A run beside the baselines: does it beat them, and what to try if it does not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trajflow.baselines import available
from trajflow.baselines import load as load_baseline
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import open_store
from trajflow.errors import DataError
from trajflow.evaluation.evaluate import EvaluationOptions, evaluate_baseline_on, with_fold
from trajflow.evaluation.report import best_validation
from trajflow.metrics import energy_score
from trajflow.runs import RunFolder, run_data
from trajflow.types import Batch, OnProgress, silent

log = logging.getLogger("trajflow")

FITTED, BATCH = 20_000, 512
"""Training windows that baselines learn from at the end of a training, and targets in a batch."""
RISING = 0.01
"""A validation score that ends by this share above its best has risen."""
FEW = 1000
"""Training agents below which more of them help most."""
SHORT, LATE = 1000, 0.9
"""Fewer updates are few; and a best validation in the last tenth of a training says that it was too
short."""


def evaluate_baselines(
    run: str | Path,
    data: str | Path,
    options: EvaluationOptions | None = None,
    *,
    on_progress: OnProgress = silent,
) -> dict[str, dict[str, Any]]:
    """Evaluate every baseline on the windows that a run is evaluated on.

    Args:
        run: A run folder, or an exported model in one.
        data: A store.
        options: As for the run; its samples are plain draws.
        on_progress: Called with "windows", the number done and their total.

    Returns:
        The report of each baseline, as of `evaluate_run`, by its name; none where the store has no
        training split to learn from.
    """
    options = replace(options or EvaluationOptions(), select=None, draws=None, steps=1)
    folder, store = RunFolder.open(run), open_store(data)
    config = with_fold(folder.config, options.fold)
    tracks = run_data(store, folder, config)
    try:
        tracks.steps(BATCH)
    except DataError as error:
        log.info("no baselines: %s", error)
        return {}
    return {
        name: evaluate_baseline_on(name, tracks, config, options, on_progress)
        for name in available()
    }


def validate_baselines(
    data: TrackData, windows: int, samples: int, seed: int = 0, select_by: str = "window"
) -> dict[str, float]:
    """Mean energy score of each baseline on the validation windows that weights were chosen by.

    Args:
        data: The splits; baselines learn from 20 000 training windows at most.
        windows: Most windows that are judged.
        samples: Draws of each.
        seed: Seed of the draws.
        select_by: What weighs the same: each "window" or each "recording".
    """
    result = {}
    for name in available():
        baseline = load_baseline(name)(data.validation(BATCH, FITTED, "train"), samples, seed)
        scores, scenes = [], []
        for number, batch in enumerate(data.validation(BATCH, windows)):
            drawn = baseline.forecast(_hidden(batch), samples, seed + number)
            scores.append(_energy(batch, drawn))
            scenes.append(batch.scene[np.nonzero(batch.target)[0]])
        score = np.concatenate(scores)
        if select_by == "recording":
            _, group = np.unique(np.concatenate(scenes), return_inverse=True)
            score = np.bincount(group, score) / np.bincount(group)
        result[name] = float(score.mean())
    return result


def overfitting(run: RunFolder, data: str | Path) -> str:
    """One sentence where the validation score rose after its best, with what to try; else empty."""
    key = run.config.train.selection_score
    scores = [
        (int(event["step"]), float(event["metrics"][key]))
        for event in run.events()
        if event["event"] == "evaluated"
    ]
    if not scores:
        return ""
    best_step, best = min(scores, key=lambda one: one[1])
    last_step, last = scores[-1]
    if last <= (1 + RISING) * best or best_step >= LATE * last_step:
        return ""
    return (
        f"the validation score rose from {best:.4g} at update {best_step} to {last:.4g} at update "
        f"{last_step} (the weights of update {best_step} are kept): the run learns its training "
        f"tracks by heart; next, try trajflow train {data} --set train.dropout=0.2, or "
        "train on more tracks"
    )


def verdict(
    run: RunFolder, score: float, baselines: Mapping[str, float], unit: str, data: str | Path
) -> str:
    """One sentence on whether a run beats the best baseline; with what to try next if not.

    Args:
        run: The run.
        score: Its energy score.
        baselines: Those of the baselines on the same windows, by name.
        unit: Unit of the scores.
        data: The store, for the command to try.
    """
    name = min(baselines, key=lambda one: baselines[one])
    least = baselines[name]
    if score < least:
        share = 100 * (1 - score / least)
        return f"beats the best baseline, {name}, by {share:.1f} % in energy score"
    return (
        f"does not beat the baseline {name} (energy score {score:.4g} against {least:.4g} {unit}); "
        f"next, {_advice(run, data)}"
    )


def _advice(run: RunFolder, data: str | Path) -> str:
    """What most likely helps a run that is no better than a baseline."""
    config, record = run.config, run.read_record()
    last = max((int(event["step"]) for event in run.events() if "step" in event), default=0)
    best = int(best_validation(run).get("step", 0))
    people = record.get("parts", {}).get("train", {}).get("people", 0)
    if last and best >= LATE * last:
        return (
            f"train longer, it was still improving: trajflow train {data} --out {run.path} "
            f"--resume --extend --updates {2 * last}"
        )
    if last < SHORT:
        return f"train longer: it made {last} updates"
    if people < FEW:
        return f"train on more tracks: {people} agents are few"
    if config.model.social:
        return "try without neighbors: --set model.social=false"
    return f"try a longer past: --history {2 * config.data.history}"


def _hidden(batch: Batch) -> Batch:
    return replace(batch, future=np.full_like(batch.future, np.nan))


def _energy(batch: Batch, samples: Any) -> Any:
    return energy_score(samples[:, batch.target], batch.future[batch.target])
