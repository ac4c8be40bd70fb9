"""Work of several processes and of Dask workers: the same results, also when one is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from workers_support import KilledOnce, registered_names

from trajflow.datasets import open_store
from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.writer import StoreWriter
from trajflow.evaluation import EvaluationOptions, batches, evaluate_run
from trajflow.inference import tracks
from trajflow.inference.predict import PredictOptions, predict_tracks
from trajflow.inference.tracks import shards_of
from trajflow.workers import Dask, compute, load_plugins

DASK = "Dask is not installed: pip install 'trajflow[dask]'"
OPTIONS = PredictOptions(samples=3, seed=2, every=4)


@pytest.fixture
def two_workers():
    pytest.importorskip("distributed", reason=DASK)
    return Dask(workers=2)


@pytest.fixture
def one_thread():
    """As many threads as a worker has: another number rounds otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("dask", [False, True])
def test_what_a_killed_process_did_is_done_again(tmp_path, request, dask):
    jobs = request.getfixturevalue("two_workers") if dask else 2
    results = dict(compute(KilledOnce(tmp_path), range(4), jobs))
    assert (tmp_path / "killed").exists()
    assert results == {0: 0, 1: 10, 2: 20, 3: 30}


ENDLESS = """
import sys
from pathlib import Path
from trajflow.workers import Dask, compute

sys.path.insert(0, "tests")
from workers_support import Endless

if __name__ == "__main__":
    jobs = Dask(workers=2) if sys.argv[2] == "dask" else 2
    try:
        list(compute(Endless(Path(sys.argv[1])), range(6), jobs))
    except KeyboardInterrupt:
        sys.exit(130)
"""


def is_running(process):
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")
@pytest.mark.parametrize(
    ("engine", "number"),
    [("processes", signal.SIGINT), ("processes", signal.SIGKILL), ("dask", signal.SIGINT)],
)
def test_workers_end_with_their_command(tmp_path, engine, number):
    if engine == "dask":
        pytest.importorskip("distributed", reason=DASK)
    script, marks = tmp_path / "endless.py", tmp_path / "marks"
    script.write_text(ENDLESS)
    marks.mkdir()
    words = [sys.executable, script, marks, engine]
    with subprocess.Popen(words, stderr=subprocess.PIPE, start_new_session=True) as command:
        while len(started := list(marks.iterdir())) < 2:
            assert command.poll() is None
            time.sleep(0.05)
        group = os.killpg if number == signal.SIGINT else os.kill  # Ctrl-C is for all processes
        group(command.pid, number)
        said = command.communicate(timeout=20)[1].decode()
    assert command.returncode == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in said
    assert "WARNING" not in said
    for _ in range(100):
        if not any(is_running(mark.name) for mark in started):
            break
        time.sleep(0.05)
    assert not any(is_running(mark.name) for mark in started)
    if (engine, number) == ("processes", signal.SIGINT):
        assert not list(marks.iterdir())


PLUGIN = """
import workers_support

workers_support.registered.append("mine")
"""


@pytest.mark.parametrize("dask", [False, True])
def test_other_processes_know_what_a_plugin_registers(tmp_path, request, monkeypatch, dask):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("trajflow.workers._plugins", [])
    (tmp_path / "mine.py").write_text(PLUGIN)
    load_plugins(["mine.py"])
    jobs = request.getfixturevalue("two_workers") if dask else 2
    assert dict(compute(registered_names, range(3), jobs)) == {n: ["mine"] for n in range(3)}


def by_agent(path):
    group = zarr.open_group(str(path), mode="r")
    names = [group[name][:] for name in ("scene", "agent", "step")]
    drawn = group["samples"][:]
    who = [tuple(map(str, name)) for name in zip(*names, strict=True)]
    assert len(set(who)) == len(who)
    return dict(zip(who, drawn, strict=True))


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_dask_workers_of_which_one_is_killed_forecast_as_one_process(
    trained, fork, tmp_path, monkeypatch, two_workers
):
    from distributed import default_client

    monkeypatch.setattr(tracks, "ROWS", 100)
    number = len(shards_of(open_store(fork)))
    predict_tracks(trained[0], fork, tmp_path / "one.zarr", OPTIONS)
    killed, said = [], []

    def kill_one(label, done, total):
        said.append(done)
        if done == 2 and not killed:
            killed.append(min(default_client().run(os.getpid).values()))
            os.kill(killed[0], signal.SIGKILL)

    out = tmp_path / "dask.zarr"
    predict_tracks(trained[0], fork, out, OPTIONS, jobs=two_workers, on_shards=kill_one)
    assert killed
    assert said == list(range(number + 1))
    one, dask = by_agent(tmp_path / "one.zarr"), by_agent(out)
    assert one.keys() == dask.keys()
    assert all(np.array_equal(one[who], dask[who]) for who in one)
    monkeypatch.setattr(tracks, "ROWS", 300)
    predict_tracks(trained[0], fork, tmp_path / "other.zarr", OPTIONS)
    other = by_agent(tmp_path / "other.zarr")
    assert one.keys() == other.keys()
    assert all(np.allclose(one[who], other[who], atol=1e-4) for who in one)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dask.zarr", "one.zarr", "other.zarr"]


