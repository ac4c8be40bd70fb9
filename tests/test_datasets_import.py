"""Importing tables: what is read, how columns are found, and what is left when it fails."""

import bz2
import gzip
import lzma
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trajflow.datasets.formats import available
from trajflow.datasets.importing import import_tracks
from trajflow.datasets.sources import ImportOptions
from trajflow.datasets.store import open_store
from trajflow.errors import ConfigError, DataError, DataProblem

SMALL = 70
"""Rows cleaned at once, so that several parts meet."""


def walkers(scenes=("hall", "yard"), agents=3, rows=12, dt=0.5, seed=0):
    """Rows of people who walk about 1 m/s."""
    chance = np.random.default_rng(seed)
    tables = []
    for scene in scenes:
        for agent in range(agents):
            step = np.arange(rows) + int(chance.integers(0, 9))
            velocity = chance.normal(0, 0.7, 2)
            place = chance.uniform(0, 9, 2) + np.outer(step * dt, velocity)
            place += chance.normal(0, 0.02, place.shape)
            columns = {"scene": scene, "agent": agent, "time": step * dt}
            tables.append(pd.DataFrame({**columns, "x": place[:, 0], "y": place[:, 1]}))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture
def imported(tmp_path):
    """Writes a table (or text) as CSV, imports it, returns the store and the report."""

    def make(table, *, name="tracks.csv", source="table", **options):
        path = tmp_path / name
        text = table if isinstance(table, str) else table.to_csv(index=False)
        path.write_text(text, encoding="utf-8")
        report = import_tracks(source, path, tmp_path / "out.zarr", overwrite=True, **options)
        return open_store(tmp_path / "out.zarr"), report

    return make


def test_what_was_written_is_read(imported):
    table = walkers()
    store, report = imported(table, unit="m")
    tracks = store.tracks()
    assert (store.scenes, store.dt, store.unit, store.dims) == (["hall", "yard"], 0.5, "m", 2)
    assert store.labels(tracks.agent) == ["0", "1", "2"] * 2
    np.testing.assert_array_equal(tracks.position, table[["x", "y"]])
    np.testing.assert_array_equal(tracks.step, table["time"] / 0.5)
    assert report.rows_read == report.rows_kept == len(table) == 72
    assert store.header.report == report.to_dict()
    assert store.header.inputs[0]["name"] == "tracks.csv"


