"""A short race on the validation split for settings that a fingerprint of the tracks cannot decide.

Candidates differ from the chosen settings in one setting each. All train with the same seed and
number of updates; after half of them the worse challengers are out (successive halving). A
challenger wins if its energy score is better by more than `MARGIN` and the interval of the paired
difference, by bootstrap over people, excludes zero. Otherwise the settings stay as they are.

Each candidate trains in a run folder of its own below the folder of the race, so a race that was
killed goes on where it stopped.

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
"""Updates after which candidates are compared first, at least: less says nothing."""
MAX_UPDATES = 400
"""Updates after which they are compared first, at most."""
MARGIN = 0.01
"""Share of the energy score by which a challenger must be better, beside the interval."""
MEMORY = 8
"""Earlier tracks that the candidate with memory is shown."""
MANY_AGENTS = 100
"""Training agents of a recording, on average, from which memory is tried."""
WON = "better on validation in a race"
"""Why the winner's setting was chosen."""
KEPT = "race.json"
"""File of the race's folder that says what is raced."""


@dataclass(frozen=True)
class Race:
    """What is raced.

    Attributes:
        choices: The settings of each candidate that differ; those of the first, none.
        updates: Updates after which candidates are compared, twice.
    """

    choices: tuple[tuple[Choice, ...], ...]
    updates: tuple[int, int]


def rounds(candidates: int) -> int:
    """How many rounds of equal updates so many candidates train in all: half go on to a second."""
    return candidates + 1 + candidates // 2


def challengers(plan: Plan) -> list[Choice]:
    """Settings that are open to choice and worth a try, the likeliest to matter first."""
    config, tracks = plan.config, plan.fingerprint
    chosen = {one.name for one in plan.chosen}
    result = []
    if "model.own_speed" in chosen:
        result.append(Choice("model.own_speed", not config.model.own_speed, WON))
    if "model.social" in chosen and tracks.near > 0:
        result.append(Choice("model.social", not config.model.social, WON))
    if "preset" not in config.flow.model_fields_set and config.train.noise_samples > 1:
        result.append(Choice("flow.preset", "energy", WON))
    open_memory = "memory" not in config.model.model_fields_set and not config.model.joint
    if open_memory and tracks.agents >= MANY_AGENTS * tracks.recordings:
        result.append(Choice("model.memory", MEMORY, WON))
    return result


def affordable(plan: Plan, updates: float) -> Race | None:
    """The race that so many updates in all suffice for; None if for none.

    Args:
        plan: The settings so far.
        updates: Updates that all candidates may make together.
    """
    some = challengers(plan)
    while some and updates / rounds(len(some) + 1) < MIN_UPDATES:
        some = some[:-1]
    if not some:
        return None
    first = min(MAX_UPDATES, int(updates / rounds(len(some) + 1)))
    return Race(((), *((one,) for one in some)), (first, 2 * first))


