"""Reading a store: what was written comes back, and no damage is taken for data."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from trajflow.datasets.checksums import CHECKSUMS
from trajflow.datasets.schema import CHUNK, TrackBlock, find_fault
from trajflow.datasets.store import Store, open_store
from trajflow.datasets.writer import StoreWriter
from trajflow.errors import DataError

DT = 0.4
SCENES = {"alley": [700, 5, 12], "bridge": [61_000, 8_000], "court": [66_001, 3]}
ROWS = sum(map(sum, SCENES.values()))


def block(scene, rowsize, *, labels=None, seed=0, dims=2, split="all"):
    """Random walks of one scene that start at different steps."""
    random = np.random.default_rng([seed, *scene.encode()])
    steps = [np.arange(n) + random.integers(50) for n in rowsize]
    return TrackBlock(
        scene=scene,
        labels=labels or list(range(10, 10 + len(rowsize))),
        types=["pedestrian" if i % 2 else "cyclist" for i in range(len(rowsize))],
        rowsize=np.array(rowsize),
        time=np.concatenate(steps) * DT,
        position=5e6 + random.normal(size=(sum(rowsize), dims)).cumsum(0),
        split=split,
    )


def blocks():
    parts = {"alley": "val", "court": "test"}
    for scene, rowsize in SCENES.items():
        one = block(scene, rowsize, split=parts.get(scene, "train"))
        if scene == "court":
            half = np.array(["train", "test"])[(one.time > 100).astype(int)]
            one = TrackBlock(**{**vars(one), "split": half})
        yield one


def write(path: Path, some=None, **told) -> Store:
    with StoreWriter(path, **({"dims": 2, "dt": DT, "unit": "m"} | told)) as writer:
        for one in some or blocks():
            writer.append(one)
        table = {"scene": ["alley", "court"], "x": [1.5, np.nan], "reason": ["twice", "no \ntime"]}
        writer.append_table("quarantine", table)
        writer.report = {"rows_read": ROWS}
    return open_store(path)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A store of three scenes over three chunks; no test may change it."""
    folder = tmp_path_factory.mktemp("stores") / "walks.zarr"
    write(folder, folds={"north": ["alley", "bridge"], "south": ["court"]}, licence="CC0")
    return folder


@pytest.fixture
def copy(path, tmp_path):
    return shutil.copytree(path, tmp_path / "copy.zarr")


def test_what_was_written_is_read(path):
    tracks = open_store(path).tracks()
    written = list(blocks())
    np.testing.assert_array_equal(tracks.position, np.concatenate([b.position for b in written]))
    np.testing.assert_allclose(tracks.step * DT, np.concatenate([b.time for b in written]))
    sizes = [size for one in SCENES.values() for size in one]
    np.testing.assert_array_equal(np.bincount(tracks.track), sizes)
    assert [tracks.scenes[i] for i in tracks.scene] == ["alley"] * 3 + ["bridge"] * 2 + [
        "court"
    ] * 2
    kinds = [tracks.types[i] for i in tracks.kind]
    assert kinds == [kind for one in written for kind in one.types]
    split = np.array(tracks.splits)[tracks.split]
    np.testing.assert_array_equal(split[:717], "val")
    np.testing.assert_array_equal(split[717:69_717], "train")
    np.testing.assert_array_equal(split[69_717:], written[2].split)
    assert tracks.dt == DT


@pytest.mark.parametrize("dims", [2, 3])
def test_positions_keep_every_bit(tmp_path, dims):
    one = block("a", [7, 3], dims=dims)
    one.position[:, -1] = 1e-12 + np.arange(10) * 1e7
    store = write(tmp_path / "s.zarr", [one], dims=dims)
    np.testing.assert_array_equal(store.tracks().position, one.position)
    assert store.dims == dims


@pytest.mark.parametrize("names", [["court"], ["court", "alley"], ["bridge"], [], list(SCENES)])
def test_some_scenes_are_the_same_rows_as_in_the_whole(path, names):
    store = open_store(path)
    whole, some = store.tracks(), store.tracks(names)
    kept = np.isin(whole.scene, [store.scenes.index(name) for name in names])
    rows = kept[whole.track]
    for column in ("position", "step", "split"):
        np.testing.assert_array_equal(getattr(some, column), getattr(whole, column)[rows])
    np.testing.assert_array_equal(some.agent, np.flatnonzero(kept))
    np.testing.assert_array_equal(some.agent[some.track], whole.track[rows])
    np.testing.assert_array_equal(some.scene, whole.scene[kept])
    assert some.scenes == whole.scenes