def test_the_order_of_rows_and_the_size_of_pieces_change_nothing(imported):
    table = walkers(scenes=("s10", "s9", "s1"), agents=7)
    table.loc[5, "x"] = table.loc[9, "x"] = np.inf
    reference, _ = imported(table)
    expected = reference.fingerprint()
    assert reference.scenes == ["s1", "s9", "s10"]
    for seed in range(2):
        shuffled, report = imported(table.sample(frac=1, random_state=seed), part_rows=SMALL)
        assert shuffled.fingerprint() == expected
        assert report.quarantined == {"not-a-number": 2}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", ""]),
            st.sampled_from(["1", "2", "x y", ""]),
            st.sampled_from(["0", "0.5", "1.0", "1.1", "1.2", "nan", "3,5", "1_0"]),
            st.sampled_from(["1", "-2.5", "1e400", "٣", "9000"]),
        ),
        min_size=1,
        max_size=30,
    )
)
@settings(deadline=None, max_examples=12)
def test_every_row_is_kept_or_set_apart(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("rows")
    table = pd.DataFrame(rows, columns=["scene", "agent", "time", "x"]).assign(y="1")
    table.to_csv(folder / "t.csv", index=False)
    try:
        report = import_tracks(
            "table", folder / "t.csv", folder / "o.zarr", dt=0.5, part_rows=SMALL
        )
    except DataError as error:
        told = str(error)
        assert (told[:7], [p.name for p in folder.iterdir()]) == ("none of", ["t.csv"])
        return
    store = open_store(folder / "o.zarr")
    apart = store.table("quarantine")["row"].tolist() if store.tables else []
    between = report.dropped.get("between steps", 0)
    assert report.rows_read == len(rows) == store.rows + len(apart) + between
    assert len(apart) == sum(report.quarantined.values()) == len(set(apart))
    assert np.isfinite(store.tracks().position).all()


ODD = ["1_000", "٣", "inf", "-Infinity", "nan", "NaN", "", "0x1", "1,5", "1e999", "True", "–1"]
ODD += ["+-1", "9" * 400, "1.5_0", "1e", "- 1", "1 2", "-1e999"]


def test_only_plain_decimal_numbers_are_numbers(imported):
    table = walkers().astype({"x": str})
    table.loc[range(0, 3 * len(ODD), 3), "x"] = ODD
    store, report = imported(table)
    assert report.quarantined == {"not-a-number": len(ODD)}
    assert store.rows == len(table) - len(ODD)
    apart = store.table("quarantine")
    assert apart["row"].tolist() == [*range(1, 3 * len(ODD), 3)]
    told = [text.split("; ")[0] for text in apart["text"]]
    assert told == [f"x={odd}"[:200] for odd in ODD]
    assert (apart["scene"][0], apart["agent"][0]) == ("hall", "0")


def test_usual_ways_of_writing_numbers_are_read(imported):
    plain = ["1", "-1.5", "+2.", ".5", " 7 ", "1e0", "-2E-3", "007"]
    table = walkers().astype({"x": str})
    table.loc[:7, "x"] = plain
    store, _ = imported(table, speed_limit=np.inf)
    assert store.tracks().position[:8, 0].tolist() == [float(text) for text in plain]


def test_a_line_with_too_few_or_too_many_columns_is_set_apart_with_its_number(imported):
    lines = walkers().to_csv(index=False).splitlines()
    lines.insert(3, "hall,0")
    lines.insert(9, "hall,0,1,2,3,4")
    store, report = imported("\n".join(lines))
    apart = store.table("quarantine")
    assert report.quarantined == {"malformed": 2}
    assert apart["row"].tolist() == [3, 9]
    assert apart["text"].tolist() == ["hall,0", "hall,0,1,2,3,4"]


def test_row_numbers_count_rows_of_the_file_whatever_the_chunks(imported):
    lines = walkers(rows=200).to_csv(index=False).splitlines()
    for number in (499, 501, 1000):
        lines[number] = lines[number].rsplit(",", 1)[0] + ",none"
    lines[500] = "hall,0"
    _, report = imported("\n".join(lines), part_rows=SMALL)
    store, again = imported("\n".join(lines))
    assert sorted(store.table("quarantine")["row"]) == [499, 500, 501, 1000]
    assert report.quarantined == again.quarantined == {"malformed": 1, "not-a-number": 3}


def test_labels_keep_their_meaning(imported):
    table = walkers(("a",), agents=4).astype({"agent": str})
    table["agent"] = table["agent"].map({"0": "7.0", "1": "007", "2": "=cmd|x", "3": "-3"})
    store, _ = imported(table)
    assert store.labels(range(4)) == ["-3", "7", "007", "=cmd|x"]
    ints, _ = imported(walkers(("a",)))
    assert ints.labels(range(3)) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"columns": {"agent": "trak"}}, DataError, "did you mean 'track'"),
        ({"columns": {"agnt": "track"}}, DataError, "did you mean 'agent'"),
        ({"columns": {"agent": "when"}}, DataError, "no column found for time"),
        ({"columns": {"agent": "track", "time": "track"}}, DataError, "is given twice"),
        ({"columns": {"agent": "track", "frame": "when", "time": "when"}}, DataError, "both time"),
        ({"dt": 0.0}, DataError, "dt must be a positive number"),
        ({"on_problem": {"teleprot": "refuse"}}, ConfigError, "did you mean 'teleport'"),
        ({"on_problem": "keep"}, ConfigError, "no policy 'keep'"),
        ({"source": "tabel"}, DataError, "did you mean 'table'"),
    ],
)
def test_a_wrong_request_says_what_is_there(imported, change, error, told):
    table = walkers().rename(columns={"agent": "track", "time": "when"})
    with pytest.raises(error, match=told):
        imported(table, **change)


def test_a_missing_column_is_told_with_all_there_are(imported):
    with pytest.raises(DataError, match=r"no column found for agent.*'who', 'time', 'x', 'y'"):
        imported(walkers().rename(columns={"agent": "who"}))


