"""`trajflow predict RUN TABLE`: a table is read as the one that the run was trained on."""

import json

import numpy as np
import pandas as pd
import pytest

from trajflow.errors import TrajflowError
from trajflow.inference.predictor import TorchPredictor
from trajflow.inference.tables import open_tracks

RENAMED = {"agent": "who", "time": "clock", "x": "u", "y": "v"}


def walkers(agents=24, steps=24, dt=0.4, seed=0, **columns):
    """Rows of people who walk about 1 m/s, under the names of the run's table."""
    chance = np.random.default_rng(seed)
    rows = []
    for agent in range(agents):
        velocity, start = chance.normal(0, 0.9, 2), chance.uniform(0, 9, 2)
        for step in range(steps):
            place = start + velocity * step * dt + chance.normal(0, 0.02, 2)
            rows.append((f"p{agent}", step * dt, *place))
    return pd.DataFrame(rows, columns=list(RENAMED.values())).assign(**columns)


@pytest.fixture(scope="module")
def run(command, tiny, tmp_path_factory):
    """A run on a table in metres with columns of its own names."""
    folder = tmp_path_factory.mktemp("tables")
    walkers(steps=80, agents=8).to_csv(folder / "train.csv", index=False)
    columns = ",".join(f"{name}={own}" for name, own in RENAMED.items())
    table, store, path = folder / "train.csv", folder / "t.zarr", folder / "run"
    command("data", "import", "table", table, "-o", store, "--unit", "m", "--columns", columns)
    settings = ("data.split=time", "data.horizon=4", "data.fractions=[0.6,0.4,0.0]")
    words = [word for setting in (*settings, "train.epochs=1") for word in ("--set", setting)]
    command("train", store, "--out", path, "--seed", "1", *tiny, *words)
    return path


@pytest.fixture
def predict(trajflow, tmp_path):
    """Forecasts a table: exit code, what was said, and the forecasts if there are any."""

    def ask(run, table, *words, name="now.csv"):
        path, out = tmp_path / name, tmp_path / "out.csv"
        table.to_csv(path, index=False)
        out.unlink(missing_ok=True)
        code, _, said = trajflow("predict", run, path, "-o", out, "--samples", "2", *words)
        return code, said, pd.read_csv(out) if out.exists() else None

    return ask


def test_a_table_like_that_of_the_run_needs_no_options(run, predict):
    code, said, futures = predict(run, walkers(agents=3, seed=1))
    assert (code, said) == (0, "")
    assert sorted(futures.agent.unique()) == ["p0", "p1", "p2"]


def test_a_clock_that_jitters_keeps_the_step_of_the_run(run, predict):
    table = walkers(agents=2, steps=9)
    table["clock"] += np.random.default_rng(3).normal(0, 0.004, len(table))
    code, said, futures = predict(run, table)
    assert (code, said) == (0, "")
    assert futures.time.max() == pytest.approx((8 + 4) * 0.4)


def test_rows_between_the_steps_of_the_run_are_left_out(run, predict):
    fine, coarse = walkers(agents=2, steps=33, dt=0.1), walkers(agents=2, steps=9)
    coarse[["u", "v"]] = fine.loc[fine.clock.mul(10).round() % 4 == 0, ["u", "v"]].to_numpy()
    assert predict(run, fine)[2].equals(predict(run, coarse)[2])


def test_rows_off_the_steps_of_the_run_are_refused_with_both_times(run, predict):
    code, said, _ = predict(run, walkers(dt=0.5))
    assert code == 2
    assert "every 0.5 s" in said
    assert "every 0.4 s" in said


def test_a_height_that_the_run_does_not_know_is_not_read(run, predict):
    table = walkers(agents=2)
    assert predict(run, table.assign(z=1.5))[2].equals(predict(run, table)[2])


def test_a_missing_column_is_refused_by_its_name_and_may_be_named(run, predict):
    table = walkers(agents=2).rename(columns={"u": "east"})
    code, said, _ = predict(run, table)
    assert code == 2
    assert "'u' for x" in said
    assert "--columns x=" in said
    assert predict(run, table, "--columns", "x=east")[0] == 0


def test_pixels_do_not_go_into_a_run_in_metres(run, predict):
    table = walkers(agents=3)
    table[["u", "v"]] *= 40
    code, said, _ = predict(run, table)
    assert code == 2
    assert "another unit" in said
    assert "--scale METRES" in said
    assert predict(run, table, "--unit", "m")[0] == 0
    named = table.rename(columns={"u": "x_px", "v": "y_px"})
    code, said, _ = predict(run, named, "--columns", "x=x_px,y=y_px")
    assert code == 2
    assert "'px'" in said
    assert "--unit m" in said
    code, said, _ = predict(run, walkers(agents=3), "--unit", "px")
    assert code == 2
    assert "'px'" in said