def test_parts_hold_every_scene_once_and_few_rows(path):
    store = open_store(path)
    assert list(store.parts(1)) == [["alley"], ["bridge"], ["court"]]
    assert list(store.parts(69_717)) == [["alley", "bridge"], ["court"]]
    assert list(store.parts(69_716)) == [["alley"], ["bridge"], ["court"]]
    assert list(store.parts(10**9)) == [list(SCENES)]
    rows = [len(store.tracks(part).step) for part in store.parts(1)]
    assert rows == list(store.scene_rows.values()) == [sum(one) for one in SCENES.values()]


def test_an_unknown_scene_is_named(path):
    with pytest.raises(DataError, match=r"no scene 'curt'.*'court'"):
        open_store(path).tracks(["curt"])


def test_integer_labels_come_back(path):
    assert open_store(path).labels([0, 4, 5]) == ["10", "11", "10"]


def test_text_labels_come_back(tmp_path):
    labels = ["søren", "", "x" * 300, "[red]\x1b", "7"]
    some = [block("a", [2, 3, 4, 5, 6], labels=labels), block("b", [3, 2], labels=[4, 5])]
    store = write(tmp_path / "s.zarr", some)
    assert store.labels(np.arange(7)) == [*labels, "4", "5"]
    assert store.labels([4, 0]) == ["7", "søren"]


def test_the_summary_counts(path):
    summary = open_store(path).summary()
    tracks = open_store(path).tracks()
    assert summary["rows"] == ROWS
    assert summary["agents"] == {"cyclist": 4, "pedestrian": 3}
    counts = np.bincount(tracks.split).tolist()
    assert summary["splits"] == dict(zip(["val", "train", "test"], counts, strict=True))
    low, high = tracks.position.min(0), tracks.position.max(0)
    assert summary["bounds"] == {"x": [low[0], high[0]], "y": [low[1], high[1]]}
    spans = [np.ptp(b.time) for b in blocks()]
    assert summary["duration"] == pytest.approx(sum(spans))


def test_attributes_and_tables_come_back(path):
    store = open_store(path)
    assert store.folds == {"north": ["alley", "bridge"], "south": ["court"]}
    assert store.attrs["report"] == {"rows_read": ROWS}
    assert store.attrs["licence"] == "CC0"
    assert store.tables == ["quarantine"]
    table = store.table("quarantine")
    assert table["reason"].tolist() == ["twice", "no \ntime"]
    np.testing.assert_array_equal(table["x"], [1.5, np.nan])
    with pytest.raises(DataError, match="no table 'rejects'"):
        store.table("rejects")


def test_equal_tracks_have_equal_fingerprints(path, tmp_path):
    one = open_store(path).fingerprint()
    folds = {"north": ["alley", "bridge"], "south": ["court"]}
    assert write(tmp_path / "a", folds=folds, source="elsewhere").fingerprint() == one
    cut = [TrackBlock(**{**vars(b), "labels": [str(i) for i in b.labels]}) for b in blocks()]
    moved = list(blocks())
    moved[1].position[500, 1] += 1e-9
    others = [
        write(tmp_path / "b").fingerprint(),
        write(tmp_path / "c", cut, folds=folds).fingerprint(),
        write(tmp_path / "d", moved, folds=folds).fingerprint(),
        write(tmp_path / "e", folds=folds, unit="px").fingerprint(),
    ]
    assert len({one, *others}) == 5


def test_pieces_of_a_scene_make_the_same_store(tmp_path):
    whole = block("a", [300, 70_000, 9, 61_000])
    ends = np.cumsum(whole.rowsize)
    pieces = [
        TrackBlock(
            "a",
            whole.labels[i : i + 1],
            whole.types[i : i + 1],
            whole.rowsize[i : i + 1],
            whole.time[end - size : end],
            whole.position[end - size : end],
        )
        for i, (end, size) in enumerate(zip(ends, whole.rowsize, strict=True))
    ]
    one = write(tmp_path / "one", [whole])
    many = write(tmp_path / "many", pieces)
    assert one.fingerprint() == many.fingerprint()
    np.testing.assert_array_equal(one.tracks().position, many.tracks().position)


