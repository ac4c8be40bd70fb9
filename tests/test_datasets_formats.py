"""Files of every format are told by their content, and hold the same walkers once imported."""

import gzip
import json
import sqlite3
import struct
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trajflow.datasets import import_tracks, open_store
from trajflow.datasets.formats import FORMATS as BUILT_IN

DATA_PAGE = Path(__file__).parents[1] / "docs" / "data.md"
DT, AGENTS, ROWS = 0.4, 4, 15
DATE = pd.Timestamp("2024-05-01 10:00:00")


def walkers():
    """The rows of four people who walk about 1.2 m/s, sorted by time; seconds, frames, metres."""
    chance = np.random.default_rng(1)
    tables = []
    for agent in range(1, AGENTS + 1):
        step = np.arange(ROWS) + 2 * agent
        angle = chance.uniform(0, 6) + np.cumsum(chance.normal(0, 0.1, ROWS))
        place = np.cumsum(0.48 * np.stack((np.cos(angle), np.sin(angle)), 1), 0)
        place += chance.uniform(0, 9, 2)
        tables.append(
            pd.DataFrame(
                {"agent": agent, "frame": 10 * step, "time": step * DT}
                | {"x": place[:, 0].round(4), "y": place[:, 1].round(4)}
            )
        )
    table = pd.concat(tables, ignore_index=True)
    return table.sort_values(["frame", "agent"], ignore_index=True)


def earthly(table):
    """The same with dates, and degrees in place of metres."""
    degrees = {"lon": 8 + table.x / 70_000, "lat": 51 + table.y / 111_000}
    return table.assign(date=DATE + pd.to_timedelta(table.time, unit="s"), **degrees)


def csv(path, table, separator=",", decimal=".", header=True):
    columns = table[["agent", "time", "x", "y"]]
    columns.to_csv(path, sep=separator, decimal=decimal, header=header, index=False)


def parquet(path, table):
    table[["agent", "time", "x", "y"]].to_parquet(path)


def ndjson(path, table):
    table[["agent", "time", "x", "y"]].to_json(path, orient="records", lines=True)


def json_list(path, table):
    table[["agent", "time", "x", "y"]].to_json(path, orient="records")


def packed(path, table):
    with gzip.open(path, "wt") as file:
        csv(file, table)


def ethucy(path, table):
    rows = table[["frame", "agent", "x", "y"]]
    rows.to_csv(path, sep="\t", header=False, index=False)


def obsmat(path, table):
    rows = table.assign(z=0.0, vx=0.1, vz=0.0, vy=0.2)
    rows = rows[["frame", "agent", "x", "z", "y", "vx", "vz", "vy"]]
    path.write_text("".join("  ".join(f"{v:.7e}" for v in r) + "\n" for r in rows.to_numpy()))


def trajnet(path, table):
    scene = {"scene": {"id": 0, "p": 1, "s": 0, "e": 100, "fps": 2.5, "tag": 4}}
    tracks = [
        {"track": {"f": int(r.frame), "p": int(r.agent), "x": r.x, "y": r.y}}
        for r in table.itertuples()
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in [scene, *tracks]))


def sdd(path, table):
    lines = [
        f"{r.agent} {r.x * 50 - 5:.0f} {r.y * 50 - 5:.0f} {r.x * 50 + 5:.0f} {r.y * 50 + 5:.0f} "
        f'{round(r.time * 30)} 0 0 0 "Pedestrian"\n'
        for r in table.itertuples()
    ]
    path.write_text("".join(lines))


def mot(path, table):
    folder = path.parent / "MOT17-02"
    (folder / "gt").mkdir(parents=True)
    (folder / "seqinfo.ini").write_text("[Sequence]\nname=MOT17-02\nframeRate=2.5\n")
    rows = [
        f"{r.frame // 10},{r.agent},{r.x * 50:.1f},{r.y * 50:.1f},20,60,1,1,0.9\n"
        for r in table.itertuples()
    ]
    rows.append("3,9,5,5,10,10,0,7,1\n")
    (folder / "gt" / "gt.txt").write_text("".join(rows))
    return folder / "gt" / "gt.txt"


def petrack(path, table):
    head = "# PeTrack project: hall.pet\n# framerate: 25 fps\n# id frame x/m y/m z/m\n"
    lines = (f"{r.agent} {r.frame} {r.x} {r.y} 1.7\n" for r in table.itertuples())
    path.write_text(head + "".join(lines))


