"""Writing a store: it appears whole or not at all, and nothing bad gets in."""

import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from trajflow.datasets.output import OutputFolder
from trajflow.datasets.schema import CHUNK, TrackBlock
from trajflow.datasets.store import open_store
from trajflow.datasets.writer import StoreWriter
from trajflow.errors import DataError

DT = 0.4


def block(scene="hall", rowsize=(5, 3), **changes):
    rowsize = np.array(rowsize)
    rows = int(rowsize.sum())
    fields = {
        "scene": scene,
        "labels": list(range(len(rowsize))),
        "types": ["pedestrian"] * len(rowsize),
        "rowsize": rowsize,
        "time": np.concatenate([np.arange(n) for n in rowsize]) * DT,
        "position": np.arange(rows * 2.0).reshape(rows, 2),
    }
    return TrackBlock(**(fields | changes))


def writer(path, **told):
    return StoreWriter(path, **({"dims": 2, "dt": DT, "unit": "m"} | told))


def write(path, *blocks, **told):
    with writer(path, **told) as one:
        for each in blocks or (block(),):
            one.append(each)


def spoiled(column, row, value):
    values = getattr(block(), column).copy()
    values[row] = value
    return block(**{column: values})


BAD = [
    (spoiled("position", 6, [0, np.nan]), r"agent 1: position .*nan.* at 0\.4 s is not finite"),
    (spoiled("position", 5, [np.inf, 0]), "agent 1: position .*inf"),
    (spoiled("position", 4, [0, -np.inf]), "agent 0: position .*inf"),
    (spoiled("time", 6, np.nan), "agent 1: time nan is not finite"),
    (spoiled("time", 2, 0.4), r"agent 0: time 0\.4 s does not follow 0\.4 s"),
    (spoiled("time", 4, 0.0), r"agent 0: time 0\.0 s does not follow"),
    (spoiled("time", 4, 1.75), "agent 0: time 1.75 s lies between steps"),
    (spoiled("time", 3, 0.81), "agent 0: times .* share a step"),
    (spoiled("time", 7, 1e300), "agent 1: time .* is too far"),
    (block(position=np.zeros((8, 3))), r"position must be \[8, 2\].*got position \[8, 3\]"),
    (block(position=np.zeros((7, 2))), r"position must be \[8, 2\]"),
    (block(labels=[1]), "labels must be 2"),
    (block(types=["car"] * 3), "types must be 2"),
    (replace(block(), rowsize=np.array([5, 4])), "sum to 8"),
    (replace(block(), rowsize=np.array([8, 0])), "positive"),
    (replace(block(), rowsize=np.array([5.0, 3.0])), "whole"),
    (block(split=np.array(["train"] * 7)), "split must be one name or 8"),
    (block(labels=["a", "a"]), "agent 'a' comes twice"),
    (block(labels=[7, "7"]), "agent '7' comes twice"),
    (block(scene=""), "no scene name"),
    (block(scene="\ud800"), "UTF-8"),
    (block(labels=["a", "\udfff"]), "UTF-8"),
    (block(types=["a", "\udfff"]), "UTF-8"),
]


def test_a_bad_block_is_refused_and_the_rest_is_kept(tmp_path):
    with writer(tmp_path / "s.zarr") as one:
        one.append(block("first", [4, 7, 2]))
        for bad, said in BAD:
            with pytest.raises(DataError, match=said):
                one.append(bad)
        one.append(block())
    write(tmp_path / "t.zarr", block("first", [4, 7, 2]), block())
    stores = [open_store(tmp_path / name) for name in ("s.zarr", "t.zarr")]
    assert stores[0].fingerprint() == stores[1].fingerprint()
    assert stores[0].tracks().agent.tolist() == [0, 1, 2, 3, 4]