def test_xarray_opens_a_store(path):
    xarray = pytest.importorskip("xarray")
    data = xarray.open_zarr(path, consolidated=False)
    assert {"x", "y", "time"} <= set(data.coords)
    assert data.sizes["obs"] == ROWS
    assert data.sizes["trajectory"] == 7
    assert data.attrs["featureType"] == "trajectory"
    assert data.rowsize.attrs["sample_dimension"] == "obs"
    assert data.x.attrs["units"] == "m"
    assert data.split.attrs["flag_meanings"] == "val train test"
    last = data.isel(obs=slice(int(data.episode_ends[-2]), int(data.episode_ends[-1])))
    np.testing.assert_array_equal(last.y.values, list(blocks())[2].position[-3:, 1])
    assert data.time.dtype == np.float64


def test_half_a_million_rows_open_and_load_fast(tmp_path):
    some = [block(f"s{i}", [100] * 500) for i in range(10)]
    write(tmp_path / "s.zarr", some)
    begin = time.process_time()
    tracks = open_store(tmp_path / "s.zarr").tracks()
    assert time.process_time() - begin < 1
    assert tracks.position.shape == (500_000, 2)


def test_many_scattered_scenes_load_fast(tmp_path):
    store = write(tmp_path / "s.zarr", [block(f"s{i}", [9]) for i in range(600)])
    begin = time.process_time()
    assert len(store.tracks(store.scenes[::2]).step) == 2700
    assert time.process_time() - begin < 1


FILES = ["x/c/0", "y/c/1", "time/c/2", "split/c/1", "rowsize/c/0", "scene/c/0", "agent_type/c/0"]
FILES += ["trajectory_id/c/0", "episode_ends/c/0", "zarr.json", "x/zarr.json", "rowsize/zarr.json"]
FILES += [CHECKSUMS]
HURTS = {
    "flip": lambda raw, i: raw[:i] + bytes([raw[i] ^ 1 << i % 8]) + raw[i + 1 :],
    "cut": lambda raw, i: raw[:i],
    "longer": lambda raw, i: raw + b"\0",
    "empty": lambda raw, i: b"",
    "gone": lambda raw, i: None,
}


@pytest.mark.parametrize("name", FILES)
def test_damage_is_named_and_never_read(copy, name):
    raw = (copy / name).read_bytes()
    random = np.random.default_rng(len(name))
    for hurt in ["flip"] * 5 + list(HURTS):
        harm(copy / name, HURTS[hurt](raw, int(random.integers(len(raw)))))
        with pytest.raises(DataError) as caught:
            open_store(copy).tracks()
        named = copy if hurt == "gone" and name == "zarr.json" else copy / name
        assert str(named) in str(caught.value), hurt


def harm(file, raw):
    if raw is None:
        file.unlink()
    else:
        file.write_bytes(raw)


def test_every_file_of_a_store_is_guarded(copy):
    names = [f.relative_to(copy).as_posix() for f in copy.rglob("*") if f.is_file()]
    assert {"quarantine/x/c/0", "quarantine/zarr.json", "split/zarr.json"} <= set(names)
    random = np.random.default_rng(0)
    for name in names:
        raw = (copy / name).read_bytes()
        harm(copy / name, HURTS["flip"](raw, int(random.integers(len(raw)))))
        with pytest.raises(DataError, match=name.rpartition("/")[2]):
            open_store(copy).verify()
        harm(copy / name, None)
        with pytest.raises(DataError):
            open_store(copy)
        harm(copy / name, raw)
    open_store(copy).verify()


@pytest.mark.parametrize(
    ("name", "scenes"),
    [("x/c/0", "'alley' to 'bridge'"), ("time/c/1", "'bridge' to 'court'"), ("y/c/2", "'court'")],
)
def test_damage_names_the_scenes(copy, name, scenes):
    raw = (copy / name).read_bytes()
    for hurt in ("flip", "gone"):
        harm(copy / name, HURTS[hurt](raw, 99))
        with pytest.raises(DataError, match=scenes):
            open_store(copy).tracks()


def test_scenes_beside_the_damage_are_read(copy):
    harm(copy / "x/c/2", b"nothing")
    store = open_store(copy)
    assert len(store.tracks(["alley"]).step) == 717
    with pytest.raises(DataError, match="court"):
        store.tracks(["court"])


