"""Compares a run with the baselines, and says what to try if it does not beat them."""

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
from trajflow.evaluation.evaluate import evaluate_baseline_on
from trajflow.evaluation.report import best_validation
from trajflow.evaluation.scores import EvaluationOptions
from trajflow.metrics import energy_score
from trajflow.runs import RunFolder, run_data, run_settings
from trajflow.types import OnProgress, silent

log = logging.getLogger("trajflow")

BATCH = 512
MAX_FIT_WINDOWS = 20_000
"""Training windows that baselines are fitted on at the end of a training."""
FEW_AGENTS, FEW_UPDATES = 1000, 1000
# A best validation in the last tenth of a training means that it was still improving.
STILL_IMPROVING = 0.9
# A validation score that ends by this share above its best has risen.
RISING = 0.01


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
        options: As for the run. Samples of baselines are always plain draws.
        on_progress: Called with "windows", the number done and their total.

    Returns:
        The report of each baseline by its name, as `evaluate_run` returns it. Empty if the store
        has no training split to fit baselines on.
    """
    options = replace(
        options or EvaluationOptions(), selection="plain", draws=0, steps=1, earlier_paths=False
    )
    folder, store = RunFolder.open(run), open_store(data)
    config = run_settings(store, folder, options.fold)
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


def beside_baselines(
    run: str | Path,
    data: str | Path,
    report: Mapping[str, Any],
    options: EvaluationOptions | None = None,
    *,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """The mean scores of all baselines beside the report of a run, and whether the run beats them.

    Baselines do not see earlier tracks, so a run that does is compared without them.

    Args:
        run: The run folder.
        data: The store of the report.
        report: What `evaluate_run` returned.
        options: Those of the report.
        on_progress: As for `evaluate_baselines`.

    Returns:
        "baselines", the means by name, and "verdict", a sentence; empty without a training split.
    """
    reports = evaluate_baselines(run, data, options, on_progress=on_progress)
    if not reports:
        return {}
    means = {name: baseline["mean"] for name, baseline in reports.items()}
    scores = {name: mean["energy_score"] for name, mean in means.items()}
    unit = report["protocol"]["unit"]
    own = report.get("unwatched", report)["mean"]["energy_score"]
    sentence = verdict(RunFolder.open(run), own, scores, unit, data)
    return {"baselines": means, "verdict": sentence}


def validation_verdict(run: RunFolder, data: TrackData) -> str:
    """Whether the best weights of a run beat the baselines on its validation windows."""
    score = best_validation(run)["metrics"][run.config.train.selection_score]
    unit, place = data.store.unit, data.store.path
    sentence = verdict(run, score, _validate_baselines(run, data), unit, place)
    watched = run.config.model.memory and sentence.startswith("beats")
    return f"{sentence}, with its memory of the place" if watched else sentence


def _validate_baselines(run: RunFolder, data: TrackData) -> dict[str, float]:
    """Mean energy score of each baseline, fitted on at most `MAX_FIT_WINDOWS` windows."""
    train, result = run.config.train, {}
    for name in available():
        batches = data.validation(BATCH, MAX_FIT_WINDOWS, "train")
        baseline = load_baseline(name)(batches, train.samples, train.seed)
        scores, scenes = [], []
        for number, batch in enumerate(data.validation(BATCH, train.validation_windows)):
            drawn = baseline.forecast(batch.without_future(), train.samples, train.seed + number)
            scores.append(energy_score(drawn[:, batch.target], batch.future[batch.target]))
            scenes.append(batch.scene[np.nonzero(batch.target)[0]])
        score = np.concatenate(scores)
        if train.select_by == "recording":
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
    if last <= (1 + RISING) * best or best_step >= STILL_IMPROVING * last_step:
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
    """One sentence on whether a run beats the best baseline, and what to try next if not."""
    name, best = min(baselines.items(), key=lambda item: item[1])
    if score < best:
        share = 100 * (1 - score / best)
        return f"beats the best baseline, {name}, by {share:.1f} % in energy score"
    return (
        f"does not beat the baseline {name} (energy score {score:.4g} against {best:.4g} {unit}); "
        f"next, {_advice(run, data)}"
    )


def _advice(run: RunFolder, data: str | Path) -> str:
    """What most likely helps a run that does not beat the baselines."""
    config, record = run.config, run.read_record()
    last = max((int(event["step"]) for event in run.events() if "step" in event), default=0)
    best = int(best_validation(run).get("step", 0))
    people = record.get("parts", {}).get("train", {}).get("people", 0)
    if last and best >= STILL_IMPROVING * last:
        return (
            f"train longer, it was still improving: trajflow train {data} --out {run.path} "
            f"--resume --extend --updates {max(2 * last, FEW_UPDATES)}"
        )
    if last < FEW_UPDATES:
        return f"train longer: it made {last} updates"
    if people < FEW_AGENTS:
        return f"train on more tracks: {people} agents are few"
    if config.model.social:
        return "try without neighbors: --set model.social=false"
    return f"try a longer past: --history {2 * config.data.history}"
