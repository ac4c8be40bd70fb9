"""What is saved of a damaged store: every trajectory that is whole, and a count of the rest."""

import json
import shutil

import numpy as np
import pytest

from trajflow.datasets.repair import repair_store
from trajflow.datasets.schema import CHUNK, TrackBlock
from trajflow.datasets.store import open_store
from trajflow.datasets.writer import StoreWriter
from trajflow.errors import DataError

WALKS = {"alley": [700, 5, 12], "bridge": [60_000, 8_000], "court": [5, 63_000]}


def block(scene, sizes, labels):
    random = np.random.default_rng([*scene.encode()])
    return TrackBlock(
        scene=scene,
        labels=labels,
        types=["walker" if i % 2 else "rider" for i in range(len(sizes))],
        rowsize=np.array(sizes),
        time=np.concatenate([np.arange(n) for n in sizes]) * 0.5,
        position=random.normal(size=(sum(sizes), 2)),
        split=["train", "test"][scene == "court"],
    )


def write(path, text):
    folds = {"a": ["alley"], "c": ["court"]}
    with StoreWriter(path, dims=2, dt=0.5, unit="m", folds=folds, licence="CC0") as writer:
        for scene, sizes in WALKS.items():
            labels = [f"{scene}-{i}" if text else i for i in range(len(sizes))]
            writer.append(block(scene, sizes, labels))
        writer.append_table("quarantine", {"scene": ["alley"], "x": [1.0]})
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp("whole") / "s.zarr", text=True)


@pytest.fixture
def hurt(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "hurt.zarr")


def agents(store, without=()):
    """Label, scene, steps and positions of each trajectory, in stored order."""
    tracks = store.tracks()
    found = {}
    for number, label in enumerate(store.labels(tracks.agent)):
        rows = tracks.track == number
        scene = tracks.scenes[tracks.scene[number]]
        if (scene, label) not in without:
            kind = tracks.types[tracks.kind[number]]
            part = tracks.splits[int(tracks.split[rows][0])]
            values = tracks.step[rows].tobytes(), tracks.position[rows].tobytes()
            found[scene, label] = kind, part, *values
    return found


@pytest.mark.parametrize(
    ("file", "lost"),
    [
        ("x/c/0", {"alley": 3, "bridge": 2}),
        ("y/c/1", {"bridge": 1, "court": 2}),
        ("time/c/2", {"court": 1}),
        ("split/c/2", {"court": 1}),
    ],
)
def test_only_trajectories_in_a_damaged_chunk_are_lost(whole, hurt, tmp_path, file, lost):
    (hurt / file).unlink()
    told = repair_store(hurt, tmp_path / "saved.zarr")
    assert told.lost == lost
    assert told.lost_trajectories == sum(lost.values()) == 7 - told.trajectories
    assert told.faults == {file: "is missing"}
    saved = open_store(tmp_path / "saved.zarr")
    saved.verify()
    before, after = agents(open_store(whole)), agents(saved)
    assert after.items() <= before.items()
    assert len(after) == told.trajectories
    assert told.rows == saved.rows == open_store(whole).rows - told.lost_rows
    assert saved.table("quarantine")["scene"].tolist() == ["alley"]
    folds = {"a": ["alley"], "c": ["court"]}
    assert saved.folds == {fold: s for fold, s in folds.items() if s[0] in saved.scenes}


@pytest.mark.parametrize(
    "file", ["rowsize/c/0", "episode_ends/c/0", "seal/zarr.json", "x/zarr.json"]
)
def test_what_two_files_tell_survives_the_loss_of_one(whole, hurt, tmp_path, file):
    (hurt / file).write_bytes(b"")
    told = repair_store(hurt, tmp_path / "saved.zarr")
    assert told.lost_trajectories == told.lost_rows == 0
    assert open_store(tmp_path / "saved.zarr").fingerprint() == open_store(whole).fingerprint()


def test_labels_that_are_numbers_stay_numbers(tmp_path):
    hurt = write(tmp_path / "hurt.zarr", text=False)
    (hurt / "x" / "c" / "2").unlink()
    told = repair_store(hurt, tmp_path / "saved.zarr")
    saved = open_store(tmp_path / "saved.zarr")
    assert told.lost == {"court": 1}
    assert saved.labels(range(6)) == ["0", "1", "2", "0", "1", "0"]
    assert not (saved.path / "label_size").exists()


def test_without_a_seal_the_checksum_of_each_chunk_decides(whole, hurt, tmp_path):
    shutil.rmtree(hurt / "seal")
    raw = bytearray((hurt / "x/c/2").read_bytes())
    raw[len(raw) // 2] ^= 4
    (hurt / "x/c/2").write_bytes(raw)
    told = repair_store(hurt, tmp_path / "saved.zarr")
    assert told.lost == {"court": 1}
    assert "does not unpack to a chunk" in told.faults["x/c/2"]


def test_a_changed_name_is_told(hurt, tmp_path):
    node = json.loads((hurt / "zarr.json").read_text())
    node["attributes"]["unit"] = "km"
    (hurt / "zarr.json").write_text(json.dumps(node))
    told = repair_store(hurt, tmp_path / "saved.zarr")
    assert "check the names, dt and unit" in told.notes[0]
    assert told.faults == {"zarr.json": "is not what was written"}


@pytest.mark.parametrize(
    "files", [["scene/c/0"], ["rowsize/c/0", "episode_ends/c/0"], ["zarr.json"]]
)
def test_where_nothing_is_left_nothing_is_written(hurt, tmp_path, files):
    for file in files:
        (hurt / file).write_bytes(b"")
    with pytest.raises(DataError):
        repair_store(hurt, tmp_path / "saved.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["hurt.zarr"]


def test_a_store_that_claims_too_much_is_not_salvaged(hurt, tmp_path):
    node = json.loads((hurt / "zarr.json").read_text())
    node["attributes"] |= {"rows": 10**15, "trajectories": 10**13}
    (hurt / "zarr.json").write_text(json.dumps(node))
    with pytest.raises(DataError, match="claims"):
        repair_store(hurt, tmp_path / "saved.zarr")


def test_the_damaged_store_is_not_touched(hurt, tmp_path):
    (hurt / "y/c/0").unlink()
    before = {p: p.read_bytes() for p in hurt.rglob("*") if p.is_file()}
    repair_store(hurt, tmp_path / "saved.zarr")
    assert before == {p: p.read_bytes() for p in hurt.rglob("*") if p.is_file()}


def test_the_command_saves_what_it_can_and_says_what_it_cannot(trajflow, hurt, tmp_path):
    out = tmp_path / "saved.zarr"
    assert trajflow("data", "check", hurt, "--repair", out)[0] == 0
    assert not out.exists()
    (hurt / "x/c/2").unlink()
    code, told, _ = trajflow("data", "check", hurt, "--repair", out)
    assert code == 0
    assert "lost 1 trajectories, 63000 rows" in told
    assert "x/c/2: is missing" in told
    assert trajflow("data", "check", out)[0] == 0
    assert trajflow("data", "check", hurt, "--repair", out)[0] == 2
    code, told, _ = trajflow("data", "check", hurt, "--repair", out, "--overwrite", "--json")
    assert json.loads(told)["lost"] == {"court": 1}
    assert json.loads(told)["rows"] > CHUNK