@pytest.mark.parametrize("moment", ["opened", "half read", "removed"])
def test_a_store_that_is_replaced_while_it_is_read_is_not_called_damaged(copy, moment):
    store = open_store(copy)
    if moment == "half read":
        store.tracks(["alley"])
    if moment == "removed":
        shutil.rmtree(copy)
    else:
        some = [block(scene, sizes, seed=1) for scene, sizes in SCENES.items()]
        with StoreWriter(copy, dims=2, dt=DT, unit="m", overwrite=True) as writer:
            for one in some:
                writer.append(one)
    for read in (store.tracks, store.verify, lambda: store.table("quarantine")):
        with pytest.raises(DataError, match=r"copy\.zarr was replaced while reading it; open it"):
            read()
    if moment != "removed":
        assert len(open_store(copy).tracks().step) == ROWS


def reseal(folder: Path) -> None:
    """Seal a store as its writer would, so that only what lies behind the seal can refuse it."""
    from trajflow.datasets.checksums import write_checksums

    shutil.rmtree(folder / "seal")
    write_checksums(folder)


def change(file: Path, **values) -> None:
    node = json.loads(file.read_text())
    target = node["attributes"] if file.parent.suffix == ".zarr" else node
    target.update(values)
    file.write_text(json.dumps(node))


@pytest.mark.parametrize("name", [name for name in FILES if "/c/" in name])
def test_every_chunk_has_a_checksum_that_other_readers_see(copy, name):
    zarr = pytest.importorskip("zarr")
    raw = (copy / name).read_bytes()
    random = np.random.default_rng(len(name))
    for place in random.integers(18, len(raw), size=9):
        harm(copy / name, HURTS["flip"](raw, int(place)))
        with pytest.raises((RuntimeError, ValueError)):
            zarr.open_array(copy / name.partition("/")[0], mode="r")[:]
    if name == "x/c/0":
        reseal(copy)
        with pytest.raises(DataError, match=r"x/c/0.*alley.*does not unpack to a chunk"):
            open_store(copy).tracks()


@pytest.mark.parametrize("size", [CHUNK * 8 - 8, CHUNK * 8 + 8, 2**40])
def test_a_chunk_that_claims_another_size_is_not_unpacked(copy, size):
    raw = bytearray((copy / "x/c/1").read_bytes())
    single, width = raw[4] >> 5 & 1, (1, 2, 4, 8)[raw[4] >> 6]
    head = bytes([0b11_100100 if raw[4] & 4 else 0b11_100000])
    start = 5 + (1 - single)
    body = bytes(raw[:4]) + head + size.to_bytes(8, "little") + bytes(raw[start + width :])
    harm(copy / "x/c/1", body)
    reseal(copy)
    with pytest.raises(DataError, match=r"x/c/1.*does not unpack to a chunk"):
        open_store(copy).tracks()


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("x/zarr.json", {"shape": [10**15]}),
        ("x/zarr.json", {"shape": [ROWS - 1]}),
        ("x/zarr.json", {"data_type": "float32"}),
        ("x/zarr.json", {"chunk_key_encoding": {"name": "v2"}}),
        ("x/zarr.json", {"codecs": [{"name": "bytes"}]}),
        ("x/zarr.json", {"chunk_grid": 3}),
        ("x/zarr.json", {"chunk_grid": {"configuration": {"chunk_shape": [10]}}}),
        ("rowsize/zarr.json", {"shape": [10**12]}),
        ("zarr.json", {"rows": 10**15}),
        ("zarr.json", {"rows": -1}),
        ("zarr.json", {"trajectories": 10**12}),
        ("zarr.json", {"dt": 0}),
        ("zarr.json", {"dt": "fast"}),
        ("zarr.json", {"dims": 3}),
        ("zarr.json", {"scenes": ["alley"]}),
        ("zarr.json", {"types": [], "type_counts": []}),
        ("zarr.json", {"splits": []}),
        ("zarr.json", {"bounds": [[0.0, 1.0]]}),
    ],
)
def test_lying_metadata_is_refused_before_memory_is_taken(copy, file, values):
    change(copy / file, **values)
    reseal(copy)
    with pytest.raises(DataError, match="damaged store"):
        open_store(copy)