@pytest.mark.parametrize(
    ("names", "unit"),
    [
        ({"agent": "MMSI", "time": "BaseDateTime", "x": "LON", "y": "LAT"}, "m"),
        ({"agent": "track_id", "time": "t_seconds", "x": "x_px", "y": "y_px"}, "px"),
        ({"agent": "individual-local-identifier", "x": "location-long", "y": "location-lat"}, None),
        ({"agent": "id", "x": "pos x", "y": "pos y", "time": "Time (s)"}, None),
    ],
)
def test_common_names_of_columns_are_known(imported, names, unit):
    store, report = imported(walkers().rename(columns=names), unit=None if unit else "furlong")
    assert store.unit == (unit or "furlong")
    assert store.rows == 72
    assert {report.columns[k] for k in names} == set(names.values())
    assert any("columns guessed" in note for note in report.notes)


def test_frames_need_dt_and_get_it(imported):
    table = walkers().assign(frame=lambda t: (t["time"] / 0.5 * 6).astype(int)).drop(columns="time")
    with pytest.raises(DataError, match=r"counts frames.*give dt"):
        imported(table)
    store, report = imported(table, dt=0.4)
    assert store.dt == 0.4
    assert report.steps == {"1": 66}
    assert "6 frames per step" in report.dt_from


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d %H:%M:%S.%f"])
def test_dates_become_seconds_since_midnight(imported, form):
    table = walkers()
    moment = pd.Timestamp("2024-02-29 23:00") + pd.to_timedelta(table["time"], unit="s")
    store, report = imported(table.assign(time=moment.dt.strftime(form)))
    assert store.dt == 0.5
    expected = (table["time"] + 23 * 3600) / 0.5
    np.testing.assert_array_equal(store.tracks().step, expected)
    assert any("2024-02-29 00:00:00 UTC" in note for note in report.notes)


def test_milliseconds_are_told_by_the_name(imported):
    table = walkers().assign(timestamp_ms=lambda t: (t["time"] * 1000).astype(int))
    store, _ = imported(table.drop(columns="time"))
    assert store.dt == 0.5


def test_a_larger_dt_thins_the_rows_and_counts_them(imported):
    store, report = imported(walkers(("a",), agents=1, rows=13), dt=1.5)
    assert store.dt == 1.5
    assert report.dropped["between steps"] + store.rows == 13
    assert report.steps == {"1": store.rows - 1}
    assert not report.quarantined


@pytest.mark.parametrize(("rate", "digits"), [(30, 3), (16, 3), (29.97, 4), (2.5, 1)])
def test_rounded_clocks_do_not_drift_off_the_grid(imported, rate, digits):
    table = walkers(("a",), agents=2, rows=700)
    table["time"] = np.round(np.tile(np.arange(700), 2) / rate, digits)
    store, report = imported(table, part_rows=800, speed_limit=np.inf)
    assert store.dt == pytest.approx(1 / rate, rel=2e-4)
    assert not report.quarantined
    assert report.steps == {"1": 1398}


def test_rows_without_a_name_are_set_apart(imported):
    table = walkers().astype({"agent": str})
    table.loc[3, "agent"] = ""
    table.loc[20, "scene"] = "  "
    table.loc[50, "agent"] = "x" * 5000
    store, report = imported(table)
    assert report.quarantined == {"no-label": 3}
    assert sorted(store.table("quarantine")["row"]) == [4, 21, 51]
    assert report.rows_kept == 69


def test_a_first_scene_without_a_valid_split_is_quarantined(imported):
    table = walkers(("a", "b"))
    table["split"] = np.where(table["scene"] == "a", "x" * 250, "train")
    store, report = imported(table)
    assert report.quarantined == {"no-label": (table["scene"] == "a").sum()}
    assert report.scenes == 1
    assert store.dt == 0.5


def test_types_and_parts_come_from_columns(imported):
    table = walkers().assign(
        type=lambda t: np.where(t["agent"] == 1, "biker", ""),
        split=lambda t: np.where(t["time"] < 4, "train", "val"),
    )
    store, report = imported(table)
    tracks = store.tracks()
    assert report.types == {"agent": 4, "biker": 2}
    np.testing.assert_array_equal(np.array(store.splits)[tracks.split], table["split"])


