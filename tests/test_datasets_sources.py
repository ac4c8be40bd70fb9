"""Each importer against files made here, and against the research data where there is any."""

import json

import numpy as np
import pandas as pd
import pytest

from trajflow.datasets.importing import import_tracks
from trajflow.datasets.store import open_store
from trajflow.errors import DataError


@pytest.fixture
def imported(tmp_path):
    def make(source, path, **options):
        report = import_tracks(source, path, tmp_path / "out.zarr", overwrite=True, **options)
        return open_store(tmp_path / "out.zarr"), report

    return make


def walk(frames, agent, origin=0.0):
    return "".join(f"{float(f)}\t{float(agent)}\t{origin + f / 40}\t{f / 80}\n" for f in frames)


def test_a_known_recording_is_cut_at_its_first_validation_frame(tmp_path, imported):
    frames = range(10200, 10300, 10)
    (tmp_path / "biwi_eth.txt").write_text(walk(frames, 1))
    (tmp_path / "students001.txt").write_text(walk(range(0, 90, 10), 1))
    (tmp_path / "corridor.txt").write_text(walk(frames, 4).replace("\t", "  "))
    store, report = imported("ethucy", tmp_path)
    assert store.scenes == ["biwi_eth", "corridor", "students001"]
    assert (store.dt, store.unit, store.types) == (0.4, "m", ["pedestrian"])
    assert store.folds == {"eth": ["biwi_eth"]}
    eth = store.tracks(["biwi_eth"])
    np.testing.assert_array_equal(eth.step * 10, frames)
    parts = [store.splits[code] for code in eth.split]
    assert parts == ["train"] * 4 + ["val"] * 6
    assert {store.splits[code] for code in store.tracks(["corridor"]).split} == {"all"}
    assert any("have no stored split" in note for note in report.notes)


def test_a_line_that_is_no_four_numbers_is_set_apart(tmp_path, imported):
    (tmp_path / "a.txt").write_text(walk(range(0, 90, 10), 1) + "90\t1\t2\nframe id x y\n")
    store, report = imported("ethucy", tmp_path / "a.txt")
    assert report.quarantined == {"malformed": 1, "not-a-number": 1}
    assert store.table("quarantine")["text"].tolist() == ["90\t1\t2", "frame id x y"]
    assert store.rows == 9


def rows_of(frames, agent):
    """A walk whose frames come at x = frame and bend away at y = frame squared."""
    return "".join(f"{f}\t{agent}\t{float(f)}\t{f * f / 100}\n" for f in frames)


def place(store, label):
    tracks = store.tracks(["biwi_eth"])
    mine = [k for k, name in enumerate(store.labels(tracks.agent)) if name == label]
    rows = np.isin(tracks.track, mine)
    return tracks.step[rows], tracks.position[rows], [store.splits[c] for c in tracks.split[rows]]


def test_the_field_reads_eth_as_it_stands(tmp_path, imported):
    (tmp_path / "biwi_eth.txt").write_text(rows_of(range(0, 100, 10), 1))
    plain, _ = imported("ethucy", tmp_path)
    same, report = imported("ethucy", tmp_path, settings={"eth-time": "field"})
    assert plain.fingerprint() == same.fingerprint()
    assert same.tracks().step.tolist() == [*range(10)]
    assert not any("true time" in note for note in report.notes)


def test_true_time_walks_on_straight_lines_six_frames_apart(tmp_path, imported):
    (tmp_path / "biwi_eth.txt").write_text(rows_of(range(20, 120, 10), 1))
    (tmp_path / "biwi_hotel.txt").write_text(rows_of(range(20, 120, 10), 1))
    store, report = imported("ethucy", tmp_path, settings={"eth-time": "true"})
    step, position, _ = place(store, "1")
    assert store.dt == 0.4
    assert step.tolist() == [*range(4, 19)]
    np.testing.assert_allclose(position[:, 0], 6 * step)
    rows = np.arange(20, 120, 10)
    np.testing.assert_allclose(position[:, 1], np.interp(6 * step, rows, rows * rows / 100))
    assert position[1].tolist() == [30, 9]
    hotel = store.tracks(["biwi_hotel"])
    assert hotel.step.tolist() == [*range(2, 12)]
    assert any("10 rows 10 frames apart became 15" in note for note in report.notes)
    assert any("true time" in note for note in store.header.report["notes"])


