"""How far a trial is, as its folder tells, without reading its weights."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trajflow.benchmark.plan import Plan, Trial
from trajflow.evaluation import Judging
from trajflow.evaluation.report import is_current, report_name
from trajflow.runs import EVENTS, WEIGHTS

TAIL = 1 << 16
TRAINING = 0.8
"""Share of a trial's time that its training takes, about."""


def last_event(folder: Path) -> dict[str, Any]:
    """The last whole event of a run; empty if there is none."""
    try:
        with (folder / EVENTS).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL))
            lines = file.read().splitlines(keepends=True)
    except FileNotFoundError:
        return {}
    whole = [line for line in lines if line.endswith(b"\n")]
    return dict(json.loads(whole[-1])) if whole else {}


def is_trained(folder: Path) -> bool:
    """Whether a run has come to its end and left weights."""
    return last_event(folder).get("reason") == "done" and (folder / WEIGHTS).exists()


def is_ready(trial: Trial, results: Path) -> bool:
    """Whether nothing of a trial is left to be trained."""
    runs = [results / "runs" / name for name in trial.members] or [trial.folder(results)]
    return trial.floor or all(is_trained(run) for run in runs)


def missing(plan: Plan, trial: Trial, results: Path) -> list[Judging]:
    """The evaluations that no report tells of, or only one of an earlier version."""
    where = {"split": "test", "fold": trial.config.data.fold, "fingerprint": plan.fingerprint}
    folder = trial.folder(results)
    return [
        terms
        for terms in trial.evaluations
        if not is_current(folder / report_name(where, asdict(terms)))
    ]


def is_done(plan: Plan, trial: Trial, results: Path, stage: str) -> bool:
    """Whether a stage of a trial has nothing left to do."""
    trained = is_ready(trial, results)
    judged = not missing(plan, trial, results)
    return {"train": trained, "evaluate": judged}.get(stage, trained and judged)


def share_done(plan: Plan, trial: Trial, results: Path) -> float:
    """Which share of a trial is done, about, from 0 to 1."""
    left = len(missing(plan, trial, results)) / max(1, len(trial.evaluations))
    if trial.floor or trial.members:
        return 1 - left
    folder = trial.folder(results)
    trained = 1.0 if is_trained(folder) else _progress(folder, trial)
    return TRAINING * trained + (1 - TRAINING) * (1 - left)


def _progress(folder: Path, trial: Trial) -> float:
    event = last_event(folder)
    train = trial.config.train
    if train.updates:
        return min(1.0, float(event.get("step", 0)) / train.updates)
    return min(1.0, float(event.get("epoch", 0.0)) / train.epochs)
