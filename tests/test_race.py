"""The race between settings: what wins, what does not, and that it goes on after a kill."""

import logging
import math
import time
from types import SimpleNamespace

import pytest
import torch

from trajflow.config import Config
from trajflow.datasets.store import open_store
from trajflow.history import TrainingWatcher
from trajflow.library import LibraryScanner
from trajflow.runs import RunFolder, track_data
from trajflow.training.plan import Choice, plan_settings
from trajflow.training.race import Race, affordable, challengers, run_race
from trajflow.training.validation import energy_scores

SMALL = (
    "model.width=16",
    "model.decoder_width=16",
    "train.samples=5",
    "train.batch_size=20",
    "train.ema=0.9",
)
CPU = torch.device("cpu")


@pytest.fixture
def racing(fork, tmp_path):
    """Races settings on the fork: `racing(words, *choices)` gives the plan after it and a table."""
    store = open_store(fork)

    def race(words, *choices, folder="race", deadline=math.inf, updates=(5, 10)):
        plan = plan_settings(Config.load(None, [*SMALL, *words]), store)
        candidates = Race(((), *((one,) for one in choices)), updates)
        data = track_data(store, plan.config)
        return run_race(plan, candidates, data, store, tmp_path / folder, CPU, deadline)

    return race


def test_what_is_better_beyond_noise_wins(racing):
    lr = Choice("train.lr", 0.01, "better")
    plan, table = racing(["train.lr=1e-12"], lr, updates=(60, 120))
    assert plan.config.train.lr == 0.01
    assert lr in plan.chosen
    assert table["chosen"] == "train.lr=0.01"
    low, high = table["candidates"][1]["difference"]
    assert low < high < -0.01
    assert plan.config.train.updates > 120


def test_what_is_the_same_does_not(racing):
    plan, table = racing([], Choice("train.save_minutes", 9.0, ""))
    assert plan.config.train.save_minutes == 10
    assert table["chosen"] == "as chosen"
    assert table["candidates"][1]["difference"] == [0, 0]


def test_half_of_the_challengers_go_on_to_the_second_round(racing):
    jitter = [Choice("train.scale_jitter", share, "") for share in (0.0, 0.2, 0.3)]
    _, table = racing([], *jitter)
    assert sorted(one["updates"] for one in table["candidates"]) == [5, 10, 10, 10]


def test_a_challenger_without_time_is_dropped_and_the_race_goes_on(racing, tmp_path, monkeypatch):
    late = []

    def clock():
        """After the deadline once, when the first challenger has begun."""
        if (tmp_path / "race" / "1").exists() and not late:
            late.append(True)
            return math.inf
        return 0.0

    monkeypatch.setattr("trajflow.training.race.time", SimpleNamespace(monotonic=clock))
    slow, other = Choice("train.scale_jitter", 0.2, ""), Choice("train.scale_jitter", 0.3, "")
    _, table = racing([], slow, other, deadline=1.0)
    assert [row["updates"] for row in table["candidates"]] == [10, 0, 10]
    assert "chosen" in table


def test_a_race_that_was_stopped_goes_on(racing, caplog, tmp_path):
    caplog.set_level(logging.INFO, "trajflow")
    choice = Choice("train.scale_jitter", 0.2, "")
    _, table = racing([], choice, deadline=time.monotonic())
    assert table["ended"] == "time"
    assert (tmp_path / "race" / "0").exists()
    _, table = racing([], choice)
    assert "resuming the race in" in caplog.text
    assert table == racing([], choice, folder="anew")[1]
    done = (tmp_path / "race" / "1" / "weights.safetensors").stat().st_mtime_ns
    assert racing([], choice)[1] == table
    assert (tmp_path / "race" / "1" / "weights.safetensors").stat().st_mtime_ns == done


def test_a_race_can_be_watched_and_its_candidates_are_no_runs_of_the_library(
    racing, tmp_path, monkeypatch
):
    watcher, seen = TrainingWatcher(tmp_path / "run"), []

    def look(*args, **kwargs):
        seen.append(watcher.update().race)
        return energy_scores(*args, **kwargs)

    monkeypatch.setattr("trajflow.training.race.energy_scores", look)
    assert watcher.update().race is None
    racing([], Choice("train.scale_jitter", 0.2, ""), folder="run.race")
    places = [(race.candidate, race.candidates, race.settings) for race in seen]
    assert places == 2 * [(1, 2, ""), (2, 2, "train.scale_jitter")]
    assert [race.step for race in seen] == [5, 10, 15, 20]
    assert {race.steps for race in seen} == {20}
    assert seen[0].eta > seen[-1].eta == 0
    assert not LibraryScanner(tmp_path).scan().runs


def test_only_what_is_open_is_raced_and_only_where_there_are_updates_enough(fork):
    store = open_store(fork)
    plan = plan_settings(Config.load(), store)
    names = [one.name for one in challengers(plan)]
    assert names[0] == "model.own_speed"
    assert "flow.preset" in names
    words = ["model.own_speed=true", "model.social=false", "flow.preset=mmf", "model.memory=0"]
    assert not challengers(plan_settings(Config.load(None, words), store))
    assert affordable(plan, 500) is None
    few, many = affordable(plan, 700), affordable(plan, 1e6)
    assert (len(few.candidates), few.updates) == (2, (175, 350))
    assert len(many.candidates) == len(names) + 1


def test_the_command_races_and_keeps_the_table(trajflow, fork, tmp_path, monkeypatch):
    monkeypatch.setattr("trajflow.training.race.MIN_UPDATES", 2)
    words = [word for one in SMALL for word in ("--set", one)]
    code, _, said = trajflow("train", fork, "-o", tmp_path / "run", *words, "--updates", 40)
    assert code == 0
    assert "race on validation: model.own_speed=" in said
    kept = RunFolder.open(tmp_path / "run").read_record()["race"]
    assert kept["candidates"][0]["settings"] == "as chosen"
    assert not (tmp_path / "run.race").exists()
    code, _, said = trajflow("train", fork, "-o", tmp_path / "two", *words, "--updates", 2)
    assert "no race between settings: it needs a longer --time-limit" in said
    words += ["--updates", 40, "--no-race"]
    code, _, said = trajflow("train", fork, "-o", tmp_path / "three", *words)
    assert "race" not in said.replace(str(tmp_path), "")
