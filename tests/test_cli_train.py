"""`trajflow train`: what it says, and how it is stopped and resumed."""

import csv
import json
import os
import pty
import shutil
import signal
import sys
import threading
import time
import tomllib
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from trajflow.config import Config
from trajflow.datasets.store import open_store
from trajflow.manifest import forget
from trajflow.models.serialization import unpack
from trajflow.runs import RunFolder


def test_training_talks_on_stderr_and_ends_on_stdout(trained, fork):
    path, out, said = trained
    assert out.splitlines()[0].split() == ["run", str(path)]
    assert f"trajflow evaluate {path} {fork}" in out
    assert out.splitlines()[-1].startswith("on the validation windows the run does not beat the b")
    assert "; next, train " in out.splitlines()[-1]
    parts = [f"{n} windows of {n} agents in {n} recordings" for n in (40, 12, 9)]
    assert "split as stored: train {}; val {}; test {}\n".format(*parts) in said
    assert "weights on cpu, 4 steps of 2 epochs" in said
    assert [line.split()[:2] for line in said.splitlines() if line.startswith("epoch ")] == [
        ["epoch", "1.0"],
        ["epoch", "2.0"],
    ]
    assert tomllib.loads((path / "config.toml").read_text())["train"]["seed"] == 5


@pytest.fixture
def one_processor():
    """This process may use one processor, and torch was told of two."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no system call for it here")
    processors, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, {min(processors)})
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)
    os.sched_setaffinity(0, processors)


@pytest.mark.usefixtures("one_processor")
def test_equal_seeds_give_equal_weights_whatever_processors_are_visible(
    trajflow, trained, fork, tiny, tmp_path
):
    assert trajflow("train", fork, "--out", tmp_path / "run", "--seed", 5, *tiny)[0] == 0
    weights, known = (run / "weights.safetensors" for run in (tmp_path / "run", trained[0]))
    assert weights.read_bytes() == known.read_bytes()


def test_a_finished_run_is_resumed_to_its_end_at_once(trajflow, trained, fork):
    code, out, said = trajflow("train", fork, "--out", trained[0], "--resume", "--json")
    assert code == 0
    assert json.loads(out)["steps"] == 4
    assert "from step 4" in said


def state_of(folder):
    """Content and time of every file of a folder, and the time of the folder itself."""
    files = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return files, {path: path.stat().st_mtime_ns for path in (folder, *files)}


@pytest.mark.parametrize("words", [(), ("--log", "csv")])
def test_to_resume_a_finished_run_changes_nothing(trajflow, trained, fork, tmp_path, words):
    run = shutil.copytree(trained[0], tmp_path / "run")
    before = state_of(run)
    code, _, said = trajflow("train", fork, "--out", run, "--resume", *words)
    assert code == 0
    assert "is finished; --extend trains it on" in said
    assert state_of(run) == before


def test_to_resume_a_finished_run_keeps_what_was_fitted_to_it(trajflow, tiny, tmp_path):
    data, run = tmp_path / "fork.zarr", tmp_path / "run"
    sizes = ["--set", "train=40", "--set", "val=25", "--set", "test=9"]
    trajflow("data", "make", "fork", "-o", data, "--seed", "3", *sizes)
    assert trajflow("train", data, "--out", run, *tiny)[0] == 0
    before = state_of(run)
    assert {path.name for path in before[0]} >= {"calibration.json", "ood.safetensors"}
    assert trajflow("train", data, "--out", run, "--resume")[0] == 0
    assert state_of(run) == before
    (run / "calibration.json").unlink()
    forget(run / "calibration.json")
    assert trajflow("train", data, "--out", run, "--resume")[0] == 0
    assert (run / "calibration.json").read_bytes() == before[0][run / "calibration.json"]


def endless(fork, tiny, path):
    """Words of a training that ends when it is stopped, or after minutes; no race before it."""
    words = ["train", str(fork), "--out", str(path), *tiny, "--no-race"]
    return [*words, "--set", "train.epochs=100000", "--set", "train.time_limit=120"]


@pytest.fixture
def once_started(trajflow):
    """Runs a command in this process, and calls something once a training into a folder runs."""

    def run(words, path, act):
        def wait():
            events, end = path / "events.jsonl", time.monotonic() + 60
            while time.monotonic() < end:
                if events.exists() and events.stat().st_size:
                    return act()
                time.sleep(0.01)

        thread = threading.Thread(target=wait)
        thread.start()
        result = trajflow(*words)
        thread.join()
        return result

    return run


def test_a_training_whose_folder_is_gone_stops_with_one_line(fork, tiny, tmp_path, once_started):
    path = tmp_path / "run"

    def move():
        path.rename(tmp_path / "elsewhere")
        path.mkdir()

    code, _, said = once_started(endless(fork, tiny, path), path, move)
    assert code == 2
    assert said.splitlines()[-1].startswith(f"error: {path} was deleted, moved or replaced")
    assert "Traceback" not in said
    assert list(path.iterdir()) == []
    assert RunFolder.open(tmp_path / "elsewhere").damages() == []


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ("data.fractions=[0.5, 0.5, 0.0]", "the training split has 1 window, and the normaliser"),
        ("data.fractions=[1.0, 0.0, 0.0]", "no windows of 8 + 12 steps in split 'val'"),
    ],
)
def test_too_few_windows_are_refused_before_anything_is_written(trajflow, tmp_path, settings, hint):
    rows = [f"{a},{t},{a},{a + 0.4 * t},{0.1 * t}" for a in range(2) for t in range(20)]
    (tmp_path / "two.csv").write_text("\n".join(["scene,frame,agent,x,y", *rows]) + "\n")
    words = ("table", tmp_path / "two.csv", "-o", tmp_path / "two.zarr", "--dt", "1", "--unit", "m")
    assert trajflow("data", "import", *words)[0] == 0
    words = ("--out", tmp_path / "run", "--set", "data.split=scene", "--set", settings)
    code, _, said = trajflow("train", tmp_path / "two.zarr", *words)
    assert (code, said.count("\n")) == (2, 1)
    assert hint in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ([], "exists"),
        (["--resume", "--seed", "1"], "keeps its settings"),
        (["--resume", "--set", "train.epochs=3"], "keeps its settings"),
    ],
)
def test_a_run_is_never_overwritten_nor_bent(trajflow, trained, fork, words, hint):
    code, _, said = trajflow("train", fork, "--out", trained[0], *words)
    assert code == 2
    assert hint in said


def test_other_tracks_cannot_resume_a_run(trajflow, trained, tmp_path):
    other = tmp_path / "other.zarr"
    sizes = ["--set", "train=40", "--set", "val=12", "--set", "test=9"]
    trajflow("data", "make", "fork", "-o", other, "--seed", "4", *sizes)
    code, _, said = trajflow("train", other, "--out", trained[0], "--resume")
    assert code == 2
    assert "does not hold the tracks" in said


def test_a_misspelt_setting_gets_a_suggestion(trajflow, fork, tmp_path):
    words = ("train", fork, "--out", tmp_path / "run")
    assert "did you mean 'train.epochs'" in trajflow(*words, "--set", "train.epoch=3")[2]
    assert "did you mean 'transformer'" in trajflow(*words, "--encoder", "transfromer")[2]
    assert "did you mean 'meanflow'" in trajflow(*words, "--preset", "menflow")[2]
    assert not (tmp_path / "run").exists()


def test_all_settings_are_printed_with_value_type_and_meaning(trajflow):
    code, out, _ = trajflow("train", "--help-config", "--seed", "7")
    assert code == 0
    row = next(line for line in out.splitlines() if line.startswith("train.seed "))
    assert row.split()[1:3] == ["7", "int"]
    assert "Seed of the weights" in row
    printed = json.loads(trajflow("train", "--help-config", "--json")[1])["settings"]
    sections = Config().model_dump()
    known = {f"{name}.{key}" for name, section in sections.items() for key in section}
    assert {one["name"] for one in printed} == known
    assert all(one["meaning"] and one["kind"] for one in printed)


def test_settings_are_written_as_commented_toml_that_says_the_same(trajflow, fork, tmp_path):
    path, words = tmp_path / "run.toml", ("--encoder", "tcn", "--set", "data.fold=a")
    code, out, _ = trajflow("train", "--help-config", *words, "-o", path)
    assert (code, out) == (0, f"{path}\n")
    assert "\n# Past steps of a window. (int >= 1 and <= 100000)\nhistory = 8\n" in (
        path.read_text()
    )
    assert Config.load(path) == Config.load(None, ["model.encoder=tcn", "data.fold=a"])
    assert trajflow("train", "--help-config", "-o", path)[0] == 2
    assert (
        "did you mean 'train.seed'" in trajflow("train", "--help-config", "--set", "train.sed=1")[2]
    )
    code, _, said = trajflow("train")
    assert code == 2
    assert "train needs DATA" in said


def test_runs_without_a_name_get_one_that_is_free(tmp_path):
    from trajflow.training.start import free_path

    assert free_path(tmp_path / "a") == tmp_path / "a"
    (tmp_path / "a").mkdir()
    (tmp_path / "a-2").mkdir()
    assert free_path(tmp_path / "a") == tmp_path / "a-3"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_training_saves_and_goes_on(fork, tiny, tmp_path, once_started, number):
    path = tmp_path / "run"
    stop = partial(os.kill, os.getpid(), number)
    before = signal.signal(number, signal.default_int_handler)  # nohup ignores SIGHUP
    try:
        code, out, said = once_started(endless(fork, tiny, path), path, stop)
    finally:
        signal.signal(number, before)
    assert code == 128 + number
    assert (path / "resume.safetensors").is_file()
    assert RunFolder.open(path).damages() == []
    assert list(RunFolder.open(path).events())[-1]["reason"] == "stopped"
    if number != signal.SIGHUP:
        assert "stopping after this step" in said
        assert f"trajflow train {fork} --out {path} --resume" in out


def test_a_training_whose_terminal_closes_saves(fork, tiny, tmp_path):
    path = tmp_path / "run"
    words = [sys.executable, "-m", "trajflow", *endless(fork, tiny, path)]
    words += ["--set", "train.validate_every=1"]
    pid, terminal = pty.fork()
    if not pid:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.execv(sys.executable, words)
    said = b""
    while b"best" not in said:
        said += os.read(terminal, 4096)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + signal.SIGHUP
    assert list(RunFolder.open(path).events())[-1]["reason"] == "stopped"


SMALL = ("--set", "model.width=16", "--set", "model.decoder_width=16")


def settings_in(folder):
    return RunFolder.open(folder).config


def test_options_are_settings(trajflow, fork, tmp_path):
    words = ("--updates", 3, "--batch-size", 20, "--lr", 0.004, "--history", 6, "--horizon", 5)
    words += ("--time-limit", "1h30m", "--split", "agent", *SMALL)
    code, _, said = trajflow("train", fork, "-o", tmp_path / "run", *words)
    assert code == 0
    assert "split by agents: train " in said
    config = settings_in(tmp_path / "run")
    assert (config.train.updates, config.train.batch_size, config.train.lr) == (3, 20, 0.004)
    assert (config.data.history, config.data.horizon, config.data.split) == (6, 5, "agent")
    assert config.train.time_limit == 5400


def test_weights_are_chosen_by_windows_or_by_recordings_as_the_user_says(
    trajflow, store_of, tmp_path
):
    """Of the validation windows one recording has 1, the other 44."""
    many, few = [range(30)] * 4, [range(20)]
    store = store_of({"a": ("train", many), "b": ("val", many), "c": ("val", few)}).path
    words = ("--updates", 12, "--set", "train.validate_every=0.5", *SMALL)
    words += ("--history", 8, "--horizon", 12)
    best = {}
    for mean, key in (("window", "energy_score"), ("recording", "energy_score_by_recording")):
        run = tmp_path / mean
        code, out, _ = trajflow("train", store, "-o", run, "--select-by", mean, *words)
        assert code == 0
        assert f"mean over {mean}s (--select-by)" in out
        assert settings_in(run).train.select_by == mean
        events = list(RunFolder.open(run).events())
        scores = [one["metrics"][key] for one in events if one["event"] == "evaluated"]
        best[mean] = events[-1]["best_energy_score"]
        assert best[mean] == min(scores)
    assert best["window"] != best["recording"]


def test_the_end_says_where_the_validation_score_has_risen(fork, tmp_path):
    from trajflow.evaluation.comparison import overfitting

    def run(name, *scores):
        folder = RunFolder.create(tmp_path / name, Config(), {})
        for number, score in enumerate(scores, 1):
            metrics = {"energy_score": score}
            event = {"event": "evaluated", "step": 100 * number, "metrics": metrics}
            folder.append({**event, "best": score == min(scores[:number])})
        return folder

    said = overfitting(run("risen", 3.0, 2.0, 2.5), "tracks.zarr")
    assert said.startswith("the validation score rose from 2 at update 200 to 2.5 at update 300")
    assert "next, try trajflow train tracks.zarr --set train.dropout=0.2" in said
    assert not overfitting(run("flat", 3.0, 2.0, 2.01), "tracks.zarr")
    assert not overfitting(run("falling", 3.0, 2.5, 2.0), "tracks.zarr")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--select-by", "person"], "'window' or 'recording', got 'person'"),
        (["--lr", "0.1", "--set", "train.lr=0.2"], "--lr and --set train.lr=... set the same"),
        (["--epochs", "3", "--updates", "9"], "--epochs and --updates both set the length"),
        (["--epochs", "3", "--set", "train.updates=9"], "--epochs and --set train.updates=... set"),
        (["--time-limit", "soon"], "write a duration as 90s, 5m or 1h30m, got 'soon'"),
        (["--split", "agents"], "'time' or 'agent', got 'agents'"),
        (["--device", "cuda"], "no device 'cuda' here: torch finds no CUDA GPU"),
        (["--extend"], "--extend goes with --resume"),
        (["--resume", "--dry-run"], "--dry-run is for a new run"),
    ],
)
def test_options_that_exclude_each_other_or_make_no_sense_are_refused(
    trajflow, fork, tmp_path, monkeypatch, words, said
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, _, told = trajflow("train", fork, "--out", tmp_path / "run", *words)
    assert (code, told.count("error: ")) == (2, 1)
    assert said in told.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_an_option_overrides_the_file_also_how_long_it_trains(trajflow, fork, tmp_path):
    (tmp_path / "run.toml").write_text("[train]\nupdates = 500\nlr = 0.1\nbatch_size = 20\n")
    words = ("--config", tmp_path / "run.toml", "--epochs", 1, "--lr", 0.002, *SMALL)
    assert trajflow("train", fork, "-o", tmp_path / "run", *words, "-q")[0] == 0
    config = settings_in(tmp_path / "run")
    assert (config.train.lr, config.train.epochs, config.train.updates) == (0.002, 1, None)
    assert list(RunFolder.open(tmp_path / "run").events())[-1]["step"] == 2


def test_a_dry_run_prints_the_plan_and_writes_nothing(trajflow, fork, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("train", fork, "--dry-run", "--batch-size", 20, "--epochs", 4, *SMALL)
    code, out, _ = trajflow(*words)
    assert code == 0
    assert "train 40 windows of 40 agents" in out
    assert out.splitlines()[-1].split() == ["written", "nothing"]
    plan = json.loads(trajflow(*words, "--json")[1])
    assert (plan["updates"], plan["epochs"], plan["settings"]["model"]["width"]) == (8, 4, 16)
    assert plan["seconds"] > 8 * plan["seconds_per_update"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def tracks_csv(tmp_path):
    """Thirty walkers of 30 steps who turn, as a table."""
    rows = ["agent,time,x,y"]
    for a in range(30):
        rows += [f"{a},{0.4 * t:.1f},{a + 0.5 * t:.3f},{a % 7 + 0.01 * (a % 5) * t * t:.3f}"
                 for t in range(30)]  # fmt: skip
    (tmp_path / "tracks.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "tracks.csv"


def test_a_table_is_imported_beside_itself_and_trained_on(trajflow, tracks_csv, tmp_path):
    words = ("--updates", 2, "--history", 4, "--horizon", 3, "--split", "agent", *SMALL)
    code, out, said = trajflow("train", tracks_csv, "-o", tmp_path / "run", *words)
    assert code == 0
    assert f"imported {tmp_path / 'tracks.zarr'}" in said
    assert "columns guessed: x from 'x'" in said
    assert trajflow("train", tracks_csv, "-o", tmp_path / "run", "--resume")[0] == 0
    again = trajflow("train", tracks_csv, "-o", tmp_path / "two", *words)
    assert again[0] == 0
    assert "was imported before" in again[2]
    with tracks_csv.open("a") as file:
        file.write("99,0.0,1,1\n")
    code, _, said = trajflow("train", tracks_csv, "-o", tmp_path / "three", *words)
    assert code == 2
    assert "exists and was not made from" in said
    assert f"trajflow evaluate {tmp_path / 'run'} {tmp_path / 'tracks.zarr'}" in out


def test_a_table_in_degrees_is_trained_on_in_metres_and_forecast_in_degrees(trajflow, tmp_path):
    table, out = tmp_path / "boats.csv", tmp_path / "out.csv"
    rows = ["boat,time,latitude,longitude"]
    rows += [
        f"b{boat},{10 * t},{59.3 + 1e-4 * t:.6f},{18.9 + 1e-2 * boat + 2e-4 * t:.6f}"
        for boat in range(12)
        for t in range(30)
    ]
    table.write_text("\n".join(rows) + "\n")
    words = ("--updates", 2, "--history", 4, "--horizon", 3, "--split", "agent", *SMALL)
    assert trajflow("train", table, "-o", tmp_path / "run", *words)[0] == 0
    info = json.loads(trajflow("data", "info", tmp_path / "boats.zarr", "--json")[1])
    assert info["unit"] == "m"
    assert trajflow("predict", tmp_path / "run", table, "-o", out, "--samples", 1)[0] == 0
    with out.open() as file:
        places = [(float(row["x"]), float(row["y"])) for row in csv.DictReader(file)]
    assert all(18.8 < x < 19.1 and 59.2 < y < 59.4 for x, y in places)


def test_a_table_that_needs_options_is_imported_first(trajflow, tmp_path):
    (tmp_path / "t.csv").write_text("whale no,time,x,y\n1,0,0,0\n1,1,1,0\n")
    code, _, said = trajflow("train", tmp_path / "t.csv", "-o", tmp_path / "run")
    assert (code, said.count("\n")) == (2, 1)
    assert "no column found for agent" in said
    assert f"trajflow data import {tmp_path / 't.csv'} -o {tmp_path / 't.zarr'} OPTIONS" in said


def test_a_finished_run_is_extended_to_more_updates(trajflow, fork, tmp_path):
    run = tmp_path / "run"
    words = ("--epochs", 2, "--batch-size", 20, *SMALL)
    assert trajflow("train", fork, "-o", run, *words, "-q")[0] == 0
    resume = ("train", fork, "-o", run, "--resume")
    code, _, said = trajflow(*resume, "--epochs", 5)
    assert code == 2
    assert "leave out --epochs" in said
    assert "--extend with --epochs or --updates trains longer" in said
    code, _, said = trajflow(*resume, "--extend", "--epochs", 2)
    assert code == 2
    assert "has made 4 updates (2 epochs); set more than that, not --epochs 2" in said
    assert "--epochs N or --updates N" in trajflow(*resume, "--extend")[2]
    code, out, said = trajflow(*resume, "--extend", "--epochs", 5, "--json")
    assert code == 0
    assert json.loads(out)["steps"] == 10
    assert "from step 4" in said
    assert settings_in(run).train.epochs == 5
    assert RunFolder.open(run).damages() == []
    assert "is finished; --extend trains it on" in trajflow(*resume)[2]


def read_weights(run):
    return unpack((run / "weights.safetensors").read_bytes(), str(run))[0]


def test_a_training_starts_from_the_weights_of_another_run(trajflow, trained, fork, tmp_path):
    run = tmp_path / "tuned"
    words = ("--updates", "1", "--lr", "1e-30", "--init", trained[0])
    assert trajflow("train", fork, "--out", run, *words)[0] == 0
    before, after = read_weights(trained[0]), read_weights(run)
    assert after.architecture == before.architecture
    for name, weights in before.velocity_net.named_parameters():
        assert torch.equal(weights, after.velocity_net.get_parameter(name)), name
    assert json.loads((run / "run.json").read_text())["init"]["run"] == str(trained[0])


def test_weights_keep_their_meaning_on_tracks_in_another_unit(trajflow, trained, fork, tmp_path):
    table, store, run = tmp_path / "far.csv", tmp_path / "far.zarr", tmp_path / "tuned"
    tracks = open_store(fork).tracks()
    rows = {"agent": tracks.track, "scene": tracks.scene[tracks.track], "t": tracks.step * 0.4}
    rows["split"] = np.array(tracks.splits)[tracks.split]
    rows |= dict(zip("xy", 1000 * tracks.position.T, strict=True))
    pd.DataFrame(rows).to_csv(table, index=False)
    assert trajflow("data", "import", table, "-o", store, "--unit", "px")[0] == 0
    words = ("--updates", "1", "--lr", "1e-30", "--init", trained[0])
    assert trajflow("train", store, "--out", run, *words)[0] == 0
    before, after = read_weights(trained[0]).normalizer, read_weights(run).normalizer
    assert float(after.displacement_scale / before.displacement_scale) == pytest.approx(1000, 0.1)
    assert torch.equal(after.axes, before.axes)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "model.width=12"), "model.width=12 does not fit the weights of"),
        (("--preset", "flow"), "flow.preset=flow does not fit the weights of"),
        (("--history", "5"), "data.history=5 does not fit the weights of"),
        (("--resume",), "--init is for a new run"),
    ],
)
def test_what_does_not_fit_the_weights_to_start_from_is_refused(
    trajflow, trained, fork, tmp_path, words, said
):
    run = tmp_path / "tuned"
    code, _, error = trajflow("train", fork, "--out", run, "--init", trained[0], *words)
    assert code == 2
    assert said in error
    assert not run.exists()


def test_a_recording_too_short_to_be_split_in_time_is_split_by_agents(trajflow, tiny, tmp_path):
    rows = [f"{agent},{step},{step},{agent}" for agent in range(30) for step in range(36)]
    (tmp_path / "tracks.csv").write_text("\n".join(["agent,time,x,y", *rows]))
    words = ("train", tmp_path / "tracks.csv", *tiny)
    code, _, said = trajflow(*words, "--dry-run", "--split", "time")
    assert code == 2
    assert "divide agents instead of time: --set data.split=agent" in said.replace("\n", " ")
    code, plan, said = trajflow(*words, "--dry-run")
    assert code == 0, said
    assert "split by agents (a split in time would leave a split without windows of 8 + 12" in plan
    assert "chosen from the training tracks" in plan
    run = tmp_path / "run"
    code, _, said = trajflow(*words, "-o", run)
    assert code == 0, said
    assert "split by agents (a split in time would leave" in said
    code, _, said = trajflow("evaluate", run, tmp_path / "tracks.zarr", "--no-baselines")
    assert code == 0, said
    code, _, said = trajflow("train", tmp_path / "tracks.csv", "-o", run, "--resume")
    assert code == 0, said
