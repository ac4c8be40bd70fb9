"""Facts about `trajflow export`: what it refuses before it begins, and that it leaves nothing."""

import json
import sys
from shutil import copytree

import numpy as np
import pandas as pd
import pytest

from trajflow import Predictor
from trajflow.errors import RunError

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "model.txt"], "an export is an .onnx file"),
        (["-o", "none/model.onnx"], "no folder none"),
        (["--precision", "bf16"], "no precision 'bf16'"),
        (["--precision", "int7"], "did you mean 'int8'"),
        (["-o", "model.pt2"], "an export is an .onnx file"),
        (["tracks.zarr"], "only looked at with --check"),
    ],
)
def test_what_cannot_be_is_refused_at_once(trajflow, trained, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    code, _, told = trajflow("export", trained[0], *words)
    assert code == 2
    assert said in told
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_stays(trajflow, trained, tmp_path):
    (tmp_path / "model.onnx").write_text("mine")
    code, _, told = trajflow("export", trained[0], "-o", tmp_path / "model.onnx")
    assert code == 2
    assert "exists already" in told
    assert (tmp_path / "model.onnx").read_text() == "mine"


def test_without_the_packages_the_extra_is_named(trajflow, trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    code, _, told = trajflow("export", trained[0], "-o", tmp_path / "model.onnx")
    assert code == 2
    assert "trajflow[export]" in told
    assert not list(tmp_path.iterdir())


def test_one_door_opens_runs_and_exported_models_by_what_they_are(trained, tmp_path):
    assert Predictor.load(trained[0]).model is not None
    with pytest.raises(RunError, match=r"no model at .*none\.onnx; `trajflow export"):
        Predictor.load(tmp_path / "none.onnx")
    with pytest.raises(RunError, match=r"no weights at .*none; give a run folder"):
        Predictor.load(tmp_path / "none")


def test_a_damaged_model_is_one_line_and_exit_code_two(trajflow, fork, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x09 no model")
    out = tmp_path / "futures.csv"
    code, _, told = trajflow("predict", tmp_path / "model.onnx", fork, "-o", out)
    assert code == 2
    assert "cannot be used" in told
    assert not out.exists()


def same_scores(trajflow, run, model, tracks, folder):
    """Whether `predict` gives the same OOD scores of tracks by a run and by its export."""
    told = []
    for number, one in enumerate((run, model)):
        out = folder / f"{number}.csv"
        code, _, said = trajflow("predict", one, tracks, "-o", out, "--ood", "--samples", 2)
        assert code == 0, said
        told.append(pd.read_csv(out)[["scene", "agent", "ood_score", "expected_error"]])
    close = np.isclose(told[0].ood_score, told[1].ood_score, atol=1e-4)
    alike = np.isclose(told[0].expected_error, told[1].expected_error, rtol=1e-4)
    return close.all() and alike.mean() > 0.95 and told[0].agent.equals(told[1].agent)


@pytest.fixture
def fitted(trajflow, trained, fork, tmp_path):
    """A run with an OOD detector."""
    path = tmp_path / "run"
    copytree(trained[0], path)
    code, _, told = trajflow("fit", path, fork, "ood")
    assert code == 0, told
    return path


@pytest.mark.slow
def test_a_checked_export_forecasts_tracks(trajflow, fitted, fork, tmp_path):
    name = "model.onnx"
    code, said, told = trajflow("export", fitted, fork, "-o", tmp_path / name, "--check", "--json")
    assert code == 0, told
    report = json.loads(said)
    assert report["largest difference"] < 1e-5
    assert np.isclose(report["min_ade"], report["min_ade of the run"], rtol=1e-4)
    assert same_scores(trajflow, fitted, tmp_path / name, fork, tmp_path)


@pytest.mark.slow
def test_int8_is_near_and_may_leave_the_detector_out(trajflow, fitted, fork, tmp_path):
    out = tmp_path / "model.onnx"
    words = ("--precision", "int8", "--no-ood", "--check", "--json")
    code, said, told = trajflow("export", fitted, fork, "-o", out, *words)
    assert code == 0, told
    report = json.loads(said)
    assert report["precision"] == "int8"
    assert 1e-6 < report["largest difference"] < 0.1
    assert not report["ood"]
    code, _, told = trajflow("predict", out, fork, "-o", tmp_path / "futures.csv", "--ood")
    assert code == 2
    assert "then export the run again" in told


@pytest.mark.slow
def test_an_export_that_moves_too_far_is_not_kept(trajflow, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("trajflow.export.verify.AGREED", 0.0)
    code, _, told = trajflow("export", trained[0], "-o", tmp_path / "model.onnx", "--check")
    assert code == 2
    assert "nothing was written" in told
    assert not list(tmp_path.iterdir())