def test_tracks_much_faster_than_the_runs_give_a_warning(run, predict):
    table = walkers(agents=3)
    table[["u", "v"]] *= 9
    code, said, _ = predict(run, table)
    assert code == 0
    assert said.startswith("warning:")
    assert "another unit?" in said


def test_frames_without_seconds_are_refused_and_take_dt(run, predict):
    table = walkers(agents=3)
    table["clock"] = (table.clock / 0.4).round().astype(int)
    frames = table.rename(columns={"clock": "frame"})
    code, said, _ = predict(run, frames, "--columns", "frame=frame")
    assert code == 2
    assert "--dt" in said
    assert predict(run, frames, "--columns", "frame=frame", "--dt", "0.4")[0] == 0


def trained_on(run, **table):
    """The run's predictor, as if its table had been read so."""
    loaded = TorchPredictor.load(run)
    layout = loaded.facts["table"] | table
    return TorchPredictor(loaded.model, loaded.facts | {"table": layout})


def test_frames_are_counted_as_in_the_table_of_the_run(run, tmp_path):
    columns = RENAMED | {"frame": "clock"}
    del columns["time"]
    predictor = trained_on(run, columns=columns, row_interval=10.0)
    table = walkers(agents=2, steps=9)
    table["clock"] = (table.clock / 0.4).round() * 10
    table.to_csv(tmp_path / "tens.csv", index=False)
    with open_tracks(tmp_path / "tens.csv", predictor) as store:
        assert (store.dt, store.rows) == (0.4, 18)
    table["clock"] /= 10
    table.to_csv(tmp_path / "ones.csv", index=False)
    with (
        pytest.raises(TrajflowError, match=r"every 1 frames.* every 10 frames.*--dt"),
        open_tracks(tmp_path / "ones.csv", predictor),
    ):
        pass


def test_positions_are_scaled_as_in_the_table_of_the_run(run, tmp_path):
    table = walkers(agents=2)
    meters = table[["u", "v"]].to_numpy()
    table[["u", "v"]] /= 0.02
    table.to_csv(tmp_path / "pixels.csv", index=False)
    with open_tracks(tmp_path / "pixels.csv", trained_on(run, scale=0.02)) as store:
        np.testing.assert_allclose(store.tracks().position, meters, atol=1e-9)


def test_what_a_run_says_of_its_table_is_not_believed(run, tmp_path):
    walkers(agents=2).to_csv(tmp_path / "now.csv", index=False)
    for lie in ({"scale": -1.0}, {"columns": {"x": 5}}, {"columns": {"moon": "u"}}):
        with (
            pytest.raises(TrajflowError, match="does not say how its table was read"),
            open_tracks(tmp_path / "now.csv", trained_on(run, **lie)),
        ):
            pass


