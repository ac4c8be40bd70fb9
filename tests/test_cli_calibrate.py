"""`trajflow fit RUN DATA calibration`, and what training and predicting make of a calibration."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray

from trajflow import Predictor
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import open_store
from trajflow.datasets.writer import StoreWriter, TrackBlock
from trajflow.errors import RunError
from trajflow.runs import RECORD, RunFolder

TOLD = {"split", "people", "windows", "samples", "evaluations", "weights", "store", "checked_on"}


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a trained run, with 12 validation people."""
    return shutil.copytree(trained[0], tmp_path / "run")


@pytest.fixture
def calibrated(trajflow, run, fork):
    """A run that was calibrated on few draws, and what that said."""
    code, out, said = trajflow("fit", run, fork, "calibration", "--samples", 6)
    assert code == 0, said
    return run, out


def test_a_table_sets_levels_against_shares(calibrated):
    run, out = calibrated
    head, *rows = out.split("\n\n")[0].splitlines()
    assert head.split()[:3] == ["level", "%", "endpoint"]
    assert [row.split()[0] for row in rows] == [*map(str, range(10, 100, 10)), "95"]
    assert "12 people, 12 windows of split val, fitted on one half of them" in out
    assert "enough for levels up to 92 %" in out
    assert "these 12 people also chose the weights" in out
    assert (run / "calibration.json").is_file()


def test_a_program_reads_levels_shares_and_origin(trajflow, run, fork):
    words = ("fit", run, fork, "calibration", "--samples", 6, "--check", "test", "--json")
    code, out, _ = trajflow(*words)
    told = json.loads(out)
    assert code == 0
    assert set(told) >= TOLD
    assert (told["people"], told["checked_on"], told["split"]) == (12, "test", "val")
    found = told["reliability"]
    assert found["people"] == 9
    assert found["levels"] == pytest.approx(np.arange(0.05, 1, 0.05))
    for both in found["inside"].values():
        for who in both.values():
            assert all(np.diff(who["people"]) >= 0)
            assert len(who["windows"]) == 19
    assert found["radius"]["calibrated"][-1] is None
    assert trajflow(*words)[1] == out


def test_the_curve_is_drawn(trajflow, run, fork, tmp_path):
    for name in ("curve.png", "curve.svg"):
        code, out, _ = trajflow("fit", run, fork, "calibration", "-o", tmp_path / name)
        assert code == 0
        assert out.splitlines()[-1] == str(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "train"], "learned from its training split"),
        (["--check", "val"], "another split"),
        (["-o", "curve.txt"], "a picture ends in"),
    ],
)
def test_what_cannot_be_fitted_is_refused(trajflow, run, fork, words, said):
    code, out, complaint = trajflow("fit", run, fork, "calibration", *words)
    assert (code, out) == (2, "")
    assert said in " ".join(complaint.split())
    assert not (run / "calibration.json").exists()


def test_a_predictor_brings_its_calibration_along(calibrated, trained):
    past = np.cumsum(np.full((3, 8, 2), 0.4), axis=1)
    forecast = Predictor.load(calibrated[0]).predict(past, samples=6, seed=1)
    region = forecast.region(0.9)
    assert region.calibrated
    assert region.radius.shape == (3, 12)
    assert np.isinf(forecast.region(0.95).radius).all()
    plain = Predictor.load(trained[0]).predict(past, samples=6, seed=1)
    np.testing.assert_array_equal(plain.samples, forecast.samples)
    assert not plain.region(0.9).calibrated
    assert Predictor.load(calibrated[0], steps=2).calibration is None


def test_regions_are_written_with_forecasts(trajflow, calibrated, fork, tmp_path):
    words = ("predict", calibrated[0], fork, "--coverage", 0.8, "--samples", 6)
    code, _, said = trajflow(*words, "-o", tmp_path / "a.parquet")
    assert code == 0
    assert "regions are calibrated on 12 people" in said
    frame = pd.read_parquet(tmp_path / "a.parquet")
    assert list(frame)[-5:] == ["x", "y", "centre_x", "centre_y", "radius"]
    mean = frame.groupby(["scene", "agent", "step"])[["x", "y", "centre_x", "radius"]].mean()
    np.testing.assert_allclose(mean.centre_x, mean.x)
    trajflow(*words, "-o", tmp_path / "a.zarr", "--path")
    found = xarray.open_zarr(tmp_path / "a.zarr", consolidated=False)
    assert found.centre.dims == ("forecast", "ahead", "axis")
    assert found.radius.shape == (61, 12)
    assert (found.attrs["coverage"], found.attrs["region"]) == (0.8, "path")
    assert found.attrs["calibrated"]
    assert float(found.radius.mean()) > mean.radius.mean()


def test_regions_are_drawn(trajflow, calibrated, fork, tmp_path):
    words = ("plot", calibrated[0], fork, "--samples", 6, "--panels", 2, "-o", tmp_path / "a.svg")
    sizes = []
    for more in ((), ("--coverage", 0.9), ("--coverage", 0.95)):
        assert trajflow(*words, *more)[0] == 0
        sizes.append((tmp_path / "a.svg").read_text().count("clip-path"))
    assert sizes[1] >= sizes[0] + 2
    assert sizes[2] == sizes[0]


def test_regions_that_are_not_calibrated_say_so(trajflow, calibrated, fork, tmp_path):
    words = ("predict", calibrated[0], fork, "-o", tmp_path / "a.csv", "--overwrite", "--coverage")
    assert "for 6 samples or more" in trajflow(*words, 0.8, "--samples", 5)[2]
    assert "warning: regions are not calibrated" in trajflow(*words, 0.8, "--steps", 2)[2]
    assert "too few for a level of 0.95" in trajflow(*words, 0.95)[2]
    code, _, said = trajflow(*words, 1.5)
    assert code == 2
    assert "up to 0.99, got 1.5" in said


