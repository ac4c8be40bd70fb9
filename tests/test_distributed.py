"""Facts about training in several processes: it is the training of one, and ends as one."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from distributed_support import CASES, Walks, compare, learned

from trajflow.cli import main
from trajflow.inference.predictor import TorchPredictor
from trajflow.runs import RunFolder
from trajflow.training import distributed
from trajflow.training.setup import new_trainer, resumed_trainer

SUPPORT = Path(__file__).with_name("distributed_support.py")
ENDLESS = ["--set", "train.epochs=100000", "--set", "train.save_minutes=0.01"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m"]


# Cases that differ little from one of the others.
SIMILAR = {"mmf-paper", "meanflow", "consistency", "terminal", "flow", "joint energy", "dropout"}
SIMILAR |= {"dropout of the transformer", "dropout of the GRU", "dropout of the TCN"}


@pytest.fixture(scope="session")
def distances(request, tmp_path_factory):
    """How far what two processes learn is from what one does, by case that a test asks for."""
    params = [getattr(item, "callspec", None) for item in request.session.items]
    asked = {spec.params["case"] for spec in params if spec and "case" in spec.params}
    cases = {name: words for name, words in CASES.items() if name in asked | {"mmf"}}
    meet = tmp_path_factory.mktemp("meet") / "file"
    common = {"WORLD_SIZE": "2", "TRAJFLOW_RENDEZVOUS": meet.as_uri()}
    common |= {"GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0"}
    environment = os.environ | common | {"RANK": "1", "LOCAL_RANK": "1"}
    other = subprocess.Popen([sys.executable, str(SUPPORT), *cases], env=environment)
    threads = torch.get_num_threads()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (common | {"RANK": "0", "LOCAL_RANK": "0"}).items():
                patch.setenv(name, value)
            patch.setattr(distributed, "TIMEOUT", timedelta(minutes=5))
            torch.set_num_threads(1)
            result = compare(cases)
        assert other.wait(60) == 0
    finally:
        torch.set_num_threads(threads)
        other.kill()
        other.wait()
    return result


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow if case in SIMILAR else ())
        for case in [*CASES, "accumulate", "validation"]
    ],
)
def test_two_processes_learn_what_one_does(distances, case):
    assert distances[case] < (1e-5 if case in ("20 updates", "validation") else 1e-6)


def start(store, path, tiny, *words, command=(sys.executable, "-m"), processes="2"):
    """A training in several processes that has come to its first step."""
    words = ["trajflow", "train", store, "--out", path, *tiny, *words]
    words += ["--processes", processes] if processes else []
    job = subprocess.Popen(
        [*command, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    said = ""
    while " steps of " not in said:
        line = job.stderr.readline()
        assert line, said
        said += line
    return job


def started_in(path):
    """Numbers of the living processes that train into a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(path).encode() in words and b"\0RANK=" in environment:
            ranks = [v for v in environment.split(b"\0") if v.startswith(b"RANK=")]
            found.append((int(ranks[0].removeprefix(b"RANK=")), int(entry.name)))
    return dict(found)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="lists processes by /proc")
@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_killed_process_is_named_and_ends_the_others(fork, tiny, tmp_path, rank):
    path = tmp_path / "run"
    job = start(fork, path, tiny, *ENDLESS)
    os.kill(started_in(path)[rank], signal.SIGKILL)
    _, said = job.communicate(timeout=60)
    assert job.returncode == 128 + signal.SIGKILL
    errors = [line for line in said.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert f"the process of rank {rank} was killed by SIGKILL" in errors[0]
    assert "Traceback" not in said
    assert not started_in(path)
    assert RunFolder.open(path).damages() == []


def test_a_stopped_training_saves_and_goes_on_in_one_process(trajflow, fork, tiny, tmp_path):
    path = tmp_path / "run"
    job = start(fork, path, tiny, "--set", "train.epochs=100000")
    job.send_signal(signal.SIGTERM)
    out, said = job.communicate(timeout=60)
    assert job.returncode == 128 + signal.SIGTERM
    assert said.count("stopping after this step") == 1
    assert out.count("next") == 1
    events = list(RunFolder.open(path).events())
    assert [event["reason"] for event in events if event["event"] == "finished"] == ["stopped"]
    code, _, said = trajflow(
        *("train", fork, "--out", path, "--resume", "--extend"),
        *("--updates", events[-1]["step"] + 2),
    )
    assert code == 0, said
    started = [event for event in RunFolder.open(path).events() if event["event"] == "started"]
    assert [(event["step"], event["processes"]) for event in started] == [
        (0, 2),
        (events[-1]["step"], 1),
    ]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="lists processes by /proc")