def test_a_lie_told_by_all_files_is_refused_before_memory_is_taken(copy):
    change(copy / "zarr.json", trajectories=10**12)
    for name in ("rowsize", "episode_ends", "trajectory_id", "scene", "agent_type"):
        change(copy / name / "zarr.json", shape=[10**12])
    reseal(copy)
    with pytest.raises(DataError, match=r"zarr\.json claims 4.* bytes of numbers in"):
        open_store(copy)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("rowsize", [700, 5, 12, 61_000, 8_000, 66_001, 4]),
        ("rowsize", [700, 5, 12, 61_003, 8_000, 66_001, 0]),
        ("episode_ends", [700, 705, 717, 61_717, 69_717, 135_718, 135_720]),
        ("scene", [0, 0, 1, 0, 1, 2, 2]),
        ("scene", [0, 0, 0, 2, 2, 2, 2]),
        ("agent_type", [0, 1, 0, 0, 1, 0, 2]),
        ("agent_type", [0, 1, 0, 0, 1, 0, -1]),
    ],
)
def test_an_index_that_contradicts_the_rows_is_refused(copy, name, values):
    zarr = pytest.importorskip("zarr")
    zarr.open_array(copy / name, mode="r+")[:] = values
    reseal(copy)
    with pytest.raises(DataError, match=f"{name} contradicts"):
        open_store(copy)


@pytest.mark.parametrize("version", ["2.0", "0.9", "x"])
def test_another_format_is_refused(copy, version):
    change(copy / "zarr.json", trajflow_format=version)
    with pytest.raises(DataError, match=f"format {version}.*reads 1"):
        open_store(copy)


def test_a_later_minor_format_is_read(copy):
    change(copy / "zarr.json", trajflow_format="1.7", novelty=[1])
    reseal(copy)
    assert open_store(copy).rows == ROWS


def test_a_deep_document_is_refused(copy):
    (copy / "zarr.json").write_text('{"attributes":' + "[" * 200_000)
    with pytest.raises(DataError, match=r"zarr\.json"):
        open_store(copy)


def test_what_is_no_store_is_said_so(tmp_path):
    with pytest.raises(DataError, match="no store at"):
        open_store(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("x")
    for other in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(DataError, match="not a store of trajflow"):
            open_store(other)
    foreign = tmp_path / "zarr.json"
    foreign.write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    with pytest.raises(DataError, match="not of a store of trajflow"):
        open_store(tmp_path)


def test_a_link_in_place_of_a_chunk_is_refused(copy):
    (copy / "x/c/1").rename(copy / "elsewhere")
    (copy / "x/c/1").symlink_to(copy / "elsewhere")
    with pytest.raises(DataError, match="not a regular file"):
        open_store(copy).tracks()


@pytest.mark.parametrize("off", [0.26, 0.5, -0.3])
def test_times_between_steps_are_refused_with_scene_and_agent(copy, off):
    change(copy / "zarr.json", dt=DT / (1 + off / 10))
    reseal(copy)
    with pytest.raises(DataError, match=r"scene 'alley', agent '1\d': time .* between steps"):
        open_store(copy).tracks()


def test_a_quarter_of_a_step_is_tolerated():
    begins = np.array([True, False, False])
    time = np.array([0.0, 1.24, 1.76]) * DT
    assert find_fault(time, begins, DT) is None
    assert find_fault(np.array([0.0, 1.0, 1.74]) * DT, begins, DT).row == 2
    assert find_fault(np.array([0.0, 0.9, 1.1]) * DT, begins, DT).what.startswith("times")


def test_steps_count_from_time_zero_not_from_the_first_row(tmp_path):
    one = block("a", [4])
    one.time[:] = np.array([780, 790, 800, 820]) / 25
    assert write(tmp_path / "s.zarr", [one]).tracks().step.tolist() == [78, 79, 80, 82]


def test_reading_imports_no_torch_and_no_pandas(path):
    code = f"""
import sys
from trajflow.datasets.store import open_store
open_store({str(path)!r}).tracks()
print(sorted({{"torch", "pandas", "sklearn", "matplotlib"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_sealed_digests_are_those_of_the_files(path):
    files = json.loads((path / CHECKSUMS).read_text())["attributes"]["files"]
    for name, digest in files.items():
        assert hashlib.sha256((path / name).read_bytes()).hexdigest() == digest
    on_disk = {f.relative_to(path).as_posix() for f in path.rglob("*") if f.is_file()}
    assert on_disk == {*files, CHECKSUMS}