def test_no_line_crosses_a_gap_or_the_cut_between_parts(tmp_path, imported):
    cut = 10240
    before, after = range(cut - 50, cut, 10), range(cut, cut + 60, 10)
    apart = [*range(0, 40, 10), *range(60, 100, 10)]
    (tmp_path / "biwi_eth.txt").write_text(
        rows_of(before, 1) + rows_of(after, 1) + rows_of(apart, 2)
    )
    store, _ = imported("ethucy", tmp_path, settings={"eth-time": "true"})
    step, position, parts = place(store, "1")
    assert (6 * step).tolist() == [*range(10194, 10231, 6), *range(10242, 10291, 6)]
    assert parts == ["train"] * 7 + ["val"] * 9
    assert (6 * place(store, "2")[0]).tolist() == [*range(0, 31, 6), *range(60, 91, 6)]
    (tmp_path / "biwi_eth.txt").write_text(
        rows_of(before, 1) + rows_of(after, 1).replace("\t1\t1", "\t1\t9") + rows_of(apart, 2)
    )
    other, _ = imported("ethucy", tmp_path, settings={"eth-time": "true"}, speed_limit=np.inf)
    np.testing.assert_array_equal(place(other, "1")[1][:7], position[:7])
    assert not np.array_equal(place(other, "1")[1][7:], position[7:])


def test_true_time_does_not_depend_on_how_the_file_is_read(tmp_path, imported):
    people = [rows_of(range(10 * k, 10 * k + 150, 10), k).splitlines() for k in range(1, 5)]
    lines = sorted((line for one in people for line in one), key=lambda t: int(t.split()[0]))
    (tmp_path / "biwi_eth.txt").write_text("\n".join([*lines, "330\t1\tnan", "340 1 nan 2"]))
    settings = {"settings": {"eth-time": "true"}}
    whole, _ = imported("ethucy", tmp_path, **settings)
    fingerprint = whole.fingerprint()
    pieces, report = imported("ethucy", tmp_path, part_rows=7, **settings)
    assert pieces.fingerprint() == fingerprint
    assert report.quarantined == {"malformed": 1, "not-a-number": 1}


def test_a_setting_of_another_importer_is_refused(tmp_path, imported):
    (tmp_path / "a.txt").write_text(rows_of(range(0, 90, 10), 1))
    with pytest.raises(DataError, match="'sdd' has no setting 'eth-time'"):
        imported("sdd", tmp_path, settings={"eth-time": "true"})
    with pytest.raises(DataError, match="did you mean 'true'"):
        imported("ethucy", tmp_path, settings={"eth-time": "tru"})


def test_the_command_says_which_time_it_read(tmp_path, trajflow):
    (tmp_path / "biwi_eth.txt").write_text(rows_of(range(0, 300, 10), 1))
    words = ("data", "import", "ethucy", tmp_path, "-o", tmp_path / "o.zarr", "--eth-time", "true")
    code, out, _ = trajflow(*words)
    assert code == 0
    assert "biwi_eth is at its true time" in out
    assert "--eth-time true" in json.dumps(open_store(tmp_path / "o.zarr").header.history)


def test_people_of_eth_walk_as_fast_as_others_only_at_true_time(research_data, ethucy, imported):
    def pace(store, scene):
        tracks = store.tracks([scene])
        inside = (np.diff(tracks.track) == 0) & (np.diff(tracks.step) == 1)
        speed = np.linalg.norm(np.diff(tracks.position, axis=0), axis=-1)[inside] / store.dt
        return np.median(speed[speed > 0.5])

    true, _ = imported("ethucy", research_data / "ethucy_raw", settings={"eth-time": "true"})
    assert pace(ethucy, "biwi_eth") > 2.3
    assert pace(true, "biwi_eth") == pytest.approx(pace(true, "biwi_hotel"), rel=0.05)
    for scene in set(true.scenes) - {"biwi_eth"}:
        now, then = true.tracks([scene]), ethucy.tracks([scene])
        np.testing.assert_array_equal(now.position, then.position)


def ndjson(frames, agents, fps=2.5):
    lines = [{"scene": {"id": 0, "p": 1, "s": frames[0], "e": frames[-1], "fps": fps}}]
    lines += [
        {"track": {"f": f, "p": p, "x": round(p + i / 3, 2), "y": 1.5}}
        for p in agents
        for i, f in enumerate(frames)
    ]
    return "\n".join(map(json.dumps, lines)) + "\n"


def test_trajnet_files_take_their_part_from_the_folder(tmp_path, imported):
    for part, name in (("train", "hall"), ("val", "hall"), ("test_private", "yard")):
        (tmp_path / part).mkdir()
        (tmp_path / part / f"{name}.ndjson").write_text(ndjson(range(0, 70, 7), (3, 11)))
    store, _ = imported("trajnet", tmp_path)
    assert (store.dt, store.unit) == (0.4, "m")
    assert store.scenes == ["train/hall", "val/hall", "yard"]
    assert store.splits == ["train", "val", "test"]
    assert store.labels(range(2)) == ["3", "11"]
    tracks = store.tracks(["yard"])
    assert tracks.step.tolist() == [*range(10)] * 2
    np.testing.assert_array_equal(tracks.position[10:12], [[11, 1.5], [11.33, 1.5]])