def test_fold_columns_make_folds(imported):
    table = walkers(("a", "b", "c"))
    table["fold_one"] = np.where(table["scene"] == "b", "test", "train")
    table["fold_two"] = np.where(table["scene"] != "b", "test", "val")
    store, _ = imported(table)
    assert store.folds == {"one": ["b"], "two": ["a", "c"]}


def test_z_and_scale(imported):
    store, _ = imported(walkers().assign(z=3.0), scale=0.5)
    assert (store.dims, store.unit) == (3, "m")
    np.testing.assert_array_equal(store.tracks().position[:, 2], 1.5)
    np.testing.assert_array_equal(store.tracks().position[:, 0], walkers()["x"] / 2)


def test_a_store_remembers_how_its_table_was_read(imported):
    table = walkers(dt=0.5).assign(z=1.0).rename(columns={"x": "east", "agent": "who"})
    columns = {"agent": "who", "x": "east", "y": "y"}
    store, _ = imported(table, columns=columns, scale=0.5, dims=2, dt=1.0)
    report = store.header.report
    assert (store.dims, store.dt, report["row_interval"], report["scale"]) == (2, 1.0, 0.5, 0.5)
    assert report["columns"] == columns | {"scene": "scene", "time": "time"}
    with pytest.raises(DataError, match="no column found for z"):
        imported(table.drop(columns="z"), columns=columns, dims=3, name="flat.csv")


def _zip(path, data):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inside.csv", data)


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        (".gz", lambda p, data: p.write_bytes(gzip.compress(data))),
        (".bz2", lambda p, data: p.write_bytes(bz2.compress(data))),
        (".xz", lambda p, data: p.write_bytes(lzma.compress(data))),
        (".zip", _zip),
        (".zst", lambda p, data: p.write_bytes(pa.compress(data, "zstd").to_pybytes())),
    ],
)
def test_compressed_tables_hold_the_same_tracks(imported, tmp_path, suffix, write):
    plain, _ = imported(walkers())
    path = tmp_path / f"t.csv{suffix}"
    write(path, walkers().to_csv(index=False).encode())
    import_tracks("table", path, tmp_path / "c.zarr", part_rows=SMALL)
    assert open_store(tmp_path / "c.zarr").fingerprint() == plain.fingerprint()
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="damaged"):
        import_tracks("table", path, tmp_path / "d.zarr")
    assert not list(tmp_path.glob("d.zarr*"))


def test_parquet_tsv_and_a_folder_hold_the_same_tracks(imported, tmp_path):
    plain, _ = imported(walkers())
    walkers().to_parquet(tmp_path / "t.parquet")
    walkers().to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    parts = tmp_path / "parts"
    parts.mkdir()
    for scene, table in walkers().groupby("scene"):
        table.drop(columns="scene").to_csv(parts / f"{scene}.csv", index=False)
    for path in (tmp_path / "t.parquet", tmp_path / "t.tsv", parts):
        import_tracks("table", path, tmp_path / "p.zarr", overwrite=True, part_rows=SMALL)
        assert open_store(tmp_path / "p.zarr").fingerprint() == plain.fingerprint()


@pytest.mark.parametrize(
    "kinds",
    [
        {"time": pa.duration("ns"), "agent": pa.string_view(), "x": pa.decimal128(12, 3)},
        {
            "time": pa.timestamp("ns", "Europe/Berlin"),
            "agent": pa.dictionary(pa.int8(), pa.string()),
            "x": pa.float32(),
        },
        {"time": pa.duration("us"), "agent": pa.binary()},
        {"time": pa.timestamp("ms"), "agent": pa.uint64()},
        pytest.param({"agent": pa.large_string()}, marks=pytest.mark.slow),
        pytest.param({"agent": pa.binary_view()}, marks=pytest.mark.slow),
    ],
)
def test_columns_of_parquet_of_any_type_hold_the_same_tracks(imported, tmp_path, kinds):
    table = walkers().round(3)
    table["x"] = (8 * table["x"]).round() / 8  # a float32 holds it
    plain, _ = imported(table)
    columns = {name: table[name] for name in table}
    for column, kind in kinds.items():
        values = pa.array(table[column].astype(str) if column == "agent" else table[column])
        if column == "time":
            values = values.cast(pa.float64()).to_numpy() * 1e9
            values = pa.array(values.round().astype(int)).cast(pa.duration("ns"))
            if pa.types.is_timestamp(kind):
                values = values.cast(pa.int64()).cast(pa.timestamp("ns"))
        if kind == pa.dictionary(pa.int8(), pa.string()):
            values = values.dictionary_encode()
        elif kind == pa.binary_view():
            values = values.cast(pa.binary())
        columns[column] = values.cast(kind)
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    report = import_tracks("table", tmp_path / "t.parquet", tmp_path / "p.zarr")
    assert not report.quarantined
    stored = open_store(tmp_path / "p.zarr")
    assert stored.dt == plain.dt
    assert stored.fingerprint() == plain.fingerprint()