def jupedsim(path, table):
    with sqlite3.connect(path) as db:
        db.execute("create table trajectory_data (frame, id, pos_x, pos_y, ori_x, ori_y)")
        db.execute("create table metadata (key text primary key, value text)")
        db.executemany("insert into metadata values (?, ?)", [("version", "2"), ("fps", "25")])
        rows = table[["frame", "agent", "x", "y"]].astype(object).to_numpy().tolist()
        db.executemany("insert into trajectory_data values (?, ?, ?, ?, 1, 0)", rows)
    db.close()


def gpx(path, table):
    tracks = []
    for agent, rows in earthly(table).groupby("agent"):
        points = "".join(
            f'<trkpt lat="{r.lat:.9f}" lon="{r.lon:.9f}"><ele>31</ele>'
            f"<time>{r.date.isoformat()}Z</time></trkpt>"
            for r in rows.itertuples()
        )
        tracks.append(f"<trk><name>walker {agent}</name><trkseg>{points}</trkseg></trk>")
    path.write_text(
        '<?xml version="1.0"?><gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1">'
        f"{''.join(tracks)}</gpx>"
    )


def geojson_points(path, table):
    features = [
        {
            "type": "Feature",
            "properties": {"agent": r.agent, "time": r.date.isoformat()},
            "geometry": {"type": "Point", "coordinates": [r.lon, r.lat]},
        }
        for r in earthly(table).itertuples()
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def geojson_lines(path, table):
    features = [
        {
            "type": "Feature",
            "properties": {"name": f"w{agent}", "coordTimes": [str(date) for date in rows.date]},
            "geometry": {
                "type": "LineString",
                "coordinates": rows[["lon", "lat"]].to_numpy().tolist(),
            },
        }
        for agent, rows in earthly(table).groupby("agent")
    ]
    path.write_text("".join(json.dumps(feature) + "\n" for feature in features))


def geoparquet(path, table):
    rows = earthly(table)
    points = [struct.pack("<BIdd", 1, 1, r.lon, r.lat) for r in rows.itertuples()]
    columns = {"agent": rows.agent, "time": rows.date, "geometry": points}
    facts = {
        "version": "1.0.0",
        "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Point"]}},
    }
    made = pa.table(columns)
    pq.write_table(made.replace_schema_metadata({"geo": json.dumps(facts)}), path)


def ais(path, table):
    rows = earthly(table)
    names = {"MMSI": 211000000 + rows.agent, "BaseDateTime": rows.date.dt.strftime("%FT%T.%f")}
    pd.DataFrame(names | {"LAT": rows.lat, "LON": rows.lon, "SOG": 2.3}).to_csv(path, index=False)


def traffic(path, table):
    rows = earthly(table)
    names = {"icao24": "3c" + rows.agent.astype(str), "timestamp": rows.date.dt.tz_localize("UTC")}
    places = {"latitude": rows.lat, "longitude": rows.lon, "altitude": 1000.0}
    pd.DataFrame(names | places).to_parquet(path)