def test_masked_values_are_missing(tmp_path):
    places = np.ma.masked_equal(block().position, 6.0)
    times = np.ma.masked_equal(block().time, 2 * DT)
    with writer(tmp_path / "s.zarr") as one:
        with pytest.raises(DataError, match=r"agent 0: position \[nan, 7.0\] .*is not finite"):
            one.append(block(position=places))
        with pytest.raises(DataError, match="agent 0: time nan is not finite"):
            one.append(block(time=times))
        one.append(block(position=np.ma.asarray(block().position)))
        masked = {"x": np.ma.array([1, 2], mask=[False, True])}
        masked["agent"] = np.ma.array(["a", "b"], mask=[True, False])
        one.append_table("quarantine", masked)
    table = open_store(tmp_path / "s.zarr").table("quarantine")
    np.testing.assert_array_equal(table["x"], [1, np.nan])
    assert table["agent"].tolist() == ["", "b"]


def test_a_scene_that_comes_again_is_refused(tmp_path):
    with writer(tmp_path / "s.zarr") as one:
        one.append(block("a"))
        one.append(block("a", labels=[8, 9]))
        one.append(block("b"))
        with pytest.raises(DataError, match="scene 'a' comes again after scene 'b'"):
            one.append(block("a", labels=[3, 4]))
    assert open_store(tmp_path / "s.zarr").scene_rows == {"a": 16, "b": 8}


def test_an_agent_of_an_earlier_block_is_refused(tmp_path):
    with writer(tmp_path / "s.zarr") as one:
        one.append(block(labels=[1, 2]))
        with pytest.raises(DataError, match="scene 'hall', agent '2' comes twice"):
            one.append(block(labels=[3, 2]))
        one.append(block("next", labels=[2, 1]))
    assert open_store(tmp_path / "s.zarr").labels([0, 1, 2, 3]) == ["1", "2", "2", "1"]


@pytest.mark.parametrize("told", [{"dims": 4}, {"dt": 0}, {"dt": np.nan}, {"unit": ""}])
def test_a_store_of_nonsense_is_refused(tmp_path, told):
    with pytest.raises(DataError, match="dims must be"):
        writer(tmp_path / "s.zarr", **told)


def test_an_error_leaves_nothing(tmp_path):
    def fail():
        with writer(tmp_path / "s.zarr") as one:
            one.append(block("a", [CHUNK, CHUNK * 4]))
            assert list(tmp_path.iterdir()) == [tmp_path / "s.zarr.partial"]
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fail()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda one: None, "nothing was appended"),
        (lambda one: (one.append(block()), setattr(one, "report", {"a": np.nan})), "JSON"),
        (lambda one: (one.append(block()), setattr(one, "report", {"a": {1, 2}})), "JSON"),
        (lambda one: (one.append(block()), setattr(one, "folds", {"f": ["x"]})), "fold 'f'.*'x'"),
    ],
)
def test_a_store_that_cannot_be_finished_leaves_nothing(tmp_path, spoil, said):
    with pytest.raises(DataError, match=said), writer(tmp_path / "s.zarr") as one:
        spoil(one)
    assert not list(tmp_path.iterdir())


def test_appending_outside_the_block_is_refused(tmp_path):
    one = writer(tmp_path / "s.zarr")
    with pytest.raises(DataError, match="inside a 'with' block"):
        one.append(block())
    with one:
        one.append(block())
    with pytest.raises(DataError, match="inside a 'with' block"):
        one.append(block("late"))


