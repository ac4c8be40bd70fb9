"""Rows that come irregularly are put on a grid of straight lines, and what that may not do."""

import json

import numpy as np
import pandas as pd
import pytest

from trajflow.datasets import open_store


def fixes(seed=0, agents=6, rows=60, hole=None):
    """Fixes of ships 3 to 9 s apart that go straight at their own speed, and turn once."""
    chance = np.random.default_rng(seed)
    tables = []
    for agent in range(agents):
        time = np.cumsum(chance.uniform(3, 9, rows)).round(2)
        time[rows // 2 :] += hole or 0.0
        velocity = chance.normal(0, 4, 2)
        place = chance.uniform(0, 500, 2) + np.outer(time, velocity)
        place += np.outer(np.maximum(time - time[rows // 2], 0), velocity[::-1])
        tables.append(
            pd.DataFrame({"agent": agent, "time": time, "x": place[:, 0], "y": place[:, 1]})
        )
    return pd.concat(tables, ignore_index=True)


@pytest.fixture
def imported(trajflow, tmp_path):
    """Imports a table by the command line: the store and the report."""

    def run(table, *words):
        path, out = tmp_path / "ships.csv", tmp_path / "out.zarr"
        table.to_csv(path, index=False)
        code, printed, said = trajflow(
            "data", "import", path, "-o", out, "--overwrite", "--json", *words
        )
        assert code == 0, said
        return open_store(out), json.loads(printed)

    return run


def test_places_lie_on_the_line_between_the_rows_around_them(imported):
    table = fixes()
    store, report = imported(table, "--resample", "10s", "--max-gap", "60s")
    tracks = store.tracks()
    assert store.dt == 10
    for number, agent in enumerate(tracks.agent):
        own = table[table.agent == number]
        rows = tracks.track == number
        time = 10.0 * tracks.step[rows]
        for axis, name in enumerate("xy"):
            line = np.interp(time, own.time, own[name])
            np.testing.assert_allclose(tracks.position[rows, axis], line, atol=1e-6)
        assert time[0] >= own.time.min()
        assert time[-1] <= own.time.max()
        assert (np.diff(tracks.step[rows]) == 1).all()
        assert store.labels([agent]) == [str(number)]
    assert report["dropped"]["replaced by places on straight lines"] == len(table)
    assert report["max_gap"] == 60


def test_no_place_depends_on_a_row_after_the_next_one(imported):
    table = fixes(agents=5)
    before = imported(table, "--resample", "10s")[0].tracks()
    later = table.copy()
    changed = (later.agent == 2) & (later.time > 150)
    first = later.time[changed].min()
    later.loc[changed & (later.time > first), ["x", "y"]] += 3.0
    after = imported(later, "--resample", "10s")[0].tracks()
    same = (before.position == after.position).all(1)
    moved = 10 * before.step[~same]
    assert (~same).any()
    assert moved.min() > first


def test_no_line_is_drawn_across_a_gap_and_gaps_are_counted(imported):
    table = fixes(hole=300.0)
    store, report = imported(table, "--resample", "10s", "--max-gap", "1min")
    tracks = store.tracks()
    gaps = np.diff(tracks.step)[np.diff(tracks.track) == 0]
    assert (gaps > 25).sum() == 6
    assert any("6 gaps of more than 60 s are not interpolated" in note for note in report["notes"])


def test_resampling_is_proposed_where_many_rows_are_off_the_grid(imported):
    chance = np.random.default_rng(1)
    table = fixes()
    table["time"] = np.concatenate([np.arange(60) * 3.0 + chance.uniform(0, 1) for _ in range(6)])
    words = ("--dt", "10", "--on-problem", "off-grid=quarantine")
    report = imported(table, *words)[1]
    assert report["quarantined"]["off-grid"] > 0.1 * len(table)
    assert any("--resample 10s" in note for note in report["notes"])
    report = imported(table, "--resample", "10s")[1]
    assert "off-grid" not in report["quarantined"]
    assert not any("--resample" in note for note in report["notes"])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--resample", "ten"), "such as 10s"),
        (("--resample", "0s"), "positive"),
        (("--max-gap", "60s"), "--resample"),
    ],
)
def test_a_wrong_resampling_is_refused(words, why, trajflow, tmp_path):
    fixes().to_csv(tmp_path / "t.csv", index=False)
    out = ("-o", tmp_path / "o.zarr")
    code, _, said = trajflow("data", "import", tmp_path / "t.csv", *out, *words)
    assert code == 2
    assert why in said


def test_a_table_is_resampled_as_that_of_the_run_was(imported, trajflow, tmp_path):
    store, _ = imported(fixes(agents=12, rows=120), "--resample", "10s", "--max-gap", "30s")
    sets = ("data.split=time", "data.fractions=[0.6,0.4,0.0]", "data.history=4")
    sets += ("data.horizon=3", "train.epochs=1")
    words = [word for setting in sets for word in ("--set", setting)]
    code, _, said = trajflow("train", store.path, "--out", tmp_path / "run", *words)
    assert code == 0, said
    made = {}
    for name, tracks in (("store", store.path), ("table", tmp_path / "ships.csv")):
        out = tmp_path / f"{name}.csv"
        words = ("predict", tmp_path / "run", tracks, "-o", out, "--samples", "2")
        code, _, said = trajflow(*words)
        assert code == 0, said
        made[name] = pd.read_csv(out).drop(columns="scene")
    pd.testing.assert_frame_equal(made["store"], made["table"])