def argoverse2(path, table):
    names = {"observed": True, "track_id": table.agent.astype(str), "object_type": "pedestrian"}
    names |= {"object_category": 2, "timestep": table.frame // 10, "scenario_id": "0a1b"}
    places = {"position_x": table.x, "position_y": table.y, "heading": 0.0}
    pd.DataFrame(names | places).to_parquet(path)


FORMATS = {
    # name: (file, writer, format, dt, unit, coordinates)
    "csv": ("t.csv", csv, "table", DT, "unknown", 2),
    "tsv": ("t.tsv", lambda p, t: csv(p, t, "\t"), "table", DT, "unknown", 2),
    "semicolons": ("t.csv", lambda p, t: csv(p, t, ";", ","), "table", DT, "unknown", 2),
    "gz": ("t.csv.gz", packed, "table", DT, "unknown", 2),
    "parquet": ("t.parquet", parquet, "table", DT, "unknown", 2),
    "ndjson": ("t.ndjson", ndjson, "table", DT, "unknown", 2),
    "json list": ("t.json", json_list, "geojson", DT, "unknown", 2),
    "ethucy": ("t.txt", ethucy, "ethucy", DT, "m", 2),
    "obsmat": ("obsmat.txt", obsmat, "obsmat", DT, "m", 2),
    "trajnet": ("t.ndjson", trajnet, "trajnet", DT, "m", 2),
    "sdd": ("annotations.txt", sdd, "sdd", DT, "px", 2),
    "mot": ("gt.txt", mot, "mot", DT, "px", 2),
    "petrack": ("t.txt", petrack, "petrack", DT, "m", 3),
    "jupedsim": ("t.sqlite", jupedsim, "jupedsim", DT, "m", 2),
    "gpx": ("t.gpx", gpx, "gpx", DT, "m", 3),
    "geojson points": ("t.geojson", geojson_points, "geojson", DT, "m", 2),
    "geojson lines": ("t.geojsonl", geojson_lines, "geojson", DT, "m", 2),
    "geoparquet": ("t.parquet", geoparquet, "table", DT, "m", 2),
    "ais": ("t.csv", ais, "ais", DT, "m", 2),
    "traffic": ("t.parquet", traffic, "traffic", DT, "m", 3),
    "argoverse2": ("t.parquet", argoverse2, "argoverse2", 0.1, "m", 2),
}


@pytest.fixture
def imported(trajflow, tmp_path):
    """Imports files by the command line: the store and what the command printed."""

    def run(*words):
        out = tmp_path / "out.zarr"
        code, printed, said = trajflow("data", "import", *words, "-o", out, "--overwrite", "--json")
        assert code == 0, said
        return open_store(out), json.loads(printed)

    return run


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """A file of each format, detected and imported: its path and the report, by name."""
    folder = tmp_path_factory.mktemp("formats")
    result = {}
    for name, (file, write, *_) in FORMATS.items():
        (folder / name).mkdir()
        path = write(folder / name / file, walkers()) or folder / name / file
        result[name] = path, import_tracks(None, path, folder / f"{name}.zarr")
    return result


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_each_format_is_told_and_read_whole(name, reports, imported):
    _, _, source, dt, unit, dims = FORMATS[name]
    path, report = reports[name]
    store = open_store(report.out)
    assert report.source == source
    assert (store.rows, store.trajectories) == (AGENTS * ROWS, AGENTS)
    assert (len(store.scenes), store.unit, store.dims) == (1, unit, dims)
    assert store.dt == pytest.approx(dt)
    assert report.quarantined == {}
    if source != "table" or name == "csv":
        named = imported(path, "--format", source)[0]
        assert named.fingerprint() == store.fingerprint()


def test_every_format_is_in_the_table_of_the_documentation(reports):
    """`pytest -s` prints the table for docs/data.md, one import a line."""
    lines = ["| file | format | rows | agents | quarantined | dt | unit | result |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for name, (_, report) in reports.items():
        whole = report.rows_kept == AGENTS * ROWS and report.trajectories == AGENTS
        counts = (report.rows_kept, report.trajectories, sum(report.quarantined.values()))
        facts = (name, f"`{report.source}`", *counts, f"{report.dt:g} s", report.unit)
        lines.append(f"| {' | '.join(map(str, facts))} | {'whole' if whole else 'WRONG'} |")
    table = "\n".join(lines)
    sys.stdout.write(f"\n{table}\n")
    assert {report.source for _, report in reports.values()} == set(BUILT_IN)
    assert table in DATA_PAGE.read_text(encoding="utf-8")


def test_formats_of_metres_hold_the_same_places(imported, tmp_path):
    expected = walkers().sort_values(["agent", "frame"])[["x", "y"]].to_numpy()
    for name in ("csv", "ndjson", "ethucy", "obsmat", "trajnet", "petrack", "jupedsim"):
        file, write, *_ = FORMATS[name]
        (tmp_path / name).mkdir()
        write(tmp_path / name / file, walkers())
        position = imported(tmp_path / name / file)[0].tracks().position[:, :2]
        np.testing.assert_allclose(position, expected, atol=1e-6, err_msg=name)


def test_the_flag_and_the_feet_of_a_format_are_read(imported, tmp_path):
    assert imported(mot(tmp_path / "gt.txt", walkers()))[1]["dropped"] == {"ignored": 1}
    traffic(tmp_path / "t.parquet", walkers())
    store, _ = imported(tmp_path / "t.parquet")
    np.testing.assert_allclose(store.tracks().position[:, 2], 304.8)


def test_the_first_row_of_a_file_without_a_header_is_a_row(imported, tmp_path):
    path = tmp_path / "t.csv"
    rows = walkers().assign(
        kind="car", date=[f"{DATE + pd.Timedelta(t, 's')}" for t in walkers().time]
    )
    rows.assign(agent="a" + rows.agent.astype(str))[["agent", "kind", "date", "x", "y"]].to_csv(
        path, header=False, index=False
    )
    store, _ = imported(path, "--columns", "agent=1,type=2,time=3,x=4,y=5")
    assert (store.rows, store.types) == (AGENTS * ROWS, ["car"])


@pytest.mark.parametrize("columns", [4, 9])
def test_other_numbers_without_a_header_are_a_table(columns, imported, trajflow, tmp_path):
    rows = walkers()[["frame", "agent", "x", "y"]]
    for extra in range(4, columns):
        rows[f"v{extra}"] = np.linspace(-1, 1, len(rows)).round(3)
    rows.to_csv(tmp_path / "t.csv", header=False, index=False)
    code, _, said = trajflow("data", "import", tmp_path / "t.csv", "-o", tmp_path / "o.zarr")
    assert code == 2
    assert "no header line" in said
    words = ("--columns", "frame=1,agent=2,x=3,y=4", "--dt", DT)
    assert imported(tmp_path / "t.csv", *words)[0].rows == AGENTS * ROWS


def test_columns_that_numbers_name_leave_the_header_a_header(imported, tmp_path):
    rows = walkers().drop(columns="frame").assign(**{"2019": 1.5, "2020": 2.5, "2021": 0.5})
    rows.to_csv(tmp_path / "t.csv", index=False)
    store, report = imported(tmp_path / "t.csv")
    assert (store.rows, report["quarantined"]) == (AGENTS * ROWS, {})


def test_several_files_are_one_store(imported, trajflow, tmp_path):
    for name in ("a", "b"):
        csv(tmp_path / f"{name}.csv", walkers())
    store, report = imported(tmp_path / "a.csv", tmp_path / "b.csv")
    assert (store.scenes, report["files"]) == (["a", "b"], 2)
    assert [entry["name"] for entry in store.header.inputs] == ["a.csv", "b.csv"]
    (tmp_path / "more").mkdir()
    csv(tmp_path / "more" / "a.csv", walkers())
    words = (tmp_path / "a.csv", tmp_path / "more" / "a.csv", "-o", tmp_path / "twice.zarr")
    code, _, said = trajflow("data", "import", *words)
    assert code == 2
    assert "several files are called 'a'" in said
    ethucy(tmp_path / "c.txt", walkers())
    words = (tmp_path / "a.csv", tmp_path / "c.txt", "-o", tmp_path / "mixed.zarr")
    code, _, said = trajflow("data", "import", *words)
    assert code == 2
    assert "several formats" in said


def test_the_old_form_of_the_command_still_works(imported, tmp_path):
    ethucy(tmp_path / "t.txt", walkers())
    assert imported("ethucy", tmp_path / "t.txt")[1]["source"] == "ethucy"


def test_what_cannot_be_told_names_the_candidates(trajflow, tmp_path):
    (tmp_path / "sheet.xlsx").write_bytes(b"PK\3\4" + bytes(100))
    code, _, said = trajflow("data", "import", tmp_path / "sheet.xlsx", "-o", tmp_path / "o.zarr")
    assert code == 2
    assert "--format" in said
    assert "argoverse2" in said
    rows = "".join(f"{i} {i} {i * 0.5} {i * 0.5}\n" for i in range(9))
    (tmp_path / "odd.txt").write_text(rows)
    code, _, said = trajflow("data", "import", tmp_path / "odd.txt", "-o", tmp_path / "o.zarr")
    assert code == 2
    assert "--format ethucy" in said
    assert "--format table" in said


def test_agents_in_the_first_column_are_no_eth_file(imported, trajflow, tmp_path):
    rows = walkers().sort_values(["agent", "frame"])[["agent", "frame", "x", "y"]]
    rows.to_csv(tmp_path / "t.txt", sep=" ", header=False, index=False)
    code, _, said = trajflow("data", "import", tmp_path / "t.txt", "-o", tmp_path / "o.zarr")
    assert code == 2
    assert "no header line" in said
    words = ("--columns", "agent=1,frame=2,x=3,y=4", "--dt", DT)
    assert imported(tmp_path / "t.txt", *words)[0].rows == AGENTS * ROWS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.gpx", '<gpx xmlns="http://www.topografix.com/GPX/1/1"></gpx>'),
        ("t.geojson", '{"type": "FeatureCollection", "features": []}'),
        ("t.geojson", '{"type": "FeatureCollection", "features": ' + "[" * 9000 + "]" * 9000 + "}"),
        ("t.gpx", '<gpx><trk><trkpt lat="1" lon="2"></trk></gpx>'),
        ("t.sqlite", "SQLite format 3\0 and nothing else"),
    ],
)
def test_a_file_without_tracks_or_damaged_is_refused(name, text, trajflow, tmp_path):
    (tmp_path / name).write_text(text)
    code, _, said = trajflow("data", "import", tmp_path / name, "-o", tmp_path / "o.zarr")
    assert code == 2
    assert name in said


