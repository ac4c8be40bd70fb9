"""`trajflow train`: what it says, and how it is stopped and resumed."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tomllib

import pytest

from trajflow.config import Config
from trajflow.manifest import forget
from trajflow.runs import RunFolder


def test_training_talks_on_stderr_and_ends_on_stdout(trained, fork):
    path, out, said = trained
    assert out.splitlines()[0].split() == ["run", str(path)]
    assert f"trajflow evaluate {path} {fork}" in out
    parts = [f"{n} windows of {n} agents in {n} recordings" for n in (40, 12, 9)]
    assert "split as stored: train {}; val {}; test {}\n".format(*parts) in said
    assert "weights on cpu, 4 steps of 2 epochs" in said
    assert [line.split()[:2] for line in said.splitlines() if line.startswith("epoch ")] == [
        ["epoch", "1.0"],
        ["epoch", "2.0"],
    ]
    assert tomllib.loads((path / "config.toml").read_text())["train"]["seed"] == 5


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no system call for it here")
def test_equal_seeds_give_equal_weights_whatever_processors_are_visible(
    trained, fork, tiny, tmp_path
):
    path, one = tmp_path / "run", min(os.sched_getaffinity(0))
    words = [sys.executable, "-m", "trajflow", "train", fork, "--out", path, "--seed", "5", *tiny]
    threads = {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    subprocess.run(
        words,
        check=True,
        capture_output=True,
        env=os.environ | threads,
        preexec_fn=lambda: os.sched_setaffinity(0, {one}),
    )
    weights, known = (run / "weights.safetensors" for run in (path, trained[0]))
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


@pytest.mark.parametrize("words", [(), ("--tensorboard",)])
def test_to_resume_a_finished_run_changes_nothing(trajflow, trained, fork, tmp_path, words):
    run = shutil.copytree(trained[0], tmp_path / "run")
    before = state_of(run)
    code, _, said = trajflow("train", fork, "--out", run, "--resume", *words)
    assert code == 0
    assert "nothing is left to train" in said
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


@pytest.mark.parametrize("replaced", [False, True])
def test_a_training_whose_folder_is_gone_stops_with_one_line(fork, tiny, tmp_path, replaced):
    path = tmp_path / "run"
    words = [sys.executable, "-m", "trajflow", "train", fork, "--out", path, *tiny]
    words += ["--set", "train.epochs=100000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        while "epoch" not in (job.stderr.readline() or "epoch"):
            pass
        path.rename(tmp_path / "elsewhere")
        if replaced:
            path.mkdir()
        _, said = job.communicate(timeout=60)
    assert job.returncode == 2
    assert said.splitlines()[-1].startswith(f"error: {path} was deleted, moved or replaced")
    assert "Traceback" not in said
    assert list(path.iterdir()) == [] if replaced else not path.exists()
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
    assert "\n# Past steps an agent is seen. (int >= 1 and <= 100000)\nhistory = 8\n" in (
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


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_training_saves_and_goes_on(fork, tiny, tmp_path, number):
    path = tmp_path / "run"
    words = [sys.executable, "-m", "trajflow", "train", fork, "--out", path, *tiny]
    words += ["--set", "train.epochs=100000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        while "epoch" not in (job.stderr.readline() or "epoch"):
            pass
        job.send_signal(number)
        out, said = job.communicate(timeout=60)
    assert job.returncode == 128 + number
    assert (path / "resume.safetensors").is_file()
    assert RunFolder.open(path).damages() == []
    assert list(RunFolder.open(path).events())[-1]["reason"] == "stopped"
    if number != signal.SIGHUP:
        assert "stopping after this step" in said
        assert f"trajflow train {fork} --out {path} --resume" in out


def test_a_training_whose_terminal_closes_saves(fork, tiny, tmp_path):
    path = tmp_path / "run"
    words = [sys.executable, "-m", "trajflow", "train", str(fork), "--out", str(path), *tiny]
    words += ["--set", "train.epochs=100000"]
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