def test_an_existing_store_is_kept(tmp_path):
    path = tmp_path / "s.zarr"
    write(path, block("old"))
    with pytest.raises(DataError, match="exists already"):
        writer(path)
    with pytest.raises(DataError), writer(path, overwrite=True) as one:
        one.append(block("new", labels=["twice"] * 2))
    assert open_store(path).scenes == ["old"]
    with writer(path, overwrite=True) as one:
        one.append(block("new"))
        assert open_store(path).scenes == ["old"]
    assert open_store(path).scenes == ["new"]
    write(path, block("new"), overwrite=True)
    assert open_store(path).scenes == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_only_a_store_is_overwritten(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    (tmp_path / "note").write_text("x")
    for name in ("thesis", "note"):
        with pytest.raises(DataError, match="will not be overwritten"):
            writer(tmp_path / name, overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


def test_a_store_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / "s.zarr"
    write(tmp_path / "other", block("other"))

    def write_late():
        with writer(path) as one:
            one.append(block("mine"))
            (tmp_path / "other").rename(path)

    with pytest.raises(DataError, match="exists already"):
        write_late()
    assert open_store(path).scenes == ["other"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_store_may_be_overwritten(tmp_path):
    write(tmp_path / "s.zarr")
    shutil.rmtree(tmp_path / "s.zarr" / "seal")
    write(tmp_path / "s.zarr", overwrite=True)
    open_store(tmp_path / "s.zarr").verify()


def test_a_link_keeps_pointing_at_the_store(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "s.zarr").symlink_to(tmp_path / "disk" / "real.zarr")
    write(tmp_path / "s.zarr")
    write(tmp_path / "s.zarr", overwrite=True)
    assert (tmp_path / "s.zarr").is_symlink()
    assert open_store(tmp_path / "disk" / "real.zarr").rows == 8


def test_a_working_writer_is_left_alone_and_a_dead_one_is_cleaned(tmp_path):
    path = tmp_path / "s.zarr"
    dead = tmp_path / "s.zarr.partial" / "content" / "dead"
    dead.mkdir(parents=True)
    (tmp_path / "s.zarr.partial" / "lock").touch()
    with writer(path) as one:
        assert not dead.exists()
        with pytest.raises(DataError, match="being written by another process"), writer(path):
            pass
        one.append(block())
    assert open_store(path).rows == 8
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_written_late_is_removed_too(tmp_path):
    path = tmp_path / "s.zarr"
    output = OutputFolder(path, False, lambda old: True)
    late = output.content / "agent" / "zarr.json"

    def write_late():
        time.sleep(0.08)
        late.parent.mkdir(parents=True, exist_ok=True)
        late.write_text("{}")

    output.open()
    thread = threading.Thread(target=write_late)
    thread.start()
    output.close()
    thread.join()
    assert list(tmp_path.iterdir()) == []


def test_remains_without_a_lock_are_replaced(tmp_path):
    path = tmp_path / "s.zarr"
    remains = tmp_path / "s.zarr.partial" / "content" / "zarr.json"
    remains.parent.mkdir(parents=True)
    remains.write_text("{}")
    write(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_of_someone_else_is_left_alone(tmp_path):
    notes = tmp_path / "s.zarr.partial" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    with pytest.raises(DataError, match=r"s\.zarr\.partial is in the way"):
        write(tmp_path / "s.zarr")
    assert notes.read_text() == "mine"


LOOP = """
import sys
import threading
import numpy as np
from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.writer import StoreWriter
rows = 30_000
with StoreWriter({path!r}, dims=2, dt=0.4, unit="m", overwrite={overwrite}) as writer:
    print("open", flush=True)
    for i in range({blocks}):
        values = np.random.default_rng(i).normal(size=(rows, 2))
        time = np.arange(rows) * 0.4
        writer.append(TrackBlock(f"new{{i}}", [0], ["a"], np.array([rows]), time, values))
print("done", flush=True)
"""


def start(path, blocks, overwrite=False):
    code = LOOP.format(path=str(path), overwrite=overwrite, blocks=blocks)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def kill_after(process, seconds):
    assert process.stdout.readline() == "open\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return "done" in process.stdout.read()


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.2])
def test_a_killed_writer_leaves_nothing_at_the_path(tmp_path, seconds):
    path = tmp_path / "s.zarr"
    kill_after(start(path, 10_000), seconds)
    assert not path.exists()
    assert list(tmp_path.iterdir()) == [tmp_path / "s.zarr.partial"]
    with pytest.raises(DataError, match="no store"):
        open_store(path)
    write(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_near_the_end_leaves_the_old_or_the_new_store(tmp_path):
    path = tmp_path / "s.zarr"
    outcomes = set()
    for seconds in (0.12, 0.2):
        write(path, block("old"), overwrite=True)
        done = kill_after(start(path, 12, overwrite=True), seconds)
        store = open_store(path)
        store.verify()
        outcomes.add(store.scenes[0])
        assert not done or store.rows == 360_000
    assert outcomes <= {"old", "new0"}


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    path = tmp_path / "s.zarr"
    write(path, block("old"))
    (tmp_path / "s.zarr.partial").mkdir()
    (tmp_path / "s.zarr.partial" / "lock").touch()
    path.rename(tmp_path / "s.zarr.partial" / "replaced")
    with pytest.raises(DataError, match=r"interrupted overwrite.*s\.zarr\.partial/replaced"):
        open_store(path)
    with pytest.raises(DataError, match="exists already"), writer(path) as one:
        one.append(block("new"))
    assert open_store(path).scenes == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_the_second_of_two_writers_is_refused_and_the_first_goes_on(tmp_path):
    path = tmp_path / "s.zarr"
    other = start(path, 10_000)
    assert other.stdout.readline() == "open\n"
    try:
        with pytest.raises(
            DataError, match=r"being written by another process, see s\.zarr\.partial"
        ):
            write(path, block("mine"))
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
    write(path, block("mine"))
    assert open_store(path).scenes == ["mine"]
    assert list(tmp_path.iterdir()) == [path]


def test_of_many_writers_at_once_the_store_is_that_of_one(tmp_path):
    path = tmp_path / "s.zarr"
    many = [start(path, 3 + i, overwrite=True) for i in range(3)]
    done = ["done" in one.communicate()[0] for one in many]
    rows = {(3 + i) * 30_000 for i, whole in enumerate(done) if whole}
    assert open_store(path).rows in rows if rows else not path.exists()
    write(path, block("mine"), overwrite=True)
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_store(tmp_path):
    path = tmp_path / "s.zarr"
    write(path, block("old"))
    code = LOOP.format(path=str(path), overwrite=True, blocks=40)
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (200_000,) * 2)\n"
    ignore = "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    command = [sys.executable, "-c", limit + ignore + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is full; nothing was written" in done.stderr
    assert open_store(path).scenes == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_memory_does_not_grow_with_rows(tmp_path):
    peaks = []
    for count in (20, 60):
        tracemalloc.start()
        with writer(tmp_path / f"{count}.zarr") as one:
            for i in range(count):
                one.append(block(f"s{i}", [20_000]))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.15 * peaks[0]
    assert open_store(tmp_path / "60.zarr").rows == 1_200_000


def test_chunks_of_nothing_but_fill_values_are_written(tmp_path):
    rows = CHUNK + 1
    with writer(tmp_path / "s.zarr") as one:
        one.append(block(labels=["\0", "\0\0"]))
        one.append_table("quarantine", {"x": np.full(rows, np.nan), "agent": np.full(rows, -1)})
    names = {"quarantine/x/c/1", "quarantine/agent/c/0", "label_bytes/c/0"}
    assert all((tmp_path / "s.zarr" / name).exists() for name in names)
    table = open_store(tmp_path / "s.zarr").table("quarantine")
    np.testing.assert_array_equal(table["x"], np.full(rows, np.nan))


def test_tables_grow_row_by_row(tmp_path):
    with writer(tmp_path / "s.zarr") as one:
        one.append(block())
        one.append_table("quarantine", {"agent": [], "x": []})
        one.append_table("quarantine", {"agent": ["b", "a"], "x": [1.5, np.nan]})
        one.append_table("quarantine", {"x": np.array([np.inf]), "agent": np.array(["b"])})
        with pytest.raises(DataError, match=r"takes columns \['agent', 'x'\]"):
            one.append_table("quarantine", {"agent": ["c"]})
        with pytest.raises(DataError, match="one length"):
            one.append_table("quarantine", {"agent": ["c"], "x": [1.0, 2.0]})
        for name in ("x", "scene", "seal", "../up", "a/b"):
            with pytest.raises(DataError, match="cannot be called"):
                one.append_table(name, {"a": [1]})
        with pytest.raises(DataError, match="cannot be called"):
            one.append_table("gaps", {"a/b": [1]})
        one.append_table("empty", {"a": []})
    store = open_store(tmp_path / "s.zarr")
    store.verify()
    assert store.tables == ["quarantine"]
    table = store.table("quarantine")
    assert table["agent"].tolist() == ["b", "a", "b"]
    np.testing.assert_array_equal(table["x"], [1.5, np.nan, np.inf])
