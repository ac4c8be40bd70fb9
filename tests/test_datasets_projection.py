"""Degrees as metres around the centre of a recording, and forecasts in degrees again."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajflow.datasets import import_tracks, open_store
from trajflow.datasets.projection import RADIUS, project, unproject

angles = st.tuples(st.floats(-180, 179.9), st.floats(-89, 89))


def great_circle(one, other):
    """Metres between two places on the sphere, by the haversine formula."""
    (x, y), (u, v) = np.deg2rad(one), np.deg2rad(other)
    half = math.sin((v - y) / 2) ** 2 + math.cos(y) * math.cos(v) * math.sin((u - x) / 2) ** 2
    return 2 * RADIUS * math.asin(min(1.0, math.sqrt(half)))


@given(angles, angles)
def test_distances_from_the_centre_are_those_on_the_sphere(place, centre):
    metres = project(np.array(place), np.array(centre))
    assert np.hypot(*metres) == pytest.approx(great_circle(place, centre), rel=1e-6, abs=1e-2)


@given(angles, st.floats(-3, 3), st.floats(-3, 3), st.floats(-50, 50))
def test_the_way_back_is_exact(centre, east, north, height):
    place = np.array(
        [(centre[0] + east + 180) % 360 - 180, np.clip(centre[1] + north, -89.9, 89.9)]
    )
    place = np.append(place, height)
    back = unproject(project(place, np.array(centre)), np.array(centre))
    turn = (back[0] - place[0] + 180) % 360 - 180
    assert abs(turn) * math.cos(math.radians(place[1])) < 1e-9
    np.testing.assert_allclose(back[1:], place[1:], atol=1e-9)


def ships(path, centre=(8.0, 54.0), agents=8, rows=40, dt=10.0, filler=False):
    """Ships that go about 5 m/s, on dates, some minutes each."""
    chance = np.random.default_rng(2)
    tables = []
    for agent in range(agents):
        time = pd.Timestamp("2024-03-01 08:00") + pd.to_timedelta(np.arange(rows) * dt, unit="s")
        way = np.outer(np.arange(rows) * dt, chance.normal(0, 4, 2)) + chance.uniform(-500, 500, 2)
        lon, lat = unproject(way, np.array(centre)).T
        tables.append(pd.DataFrame({"mmsi": agent, "basedatetime": time, "lon": lon, "lat": lat}))
    table = pd.concat(tables, ignore_index=True)
    if filler:
        table.loc[::40, ["lon", "lat"]] = (181.0, 91.0)
    table.to_csv(path, index=False)
    return table


@pytest.fixture
def imported(trajflow, tmp_path):
    """Imports a table of degrees by the command line: the store and the report."""

    def run(path, *words):
        out = tmp_path / f"{path.stem}.zarr"
        code, printed, said = trajflow(
            "data", "import", path, "-o", out, "--overwrite", "--json", *words
        )
        assert code == 0, said
        return open_store(out), json.loads(printed)

    return run


@pytest.mark.parametrize("centre", [(8.0, 54.0), (180.0, -17.0), (-70.0, 84.0)])
def test_a_projected_store_is_in_metres_and_knows_the_way_back(centre, imported, tmp_path):
    table = ships(tmp_path / "ships.csv", centre)
    store, report = imported(tmp_path / "ships.csv", "--project")
    assert (store.unit, report["projected"], report["quarantined"]) == ("m", True, {})
    tracks, middle = store.tracks(), np.array(store.header.centres["ships"])
    degrees = unproject(tracks.position, middle)
    turn = (degrees[:, 0] - table.lon + 180) % 360 - 180
    assert np.abs(turn).max() < 1e-9
    np.testing.assert_allclose(degrees[:, 1], table.lat, atol=1e-9)
    assert np.abs(tracks.position).max() < 10_000


def test_degrees_are_converted_to_metres_unless_they_shall_stay(imported, tmp_path):
    path = tmp_path / "ships.csv"
    ships(path)
    store, report = imported(path)
    assert (store.unit, report["projected"]) == ("m", True)
    assert any("--no-project keeps degrees" in note for note in report["notes"])
    assert store.fingerprint() == imported(path, "--project")[0].fingerprint()
    by_python = import_tracks(None, path, tmp_path / "python.zarr")
    assert open_store(by_python.out).fingerprint() == store.fingerprint()
    degrees, report = imported(path, "--no-project")
    assert (degrees.unit, report["projected"]) == ("degree", False)
    assert any("--unit degree --project" in note for note in report["notes"])
    assert degrees.header.history.endswith("--no-project")


def test_a_recording_too_large_to_be_projected_well_is_reported(imported, tmp_path):
    near = ships(tmp_path / "near.csv")
    assert not any("too large" in note for note in imported(tmp_path / "near.csv")[1]["notes"])
    far = near.assign(mmsi=near.mmsi + 100, lon=near.lon - 160)
    pd.concat([near, far]).to_csv(tmp_path / "far.csv", index=False)
    notes = imported(tmp_path / "far.csv")[1]["notes"]
    assert any("km from its centre" in note and "--scene-column" in note for note in notes)


def test_each_recording_has_its_own_centre(imported, tmp_path):
    one, other = ships(tmp_path / "a.csv"), ships(tmp_path / "b.csv", (-60.0, 10.0))
    table = pd.concat([one.assign(scene="north"), other.assign(scene="south")])
    table.to_csv(tmp_path / "both.csv", index=False)
    store, _ = imported(tmp_path / "both.csv", "--project")
    assert set(store.header.centres) == {"north", "south"}
    assert store.header.centres["south"] == pytest.approx((-60.0, 10.0), abs=0.1)
    assert np.abs(store.tracks().position).max() < 10_000


def test_a_place_that_is_not_on_the_earth_is_quarantined_as_the_file_has_it(
    imported, trajflow, tmp_path
):
    ships(tmp_path / "ships.csv", filler=True)
    store, report = imported(tmp_path / "ships.csv", "--project")
    assert report["quarantined"] == {"filler": 8}
    rows = store.table("quarantine")
    assert set(zip(rows["x"].tolist(), rows["y"].tolist(), strict=True)) == {(181.0, 91.0)}


def test_metres_are_not_projected(trajflow, tmp_path):
    table = pd.DataFrame({"agent": 1, "time": np.arange(9) * 0.4, "x": np.arange(9.0), "y": 0.0})
    table.to_csv(tmp_path / "t.csv", index=False)
    words = ("data", "import", tmp_path / "t.csv", "-o", tmp_path / "o.zarr", "--project")
    code, _, said = trajflow(*words)
    assert code == 2
    assert "--project needs degrees" in said


def test_an_axis_has_a_unit_of_its_own(imported, trajflow, tmp_path):
    table = ships(tmp_path / "ships.csv")
    table.assign(z=1000.0).to_csv(tmp_path / "ships.csv", index=False)
    store, _ = imported(tmp_path / "ships.csv", "--project", "--unit", "z=ft")
    np.testing.assert_allclose(store.tracks().position[:, 2], 304.8)
    words = ("data", "import", tmp_path / "ships.csv", "-o", tmp_path / "o.zarr")
    code, _, said = trajflow(*words, "--unit", "z=yard")
    assert code == 2
    assert "z=yard" in said


def test_forecasts_of_a_projected_store_are_in_degrees(imported, trajflow, tmp_path):
    table = ships(tmp_path / "ships.csv", agents=12, rows=60)
    store, _ = imported(tmp_path / "ships.csv", "--project")
    sets = ["--set", "train.epochs=1", "--set", "data.split=time", "--set", "data.history=4"]
    code, _, said = trajflow(
        "train", store.path, "--out", tmp_path / "run", *sets, "--set", "data.horizon=3"
    )
    assert code == 0, said
    forecasts = {}
    for name, tracks in (("store", store.path), ("table", tmp_path / "ships.csv")):
        out = tmp_path / f"{name}.csv"
        words = (tmp_path / "run", tracks, "-o", out, "--samples", "2", "--coverage", "0.5")
        code, _, said = trajflow("predict", *words)
        assert code == 0, said
        forecasts[name] = pd.read_csv(out)
    first = forecasts["store"].query("lead == 1").groupby("agent").first()
    last = table.groupby("mmsi").last()
    assert len(first) == 12
    assert np.abs(first.x - last.lon).max() < 0.01
    assert np.abs(first.y - last.lat).max() < 0.01
    assert np.abs(first.centre_x - last.lon).max() < 0.01
    pd.testing.assert_frame_equal(
        forecasts["store"].drop(columns="scene"), forecasts["table"].drop(columns="scene")
    )


def test_a_file_of_the_format_of_the_run_is_forecast(trajflow, tmp_path):
    tracks = []
    for agent in range(8):
        points = "".join(
            f'<trkpt lat="{51 + 3e-5 * step * (agent - 3.5)}" lon="{8 + 1e-5 * step * agent}">'
            f"<time>2024-05-01T10:00:{step:02}Z</time></trkpt>"
            for step in range(40)
        )
        tracks.append(f"<trk><name>w{agent}</name><trkseg>{points}</trkseg></trk>")
    (tmp_path / "t.gpx").write_text(f"<gpx>{''.join(tracks)}</gpx>")
    words = ("data", "import", tmp_path / "t.gpx", "-o", tmp_path / "t.zarr", "--project")
    assert trajflow(*words)[0] == 0
    sets = ("data.split=time", "data.fractions=[0.6,0.4,0.0]", "data.history=4")
    sets += ("data.horizon=3", "train.epochs=1")
    words = [word for setting in sets for word in ("--set", setting)]
    assert trajflow("train", tmp_path / "t.zarr", "--out", tmp_path / "run", *words)[0] == 0
    out = tmp_path / "futures.csv"
    code, _, said = trajflow("predict", tmp_path / "run", tmp_path / "t.gpx", "-o", out)
    assert code == 0, said
    futures = pd.read_csv(out)
    assert futures.agent.nunique() == 8
    assert futures.x.between(7.9, 8.1).all()
    assert futures.time.str.startswith("2024-05-01 10:00:4").all()
