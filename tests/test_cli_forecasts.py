"""`trajflow predict` and `plot`: what a run is used for."""

import numpy as np
import pandas as pd
import zarr

COLUMNS = ("--columns", "agent=id,time=t,x=lon,y=lat")


def test_forecasts_are_written(trajflow, trained, fork, tmp_path):
    words = ("predict", trained[0], fork, "--samples", "3", "--seed", "1")
    code, out, _ = trajflow(*words, "-o", tmp_path / "a.csv")
    assert (code, out) == (0, f"{tmp_path / 'a.csv'}\n")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "scene,agent,issued_at,lead,sample,step,time,x,y"
    assert len(lines) == 1 + 61 * 3 * 12
    trajflow(*words, "-o", tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text().splitlines() == lines
    assert trajflow(*words, "-o", tmp_path / "a.csv")[0] == 2


def test_chosen_forecasts_have_weights(trajflow, trained, fork, tmp_path):
    words = ("predict", trained[0], fork, "--samples", "3", "--select", "kmeans", "--draws", "50")
    assert trajflow(*words, "-o", tmp_path / "a.csv")[0] == 0
    frame = pd.read_csv(tmp_path / "a.csv")
    first = frame[frame.step == frame.groupby("agent").step.transform("min")]
    assert np.allclose(first.groupby(["scene", "agent"]).weight.sum(), 1)
    assert trajflow(*words, "-o", tmp_path / "a.zarr")[0] == 0
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert group["weight"].shape == (61, 3)
    assert (group.attrs["selection"], group.attrs["draws"]) == ("kmeans", 50)
    code, _, said = trajflow(*words, "--coverage", "0.9", "-o", tmp_path / "b.csv")
    assert (code, "leave out --select or --coverage" in said) == (2, True)


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
    words = ("predict", trained[0], walk(), "-o", tmp_path / "a.csv", *COLUMNS)
    code, _, said = trajflow(*words)
    assert code == 2
    assert "'degree'" in said
    code, _, said = trajflow(*words, "--unit", "m")
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
    assert "split 'test'" in trajflow(*words, "train-00003")[2]
