"""`trajflow predict`, `plot` and `compare`: what a run is used for."""

import json

import pandas as pd

COLUMNS = ("--columns", "agent=id,time=t,x=lon,y=lat")


def test_forecasts_are_written(trajflow, trained, fork, tmp_path):
    words = ("predict", trained[0], fork, "--samples", "3", "--seed", "1")
    code, out, _ = trajflow(*words, "-o", tmp_path / "a.csv")
    assert (code, out) == (0, f"{tmp_path / 'a.csv'}\n")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "scene,agent,sample,step,time,x,y"
    assert len(lines) == 1 + 61 * 3 * 12
    trajflow(*words, "-o", tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text().splitlines() == lines
    assert trajflow(*words, "-o", tmp_path / "a.csv")[0] == 2


def test_a_table_is_forecast_without_a_store(trajflow, trained, tmp_path):
    table = tmp_path / "walk.csv"
    rows = [f"a,{0.4 * step:.1f},{0.5 * step},0" for step in range(9)]
    table.write_text("\n".join(["agent,time,x,y", *rows]) + "\n")
    out = tmp_path / "out.parquet"
    code, _, said = trajflow("predict", trained[0], table, "-o", out)
    assert (code, said) == (0, "")
    assert pd.read_parquet(out).step.max() == 8 + 12
    table.write_text("\n".join(["agent,time,x,y", *rows, "a,3.6,1e6,0"]) + "\n")
    _, _, said = trajflow("predict", trained[0], table, "-o", tmp_path / "late.parquet")
    assert said.startswith("warning: rows that were left out: teleport 1")


def test_tracks_of_other_steps_are_refused(trajflow, trained, walk, tmp_path):
    code, _, said = trajflow("predict", trained[0], walk(), "-o", tmp_path / "a.csv", *COLUMNS)
    assert code == 2
    assert "every 0.4 s" in said
    assert "every 0.5 s" in said
    assert not (tmp_path / "a.csv").exists()


def test_forecasts_are_drawn(trajflow, trained, fork, tmp_path):
    path = tmp_path / "forecasts.png"
    code, out, _ = trajflow("plot", trained[0], fork, "-o", path, "--panels", "4")
    assert (code, out) == (0, f"{path}\n")
    assert path.stat().st_size > 10_000
    words = ("plot", trained[0], fork, "-o", path, "--scene")
    assert "did you mean 'test-00003'" in trajflow(*words, "tset-00003")[2]
    assert "part 'test'" in trajflow(*words, "train-00003")[2]


def test_runs_and_floors_stand_side_by_side(trajflow, trained, fork, tmp_path):
    _, out, said = trajflow("compare", trained[0])
    assert "val (in training)" in out.splitlines()[1]
    trajflow("evaluate", trained[0], fork)
    report = tmp_path / "cv.json"
    report.write_text(trajflow("evaluate", "--baseline", "cv", fork, "--json")[1])
    code, out, said = trajflow("compare", trained[0], report)
    assert (code, said) == (0, "")
    names, run, floor = (line.split("  ") for line in out.splitlines())
    assert [run[0], floor[0].strip()] == [str(trained[0]), "cv"]
    assert "minADE" in [name.strip() for name in names]
    rows = json.loads(trajflow("compare", trained[0], report, "--json")[1])["rows"]
    assert [row["windows"] for row in rows] == [9, 9]
    assert rows[1]["mean"] == json.loads(report.read_text())["mean"]


def test_unlike_protocols_are_compared_with_a_warning(trajflow, fork, tmp_path):
    reports = []
    for samples in (5, 6):
        reports.append(tmp_path / f"{samples}.json")
        words = ("evaluate", "--baseline", "cv-sampled", fork, "--samples", samples, "--json")
        reports[-1].write_text(trajflow(*words)[1])
    assert trajflow("compare", reports[0], reports[0])[2] == ""
    assert trajflow("compare", *reports)[2].startswith("warning: these were not all judged")


def test_a_file_that_is_no_report_is_refused(trajflow, tmp_path):
    (tmp_path / "x.json").write_text('{"mean": 3}')
    code, _, said = trajflow("compare", tmp_path / "x.json")
    assert code == 2
    assert "is not a report" in said