@pytest.fixture
def walkers(tmp_path):
    """A test split of three batches: first of single walkers, then also of two and of forty."""
    paths = np.random.default_rng(0).normal((0.5, 0), 0.1, (70, 40, 2))
    paths = paths.cumsum(1) + np.random.default_rng(1).uniform(0, 40, (70, 1, 2))
    with StoreWriter(tmp_path / "walkers.zarr", dims=2, dt=0.4, unit="m") as writer:
        for scene, some, apart in (("alone", paths[:30], 41), ("hall", paths[30:], 0)):
            first = apart * np.minimum(np.arange(len(some)), 28)  # the last two meet
            steps = np.arange(40) + first[:, None]
            writer.append(
                TrackBlock(
                    scene=scene,
                    labels=list(range(len(some))),
                    types=["walker"] * len(some),
                    rowsize=np.full(len(some), 40),
                    time=steps.ravel() * 0.4,
                    position=some.reshape(-1, 2),
                    split="test",
                )
            )
    return tmp_path / "walkers.zarr"


def without_times(report):
    text = {name: value for name, value in report.items() if not name.startswith("seconds")}
    return json.dumps(text, sort_keys=True, default=str)


@pytest.mark.usefixtures("one_thread")
def test_processes_score_a_run_as_one_process_does(trained, walkers, monkeypatch):
    monkeypatch.setattr(batches, "PART_BATCHES", 1)
    options, done = EvaluationOptions(samples=5, min_agents=2), []
    one, two = (
        evaluate_run(
            trained[0], walkers, options, jobs=jobs, on_progress=lambda *words: done.append(words)
        )
        for jobs in (1, 2)
    )
    windows = one["windows"]
    assert windows == 882
    assert without_times(one) == without_times(two)
    assert done[-1][1] == windows


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_dask_workers_score_a_run_as_one_process_does(trained, walkers, two_workers):
    options = EvaluationOptions(samples=5)
    one, two = (evaluate_run(trained[0], walkers, options, jobs=j) for j in (1, two_workers))
    assert one["windows"] == 1470
    assert without_times(one) == without_times(two)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--workers", 2], "--workers 2 is for --engine dask"),
        (["--address", "tcp://a:1"], "--address tcp://a:1 is for --engine dask"),
        (["--engine", "dusk"], "no engine 'dusk'; did you mean 'dask'?"),
        (["--engine", "dask"], "needs either --workers N"),
        (["--engine", "dask", "--workers", 2, "--address", "tcp://a:1"], "needs either"),
        (["--engine", "dask", "--jobs", 2], "--jobs 2 does not go with --engine dask"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, trajflow, words, expected):
    commands = (
        ["predict", "run", "tracks.zarr", "-o", tmp_path / "out.zarr"],
        ["evaluate", "run", "tracks.zarr"],
    )
    for command in commands:
        code, _, said = trajflow(*command, *words)
        assert code == 2
        assert expected in said
        assert len(said.splitlines()) == 1


def test_without_dask_its_extra_is_named(tmp_path, trajflow, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    words = ["-o", tmp_path / "out.zarr", "--engine", "dask", "--workers", 2]
    code, _, said = trajflow("predict", "run", "tracks.zarr", *words)
    assert code == 2
    assert said.strip().endswith("pip install 'trajflow[dask]'")


def test_an_address_where_no_scheduler_is_is_refused(
    trained, fork, tmp_path, trajflow, monkeypatch
):
    dask = pytest.importorskip("distributed", reason=DASK)
    monkeypatch.setattr(
        dask, "Client", lambda address, timeout, to=dask.Client: to(address, timeout=0.2)
    )
    words = ["--engine", "dask", "--address", "tcp://127.0.0.1:1"]
    code, _, said = trajflow("predict", trained[0], fork, "-o", tmp_path / "out.zarr", *words)
    assert code == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in said
    assert not list(tmp_path.iterdir())


def test_several_processes_are_for_the_scores_of_a_run(fork, trajflow):
    code, _, said = trajflow("evaluate", "--baseline", "cv", fork, "--jobs", 2)
    assert code == 2
    assert "--baseline runs in one process" in said