@pytest.mark.filterwarnings("always::trajflow.errors.TrajflowWarning")
def test_a_stale_calibration_is_ignored_and_a_damaged_one_named(
    trajflow, calibrated, fork, tmp_path
):
    run = calibrated[0]
    said = json.loads((run / "calibration.json").read_text())
    stale = json.dumps(said | {"weights": "0" * 64})
    RunFolder.open(run).write("calibration.json", stale.encode())
    words = ("predict", run, fork, "-o", tmp_path / "a.csv", "--coverage", 0.8)
    code, _, complaint = trajflow(*words)
    assert code == 0
    assert "belongs to other weights" in complaint
    assert "regions are not calibrated" in complaint
    (run / "calibration.json").write_text("{")
    assert trajflow(*words, "--overwrite")[0] == 2
    with pytest.raises(RunError, match=r"calibration\.json is damaged"):
        Predictor.load(run)
    assert trajflow("fit", run, fork, "calibration")[0] == 0
    assert trajflow(*words, "--overwrite")[0] == 0


def test_a_training_calibrates_where_there_are_people_enough(trajflow, tiny, trained, tmp_path):
    assert not (trained[0] / "calibration.json").exists()
    store, run = tmp_path / "fork.zarr", tmp_path / "run"
    sizes = ("--set", "train=40", "--set", "val=25", "--set", "test=9")
    trajflow("data", "make", "fork", "-o", store, "--seed", "3", *sizes)
    code, _, said = trajflow("train", store, "--out", run, "--seed", "5", *tiny)
    assert code == 0
    assert "calibrated on 25 validation people" in said
    assert Predictor.load(run).calibration.origin.people == 25


@pytest.fixture(scope="module")
def walked(command, tmp_path_factory, tiny):
    """A store split in time, whose middle some walk through, and a run trained on its beginning."""
    agents, rows = 500, 60
    folder = tmp_path_factory.mktemp("walked")
    chance = np.random.default_rng(0)
    with StoreWriter(folder / "tracks.zarr", dims=2, dt=0.4, unit="m") as writer:
        begins = np.sort(chance.integers(0, 2500, agents))
        steps = np.concatenate([begin + np.arange(rows) for begin in begins])
        pace = chance.normal(size=(agents, 1, 2))
        path = (pace * np.arange(rows)[:, None]).reshape(-1, 2)
        writer.append(
            TrackBlock(
                scene="square",
                labels=list(range(agents)),
                types=["walker"] * agents,
                rowsize=np.full(agents, rows),
                time=steps * 0.4,
                position=path + 0.1 * chance.normal(size=path.shape),
                split="",
            )
        )
    settings = ("data.split=time", "data.stride=10", "train.epochs=1", "train.batch_size=500")
    words = [word for setting in settings for word in ("--set", setting)]
    command("train", folder / "tracks.zarr", "--out", folder / "run", *tiny, *words)
    return folder / "tracks.zarr", folder / "run"


def test_a_calibration_is_of_people_who_neither_trained_nor_selected(trajflow, walked):
    store, run = walked
    data = TrackData(open_store(store), history=8, horizon=12, split="time", stride=10)
    people = {part: set(data.windows(part).agents.tolist()) for part in ("train", "val")}
    both = people["train"] & people["val"]
    assert both
    kept = json.loads((run / "calibration.json").read_text())
    assert kept["left_out"] == len(both)
    assert kept["independent"] is True
    free = len(people["val"] - both)
    assert kept["people"] == pytest.approx(free / 2, rel=0.3)
    selecting, calibrating = (
        {int(a) for b in batches for a in b.agent[b.target]}
        for batches in (data.validation(50, 10**6), data.calibration(50, 10**6))
    )
    assert len(calibrating) == kept["people"]
    assert selecting == people["val"] - calibrating
    assert not calibrating & people["train"]
    record = RunFolder.open(run).read_record()
    assert record["calibration"] == {
        "people": kept["people"],
        "left_out": len(both),
        "independent": True,
    }
    assert record["selection"]["people"] == len(selecting)
    origin = Predictor.load(run).detector.origin
    assert (origin.people, origin.left_out, origin.independent) == (
        kept["people"],
        len(both),
        True,
    )
    code, out, said = trajflow("fit", run, store, "calibration", "--samples", 6)
    assert code == 0, said
    assert f"fitted on {kept['people']} people of split val" in out
    assert f"{len(both)} people of split val are left out" in out
    assert "also chose the weights" not in out


def test_a_run_whose_weights_all_validation_people_chose_says_so(trajflow, walked, tmp_path):
    """As the record of a run of an earlier version tells."""
    store, run = walked
    old = shutil.copytree(run, tmp_path / "run")
    folder = RunFolder.open(old)
    record = folder.read_record()
    for name in ("selection", "calibration"):
        del record[name]
    folder.write(RECORD, json.dumps(record).encode())
    code, out, said = trajflow("fit", old, store, "calibration", "--samples", 6)
    assert code == 0, said
    known = Predictor.load(old).calibration.origin
    assert not known.independent
    assert known.people > 1.5 * record["parts"]["val"]["people"] / 2 - known.left_out
    assert f"these {known.people} people also chose the weights" in out


def test_a_calibration_of_an_earlier_version_is_read(calibrated):
    run, _ = calibrated
    path = run / "calibration.json"
    kept = json.loads(path.read_text())
    del kept["left_out"], kept["independent"]
    RunFolder.open(run).write(path.name, json.dumps(kept).encode())
    known = Predictor.load(run).calibration.origin
    assert (known.people, known.left_out, known.independent) == (12, 0, False)
