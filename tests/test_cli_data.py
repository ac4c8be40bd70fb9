"""`trajflow data` and `trajflow doctor`: stores made, looked at and examined."""

import csv
import json
import shutil

import pytest

from trajflow.datasets import open_store


def test_made_data_can_be_looked_at(trajflow, fork):
    code, out, _ = trajflow("data", "info", fork, "--json")
    known = json.loads(out)
    assert code == 0
    assert known["splits"] == {"train": 800, "val": 240, "test": 180}
    assert known["history"] == (
        "trajflow data make fork --seed 3 --set train=40 --set val=12 --set test=9"
    )
    assert "61 recordings" in trajflow("data", "info", fork)[1]


def test_equal_seeds_make_equal_stores(trajflow, fork, tmp_path):
    sizes = ["--set", "train=40", "--set", "val=12", "--set", "test=9", "--json"]
    made = {}
    for seed in (3, 4):
        path = tmp_path / f"{seed}.zarr"
        made[seed] = json.loads(
            trajflow("data", "make", "fork", "-o", path, "--seed", seed, *sizes)[1]
        )["fingerprint"]
    assert made[3] == json.loads(trajflow("data", "info", fork, "--json")[1])["fingerprint"]
    assert made[3] != made[4]


def test_a_store_is_not_overwritten_unasked(trajflow, fork):
    code, _, said = trajflow("data", "make", "fork", "-o", fork)
    assert code == 2
    assert "exists" in said


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_data_is_drawn(trajflow, fork, tmp_path, suffix):
    path = tmp_path / f"tracks.{suffix}"
    code, out, _ = trajflow("data", "plot", fork, "-o", path, "--most", "4")
    assert (code, out) == (0, f"{path}\n")
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")


def test_a_picture_of_unknown_kind_is_refused_first(trajflow, tmp_path):
    code, _, said = trajflow("data", "plot", tmp_path / "none.zarr", "-o", tmp_path / "x.bmp")
    assert code == 2
    assert ".png, .svg" in said


COLUMNS = ("--columns", "agent=id,time=t,x=lon,y=lat")


def test_a_table_is_imported_by_column_names(trajflow, walk, tmp_path):
    table = walk()
    words = (
        "data",
        "import",
        "table",
        table,
        "-o",
        tmp_path / "walk.zarr",
        *COLUMNS,
        "--unit",
        "m",
    )
    code, out, said = trajflow(*words)
    assert code == 0
    assert out.startswith("60 of 60 rows kept: 2 trajectories in 1 scenes")
    assert said.startswith("wrote ")
    known = json.loads(trajflow("data", "info", tmp_path / "walk.zarr", "--json")[1])
    assert (known["dt"], known["unit"], known["rows"]) == (0.5, "m", 60)
    assert known["history"].startswith("trajflow data import walk.csv --format table --unit m ")


def test_a_problem_is_quarantined_or_refused_by_the_option(trajflow, walk, tmp_path):
    table, out = walk(jump=1e4), tmp_path / "walk.zarr"
    words = ("data", "import", "table", table, "-o", out, *COLUMNS, "--no-project")
    code, printed, said = trajflow(*words, "--on-problem", "teleport=refuse")
    assert (code, printed) == (3, "")
    assert "teleport" in said
    assert not out.exists()
    code, printed, _ = trajflow(*words, "--json")
    report = json.loads(printed)
    assert code == 0
    assert report["quarantined"] == {"teleport": 1}
    assert trajflow(*words, "--overwrite", "--on-problem", "refuse")[0] == 3
    assert json.loads(trajflow("data", "info", out, "--json")[1])["rows"] == report["rows_kept"]


def test_quarantined_rows_are_handed_out(trajflow, walk, tmp_path):
    table, store = walk(jump=1000.0), tmp_path / "w.zarr"
    lines = table.read_text().splitlines()
    lines[5] = lines[5].replace("a,", "=1+1,") + ",surplus"
    lines[7] = lines[7].rsplit(",", 1)[0] + ",nowhere"
    table.write_text("\n".join(lines) + "\n")
    trajflow("data", "import", "table", table, "-o", store, *COLUMNS, "--no-project")
    out = tmp_path / "bad.csv"
    code, _, said = trajflow("data", "info", store, "--quarantine", out)
    assert (code, "3 rows" in said) == (0, True)
    rows = list(csv.DictReader(out.open()))
    assert [(r["reason"], r["file"], r["row"]) for r in rows] == [
        ("malformed", "walk.csv", "5"),
        ("not-a-number", "walk.csv", "7"),
        ("teleport", "walk.csv", "32"),
    ]
    assert rows[0]["text"] == "'=1+1,1.0,1.2,0.02,surplus"
    assert [rows[1]["y"], rows[2]["y"]] == ["", "1005.0"]
    code, _, said = trajflow("data", "info", store, "--quarantine", out)
    assert (code, "exists already" in said) == (2, True)
    assert trajflow("data", "info", store, "--quarantine", out, "--overwrite")[0] == 0


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_table_in_another_encoding_is_read_when_it_is_named(trajflow, walk, tmp_path, encoding):
    table, store = walk(), tmp_path / "w.zarr"
    table.write_bytes(table.read_text().replace("a,", "größe,").encode(encoding))
    words = ("data", "import", "table", table, "-o", store, *COLUMNS)
    code, _, said = trajflow(*words)
    assert (code, "encoding" in said) == (2, True)
    assert trajflow(*words, "--encoding", encoding)[0] == 0
    assert open_store(store).labels([0, 1]) == ["b", "größe"]
    assert f"--encoding {encoding}" in open_store(store).header.history


def test_misspelt_columns_and_policies_name_the_option(trajflow, walk, tmp_path):
    words = ("data", "import", "table", walk(), "-o", tmp_path / "w.zarr")
    assert "--columns needs NAME=VALUE, got 'lon'" in trajflow(*words, "--columns", "lon")[2]
    assert "did you mean 'teleport'" in trajflow(*words, "--on-problem", "telport=refuse")[2]


def test_a_damaged_store_is_reported(trajflow, fork, tmp_path):
    assert trajflow("data", "check", fork)[0] == 0
    copy = shutil.copytree(fork, tmp_path / "copy.zarr")
    chunk = next(path for path in (copy / "x").rglob("c/*") if path.is_file())
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    code, out, _ = trajflow("data", "check", copy)
    assert code == 3
    assert out.startswith("error    files  damaged store")
    assert (
        json.loads(trajflow("data", "check", copy, "--json")[1])["findings"][0]["level"] == "error"
    )


def test_the_doctor_prints_its_findings(trajflow, fork):
    code, out, _ = trajflow("doctor", fork, "--json")
    findings = {finding["code"]: finding["level"] for finding in json.loads(out)["findings"]}
    assert code == 0
    assert findings["unit"] == "ok"
    lines = trajflow("doctor", fork, "--horizon", "99")[1].splitlines()
    assert [line.split()[0] for line in lines] == sorted(
        (line.split()[0] for line in lines), key=["error", "warning", "note", "ok"].index
    )


def test_brackets_and_stars_in_paths_are_plain_characters(trajflow, tmp_path):
    folder = tmp_path / "tracks [2024] *?"
    folder.mkdir()
    rows = [f"{agent},{0.4 * t:.1f},{t},{agent}" for agent in range(2) for t in range(25)]
    (folder / "t[1].csv").write_text("\n".join(["agent,time,x,y", *rows]) + "\n")
    code, _, said = trajflow("data", "import", folder / "t[1].csv", "-o", folder / "s[1].zarr")
    assert code == 0, said
    assert open_store(folder / "s[1].zarr").rows == 50