def test_a_gpx_file_that_unfolds_is_refused(trajflow, tmp_path):
    path = tmp_path / "bomb.gpx"
    path.write_text('<!DOCTYPE gpx [<!ENTITY a "aaaa">]><gpx><trk><name>&a;</name></trk></gpx>')
    code, _, said = trajflow("data", "import", path, "-o", tmp_path / "o.zarr")
    assert code == 2
    assert "entities" in said


def flights(path):
    rows = walkers()
    kind = np.where(rows.agent <= 2, "airliner", np.where(rows.agent == 3, "glider", "drone"))
    names = {"type": kind, "z": np.where(rows.agent == 1, -5.0, 90.0), "speed": rows.agent * 10}
    rows.drop(columns="frame").assign(**names).to_csv(path, index=False)
    return path


def test_a_condition_chooses_rows_and_counts_the_others(imported, tmp_path):
    path = flights(tmp_path / "t.csv")
    store, report = imported(path, "--where", "type = 'airliner' and z > 0")
    assert (store.types, store.trajectories) == (["airliner"], 1)
    assert report["dropped"] == {"by --where": 3 * ROWS}
    store, report = imported(path, "--types", "glider,drone")
    assert (sorted(store.types), report["dropped"]) == (
        ["drone", "glider"],
        {"other types": 2 * ROWS},
    )
    assert imported(path, "--where", "speed between 20 and 30")[0].trajectories == 2
    rows = pd.read_csv(path)
    rows.to_parquet(tmp_path / "t.parquet")
    assert imported(tmp_path / "t.parquet", "--where", "speed > 30")[0].trajectories == 1


