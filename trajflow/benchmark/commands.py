"""The command that makes a row of a table again."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from trajflow.benchmark.plan import Plan, Trial
from trajflow.benchmark.recipes import recipe
from trajflow.config import Config
from trajflow.inference.choosing import LEARNED

DERIVED = {"data.fold", "data.validation", "flow.preset", "train.seed"}
"""Settings that the benchmark makes itself."""


def command_of(plan: Plan, method: str, report: Mapping[str, Any]) -> str:
    """What to type to get the row of a method and of a report's terms alone."""
    trials = [trial for trial in plan.trials if trial.method == method]
    words = ["trajflow", "benchmark", plan.benchmark, plan.data]
    folds = list(dict.fromkeys(trial.fold for trial in trials))
    words += (
        ["--folds", ",".join(folds)] if set(folds) != set(recipe(plan.benchmark).windows) else []
    )
    if trials[0].floor:
        words += ["--presets", "", "--floors", method]
    else:
        members = len(trials[0].members)
        words += ["--seeds", str(members or 1 + max(trial.seed for trial in trials))]
        words += ["--presets", method.removesuffix("-ensemble"), "--floors", ""]
        words += ["--ensemble"] if members else []
        words += ["--steps", str(report["steps"])] if report["steps"] > 1 else []
    if report["selection"] != "plain":
        words += ["--select", report["selection"]]
        many = report["selection"] != LEARNED and report["draws"] > report["samples"]
        words += ["--draws", str(report["draws"])] if many else []
    words += ["--clock", report["clocks"]] if report["clocks"] else []
    for name, value in settings_of(trials[0]):
        words += ["--set", f"{name}={json.dumps(value)}"]
    return shlex.join([*words, "-o", "results"])


def settings_of(trial: Trial) -> Iterator[tuple[str, Any]]:
    """Settings of a trial that are not the defaults, and that the benchmark did not make."""
    usual = Config().model_dump(mode="json")
    for part, values in trial.config.model_dump(mode="json").items():
        for name, value in values.items():
            if value != usual[part][name] and f"{part}.{name}" not in DERIVED:
                yield f"{part}.{name}", value
