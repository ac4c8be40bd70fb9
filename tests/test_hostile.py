"""Files that strangers made to hurt: each is refused in our own words, and no code of it is run."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trajflow.datasets.checksums import CHECKSUMS, MAX_NAME, encode_checksums
from trajflow.datasets.doctor import check
from trajflow.datasets.importing import import_tracks
from trajflow.datasets.store import open_store
from trajflow.datasets.unpacking import MAX_LINE, SMALL, read_parquet, stage
from trajflow.errors import DataError
from trajflow.io import MAX_DEPTH, parse_bounded_json

FAULTS = Path(__file__).parents[1] / "examples" / "faults"
sys.path.insert(0, str(FAULTS))

import hostile_stores  # noqa: E402
import hostile_tables  # noqa: E402

LARGE_STORES = {
    "ten million lists",
    "an index of small bombs",
    "ten thousand empty chunks",
    "a million chunks, none there",
    "300 000 chunks, none there",
    "a chunk of a GiB",
}
LARGE_TABLES = {
    "a quote that is never closed",
    "a cell of a packed GiB",
    "a gzip bomb of rows",
    "a bzip2 bomb of rows",
    "an xz bomb of rows",
    "a zip bomb",
    "a zip of fifty thousand files",
    "lines of a megabyte",
    "one line of 64 MiB",
    "boxes of one word",
    "a Parquet text of a MiB, a million times",
    "a Parquet of 3 10^7 rows in a few KiB",
    "a Parquet of fifty thousand columns",
}


def named(names, large):
    return [pytest.param(n, marks=[pytest.mark.slow] if n in large else [], id=n) for n in names]


@pytest.fixture(scope="module")
def tame(tmp_path_factory):
    path = tmp_path_factory.mktemp("tame") / "data.zarr"
    hostile_stores.tame(path)
    return path


@pytest.mark.parametrize("name", named(hostile_stores.MAKERS, LARGE_STORES))
def test_a_hostile_store_is_refused(name, tame, tmp_path):
    path, canary = shutil.copytree(tame, tmp_path / "data.zarr"), tmp_path / "canary"
    hostile_stores.MAKERS[name](path, canary)
    (found,) = check(path)
    assert found.level == "error"
    if "table" not in name:
        with pytest.raises(DataError):
            open_store(path).tracks()
    assert not canary.exists()


@pytest.mark.parametrize("name", named(hostile_tables.MAKERS, LARGE_TABLES))
def test_a_hostile_table_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TRAJFLOW_CANARY", str(tmp_path / "canary"))
    source, file, write = hostile_tables.MAKERS[name]
    path = tmp_path / "hall" / "video0" / file
    path.parent.mkdir(parents=True)
    write(path)
    dt = None if source in ("sdd", "trajnet") else 0.4
    with pytest.raises(DataError):
        import_tracks(source, path, tmp_path / "out.zarr", dt=dt)
    assert [left.name for left in tmp_path.iterdir()] == ["hall"]


def test_a_tame_store_of_the_same_making_is_read(tame):
    assert len(open_store(tame).tracks().step) == hostile_stores.ROWS


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"[" * MAX_DEPTH + b"0" + b"]" * MAX_DEPTH, None),
        (b"[" * (MAX_DEPTH + 1) + b"0" + b"]" * (MAX_DEPTH + 1), "deep"),
        (b"[" * 200_000, "deep"),
        (b"[NaN]", "NaN is not a JSON number"),
        (b"[" + b"0," * 2_000_001 + b"0]", "values"),
        (b'"' + b"x" * 99 + b'"', "bytes"),
        (b"\xff", "decode"),
    ],
)
def test_json_of_strangers_has_bounds(raw, told):
    most = 50 if told == "bytes" else 1 << 23
    if told is None:
        parse_bounded_json(raw, most)
    else:
        with pytest.raises(ValueError, match=told):
            parse_bounded_json(raw, most)


@pytest.mark.parametrize(("source", "name"), [("ethucy", "t.txt"), ("table", "t.csv")])
def test_a_line_that_is_too_long_is_named(tmp_path, source, name):
    row = {"ethucy": b"10 1 2 3\n", "table": b"1,1,2,3\n"}[source]
    head = b"agent,time,x,y\n" if source == "table" else b""
    (tmp_path / name).write_bytes(head + row * 9 + b"x" * (3 * MAX_LINE) + b"\n" + row)
    with pytest.raises(DataError, match=f"{name} is not a table: a line is longer than {MAX_LINE}"):
        import_tracks(source, tmp_path / name, tmp_path / "o.zarr", dt=1.0)
    assert [left.name for left in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("source", ["ethucy", "trajnet", "table"])
def test_a_last_line_that_is_too_long_is_named_before_it_is_read(tmp_path, source):
    name, row = {
        "ethucy": ("t.txt", b"10 1 2 3\n"),
        "trajnet": ("t.ndjson", b'{"track": {"f": 1, "p": 1, "x": 0, "y": 0}}\n'),
        "table": ("t.csv", b"agent,time,x,y\n1,1,2,3\n"),
    }[source]
    (tmp_path / name).write_bytes(row + b"x" * (3 * MAX_LINE))
    with pytest.raises(DataError, match=f"{name} is no table: its last line is longer"):
        import_tracks(source, tmp_path / name, tmp_path / "o.zarr", dt=1.0)
    assert [left.name for left in tmp_path.iterdir()] == [name]


def test_what_unfolds_plainly_is_read_and_a_bomb_is_not(tmp_path):
    plain = np.random.default_rng(0).integers(0, 10, SMALL + 99).astype("u1").tobytes()
    (tmp_path / "plain.gz").write_bytes(gzip.compress(plain, 1))
    stage(tmp_path / "plain.gz", tmp_path / "plain")
    assert (tmp_path / "plain").read_bytes() == plain
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(SMALL + 9999), 1))
    with pytest.raises(DataError, match="over 200 to 1"):
        stage(tmp_path / "bomb.gz", tmp_path / "bomb")


def test_a_table_of_contents_that_hides_its_size_is_refused(tmp_path):
    """The size of 64 bits, which zipfile believes, and not the one of 32."""
    large = b"PK\x06\x06" + bytes(36) + (1 << 30).to_bytes(8, "little") + bytes(8)
    locator, end = b"PK\x06\x07" + bytes(16), b"PK\x05\x06" + bytes(18)
    (tmp_path / "t.csv.zip").write_bytes(large + locator + end)
    with pytest.raises(DataError, match="table of contents"):
        stage(tmp_path / "t.csv.zip", tmp_path / "t.csv")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux only")
def test_parquet_is_decoded_where_memory_has_an_end(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    long = pa.DictionaryArray.from_arrays(pa.array([0] * 4000, pa.int32()), ["x" * 2**20])
    pq.write_table(pa.table({"agent": long}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="needs more memory"):
        list(read_parquet(tmp_path / "t.parquet", ["agent"], 65_536))


def test_parquet_rows_come_as_they_were_written(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table({"a": ["x", None, "y"] * 50, "b": range(150), "c": [1.5] * 150})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=70)
    read = pa.Table.from_batches(read_parquet(tmp_path / "t.parquet", ["c", "a"], 40))
    assert read.equals(table.select(["c", "a"]))
    pq.write_table(table.slice(0, 0), tmp_path / "none.parquet")
    assert sum(b.num_rows for b in read_parquet(tmp_path / "none.parquet", ["a"], 40)) == 0


def test_an_abandoned_reading_leaves_no_process(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    values = np.random.default_rng(0).normal(size=400_000)
    pq.write_table(pa.table({"x": values}), tmp_path / "t.parquet")
    batches = read_parquet(tmp_path / "t.parquet", ["x"], 1000)
    next(batches)
    batches.close()
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    if children.exists():
        running = [Path(f"/proc/{p}/cmdline").read_bytes() for p in children.read_text().split()]
        assert not [line for line in running if b"unpacking.py" in line]


@pytest.mark.parametrize(
    "name", ["/x", "x/../../y", "..", ".", "", "x//y", "x\0", "x" * (MAX_NAME + 1)]
)
def test_names_of_files_with_checksums_have_bounds(tame, tmp_path, name):
    path = shutil.copytree(tame, tmp_path / "data.zarr")
    files = json.loads((path / CHECKSUMS).read_text())["attributes"]["files"]
    (path / CHECKSUMS).write_bytes(encode_checksums(files))
    assert open_store(path).rows == hostile_stores.ROWS
    (path / CHECKSUMS).write_bytes(encode_checksums(files | {name: "0" * 64}))
    with pytest.raises(DataError, match=r"seal/zarr\.json is not what was written"):
        open_store(path)


def test_every_command_is_recorded_under_hostile_names(tmp_path):
    import hostile_labels
    from labelled_data import Names

    words = [list(map(str, w)) for w in hostile_labels.commands(tmp_path, Names(())).values()]
    recorded = {w[0] for w in words} | {tuple(w[:2]) for w in words}
    assert hostile_labels.registered() - recorded == {
        "tui",
        "push",
    }  # screens are pressed through; uploads need a server


SCRIPTS = ["store_flips.py", "hostile_files.py", "full_disk_import.py", "hostile_labels.py"]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_find_nothing(script):
    done = subprocess.run([sys.executable, FAULTS / script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