def test_odd_lines_of_trajnet_are_counted(tmp_path, imported):
    odd = '{"track": {"f": 70, "p": 3, "x": NaN, "y": 1}}\n{"track": {"f": 70,\n[1]\n\n'
    prediction = '{"track": {"f": 70, "p": 3, "x": 1, "y": 1, "prediction_number": 0}}\n'
    (tmp_path / "a.ndjson").write_text(ndjson(range(0, 70, 7), (3,), fps=5) + odd + prediction)
    store, report = imported("trajnet", tmp_path / "a.ndjson")
    assert store.dt == 0.2
    assert report.quarantined == {"malformed": 2, "not-a-number": 1}
    assert report.dropped == {"predictions": 1}
    assert report.rows_read == 14


def annotations(track, frames, lost=(), label="Biker"):
    rows = [f'{track} {f} 100 {f + 20} 140 {f} {int(f in lost)} 0 1 "{label}"' for f in frames]
    return "\n".join(rows) + "\n"


def test_boxes_of_stanford_become_centres_on_every_twelfth_frame(tmp_path, imported):
    video = tmp_path / "gates" / "video3"
    video.mkdir(parents=True)
    text = annotations(0, range(5, 100), lost={36}) + annotations(7, range(0, 61), label="Cart")
    (video / "annotations.txt").write_text(text)
    store, report = imported("sdd", tmp_path)
    assert (store.scenes, store.dt, store.unit) == (["gates_video3"], 0.4, "px")
    assert report.types == {"biker": 1, "cart": 1}
    assert report.dropped == {"lost": 1, "between steps": 95 - 1 - 7 + 61 - 6}
    tracks = store.tracks()
    assert tracks.step.tolist() == [1, 2, 4, 5, 6, 7, 8, 0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(tracks.position[0], [12 + 10, 120])
    metres, _ = imported("sdd", tmp_path, scale=0.5, dt=0.2)
    assert (metres.unit, metres.dt) == ("m", 0.2)
    np.testing.assert_array_equal(metres.tracks().position[0], [(6 + 10) / 2, 60])
    with pytest.raises(DataError, match="frames at 30 fps"):
        imported("sdd", tmp_path, dt=0.25)


@pytest.mark.parametrize(
    ("source", "told"),
    [("ethucy", r"\*\.txt"), ("trajnet", "ndjson"), ("sdd", "annotations"), ("table", "no table")],
)
def test_an_empty_folder_is_told(tmp_path, imported, source, told):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=told):
        imported(source, tmp_path / "empty")
    with pytest.raises(DataError, match="nowhere"):
        imported(source, tmp_path / "nowhere")


def test_the_field_recordings_and_their_tidy_table_give_the_same_store(
    research_data, ethucy, imported
):
    table, report = imported("table", research_data / "ethucy.csv.gz")
    assert table.fingerprint() == ethucy.fingerprint()
    assert (report.rows_kept, report.trajectories, report.unit) == (74_428, 2_205, "m")
    assert not report.quarantined
    assert report.steps == {"1": 72_223}


def test_storms_go_on_across_the_date_line(research_data, imported):
    store, report = imported("table", research_data / "hurdat2.csv.gz")
    assert (store.unit, store.dt) == ("degree", 21_600)
    assert report.quarantined == {"not-a-number": 64}
    assert store.rows == 79_868 - 64
    tracks = store.tracks()
    ahead = np.diff(tracks.position[:, 0])[np.diff(tracks.track) == 0]
    assert np.abs(ahead).max() < 20
    original = pd.read_csv(research_data / "hurdat2.csv.gz").dropna(subset=["x", "y"])
    turn = np.sort(tracks.position[:, 0] % 360) - np.sort(original["x"].to_numpy() % 360)
    np.testing.assert_allclose(turn, 0, atol=1e-9)


def test_pixels_are_told_from_metres_and_one_glitch_is_found(research_data, imported):
    store, report = imported("table", research_data / "sdd_trajnet.csv.gz")
    assert store.unit == "px"
    assert report.quarantined == {"teleport": 1}
    assert store.table("quarantine")["x"].tolist() == [1047]
    test = store.splits.index("test")
    tracks = store.tracks()
    sizes = np.bincount(tracks.track[tracks.split == test])
    assert (sizes == 20).sum() == 2829


def test_robots_keep_every_row(research_data, imported):
    store, report = imported("table", research_data / "pusht.csv.gz", unit="px")
    assert (report.rows_kept, report.types) == (51_300, {"robot": 206, "object": 206})
    assert store.labels([0, 1]) == ["agent", "block"]
