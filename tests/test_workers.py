"""Work of several processes and of Dask workers: the same results, also when one is killed."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import zarr
from workers_support import KilledOnce, registered_names

from trajflow.datasets import import_tracks, ingest, open_store, sorting
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
        ["data", "import", "tracks.csv", "-o", tmp_path / "out.zarr"],
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


def table_of(number, scenes=("hall", "yard"), rows=40):
    """Rows of walkers, in order of time; scenes and agents go on in the table that follows."""
    chance, parts = np.random.default_rng(number), []
    for scene in scenes:
        for agent in range(4):
            step = np.arange(rows) + rows * number + agent
            path = np.outer(step, (0.4 + 0.05 * agent, 0.1)) + chance.normal(0, 0.01, (rows, 2))
            parts.append(pd.DataFrame({"scene": scene, "agent": f"p{agent}", "time": step * 0.4}))
            parts[-1][["x", "y"]] = path.round(3)
            parts[-1]["type"] = "walker" if agent else f"guard{number}"
            parts[-1]["split"] = f"part{-number % 3}"
    return pd.concat(parts).sort_values("time", kind="stable", ignore_index=True)


def with_faults(table):
    """The rows with some that cannot be read, that jump, or that come twice."""
    table = table.astype({"x": object})
    table.loc[::41, "x"] = "oops"
    table.loc[[30, 31], "y"] = 900.0
    return pd.concat([table, table[7:9]])


@pytest.fixture
def tables(tmp_path):
    """A folder of tables of several formats whose scenes and agents are in each of them."""
    folder = tmp_path / "tables"
    folder.mkdir()
    with_faults(table_of(0)).to_csv(folder / "a.csv", index=False)
    table_of(1).to_parquet(folder / "b.parquet")
    with_faults(table_of(2, ("yard",))).to_csv(folder / "c.tsv.gz", sep="\t", index=False)
    table_of(3, ("porch", "hall")).to_json(folder / "d.ndjson", orient="records", lines=True)
    table_of(0, ("yard",)).assign(x=1.0).to_parquet(folder / "e.parquet")
    return folder


def same_store(files, tmp_path, monkeypatch, jobs, **options):
    """Whether processes write the same files as one process does; the report of one process."""
    reports, written = [], []
    for number, jobs_now in enumerate((1, *jobs)):
        (tmp_path / f"with{number}").mkdir()
        monkeypatch.chdir(tmp_path / f"with{number}")
        reports.append(import_tracks(None, files, "o.zarr", jobs=jobs_now, **options))
        stored = (path for path in Path("o.zarr").rglob("*") if path.is_file())
        written.append({str(path): path.read_bytes() for path in stored})
        assert [path.name for path in Path().iterdir()] == ["o.zarr"]
    assert all(files == written[0] for files in written[1:])
    assert all(report == reports[0] for report in reports[1:])
    return reports[0]


def test_processes_import_files_as_one_process_does(tables, tmp_path, monkeypatch):
    said = []
    report = same_store(tables, tmp_path, monkeypatch, (2, 3), progress=said.append)
    assert report.quarantined.keys() == {"not-a-number", "conflict", "duplicate", "teleport"}
    assert report.scenes == 3
    assert report.splits.keys() == {"part0", "part1", "part2"}
    assert [p.stage for p in said[-3:]] == ["reading", "surveying", "writing"]
    assert said[-1].rows == said[-1].total > 1000


@pytest.fixture
def by_one_process(monkeypatch):
    """The work of processes is done in this one, one after the other."""

    def in_order(work, items, jobs):
        for item in pickle.loads(pickle.dumps(items)):
            yield pickle.loads(pickle.dumps(work(item)))

    monkeypatch.setattr(sorting, "in_order", in_order)


def dated(number):
    table = table_of(number, (f"bay{number % 2}", "sea"))
    moment = pd.Timestamp("2024-03-25 21:00") + pd.to_timedelta(table["time"] * 25, unit="s")
    table["time"] = moment.dt.strftime("%d/%m/%Y %H:%M:%S")
    table["lon"], table["lat"] = 7 + table.pop("x") / 1e3, 54 + table.pop("y") / 1e3
    return table


def rounded(number):
    table = table_of(number)
    return table.assign(time=(table["time"] / 0.4 / 2.5 / 3).round(1))


@pytest.mark.usefixtures("by_one_process")
@pytest.mark.parametrize(
    ("make", "options"),
    [
        (dated, {}),
        (rounded, {}),
        (table_of, {"where": "x > 3 and type <> 'guard1'", "part_rows": 100}),
        (table_of, {"types": ["guard0", "guard2"], "resample": 0.5}),
        (lambda number: with_faults(table_of(number)).drop(columns="scene"), {}),
        (lambda number: table_of(number).assign(x="oops" if number != 2 else 1.0), {}),
    ],
)
def test_what_files_have_in_common_is_decided_as_by_one_process(
    tmp_path, monkeypatch, make, options
):
    for number in range(6):
        make(number).to_csv(tmp_path / f"t{number}.csv", index=False)
    files = sorted(tmp_path.glob("*.csv"))
    monkeypatch.setattr(ingest, "MAX_TEXTS", 3)
    assert same_store(files, tmp_path, monkeypatch, (2, 3), **options).rows_kept > 40


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_first_bad_file_is_named(tables, tmp_path, trajflow, jobs):
    text = (tables / "a.csv").read_text().splitlines()
    for name in ("a2.csv", "f.csv"):
        (tables / name).write_text("\n".join([*text, "x" * 200_000, *text[1:]]))
    out = tmp_path / "out" / "o.zarr"
    code, _, said = trajflow("data", "import", tables, "-o", out, "--jobs", jobs, "--no-scene")
    assert code == 2
    assert f"{tables / 'a2.csv'} is not a table: a line is longer than" in said
    assert len(said.splitlines()) == 1
    assert not list(out.parent.iterdir())


STOPPED = """
import os
import time
from multiprocessing import parent_process
from pathlib import Path

