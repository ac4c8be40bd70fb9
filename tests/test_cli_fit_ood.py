"""`trajflow fit RUN DATA ood`, and what predicting makes of it."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import zarr

from trajflow import Predictor
from trajflow.cli import main
from trajflow.datasets.loader import TrackData
from trajflow.datasets.store import open_store
from trajflow.errors import TrajflowWarning
from trajflow.metrics import energy_score
from trajflow.runs import RunFolder
from trajflow.weights import pack, unpack


@pytest.fixture(scope="module")
def fitted(trained, fork, tmp_path_factory):
    """A run with an OOD detector."""
    run = shutil.copytree(trained[0], tmp_path_factory.mktemp("runs") / "run")
    with pytest.raises(SystemExit) as left:
        main(["fit", str(run), str(fork), "ood", "--quiet", "--json"])
    assert not left.value.code
    return run


def test_what_was_fitted_is_said(trajflow, fitted, fork):
    again = fitted / "ood.safetensors"
    before = again.read_bytes()
    words = ("--without", "slow", "--without", "late", "--windows", 150)
    code, out, said = trajflow("fit", fitted, fork, "ood", *words, "--json")
    assert code == 0
    told = json.loads(out)
    assert told["detector"] == str(again)
    assert told["bytes"] == again.stat().st_size < 1e6
    assert told["reference_people"] == 12
    assert "slow" not in told["corruptions"]
    assert "12 validation people" in said
    again.write_bytes(before)


def test_the_expected_error_is_that_of_draws_as_predict_makes_them(
    trajflow, trained, fork, tmp_path
):
    """At the run's temperature and so many evaluations: here far from those of a plain fit."""
    run = shutil.copytree(trained[0], tmp_path / "run")
    content = (run / "weights.safetensors").read_bytes()
    model, facts = unpack(content, "weights")
    RunFolder.open(run).write("weights.safetensors", pack(model, facts | {"temperature": 6.0}))
    code, out, said = trajflow("fit", run, fork, "ood", "--steps", 2, "--json")
    assert code == 0, said
    told = json.loads(out)
    assert (told["evaluations"], told["temperature"]) == (2, 6.0)
    predictor = Predictor.load(run, steps=2)
    data = TrackData(open_store(fork), **RunFolder.open(run).config.data.model_dump())
    ratios = []
    for batch in data.batches("val", 50):
        drawn = predictor.forecast(batch, 20, 0)[:, batch.target]
        score = energy_score(drawn, batch.future[batch.target])
        ratios.append(score / predictor.ood(batch).expected_error)
    assert np.concatenate(ratios).mean() == pytest.approx(1, abs=0.15)
    with pytest.warns(TrajflowWarning, match="fitted for draws of 2 evaluations, these are of 1"):
        Predictor.load(run).ood(batch)


def test_an_unknown_corruption_is_named(trajflow, fitted, fork):
    code, _, said = trajflow("fit", fitted, fork, "ood", "--without", "noize")
    assert code == 2
    assert "did you mean 'noise'" in said


def test_predictions_carry_ood_score_and_reason(trajflow, fitted, fork, tmp_path):
    code, _, said = trajflow(
        "predict", fitted, fork, "--ood", "--samples", 3, "-o", tmp_path / "f.csv"
    )
    assert code == 0, said
    table = pd.read_csv(tmp_path / "f.csv", keep_default_na=False)
    assert table.ood_score.between(0, 1).all()
    assert (table.groupby(["scene", "agent"]).ood_score.nunique() == 1).all()
    assert (table.ood_reason[table.ood_score > 0.95] != "").all()
    assert (table.ood_reason[table.ood_score <= 0.95] == "").all()


def test_a_group_of_forecasts_keeps_ood_scores(trajflow, fitted, fork, tmp_path):
    place = tmp_path / "f.zarr"
    assert trajflow("predict", fitted, fork, "--ood", "--samples", 3, "-o", place)[0] == 0
    group = zarr.open_group(str(place), mode="r")
    told = np.array(group.attrs["reasons"])[group["ood_reason"][:]]
    assert ((told != "") == (group["ood_score"][:] > 0.95)).all()


def test_a_run_without_a_detector_says_how_to_get_it(trajflow, trained, fork, tmp_path):
    code, _, said = trajflow("predict", trained[0], fork, "--ood", "-o", tmp_path / "f.csv")
    assert code == 2
    assert "trajflow fit RUN DATA ood" in " ".join(said.split())
    assert not (tmp_path / "f.csv").exists()


def test_a_training_with_few_validation_people_ends_without_a_detector(trained):
    assert not (trained[0] / "ood.safetensors").exists()