def test_a_parquet_table_is_decoded_by_two_processes_and_again_once_it_changed(
    tmp_path, monkeypatch
):
    started, popen = [], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(a) or popen(*a, **k))
    path = tmp_path / "t.parquet"
    for columns in ({}, {"agent": "ship"}):
        walkers().rename(columns=columns).to_parquet(path)
        report = import_tracks(None, path, tmp_path / "t.zarr", overwrite=True)
        assert report.columns["agent"] == columns.get("agent", "agent")
    assert len(started) == 4


def test_a_column_of_lists_is_told_by_its_rows(tmp_path):
    table = {"agent": [1, 1], "time": [0.0, 1.0], "x": [[1.0], [2.0]], "y": [0.0, 1.0]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="none of 2 rows can be used: not-a-number 2"):
        import_tracks("table", tmp_path / "t.parquet", tmp_path / "o.zarr", dt=1.0)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"scene,agent,time,x,y\n", "no rows"),
        (b"\xff\xfe\x00s", "no text in UTF-8"),
        (b"agent,time,x,y\n" + b"1,2,3,\xff\n" * 3, "not a table in UTF-8"),
        (b"x" * 2_000_000, "too many"),
        (b"agent,time,x,y\n" + b'"' + b"1,2,3,4\n" * 90_000, "not a table.*quote"),
        (b"agent,time,x,y\n1,soon,3,4\n", "none of 1 rows can be used: not-a-number 1"),
        (b"agent,time,x,y\n1,2\n1,3\n", "none of 2 rows can be used: malformed 2"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path, data, told):
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(DataError, match=told):
        import_tracks("table", tmp_path / "t.csv", tmp_path / "o.zarr", dt=1.0, part_rows=SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_a_failed_import_leaves_the_old_store_and_nothing_else(imported, tmp_path):
    store, _ = imported(walkers(seed=1))
    bad = walkers(seed=2)
    bad.loc[3, "x"] = np.nan
    with pytest.raises(DataProblem, match="not-a-number 1 of 72 rows"):
        imported(bad, on_problem={"not-a-number": "refuse"})
    assert open_store(store.path).fingerprint() == store.fingerprint()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.zarr", "tracks.csv"]
    with pytest.raises(DataError, match="exists already"):
        import_tracks("table", tmp_path / "tracks.csv", store.path)


def test_an_interrupted_import_leaves_nothing(imported, tmp_path):
    def interrupt(progress):
        if progress.stage == "writing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imported(walkers(), progress=interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["tracks.csv"]


KILLED = """
import os, signal, sys
from trajflow.datasets import import_tracks
def kill(progress):
    if progress.stage == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)
import_tracks("table", sys.argv[1], sys.argv[2], progress=kill)
"""


@pytest.mark.parametrize("stage", ["reading", "surveying", "writing"])
def test_what_a_killed_import_left_is_removed_by_the_next(imported, tmp_path, stage):
    imported(walkers())
    path, out = tmp_path / "tracks.csv", tmp_path / "killed.zarr"
    done = subprocess.run([sys.executable, "-c", KILLED, path, out, stage], check=False)
    assert done.returncode == -9
    assert not out.exists()
    import_tracks("table", path, out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed.zarr", "out.zarr", "tracks.csv"]


def test_a_second_import_to_one_place_is_refused_at_once(imported, tmp_path):
    def second(progress):
        with pytest.raises(DataError, match="being written by another process"):
            import_tracks("table", tmp_path / "tracks.csv", tmp_path / "out.zarr")
        refused.append(progress.stage)

    refused = []
    store, _ = imported(walkers(), progress=second)
    assert {"reading", "surveying", "writing"} <= set(refused)
    assert store.rows == 72


def test_progress_reaches_all_rows(imported):
    heard = []
    imported(walkers(), progress=heard.append, part_rows=SMALL)
    assert [p.stage for p in heard] == sorted(p.stage for p in heard)
    last = {p.stage: (p.rows, p.total) for p in heard}
    assert last == {"reading": (72, None), "surveying": (72, 72), "writing": (72, 72)}


MEASURED = """
import resource, sys
from trajflow.datasets import import_tracks
import_tracks("table", sys.argv[1], sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path):
    tables = [walkers((f"s{n}",), agents=500, rows=500, seed=n).round(3) for n in range(8)]
    pd.concat(tables).sort_values("time").to_csv(tmp_path / "t.csv", index=False)
    words = [sys.executable, "-c", MEASURED, tmp_path / "t.csv", tmp_path / "o.zarr"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 700


def test_importers_of_installed_packages_are_found(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    (folder / "walks-1.0.dist-info").mkdir(parents=True)
    (folder / "walks-1.0.dist-info" / "METADATA").write_text("Name: walks\nVersion: 1.0\n")
    (folder / "walks-1.0.dist-info" / "entry_points.txt").write_text(
        "[trajflow.importers]\nwalks = walks:read\n"
    )
    (folder / "walks.py").write_text(
        "from trajflow.datasets import Source\n"
        "def read(db, path, options):\n"
        "    db.execute('create table walk as select i + 1 as n, 2.0 * i as t'\n"
        "               ' from range(2) r(i)')\n"
        "    select = \"select n as row, 's' as scene, 'a' as agent, '' as type, '' as split,\"\n"
        "    select += \" t as time, 1.0 as x, t as y, null as z, null as fault, '' as text\"\n"
        "    return Source([select + ' from walk'], [path], dt=2.0, unit='m')\n"
    )
    monkeypatch.syspath_prepend(folder)
    (tmp_path / "any").write_text("")
    assert {"ethucy", "sdd", "table", "trajnet", "walks"} <= set(available())
    assert import_tracks("walks", tmp_path / "any", tmp_path / "o.zarr").rows_kept == 2
    with pytest.raises(ConfigError, match="'walks' of another package is read in one process"):
        import_tracks("walks", tmp_path / "any", tmp_path / "p.zarr", jobs=2)
    with pytest.raises(DataError, match="no format 'walk'"):
        import_tracks("walk", tmp_path / "any", tmp_path / "o.zarr", overwrite=True)


def test_the_report_is_safe_to_print(imported):
    table = walkers().astype({"agent": str})
    table.loc[3, ["agent", "x"]] = ["\x1b]0;owned\x07", np.nan]
    _, report = imported(table)
    text = "\n".join(report.lines())
    assert "\x1b" not in text
    assert "71 of 72 rows kept" in text
    assert "not-a-number: 1" in text


def walk(dt=0.4, agents=6, rows=30, seed=0):
    """Rows in order of time of people who come one after the other, in one scene."""
    table = walkers(("w",), agents=agents, rows=rows, dt=dt, seed=seed).drop(columns="scene")
    return table.sort_values(["time", "agent"], ignore_index=True)


def places(store):
    return store.tracks().position.round(6).tolist()


@pytest.mark.parametrize(
    ("form", "dates"),
    [
        ("%d/%m/%Y %H:%M:%S", None),
        pytest.param("%m/%d/%Y %I:%M:%S %p", None, marks=pytest.mark.slow),
        pytest.param("%d.%m.%y %H:%M:%S", None, marks=pytest.mark.slow),
        ("%d-%b-%Y %H:%M:%S", None),
        pytest.param("%B %d, %Y %H:%M:%S", None, marks=pytest.mark.slow),
        ("%a %b %d %H:%M:%S %Y", None),
        pytest.param("%H:%M:%S %d/%m/%Y", None, marks=pytest.mark.slow),
        ("%Y/%m/%d %I:%M:%S %p", None),
        ("%Y-%m-%d %H:%M:%S,0", None),
        pytest.param("%Y-%m-%d %H:%M:%S +00:00", None, marks=pytest.mark.slow),
        ("%Y%m%d%H%M%S", None),
        ("%y-%m-%d %H:%M:%S", "ymd"),
    ],
)
def test_dates_of_common_writings_are_the_same_moments(imported, form, dates):
    table = walk(dt=1.0)
    moment = pd.Timestamp("2024-02-29 23:00") + pd.to_timedelta(table["time"], unit="s")
    expected, _ = imported(table.assign(time=moment.dt.strftime("%Y-%m-%dT%H:%M:%SZ")))
    store, _ = imported(
        table.assign(time=moment.dt.strftime(form)), settings={"dates": dates} if dates else None
    )
    assert store.fingerprint() == expected.fingerprint()
    assert store.header.origin == pd.Timestamp("2024-02-29").timestamp()


def test_a_date_of_two_readings_is_refused_with_its_row_and_the_way_out(imported):
    table = walk(dt=1.0)
    moment = pd.Timestamp("2024-03-04 10:00") + pd.to_timedelta(table["time"], unit="s")
    table["time"] = moment.dt.strftime("%d/%m/%Y %H:%M:%S")
    with pytest.raises(DataError, match=r"'04/03/2024 10:00:0.' \(row 1\).*--dates dmy"):
        imported(table)
    day, _ = imported(table, settings={"dates": "dmy"})
    assert day.header.origin == pd.Timestamp("2024-03-04").timestamp()
    month, _ = imported(table, settings={"dates": "mdy"})
    assert month.header.origin == pd.Timestamp("2024-04-03").timestamp()


def test_hours_without_a_date_are_seconds(imported):
    table = walk()
    plain, _ = imported(table)
    text = pd.to_timedelta(table["time"], unit="s").astype(str)
    store, _ = imported(table.assign(time=text))
    assert store.fingerprint() == plain.fingerprint()


def test_times_that_cannot_be_read_are_shown_and_dt_is_not_asked_for(imported):
    with pytest.raises(
        DataError, match=r"none of 180 .*row 1 of tracks.csv.*time=the 3rd"
    ) as error:
        imported(walk().assign(time="the 3rd"))
    assert "give dt" not in str(error.value)


@pytest.mark.parametrize(
    ("unit", "count"), [("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9)]
)
def test_unix_times_are_told_by_their_size(imported, unit, count):
    table = walk(dt=0.5)
    seconds = table.assign(time=(1_650_000_000 + table["time"]).round(1))
    store, report = imported(seconds)
    expected = places(store)
    assert any("seconds since 1970" in note for note in report.notes)
    ticks = (seconds["time"] * 10).round().astype("int64") * round(count / 10)
    store, report = imported(table.assign(time=ticks))
    assert (store.dt, places(store)) == (0.5, expected)
    assert any(f"{unit} since 1970" in note for note in report.notes)


@pytest.mark.parametrize("header", [True, False])
def test_decimal_commas_are_read_and_told(imported, header):
    table = walk().round(3)
    plain, _ = imported(table)
    text = table.to_csv(index=False, sep=";", decimal=",", header=header)
    columns = None if header else {"agent": "1", "time": "2", "x": "3", "y": "4"}
    store, report = imported(text, columns=columns)
    assert store.fingerprint() == plain.fingerprint()
    assert any("decimal commas" in note for note in report.notes)


def test_thousands_are_not_taken_for_decimals(imported):
    table = walk().assign(x="1,250")
    with pytest.raises(DataError, match="x=1,250"):
        imported(table)


def test_a_table_without_names_keeps_its_first_row(imported):
    table = walk()
    plain, _ = imported(table)
    text = table.to_csv(index=False, header=False)
    with pytest.raises(DataError, match=r"no header line.*--columns agent=1,time=2,x=3,y=4"):
        imported(text)
    columns = {"agent": "1", "time": "2", "x": "3", "y": "4"}
    store, report = imported(text, columns=columns)
    assert (report.rows_read, store.fingerprint()) == (180, plain.fingerprint())


@pytest.mark.parametrize(
    "head",
    [
        "# fps: 2.5\n\n# who FR pos_x pos_y\n",
        "#id\tframe\tx\ty\n# framerate: 2.5\n#ID\tFR\tX\tY\n",
        "# recorded with 2.5 fps\nid frame x y\n",
    ],
)
def test_comments_name_columns_and_the_rate_of_columns_between_blanks(imported, head):
    table = walk()
    plain, _ = imported(table)
    frames = table.assign(time=(table["time"] / 0.4).round().astype(int))
    text = frames.to_string(index=False, header=False, float_format=lambda value: f"{value:.17g}")
    columns = {"agent": "who"} if "who" in head else None
    store, report = imported(head + text, columns=columns, name="tracks.txt")
    assert (store.dt, places(store), report.quarantined) == (0.4, places(plain), {})


def test_a_comma_at_the_end_of_lines_is_no_column(imported):
    plain, _ = imported(walk())
    lines = walk().to_csv(index=False).splitlines()
    for changed in ([lines[0], *(f"{line}," for line in lines[1:])], [f"{x}," for x in lines]):
        store, report = imported("\n".join(changed))
        assert (store.fingerprint(), report.quarantined) == (plain.fingerprint(), {})


@pytest.mark.parametrize("rows", ["of the table", "of an agent"])
def test_a_counter_of_rows_is_no_scene(imported, rows):
    table = walk()
    counter = np.arange(len(table)) if rows == "of the table" else table.groupby("agent").cumcount()
    plain, _ = imported(table)
    store, report = imported(table.assign(recording=counter))
    assert store.fingerprint() == plain.fingerprint()
    assert any("'recording'" in note and "not the scene" in note for note in report.notes)


def test_a_guess_is_undone_by_a_column_without_a_name(imported):
    table = walk().assign(video="a")
    assert imported(table)[0].scenes == ["a"]
    assert imported(table, columns={"scene": ""})[0].scenes == ["tracks"]


def test_a_column_that_is_no_agent_is_named_when_no_step_is_found(imported):
    table = walk().assign(id=np.arange(180)).drop(columns="agent")
    with pytest.raises(
        DataError, match=r"is 'id' the column of the agents\?.*--columns agent=NAME"
    ):
        imported(table)


def test_a_step_of_minutes_asks_for_the_unit_of_the_clock(imported):
    table = walk().assign(time=lambda t: (t["time"] * 1000).round())
    asked = [n for n in imported(table)[1].notes if "milliseconds or days" in n]
    assert "every 400 s" in asked[0]
    known = table.rename(columns={"time": "time_ms"})
    assert not any("another unit" in note for note in imported(known)[1].notes)


def test_names_of_columns_in_camel_case_are_known(imported):
    names = {"agent": "agentId", "time": "timeStamp", "x": "posX", "y": "posY"}
    plain, _ = imported(walk())
    store, report = imported(walk().rename(columns=names))
    assert store.fingerprint() == plain.fingerprint()
    assert {name: report.columns[name] for name in names} == names


def test_a_file_of_bad_rows_alone_is_refused_in_one_line(imported):
    table = walk().assign(x="here")
    with pytest.raises(DataProblem, match=r"refused, nothing was written: .*x=here"):
        imported(table, on_problem="refuse")
    with pytest.raises(DataError, match="none of 180 rows"):
        imported(table, on_problem={"teleport": "refuse"})


def test_options_are_one_object_or_keywords_and_a_misspelled_one_is_refused(tmp_path):
    walkers().to_csv(tmp_path / "t.csv", index=False)
    options = ImportOptions(dt=0.5, unit="m", licence="CC0")
    report = import_tracks("table", tmp_path / "t.csv", tmp_path / "o.zarr", options, unit="px")
    assert (report.dt, report.unit) == (0.5, "px")
    assert open_store(tmp_path / "o.zarr").header.licence == "CC0"
    with pytest.raises(ConfigError, match="speed_limit"):
        import_tracks("table", tmp_path / "t.csv", tmp_path / "n.zarr", speed_limits=3.0)
    assert not (tmp_path / "n.zarr").exists()
