"""Stores, runs and forecasts in a bucket, on a local S3 server."""

import shutil
import sys

import fsspec
import pytest

from trajflow import Predictor
from trajflow.datasets import open_store
from trajflow.errors import DataError, MissingExtra
from trajflow.remote import upload


@pytest.fixture(scope="module")
def server():
    from moto.server import ThreadedMotoServer  # heavy: not for every process that collects tests

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(server, monkeypatch):
    """A file system with the bucket `tracks`, which trajflow finds by the environment."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "nobody")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fs = fsspec.filesystem("s3", skip_instance_cache=True)
    if not fs.exists("tracks"):
        fs.mkdir("tracks")
    yield fs
    fs.rm("tracks", recursive=True)


@pytest.fixture
def far_fork(bucket, fork):
    """The store of the fork in the bucket."""
    bucket.put(str(fork), "tracks/fork.zarr", recursive=True)
    return "s3://tracks/fork.zarr"


def test_a_store_in_a_bucket_holds_what_it_holds_here(trajflow, far_fork, fork):
    assert open_store(far_fork).fingerprint() == open_store(fork).fingerprint()
    far, near = (open_store(path).tracks() for path in (far_fork, fork))
    assert far.position.tobytes() == near.position.tobytes()
    code, out, _ = trajflow("data", "check", far_fork)
    assert code == 0
    assert "every file is intact" in out


def test_training_and_scores_are_those_of_the_local_store(
    trajflow, far_fork, trained, fork, tiny, tmp_path
):
    run = tmp_path / "run"
    assert trajflow("train", far_fork, "--out", run, "--seed", "5", *tiny)[0] == 0
    assert (run / "weights.safetensors").read_bytes() == (
        trained[0] / "weights.safetensors"
    ).read_bytes()
    reports = [trajflow("evaluate", run, data, "--no-baselines")[1] for data in (far_fork, fork)]
    rows = [report.splitlines()[2:] for report in reports]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    "name",
    ["futures.csv", "futures.zarr", pytest.param("futures.parquet", marks=pytest.mark.slow)],
)
def test_forecasts_are_written_into_a_bucket_whole(
    trajflow, bucket, far_fork, trained, fork, tmp_path, name
):
    near, far = tmp_path / name, f"s3://tracks/{name}"
    assert trajflow("predict", trained[0], fork, "-o", near)[0] == 0
    code, out, _ = trajflow("predict", trained[0], far_fork, "-o", far)
    assert (code, out.strip()) == (0, far)
    files = [near] if near.is_file() else sorted(p for p in near.rglob("*") if p.is_file())
    for file in files:
        place = f"tracks/{name}" + str(file)[len(str(near)) :]
        assert bucket.cat(place) == file.read_bytes(), place
    code, _, said = trajflow("predict", trained[0], far_fork, "-o", far)
    assert code == 2
    assert "exists already" in said
    assert trajflow("predict", trained[0], far_fork, "-o", far, "--overwrite")[0] == 0


def test_a_generated_store_is_uploaded_and_replaced_only_with_overwrite(trajflow, bucket):
    words = ("data", "make", "fork", "-o", "s3://tracks/made.zarr", "--set", "train=5", "-q")
    assert trajflow(*words, "--seed", 1)[0] == 0
    first = open_store("s3://tracks/made.zarr").fingerprint()
    code, _, said = trajflow(*words, "--seed", 2)
    assert code == 2
    assert "s3://tracks/made.zarr exists already" in said
    assert open_store("s3://tracks/made.zarr").fingerprint() == first
    assert trajflow(*words, "--seed", 2, "--overwrite")[0] == 0
    assert open_store("s3://tracks/made.zarr").fingerprint() != first


def test_what_is_no_store_is_not_overwritten(trajflow, bucket):
    bucket.pipe_file("tracks/diary/notes.txt", b"mine")
    words = ("data", "make", "fork", "-o", "s3://tracks/diary", "--set", "train=5", "--overwrite")
    code, _, said = trajflow(*words)
    assert code == 2
    assert "s3://tracks/diary is not a store of trajflow" in said
    assert bucket.cat("tracks/diary/notes.txt") == b"mine"


def test_a_run_in_a_bucket_forecasts_as_it_does_here(bucket, trained, fork, trajflow, tmp_path):
    bucket.put(str(trained[0]), "tracks/run", recursive=True)
    far, near = tmp_path / "far.csv", tmp_path / "near.csv"
    assert trajflow("predict", "s3://tracks/run", fork, "-o", far)[0] == 0
    assert trajflow("predict", trained[0], fork, "-o", near)[0] == 0
    assert far.read_bytes() == near.read_bytes()
    assert Predictor.load("s3://tracks/run").format == Predictor.load(trained[0]).format


def test_a_changed_byte_in_the_bucket_is_named(trajflow, bucket, far_fork):
    content = bytearray(bucket.cat("tracks/fork.zarr/x/c/0"))
    content[len(content) // 2] ^= 1
    bucket.pipe_file("tracks/fork.zarr/x/c/0", bytes(content))
    code, out, said = trajflow("data", "check", far_fork)
    assert code != 0
    assert "s3://tracks/fork.zarr/x/c/0" in out + said
    with pytest.raises(DataError, match=r"x/c/0 .*is not what was written"):
        open_store(far_fork).tracks()


def test_an_upload_that_breaks_off_leaves_no_store(fork, monkeypatch):
    fs = fsspec.filesystem("memory")
    put, calls = fs.put, []

    def broken(*args, **options):
        calls.append(args)
        if len(calls) == 2:
            raise OSError("the connection is gone")
        return put(*args, **options)

    monkeypatch.setattr(type(fs), "put", staticmethod(broken))
    place = pytest.importorskip("upath").UPath("memory://kept/fork.zarr")
    with pytest.raises(DataError, match="the connection is gone"):
        upload(fork, place)
    assert fs.exists("/kept/fork.zarr/x/zarr.json")
    with pytest.raises(DataError, match="is not a store of trajflow"):
        open_store("memory://kept/fork.zarr")


def test_a_file_url_is_a_local_path(trajflow, fork):
    assert trajflow("data", "info", f"file://{fork}")[0] == 0


@pytest.mark.usefixtures("bucket")
def test_what_is_not_there_is_refused_in_one_line(trajflow, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, said in (
        (("data", "info", "s4://tracks/a.zarr"), "s4:// is not supported; give a local path"),
        (("data", "make", "fork", "-o", "ftp://host/a.zarr"), "ftp:// is not supported"),
        (("data", "info", "s3://tracks/nothing.zarr"), "no store at s3://tracks/nothing.zarr"),
        (("data", "info", "s3://nobucket/a.zarr"), "no store at s3://nobucket/a.zarr"),
    ):
        code, _, error = trajflow(*words)
        assert code == 2
        assert said in error
        assert error.count("\n") == 1
        assert list(tmp_path.iterdir()) == []


def test_runs_and_pictures_are_written_here_only(
    trajflow, trained, fork, tiny, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for words in (
        ("train", fork, "--out", "s3://tracks/run", *tiny),
        (
            "train",
            fork,
            "--out",
            "s3://tracks/run",
            *tiny[:6],
            "--updates",
            9000,
            "--time-limit",
            99,
        ),
        ("plot", trained[0], fork, "-o", "s3://tracks/a.png"),
    ):
        code, _, said = trajflow(*words)
        assert code == 2
        assert "is in an object store; give a local path to write to" in said
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "upath", None)
    with pytest.raises(MissingExtra, match=r"pip install 'trajflow\[cloud\]'"):
        open_store("s3://tracks/a.zarr")


def test_a_table_is_imported_from_a_bucket(trajflow, bucket, walk, tmp_path):
    path = walk()
    bucket.put(str(path), "tracks/walk.csv")
    near, far = tmp_path / "near.zarr", tmp_path / "far.zarr"
    words = ("--columns", "agent=id,time=t,x=lon,y=lat", "--unit", "m")
    assert trajflow("data", "import", path, "-o", near, *words)[0] == 0
    shutil.move(path, tmp_path / "moved.csv")
    assert trajflow("data", "import", "s3://tracks/walk.csv", "-o", far, *words)[0] == 0
    assert open_store(far).fingerprint() == open_store(near).fingerprint()