def test_no_process_outlives_the_one_that_started_it(fork, tiny, tmp_path):
    path = tmp_path / "run"
    job = start(fork, path, tiny, *ENDLESS)
    assert set(started_in(path)) == {0, 1}
    job.kill()
    job.communicate()
    until = time.monotonic() + 60
    while started_in(path) and time.monotonic() < until:
        time.sleep(0.1)
    assert not started_in(path)
    assert list(RunFolder.open(path).events())[-1]["reason"] == "stopped"


@pytest.mark.slow
def test_torchrun_trains_the_same_and_refuses_once(fork, tiny, tmp_path, trajflow):
    words = ["trajflow", "train", fork, "--out", tmp_path / "two", *tiny]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*TORCHRUN, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("next  ") == 1
    assert trajflow("train", fork, "--out", tmp_path / "one", *tiny)[0] == 0
    one, two = (TorchPredictor.load(tmp_path / name).model for name in ("one", "two"))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert (tmp_path / "two" / "calibration.safetensors").exists() == (
        tmp_path / "one" / "calibration.safetensors"
    ).exists()
    again = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert again.returncode != 0
    assert again.stderr.count("exists; continue it") == 1


@pytest.mark.slow
def test_torchrun_ended_by_ctrl_c_saves_one_step(fork, tiny, tmp_path):
    path = tmp_path / "run"
    words = ("--set", "train.epochs=100000")
    job = start(fork, path, tiny, *words, command=TORCHRUN, processes=None)
    job.send_signal(signal.SIGINT)
    job.communicate(timeout=60)
    assert list(RunFolder.open(path).events())[-1]["reason"] == "stopped"
    assert RunFolder.open(path).damages() == []


@pytest.mark.slow
def test_a_time_limit_ends_all_processes(trajflow, fork, tiny, tmp_path):
    words = ("--processes", 2, "--time-limit", "3s", "--set", "train.updates=1000000")
    assert trajflow("train", fork, "--out", tmp_path / "run", *tiny, *words)[0] == 0
    events = list(RunFolder.open(tmp_path / "run").events())
    assert events[-1]["reason"] == "done"
    assert events[-1]["step"] < 1000000


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--processes", 21), "--processes 21 is more than the 20 target agents of a batch"),
        (("--processes", 2, "--device", "cuda:1"), "cannot share --device cuda:1; use"),
        (("--processes", 0), "greater than or equal to 1"),
    ],
)
def test_numbers_of_processes_that_cannot_train_are_refused(
    trajflow, fork, tiny, tmp_path, words, hint
):
    code, _, said = trajflow("train", fork, "--out", tmp_path / "run", *tiny, *words)
    assert code == 2
    assert hint in " ".join(said.split())
    assert not (tmp_path / "run").exists()


def test_an_error_is_said_once_and_leaves_no_folder(fork, tiny, tmp_path, capfd):
    words = ["train", fork, "--out", tmp_path / "run", *tiny, "--processes", "2"]
    with pytest.raises(SystemExit) as left:
        main([*map(str, words), "--set", "data.history=500"])
    assert left.value.code == 2
    assert [line[:6] for line in capfd.readouterr().err.splitlines()] == ["error:"]
    assert list(tmp_path.iterdir()) == []


def test_half_precision_learns_nearly_the_same(tmp_path):
    plain, _ = learned(["flow.flow_ratio=0.0"])
    half, _ = learned(["flow.flow_ratio=0.0", "train.precision=bf16"])
    for a, b in zip(plain, half, strict=True):
        assert float((a - b).norm()) < 0.1 * float(a.norm()) + 1e-3
    assert any(not torch.equal(a, b) for a, b in zip(plain, half, strict=True))


def test_half_precision_goes_on_as_if_nothing_had_happened(tmp_path):
    from distributed_support import FACTS, WORDS

    from trajflow.config import Config

    config = Config.load(None, [*WORDS, "train.updates=8", "train.precision=bf16"])
    for name, stop in (("whole", None), ("cut", 3)):
        trainer = new_trainer(config, Walks(), str(tmp_path / name), {}, FACTS, torch.device("cpu"))
        count = iter(range(100))

        def stop_at(*_, trainer=trainer, stop=stop, count=count):
            if next(count) + 1 == stop:
                trainer.stop()

        trainer.optimiser.register_step_post_hook(stop_at)
        reason = list(trainer.run())[-1].reason
        assert reason == ("stopped" if stop else "done")
    folder = RunFolder.open(tmp_path / "cut")
    assert list(resumed_trainer(folder, Walks(), FACTS, torch.device("cpu")).run())[-1].step == 8
    files = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "cut")]
    assert files[0] == files[1]
