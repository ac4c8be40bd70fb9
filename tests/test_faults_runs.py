"""Facts about damage to a run folder: whatever file it hits, somebody names that file."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trajflow.errors import RunError, TrajflowError
from trajflow.io import Lock, parse_json, read_header, read_whole
from trajflow.manifest import keep, read_kept
from trajflow.runs import RunFolder

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "faults"))

from run_flips import RUN, WAYS, damage


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained[0], tmp_path / "run")


@pytest.mark.parametrize("name", RUN)
@pytest.mark.parametrize("how", WAYS)
def test_damage_to_any_file_is_named_by_who_reads_it_and_by_doctor(trajflow, run, name, how):
    damage(run / name, how, random.Random(name + how))
    with pytest.raises(TrajflowError, match=name):
        RUN[name](run)
    code, out, _ = trajflow("doctor", run)
    assert code == 3
    assert name in out


def test_a_run_that_is_whole_is_well(trajflow, run):
    code, out, _ = trajflow("doctor", run, "--json")
    found = json.loads(out)["findings"]
    assert code == 0
    assert {one["code"] for one in found} == {"files", "settings", "weights", "checkpoint"}
    assert {one["level"] for one in found} == {"ok"}


def test_doctor_alone_looks_at_the_machine(trajflow):
    code, out, _ = trajflow("doctor", "--json")
    assert code == 0
    codes = {one["code"] for one in json.loads(out)["findings"]}
    assert codes == {"install", "device", "threads", "disk"}


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path):
    """Killed after the list and before the file, or after the file and before the list."""
    path = tmp_path / "file"
    keep(path, b"one")
    keep(path, b"two")
    listed = (tmp_path / "manifest.json").read_bytes()
    for content in (b"one", b"two"):
        path.write_bytes(content)
        assert read_kept(path, 10) == content
    path.write_bytes(b"owe")
    with pytest.raises(RunError, match="file is damaged"):
        read_kept(path, 10)
    path.write_bytes(b"two")
    keep(path, b"three")
    assert (tmp_path / "manifest.json").read_bytes() != listed
    path.write_bytes(b"one")
    with pytest.raises(RunError, match="file is damaged"):
        read_kept(path, 10)


def test_half_a_line_of_a_killed_training_is_cut_off(run):
    folder = RunFolder(run)
    before = list(folder.events())
    with (run / "events.jsonl").open("a") as file:
        file.write('{"event": "st')
    folder.seal_events()
    folder.append({"event": "step"})
    assert list(folder.events()) == [*before, {"event": "step"}]


def test_a_lock_dies_with_its_owner(tmp_path):
    code = "import sys; from pathlib import Path; from trajflow.io import Lock\n"
    code += f"lock = Lock(Path({str(tmp_path)!r})); print('held', flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as owner:
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match=f"is being trained by process {owner.pid} on"):
            Lock(tmp_path)
        owner.kill()
    Lock(tmp_path).release()


def test_a_pipe_and_a_large_file_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="not a regular file"):
        read_whole(tmp_path / "pipe", 10)
    (tmp_path / "large").write_bytes(b"x" * 11)
    with pytest.raises(RunError, match="11 bytes; at most 10"):
        read_whole(tmp_path / "large", 10)


@pytest.mark.parametrize(
    "said", [b"[" * 100_000, b'{"a": 1, "a": 2}', b"\xff", b"1" * 10_000, b"1e400"]
)
def test_strange_json_is_refused(said):
    with pytest.raises(RunError, match="here is damaged"):
        parse_json(said, "here")


def tensors(header, data=b""):
    said = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(said).to_bytes(8, "little") + said + data


def one(**changes):
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        (1 << 62).to_bytes(8, "little") + b"{}",
        tensors(b"[]"),
        tensors(b"[" * 100_000),
        tensors(one(), b"1234567"),
        tensors(one(), b"123456789"),
        tensors(one(shape=[1 << 60]), b"12345678"),
        tensors(one(shape=[0, 1 << 60], data_offsets=[0, 0])),
        tensors(one(shape=[True, 2]), b"12345678"),
        tensors(one(shape=[1] * 1000 + [2]), b"12345678"),
        tensors(one(dtype="PICKLE"), b"12345678"),
        tensors({"../\x1b[2J": one()["a"]}, b"12345678"),
        tensors({**one(), "b": one()["a"]}, b"12345678"),
        tensors({"__metadata__": {"a": 1}}),
    ],
)
def test_a_lying_header_is_refused(content):
    with pytest.raises(RunError, match="here is damaged"):
        read_header(content, "here")


def test_a_header_that_tells_the_truth_is_read():
    content = tensors({**one(), "__metadata__": {"said": "hello"}}, b"12345678")
    found = read_header(content, "here")
    assert (found.tensors["a"].shape, found.words) == ((2,), {"said": "hello"})