def test_a_row_that_cannot_be_read_is_quarantined_whatever_the_condition(imported, tmp_path):
    path = flights(tmp_path / "t.csv")
    path.write_text(path.read_text() + "9,1.2,west,3.0,drone,90.0,10\n")
    report = imported(path, "--where", "x > -1000")[1]
    assert report["quarantined"] == {"not-a-number": 1}
    assert report["dropped"] == {}


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("z >", "syntax error"),
        ("height > 3", "height"),
        ("x in (select 1)", "selects from a table"),
        ("x > (select count(*) from read_text('/etc/passwd'))", "selects from a table"),
        ("true) from (select 1) where (true", "syntax error"),
        ("1; drop table good", "not a condition"),
        ("sum(x) > 1", "aggregate"),
        ("agent::int > 1 and type::int = 3", "try_cast"),
    ],
)
def test_a_wrong_condition_is_refused_with_the_reason(where, why, trajflow, tmp_path):
    path = flights(tmp_path / "t.csv")
    words = ("data", "import", path, "-o", tmp_path / "o.zarr", "--where", where)
    code, _, said = trajflow(*words)
    assert code == 2
    assert "--where" in said
    assert why in said
    assert not (tmp_path / "o.zarr").exists()


def test_a_type_that_is_not_there_is_refused_with_those_that_are(trajflow, tmp_path):
    path = flights(tmp_path / "t.csv")
    words = ("data", "import", path, "-o", tmp_path / "o.zarr", "--types", "airliner,ship")
    code, _, said = trajflow(*words)
    assert code == 2
    assert "'ship'; the types are airliner, drone, glider" in said


def test_a_column_of_scenes_is_named_or_left_out(imported, tmp_path):
    rows = walkers().assign(day=lambda t: t.agent // 3, scene=lambda t: "s" + t.agent.astype(str))
    rows.drop(columns="frame").to_csv(tmp_path / "t.csv", index=False)
    assert len(imported(tmp_path / "t.csv")[0].scenes) == AGENTS
    assert imported(tmp_path / "t.csv", "--scene-column", "day")[0].scenes == ["0", "1"]
    for words in (("--no-scene",), ("--scene-column", "none")):
        assert imported(tmp_path / "t.csv", *words)[0].scenes == ["t"]


def test_recordings_without_a_benchmark_split_are_mentioned_once(trajflow, tmp_path):
    for name in ("monday", "tuesday"):
        text = "".join(f"{10 * k}\t1\t{0.5 * k:.3f}\t2.000\n" for k in range(9))
        (tmp_path / f"{name}.txt").write_text(text)
    words = ("data", "import", tmp_path / "monday.txt", tmp_path / "tuesday.txt")
    code, out, _ = trajflow(*words, "-o", tmp_path / "people.zarr")
    assert code == 0
    assert out.count("have no stored split; training makes one") == 1