def test_an_exported_model_reads_tables_as_its_run(run, predict, trajflow, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    model = tmp_path / "run.onnx"
    assert trajflow("export", run, "-o", model)[0] == 0
    assert predict(model, walkers(agents=2))[:2] == (0, "")
    table = walkers(agents=2)
    table[["u", "v"]] *= 40
    assert "another unit" in predict(model, table)[1]
    assert "'u' for x" in predict(model, table.rename(columns={"u": "east"}))[1]
    assert "every 0.4 s" in predict(model, walkers(dt=0.5))[1]


def test_forecasts_at_several_moments_have_a_key(run, predict):
    code, _, futures = predict(run, walkers(agents=3), "--every", "2")
    assert code == 0
    key = ["scene", "agent", "issued_at", "lead", "sample"]
    assert list(futures.columns) == [*key, "step", "time", "x", "y"]
    assert not futures.duplicated(key).any()
    assert futures.duplicated(["scene", "agent", "sample", "step"]).any()
    assert np.allclose(futures.issued_at + 0.4 * futures.lead, futures.time)


def test_forecasts_go_on_at_the_time_of_the_tracks(run, predict):
    table = walkers(agents=3, steps=10)
    code, said, futures = predict(run, table.assign(clock=(table.clock + 1000.17).round(6)))
    assert (code, said) == (0, "")
    assert futures.issued_at.unique().tolist() == [pytest.approx(1003.77)]
    assert sorted(futures.time.unique()) == pytest.approx([1004.17, 1004.57, 1004.97, 1005.37])


def test_forecasts_of_dates_are_dates(run, predict):
    table = walkers(agents=2, steps=10)
    moment = pd.Timestamp("2024-05-06 07:08:09.25") + pd.to_timedelta(table.clock, unit="s")
    code, _, futures = predict(run, table.assign(clock=moment.dt.strftime("%Y-%m-%dT%H:%M:%S.%f")))
    assert code == 0
    first = pd.to_datetime(futures.time, format="ISO8601").min()
    assert first == pd.Timestamp("2024-05-06 07:08:13.25", tz="UTC")
    words = moment.dt.strftime("%d/%m/%Y %H:%M:%S.%f")
    code, said, _ = predict(run, table.assign(clock=words))
    assert (code, "--dates dmy" in said) == (2, True)
    code, _, again = predict(run, table.assign(clock=words), "--dates", "dmy")
    assert (code, again.equals(futures)) == (0, True)


@pytest.mark.parametrize("unit", [10**3, 10**6])
def test_times_since_1970_come_back_in_the_unit_they_came_in(unit, run, predict):
    table = walkers(agents=3, steps=10)
    table["clock"] = ((1_714_557_600 + table.clock) * unit).round().astype("int64")
    code, said, futures = predict(run, table)
    assert code == 0, said
    first = futures[futures.lead == 1].groupby("agent").time.first()
    last = table.groupby("who").clock.max()
    assert (first - last == 0.4 * unit).all()
    assert (futures.issued_at == last.iloc[0]).all()
    assert futures.time.dtype == np.int64


def test_milliseconds_from_a_start_come_back_as_milliseconds(run, predict):
    table = walkers(agents=3, steps=10).rename(columns={"clock": "time_ms"})
    table["time_ms"] *= 1000
    futures = predict(run, table, "--columns", "time=time_ms")[2]
    assert futures[futures.lead == 1].time.to_numpy() == pytest.approx(4000)


def test_only_some_recordings_are_forecast_and_json_says_what_was_written(
    trained, fork, trajflow, tmp_path
):
    whole, some = tmp_path / "whole.parquet", tmp_path / "some.parquet"
    words = ("predict", trained[0], fork, "--samples", "2")
    code, out, _ = trajflow(*words, "-o", whole, "--json")
    facts = json.loads(out)
    assert (code, facts["forecasts"], facts["out"]) == (0, 61, str(whole))
    assert (facts["samples"], facts["unit"], facts["dt"]) == (2, "m", 0.4)
    names = pd.read_parquet(whole).scene.unique()[[3, 20]]
    chosen = [word for name in names for word in ("--scene", name)]
    assert json.loads(trajflow(*words, "-o", some, "--json", *chosen)[1])["forecasts"] == 2
    assert set(pd.read_parquet(some).scene) == set(names)
    code, _, said = trajflow(*words, "-o", tmp_path / "no.csv", "--scene", names[0] + "x")
    assert (code, said.count("\n")) == (2, 1)
    assert f"did you mean {names[0]!r}" in said
    assert not (tmp_path / "no.csv").exists()


def test_forecasts_of_a_split_start_at_its_steps(run, trajflow, tmp_path):
    table = walkers(steps=80, agents=8)
    table.to_csv(tmp_path / "train.csv", index=False)
    presents = {}
    for split in ("train", "val"):
        out = tmp_path / f"from-{split}.csv"
        words = ("predict", run, tmp_path / "train.csv", "-o", out, "--samples", "1")
        code, _, said = trajflow(*words, "--split", split)
        assert (code, said) == (0, "")
        presents[split] = pd.read_csv(out).issued_at.unique()
    assert presents["train"] == pytest.approx([47 * 0.4])
    assert presents["val"] == pytest.approx([79 * 0.4])
    code, _, said = trajflow(*words, "--overwrite", "--split", "test")
    assert (code, "no agent is at a step of split 'test'" in said) == (2, True)
    code, _, said = trajflow(*words, "--overwrite", "--split", "valid")
    assert (code, "did you mean 'val'" in said) == (2, True)


def test_an_exported_model_has_no_split(tmp_path, trajflow, run):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    assert trajflow("export", run, "-o", tmp_path / "run.onnx")[0] == 0
    walkers(agents=2).to_csv(tmp_path / "now.csv", index=False)
    words = ("predict", tmp_path / "run.onnx", tmp_path / "now.csv", "-o", tmp_path / "out.csv")
    code, _, said = trajflow(*words, "--split", "val")
    assert (code, said.count("\n")) == (2, 1)
    assert "give the run folder, or leave out --split" in said


def test_numbers_of_a_csv_have_a_useful_precision(run, predict, trajflow, tmp_path):
    table = walkers(agents=2)
    _, _, futures = predict(run, table)
    lines = (tmp_path / "out.csv").read_text().splitlines()[1:]
    assert max(len(line.split(",")[-1].split(".")[1]) for line in lines) <= 6
    exact = tmp_path / "exact.parquet"
    trajflow("predict", run, tmp_path / "now.csv", "-o", exact, "--samples", "2")
    np.testing.assert_allclose(futures[["x", "y"]], pd.read_parquet(exact)[["x", "y"]], atol=1e-5)