import pyarrow as pa

begin, mark = pa.ipc.new_stream, Path(__file__).with_name("{kind}")


def stop(file, schema):
    stream = begin(file, schema)
    if not mark.exists():
        mark.touch()
        file.flush()
        os.kill(os.getpid(), 9)
    if mark.name == "waits":
        time.sleep(100)
    return stream


if parent_process() is not None:
    pa.ipc.new_stream = stop
"""


def stopped(tmp_path, kind):
    (tmp_path / "stopped.py").write_text(STOPPED.replace("{kind}", kind))
    if kind == "waits":
        (tmp_path / kind).touch()
    return tmp_path / "stopped.py"


def test_files_that_a_killed_process_read_are_read_again(tables, tmp_path, monkeypatch):
    monkeypatch.setattr("trajflow.workers._plugins", [])
    load_plugins([str(stopped(tmp_path, "killed"))])
    same_store(tables, tmp_path, monkeypatch, (2,))
    assert (tmp_path / "killed").exists()


def test_a_stopped_import_leaves_nothing(tables, tmp_path):
    out = tmp_path / "out" / "o.zarr"
    words = ["--plugin", stopped(tmp_path, "waits"), "data", "import", tables, "-o", out]
    words = [sys.executable, "-m", "trajflow", *words, "--jobs", "2"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, start_new_session=True) as command:
        while len(list(out.parent.glob("*.partial/scratch/*/sorted"))) < 2:
            assert command.poll() is None
            time.sleep(0.05)
        os.killpg(command.pid, signal.SIGINT)
        said = command.communicate(timeout=20)[1].decode()
    assert command.returncode == 130
    assert "Traceback" not in said
    assert not list(out.parent.iterdir())


@pytest.mark.slow
def test_dask_workers_import_files_as_one_process_does(tables, tmp_path, monkeypatch, two_workers):
    same_store(tables, tmp_path, monkeypatch, (two_workers,))