def run_race(
    plan: Plan,
    race: Race,
    data: TrackData,
    store: Store,
    folder: Path,
    device: torch.device,
    deadline: float,
) -> tuple[Plan, dict[str, Any]]:
    """The plan with the winner's setting, and what each candidate reached, as JSON values.

    Args:
        plan: The settings so far.
        race: What is raced, if the folder does not hold a race of the same settings.
        data: The splits.
        store: The tracks.
        folder: Where candidates train; the caller removes it.
        device: Where to train.
        deadline: Reading of `time.monotonic` after which no candidate trains on.
    """
    race = _kept(plan, race, data, folder)
    words = [_words(choices) for choices in race.choices]
    log.info("race on validation: %s; %d and %d updates each", ", ".join(words[1:]), *race.updates)
    configs = [_config(plan, choices, race.updates, data) for choices in race.choices]
    alive = list(range(len(configs)))
    scores: dict[int, dict[str, People]] = {}
    reached = dict.fromkeys(alive, 0)
    for updates in race.updates:
        for number in alive:
            place = folder / f"{number}"
            if not _train(configs[number], data, store, place, device, updates, deadline):
                log.info("race ended early: no time is left for it; the settings stay as chosen")
                return plan, {"updates": list(race.updates), "ended": "time"}
            scores[number] = _scores(configs[number], data, place, device)
            reached[number] = updates
        challenging = sorted(alive[1:], key=lambda number: _mean(scores[number]))
        alive = [0, *challenging[: -(-len(challenging) // 2)]]
    return _decided(plan, race, words, scores, reached, alive)


def _kept(plan: Plan, race: Race, data: TrackData, folder: Path) -> Race:
    """The race that the folder holds if it is of the same settings; else this one, from now on."""
    key = hashlib.sha256((plan.config.to_toml() + data.describe()["hash"]).encode()).hexdigest()
    names = [[one.name for one in choices] for choices in race.choices]
    path = folder / KEPT
    try:
        kept = json.loads(path.read_bytes())
        if kept["key"] == key and kept["names"] == names:
            log.info("going on with the race in %s", folder)
            return Race(race.choices, (int(kept["updates"][0]), int(kept["updates"][1])))
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
    """The settings that a candidate trains with."""
    config = with_choices(plan.config, tuple(choices))
    per_epoch = data.steps(config.train.batch_size)
    short = {
        "updates": updates[1],
        "validate_every": updates[0] / per_epoch,
        "patience": None,
        "time_limit": None,
        "choose_temperature": False,
    }
    return config.model_copy(update={"train": config.train.model_copy(update=short)})


def _train(
    config: Config,
    data: TrackData,
    store: Store,
    place: Path,
    device: torch.device,
    updates: int,
    deadline: float,
) -> bool:
    """Train a candidate up to so many updates; whether there was time for it.

    Raises:
        Diverged: The loss is not finite; see `Trainer.run`.
        RunError: Its folder is damaged.
    """
    data.watch(0)
    if place.exists():
        folder = RunFolder.open(place)
        done = [int(one["step"]) for one in folder.events() if one["event"] == "evaluated"]
        if max(done, default=0) >= updates:
            return True
        trainer = resumed_trainer(folder, data, facts_of(store), device)
    else:
        trainer = new_trainer(config, data, str(place), {}, facts_of(store), device)
    for event in trainer.run():
        if isinstance(event, Evaluated) and event.step >= updates:
            return True
        if time.monotonic() > deadline:
            return False
    return True


def _scores(
    config: Config, data: TrackData, place: Path, device: torch.device
) -> dict[str, People]:
    """Energy scores of the people of the validation windows, by recording or all together."""
    train = config.train
    model, _ = unpack(RunFolder.open(place).read(WEIGHTS, "nothing was validated"), WEIGHTS)
    steps = train.steps or (1 if model.architecture.average else 8)
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
    return sum(float(one.means[0]) for one in people.values()) / len(people)


def _words(choices: Sequence[Choice]) -> str:
    return " ".join(f"{one.name}={str(one.value).lower()}" for one in choices) or "as chosen"


def _decided(
    plan: Plan,
    race: Race,
    words: Sequence[str],
    scores: dict[int, dict[str, People]],
    reached: dict[int, int],
    alive: Sequence[int],
) -> tuple[Plan, dict[str, Any]]:
    """The plan after the race, and its table, which is also logged."""
    own, rows, winner = _mean(scores[0]), [], 0
    for number, word in enumerate(words):
        score = _mean(scores[number])
        row: dict[str, Any] = {"settings": word, "updates": reached[number], "energy_score": score}
        said = f"  {word}: {score:.4g} after {reached[number]} updates"
        if number and reached[number] == reached[0]:
            low, high = paired_interval(scores[number], scores[0])
            row["difference"] = [low / own, high / own]
            said += f", {100 * (score / own - 1):+.1f} % [{100 * low / own:+.1f}, "
            said += f"{100 * high / own:+.1f}]"
            if high < 0 and score < (1 - MARGIN) * own and number in alive:
                winner = number if not winner or score < _mean(scores[winner]) else winner
        elif number:
            said += ", out"
        rows.append(row)
        log.info(said)
    log.info("race: %s", f"{words[winner]} wins" if winner else "nothing is better beyond noise")
    result = {"updates": list(race.updates), "candidates": rows, "chosen": words[winner]}
    return plan.changed(list(race.choices[winner])) if winner else plan, result
