"""What becomes of bad rows: each problem planted, found, counted and set apart."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trajflow.datasets.cleaning import MAX_GLITCH_ROWS, find_jumps
from trajflow.datasets.importing import import_tracks
from trajflow.datasets.report import PROBLEMS, policies
from trajflow.datasets.store import open_store
from trajflow.errors import DataError, DataProblem

DT = 0.4


def walkers(scenes=("hall",), agents=6, rows=30, seed=0):
    """Rows of people who walk about 1 m/s, all seen from step 0 on."""
    chance = np.random.default_rng(seed)
    step = np.arange(rows)
    tables = []
    for scene in scenes:
        for agent in range(agents):
            heading = chance.uniform(0, 6.3)
            ways = np.cumsum(chance.normal(0.4, 0.05, rows))
            place = chance.uniform(0, 9, 2) + np.outer(ways, (np.cos(heading), np.sin(heading)))
            columns = {"scene": scene, "agent": agent, "time": step * DT}
            tables.append(pd.DataFrame({**columns, "x": place[:, 0], "y": place[:, 1]}))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture
def imported(tmp_path):
    def make(table, **options):
        table.to_csv(tmp_path / "t.csv", index=False)
        options = {"dt": DT, "unit": "m", "overwrite": True} | options
        report = import_tracks("table", tmp_path / "t.csv", tmp_path / "o.zarr", **options)
        return open_store(tmp_path / "o.zarr"), report

    return make


def with_rows(table, rows):
    return pd.concat([table, pd.DataFrame(rows, columns=table.columns)], ignore_index=True)


def test_good_rows_are_all_kept(imported):
    store, report = imported(walkers(("a", "b", "c")))
    assert (report.quarantined, report.cuts, report.moved, store.tables) == ({}, 0, 0, [])
    assert report.rows_kept == 540


def test_a_copy_of_a_row_is_set_apart_and_the_first_is_kept(imported):
    table = walkers()
    store, report = imported(with_rows(table, [table.iloc[40].tolist()] * 2))
    assert report.quarantined == {"duplicate": 2}
    assert store.table("quarantine")["row"].tolist() == [181, 182]
    assert store.rows == len(table)


def test_two_places_at_one_time_are_both_set_apart(imported):
    table = walkers()
    row = table.iloc[40].tolist()
    store, report = imported(with_rows(table, [[*row[:3], row[3] + 0.1, row[4]]]))
    assert report.quarantined == {"conflict": 2}
    assert sorted(store.table("quarantine")["row"]) == [41, 181]
    assert store.rows == len(table) - 1
    assert report.steps["2"] == 1


def test_times_near_a_step_are_moved_and_others_are_set_apart(imported):
    table = walkers()
    table.loc[10, "time"] += 0.2 * DT
    table.loc[70, "time"] -= 0.24 * DT
    table.loc[100, "time"] += 0.4 * DT
    store, report = imported(table)
    assert (report.quarantined, report.moved) == ({"off-grid": 1}, 2)
    assert store.table("quarantine")["row"].tolist() == [101]
    tracks = store.tracks()
    assert tracks.step[10] == 10
    np.testing.assert_array_equal(tracks.position[10], table.loc[10, ["x", "y"]].astype(float))


def test_of_two_rows_in_one_step_the_nearer_stays(imported):
    table = walkers()
    late = table.iloc[40].tolist()
    late[2] += 0.1 * DT
    store, report = imported(with_rows(table, [late]))
    assert report.quarantined == {"off-grid": 1}
    assert store.table("quarantine")["row"].tolist() == [181]


def test_a_clock_that_starts_between_steps_is_shifted(imported):
    table = walkers(("early", "late"))
    table.loc[table["scene"] == "late", "time"] += 1000 + 0.45 * DT
    store, report = imported(table)
    assert not report.quarantined
    assert list(report.clocks) == ["late"]
    assert report.clocks["late"] == pytest.approx(0.45 * DT)
    assert store.tracks(["late"]).step[0] == 2500


def test_rows_may_come_backwards(imported):
    forwards, _ = imported(walkers())
    backwards, report = imported(walkers().iloc[::-1])
    assert backwards.fingerprint() == forwards.fingerprint()
    assert not report.quarantined


def test_a_glitch_is_set_apart_and_the_track_goes_on(imported):
    table = walkers()
    table.loc[[45, 46], "x"] += 400
    store, report = imported(table)
    assert (report.quarantined, report.cuts) == ({"teleport": 2}, 0)
    assert sorted(store.table("quarantine")["row"]) == [46, 47]
    assert store.trajectories == 6
    assert report.steps["3"] == 1


def test_a_jump_cuts_the_track_and_nothing_bridges_it(imported):
    table = walkers()
    table.loc[45:59, "x"] += 400
    store, report = imported(table)
    assert (report.quarantined, report.cuts) == ({}, 1)
    assert store.labels(range(7)) == ["0", "1", "1#2", "2", "3", "4", "5"]
    tracks = store.tracks()
    assert np.bincount(tracks.track).tolist() == [30, 15, 15, 30, 30, 30, 30]
    steps = np.linalg.norm(np.diff(tracks.position, axis=0), axis=1)[np.diff(tracks.track) == 0]
    assert steps.max() < 1


def test_the_name_of_a_piece_is_never_taken(imported):
    table = walkers().astype({"agent": str})
    table.loc[45:59, "x"] += 400
    table["agent"] = table["agent"].replace("5", "1#2")
    store, _ = imported(table)
    assert sorted(store.labels(range(7))) == ["0", "1", "1#2", "1#2'", "2", "3", "4"]


@pytest.mark.parametrize("row", [30, 59])
def test_a_glitch_at_an_end_of_a_track_is_set_apart(imported, row):
    table = walkers()
    table.loc[row, "y"] -= 400
    store, report = imported(table)
    assert (report.quarantined, report.cuts, store.trajectories) == ({"teleport": 1}, 0, 6)
    assert store.labels(range(6)) == ["0", "1", "2", "3", "4", "5"]


def test_a_given_speed_limit_is_the_limit(imported):
    table = walkers()
    table.loc[40, "x"] += 3
    _, guessed = imported(table)
    _, given_limit = imported(table, speed_limit=5.0)
    _, none = imported(table, speed_limit=np.inf)
    assert guessed.speed_limit > 15
    assert (given_limit.speed_limit, given_limit.quarantined) == (5.0, {"teleport": 1})
    assert (none.speed_limit, none.quarantined) == (None, {})


def test_many_glitches_do_not_hide_each_other(imported):
    table = walkers(agents=20)
    chosen = np.random.default_rng(3).choice(len(table), 24, replace=False)
    table.loc[chosen, "x"] += 1000
    _, report = imported(table)
    assert report.quarantined == {"teleport": 24}


def test_one_fast_agent_among_many_slow_ones_is_kept(imported):
    table = walkers(agents=120)
    table.loc[table["agent"] == 4, "x"] = 9 + np.arange(30) * 28 * DT
    _, report = imported(table)
    assert report.speed_limit < 28
    assert (report.quarantined, report.cuts) == ({}, 0)


def test_a_walker_in_a_slow_queue_is_no_other_unit(imported):
    table = walkers(("a", "b", "c"), agents=8)
    corner = table.groupby(["scene", "agent"])[["x", "y"]].transform("first")
    slow = (table["scene"] != "c") & (table["agent"] != 3)
    table.loc[slow, ["x", "y"]] = 5 * corner + 0.02 * (table[["x", "y"]] - corner)
    _, report = imported(table)
    assert (report.quarantined, report.cuts) == ({}, 0)


def test_the_outlier_of_a_jump_is_set_apart_and_not_its_neighbor():
    places = np.array([0, 24, 8, 8.5, 9, 9.5])[:, None]
    track, time = np.zeros(6, np.int64), np.arange(6.0)
    away, cut = find_jumps(track, time, places, np.full(6, 20.0), np.full(6, 5.0))
    assert np.flatnonzero(away).tolist() == [1]
    assert not cut.any()


def test_a_scene_in_another_unit_is_set_apart(imported):
    table = walkers(("a", "b", "c", "d"))
    table.loc[table["scene"] == "c", ["x", "y"]] *= 36
    store, report = imported(table)
    assert store.scenes == ["a", "b", "d"]
    assert report.quarantined == {"mixed-units": 180}
    assert report.by_scene == {"c": {"mixed-units": 180}}
    assert any("scene 'c' moves" in note for note in report.notes)


def test_degrees_among_metres_are_set_apart(imported):
    table = walkers(("a", "b", "c", "d"))
    rows = table["scene"] == "c"
    table.loc[rows, ["x", "y"]] = table.loc[rows, ["x", "y"]] * 1e-5 + 52
    store, report = imported(table)
    assert store.scenes == ["a", "b", "d"]
    assert report.quarantined == {"mixed-units": 180}


def test_an_agent_in_another_unit_is_set_apart(imported):
    table = walkers(agents=12)
    table.loc[table["agent"] == 7, ["x", "y"]] *= 40
    _, report = imported(table)
    assert report.quarantined == {"mixed-units": 30}
    assert [(a.agent, a.rows) for a in report.worst_agents] == [("7", 30)]


def test_standing_agents_and_loitering_scenes_are_no_other_unit(imported):
    table = walkers(("a", "b", "c", "d"))
    chance = np.random.default_rng(1)
    for rows in (table["scene"] == "c", (table["scene"] == "a") & (table["agent"] < 4)):
        table.loc[rows, ["x", "y"]] = 5 + chance.normal(0, 0.003, (rows.sum(), 2))
    still = (table["scene"] == "b") & (table["agent"] < 3)
    table.loc[still, ["x", "y"]] = 5.0
    _, report = imported(table)
    assert (report.quarantined, report.cuts) == ({}, 0)


def test_longitudes_cross_the_date_line_beside_their_neighbors(imported):
    step = np.arange(20)
    east = pd.DataFrame({"agent": "e", "time": step * DT, "lon": 179 + 0.1 * step, "lat": 0.1})
    east["lon"] = (east["lon"] + 180) % 360 - 180
    west = east.assign(agent="w", lon=-179.5 - 0.01 * step)
    far = east.assign(agent="z", lon=-540.5 + 0.01 * step)
    store, report = imported(pd.concat([east, west, far]), unit=None, project=False)
    assert store.unit == "degree"
    x = store.tracks().position[:, 0]
    assert np.ptp(x) < 3
    np.testing.assert_allclose((x[:20] - east["lon"]) % 360, 0, atol=1e-9)
    assert not report.quarantined
    assert any("date line" in note for note in report.notes)


@pytest.mark.parametrize("problem", ["duplicate", "conflict", "off-grid", "teleport", "malformed"])
def test_a_refused_problem_writes_nothing(imported, tmp_path, problem):
    table = walkers()
    row = table.iloc[40].tolist()
    extra = {
        "duplicate": row,
        "conflict": [*row[:3], row[3] + 0.1, row[4]],
        "off-grid": ["hall", 1, 40 * DT + 0.2, 1.0, 1.0],
        "teleport": ["hall", 0, 30 * DT, 900.0, 1.0],
        "malformed": ["hall", 1, 40 * DT, 1.0, '1.0",x'],
    }[problem]
    bad = with_rows(table, [extra])
    if problem == "malformed":
        bad["y"] = bad["y"].astype(str)
        text = bad.to_csv(index=False).replace('"1.0"",x"', "1.0,x")
        (tmp_path / "t.csv").write_text(text)
    else:
        bad.to_csv(tmp_path / "t.csv", index=False)
    for policy in ("refuse", {problem: "refuse"}):
        with pytest.raises(DataProblem, match=f"{problem} [12] of 181") as caught:
            import_tracks("table", tmp_path / "t.csv", tmp_path / "n.zarr", on_problem=policy)
        assert caught.value.exit_code == 3
        assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
    others = {other: "refuse" for other in PROBLEMS if other != problem}
    report = import_tracks("table", tmp_path / "t.csv", tmp_path / "n.zarr", on_problem=others)
    assert set(report.quarantined) == {problem}


def test_a_cut_is_a_teleport_that_can_be_refused(imported):
    table = walkers()
    table.loc[45:59, "x"] += 400
    with pytest.raises(DataProblem, match="teleport 1 of 180"):
        imported(table, on_problem={"teleport": "refuse"})


def test_no_good_row_is_an_error_with_the_reasons(imported):
    with pytest.raises(DataError, match="not-a-number 180"):
        imported(walkers().assign(x="none"))


def test_policies_default_to_quarantine():
    assert policies(None) == dict.fromkeys(PROBLEMS, "quarantine")
    assert policies({"conflict": "refuse"})["conflict"] == "refuse"
    assert set(policies("refuse").values()) == {"refuse"}


places = st.lists(st.sampled_from([0.0, 1.0, 2.0, 50.0, 51.0, 200.0]), min_size=1, max_size=14)


@given(st.lists(places, min_size=1, max_size=3))
@settings(deadline=None)
def test_no_kept_step_is_out_of_reach(tracks):
    track = np.repeat(np.arange(len(tracks)), [len(t) for t in tracks])
    time = np.concatenate([np.arange(len(t), dtype=float) for t in tracks])
    position = np.concatenate(tracks)[:, None]
    limit, reach = np.full(len(track), 20.0), np.full(len(track), 4.0)
    away, cut = find_jumps(track, time, position, limit, reach)
    for number, places in enumerate(tracks):
        own = track == number
        fast = (np.abs(np.diff(places)) > 20).any()
        piece = np.cumsum(cut[own])[~away[own]]
        kept = np.array(places)[~away[own]]
        when = time[own][~away[own]]
        if not fast:
            assert len(kept) == len(places)
            assert not cut[own].any()
            continue
        together = np.diff(piece) == 0
        assert (np.abs(np.diff(kept)) / np.diff(when) <= 4)[together].all()
        assert (np.diff(when)[together] <= MAX_GLITCH_ROWS + 1).all()
        assert (np.bincount(piece)[np.unique(piece)] > 1).all() or not cut[own].any()


@pytest.mark.parametrize(
    ("fps", "digits"), [(24, 2), (15, 2), (60, 2), (7.5, 1), (29.97, 2), (0.6, 0)]
)
def test_a_clock_rounded_to_much_of_a_step_has_its_exact_step(imported, fps, digits):
    table = walkers(agents=4, rows=300)
    table["time"] = np.round(table["time"] / DT / fps + 3, digits)
    _, report = imported(table, dt=None)
    assert report.dt == pytest.approx(1 / fps, rel=3e-4)
    assert (report.quarantined, report.steps) == ({}, {"1": 4 * 299})
    assert any("rounded" in note for note in report.notes)


def test_missing_rows_are_no_rounded_clock(imported):
    table = walkers(agents=12, rows=60)
    kept = np.random.default_rng(2).random(len(table)) < 0.7
    _, report = imported(table[kept].assign(time=table["time"] / 4), dt=None)
    assert (report.dt, report.quarantined) == (0.1, {})


@pytest.mark.parametrize("place", [(0.0, 0.0), (-1.0, -1.0), (9999.0, 9999.0)])
@pytest.mark.parametrize("when", ["now and then", "before they come"])
def test_a_place_for_not_seen_is_quarantined_and_lifts_no_limit(imported, place, when):
    table = walkers(agents=20)
    table[["x", "y"]] += 4.0
    limit = imported(table)[1].speed_limit
    unseen = np.random.default_rng(4).random(len(table)) < 0.1
    if when == "before they come":
        unseen = (table["time"] < 5 * DT).to_numpy()
    table.loc[unseen, ["x", "y"]] = place
    store, report = imported(table)
    assert report.quarantined == {"filler": unseen.sum()}
    assert store.rows == 600 - unseen.sum()
    assert report.speed_limit == pytest.approx(limit, rel=0.3)
    assert any("not seen" in note for note in report.notes)


def test_no_latitude_is_beyond_90_degrees(imported):
    table = walkers(agents=6).rename(columns={"x": "lon", "y": "lat"})
    table[["lon", "lat"]] *= 1e-3
    table.loc[[3, 40], ["lon", "lat"]] = 181.0, 91.0
    _, report = imported(table, unit=None)
    assert report.quarantined == {"filler": 2}


def test_people_who_meet_at_one_exact_place_are_seen_there(imported):
    table = walkers(agents=8)
    for agent in range(8):
        rows = table["agent"] == agent
        place = table.loc[rows, ["x", "y"]].iloc[15]
        table.loc[rows, ["x", "y"]] += 5.0 - place
        table.loc[rows & (table["time"] == 15 * DT), ["x", "y"]] = 5.0
    assert imported(table)[1].quarantined == {}


def test_a_tenth_of_bad_rows_lifts_no_limit(imported):
    table = walkers(agents=20)
    chance = np.random.default_rng(5)
    bad = chance.random(len(table)) < 0.1
    table.loc[bad, ["x", "y"]] += 60 * chance.choice([-1, 1], (bad.sum(), 2))
    table.loc[bad, ["x", "y"]] += chance.normal(0, 9, (bad.sum(), 2))
    _, report = imported(table)
    assert report.speed_limit < 60
    assert report.quarantined["teleport"] >= 0.95 * bad.sum()


def test_irregular_rows_become_places_on_straight_lines(imported):
    chance = np.random.default_rng(6)
    table = walkers(agents=6, rows=60)
    table["time"] = (table["time"] / DT * 20 + chance.uniform(-8, 8, len(table))).round()
    table["x"], table["y"] = 2.0 * table["time"], 5.0 - table["time"]
    store, report = imported(table, dt=20.0)
    tracks = store.tracks()
    np.testing.assert_allclose(tracks.position[:, 0], 40.0 * tracks.step, atol=1e-9)
    np.testing.assert_allclose(tracks.position[:, 1], 5.0 - 20.0 * tracks.step, atol=1e-9)
    assert store.rows > 340
    assert set(report.steps) == {"1"}
    assert sum(report.dropped.values()) == report.rows_read == 360
    assert any("straight lines" in note for note in report.notes)
    _, report = imported(table, dt=20.0, on_problem={"off-grid": "quarantine"})
    assert report.quarantined["off-grid"] > 30
    with pytest.raises(DataProblem, match="off-grid"):
        imported(table, dt=20.0, on_problem="refuse")


def test_no_straight_line_bridges_a_long_gap_or_two_splits(imported):
    chance = np.random.default_rng(7)
    table = walkers(agents=6, rows=60)
    table["time"] = (table["time"] / DT * 20 + chance.uniform(-8, 8, len(table))).round()
    table = table[(table["time"] < 400) | (table["time"] > 500)]
    table = table.assign(split=np.where(table["time"] < 800, "train", "val"))
    tracks = imported(table, dt=20.0)[0].tracks()
    assert not ((tracks.step > 20) & (tracks.step < 25)).any()
    last = tracks.step[tracks.split == 0].max()
    assert (tracks.step[tracks.split == 1].min(), last) == (40, 39) or last < 40


def test_tracks_with_clocks_of_their_own_keep_their_rows(imported):
    table = walkers(agents=7, rows=40)
    table["time"] = (table["time"] + table["agent"] * 0.15).round(2)
    store, report = imported(table)
    assert store.rows >= 7 * 39
    assert report.quarantined == {}


def test_recordings_one_after_the_other_are_told(imported):
    one, two = (walkers(agents=5, seed=seed) for seed in (0, 1))
    in_time = one.sort_values("time", kind="stable")
    later = two.assign(agent=two["agent"] + 50).sort_values("time", kind="stable")
    _, report = imported(pd.concat([in_time, later], ignore_index=True))
    assert any("goes back" in n and "row 151 of t.csv" in n for n in report.notes)
    for alone in (one, in_time, one[::-1], one.sample(frac=1, random_state=1)):
        assert not any("goes back" in n for n in imported(alone)[1].notes)
    shared = two.sort_values("time", kind="stable")
    with pytest.raises(DataError, match=r"conflict 300; the clock goes back.*scene=NAME"):
        imported(pd.concat([in_time, shared], ignore_index=True))


def test_recordings_named_by_a_column_each_have_their_own_clock(imported):
    games = walkers(("first", "second"), agents=5).sort_values(["scene", "time"], kind="stable")
    _, report = imported(games)
    assert not any("goes back" in note for note in report.notes)


def test_columns_that_are_not_read_are_named(imported):
    _, report = imported(walkers().assign(altitude=1.0, fold_hall="test"))
    note = next(note for note in report.notes if note.startswith("not read"))
    assert note == "not read: the columns 'altitude'; --columns type=NAME or z=NAME reads one"


def test_the_end_of_summer_time_is_told(imported):
    table = walkers(agents=3, rows=200).sort_values("time")
    moment = pd.Timestamp("2024-10-26 23:30", tz="UTC") + pd.to_timedelta(75 * table["time"], "s")
    local = moment.dt.tz_convert("Europe/Berlin")
    _, report = imported(table.assign(time=local.dt.strftime("%Y-%m-%d %H:%M:%S")), dt=None)
    assert any("daylight saving time" in note for note in report.notes)
    zoned = local.dt.strftime("%Y-%m-%d %H:%M:%S%z")
    _, report = imported(table.assign(time=zoned), dt=None)
    assert report.quarantined == {}


def test_a_clock_coarser_than_the_rows_is_told(imported):
    table = walkers(rows=60)
    coarse = table["agent"] < 3
    table.loc[coarse, "time"] = np.floor(table["time"])
    _, report = imported(table, dt=None)
    assert any("coarser than the rows" in note for note in report.notes)
