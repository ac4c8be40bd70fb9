"""Settings that a fingerprint cannot decide are tried in short trainings, a race on validation.

Each challenger differs from the planned settings in one of them. All train with the same seed and
number of updates; after half of them the worse challengers are dropped (successive halving). A
challenger wins if its energy score is better by more than `MARGIN` and the interval of the paired
difference, by bootstrap over people, excludes zero. Otherwise the plan is not changed.

Each candidate trains in its own run folder inside the folder of the race, so a killed race resumes
where it stopped.

Source: Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter
optimization" (successive halving).
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import Store
from trajflow.io import write_whole
from trajflow.models.serialization import unpack
from trajflow.runs import WEIGHTS, RunFolder, facts_of
from trajflow.statistics import People, Tally, paired_interval
from trajflow.training.events import Evaluated
from trajflow.training.plan import Choice, Plan, with_choices
from trajflow.training.reproducible import reproducible
from trajflow.training.setup import new_trainer, resumed_trainer
from trajflow.training.validation import energy_scores

log = logging.getLogger("trajflow")

SHARE = 0.2
"""Share of the time left, or of the planned updates, that a race may take."""
MIN_UPDATES = 150
"""Fewest updates before the first comparison: fewer are not informative."""
MAX_UPDATES = 400
"""Most updates before the first comparison."""
MARGIN = 0.01
"""Share of the energy score by which a challenger must be better, beside the interval."""
MEMORY = 8
"""`model.memory` of the challenger with memory."""
MEMORY_AGENTS = 100
"""Fewest training agents per recording, on average, for which memory is tried."""
WHY = "better on validation in a race"
RACE_FILE = "race.json"


@dataclass(frozen=True)
class Race:
    """The candidates of a race.

    Attributes:
        candidates: What each candidate changes in the plan; the first, nothing.
        updates: Updates after which candidates are compared, twice.
    """

    candidates: tuple[tuple[Choice, ...], ...]
    updates: tuple[int, int]


def rounds(candidates: int) -> int:
    """Rounds of equal updates of so many candidates together: half of them train a second one."""
    return candidates + 1 + candidates // 2


def challengers(plan: Plan) -> list[Choice]:
    """Alternatives to settings that the user leaves open, the likeliest to matter first."""
    config, tracks = plan.config, plan.fingerprint
    result = []
    if plan.is_open("model.own_speed"):
        result.append(Choice("model.own_speed", not config.model.own_speed, WHY))
    if plan.is_open("model.social") and tracks.near > 0:
        result.append(Choice("model.social", not config.model.social, WHY))
    if "preset" not in config.flow.model_fields_set and config.train.noise_samples > 1:
        result.append(Choice("flow.preset", "energy", WHY))
    open_memory = "memory" not in config.model.model_fields_set and not config.model.joint
    if open_memory and tracks.agents >= MEMORY_AGENTS * tracks.recordings:
        result.append(Choice("model.memory", MEMORY, WHY))
    return result


def affordable(plan: Plan, updates: float) -> Race | None:
    """The race with the most challengers for a number of updates; None if there are too few."""
    choices = challengers(plan)
    while choices and updates / rounds(len(choices) + 1) < MIN_UPDATES:
        choices = choices[:-1]
    if not choices:
        return None
    first = min(MAX_UPDATES, int(updates / rounds(len(choices) + 1)))
    return Race(((), *((choice,) for choice in choices)), (first, 2 * first))


def run_race(
    plan: Plan,
    race: Race,
    data: TrackData,
    store: Store,
    folder: Path,
    device: torch.device,
    deadline: float,
) -> tuple[Plan, dict[str, Any]]:
    """The plan with the winner's setting, and the scores of all candidates as JSON values.

    Args:
        plan: The settings so far.
        race: The race, unless the folder holds an unfinished one of the same plan.
        data: The splits.
        store: The tracks.
        folder: Where candidates train; the caller removes it.
        device: Where to train.
        deadline: `time.monotonic()` at which trainings stop.
    """
    race = _resume_race(plan, race, data, folder)
    names = [_name(choices) for choices in race.candidates]
    log.info("race on validation: %s; %d and %d updates each", ", ".join(names[1:]), *race.updates)
    configs = [_config(plan, choices, race.updates, data) for choices in race.candidates]
    alive = list(range(len(configs)))
    scores: dict[int, dict[str, People]] = {}
    reached = dict.fromkeys(alive, 0)
    for updates in race.updates:
        for number in tuple(alive):
            run = folder / f"{number}"
            if _train(configs[number], data, store, run, device, updates, deadline):
                scores[number] = _scores(configs[number], data, run, device)
                reached[number] = updates
            elif number:
                log.info("  %s: dropped, out of time", names[number])
                alive.remove(number)
            else:
                log.info("race ended early: out of time; the plan is not changed")
                return plan, {"updates": list(race.updates), "ended": "time"}
        ranked = sorted(alive[1:], key=lambda number: _mean(scores[number]))
        alive = [0, *ranked[: -(-len(ranked) // 2)]]
    return _decide(plan, race, names, scores, reached, alive)


def _resume_race(plan: Plan, race: Race, data: TrackData, folder: Path) -> Race:
    """The unfinished race in the folder if it is of this plan; else start this one there."""
    key = hashlib.sha256((plan.config.to_toml() + data.describe()["hash"]).encode()).hexdigest()
    names = [[choice.name for choice in choices] for choices in race.candidates]
    path = folder / RACE_FILE
    try:
        saved = json.loads(path.read_bytes())
        if saved["key"] == key and saved["names"] == names:
            log.info("resuming the race in %s", folder)
            return Race(race.candidates, (int(saved["updates"][0]), int(saved["updates"][1])))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    content = {"key": key, "names": names, "updates": list(race.updates)}
    write_whole(path, json.dumps(content).encode())
    return race


def _config(
    plan: Plan, choices: Sequence[Choice], updates: tuple[int, int], data: TrackData
) -> Config:
    config = with_choices(plan.config, tuple(choices))
    per_epoch = data.steps(config.train.batch_size)
    changes = {
        "updates": updates[1],
        "validate_every": updates[0] / per_epoch,
        "patience": None,
        "time_limit": None,
        "choose_temperature": False,
    }
    return config.model_copy(update={"train": config.train.model_copy(update=changes)})


def _train(
    config: Config,
    data: TrackData,
    store: Store,
    run: Path,
    device: torch.device,
    updates: int,
    deadline: float,
) -> bool:
    """Train a candidate up to a number of updates; returns False if time ran out."""
    data.watch(0)
    if run.exists():
        folder = RunFolder.open(run)
        done = [int(event["step"]) for event in folder.events() if event["event"] == "evaluated"]
        if max(done, default=0) >= updates:
            return True
        trainer = resumed_trainer(folder, data, facts_of(store), device)
    else:
        trainer = new_trainer(config, data, str(run), {}, facts_of(store), device)
    for event in trainer.run():
        if isinstance(event, Evaluated) and event.step >= updates:
            return True
        if time.monotonic() > deadline:
            return False
    return True


def _scores(config: Config, data: TrackData, run: Path, device: torch.device) -> dict[str, People]:
    """Energy scores of the validation people, by recording if weights are selected by it."""
    train = config.train
    model, _ = unpack(RunFolder.open(run).read(WEIGHTS, "nothing was validated"), WEIGHTS)
    steps = train.evaluations(model.architecture.average)
    tally = Tally()
    with reproducible(train.threads, device):
        score, scene, agent = energy_scores(
            model.to(device).eval(),
            data.validation(train.batch_size, train.validation_windows),
            train.samples,
            steps,
            train.seed,
        )
    group = (scene if train.select_by == "recording" else np.zeros_like(scene)).astype(str)
    tally.add_groups(sorted(set(group.tolist())))
    tally.add(group, agent, score[:, None])
    return tally.people()


def _mean(people: dict[str, People]) -> float:
    return sum(float(group.means[0]) for group in people.values()) / len(people)


def _name(choices: Sequence[Choice]) -> str:
    return " ".join(f"{c.name}={str(c.value).lower()}" for c in choices) or "as chosen"


def _decide(
    plan: Plan,
    race: Race,
    names: Sequence[str],
    scores: dict[int, dict[str, People]],
    reached: dict[int, int],
    alive: Sequence[int],
) -> tuple[Plan, dict[str, Any]]:
    """The plan after the race, and its table; logs both."""
    planned, rows, winner = _mean(scores[0]), [], 0
    for number, name in enumerate(names):
        if number not in scores:  # out of time
            rows.append({"settings": name, "updates": 0})
            continue
        score = _mean(scores[number])
        row: dict[str, Any] = {"settings": name, "updates": reached[number], "energy_score": score}
        line = f"  {name}: {score:.4g} after {reached[number]} updates"
        if number and reached[number] == reached[0]:
            low, high = paired_interval(scores[number], scores[0])
            row["difference"] = [low / planned, high / planned]
            line += f", {100 * (score / planned - 1):+.1f} % [{100 * low / planned:+.1f}, "
            line += f"{100 * high / planned:+.1f}]"
            if high < 0 and score < (1 - MARGIN) * planned and number in alive:
                winner = number if not winner or score < _mean(scores[winner]) else winner
        elif number:
            line += ", dropped"
        rows.append(row)
        log.info(line)
    log.info("race: %s", f"{names[winner]} wins" if winner else "no challenger is clearly better")
    result = {"updates": list(race.updates), "candidates": rows, "chosen": names[winner]}
    return plan.changed(list(race.candidates[winner])) if winner else plan, result
