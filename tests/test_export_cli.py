"""Facts about `trajflow export`: what it refuses before it begins, and that it leaves nothing."""

import json
import sys

import numpy as np
import pytest

from trajflow import Predictor
from trajflow.errors import RunError

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "model.txt"], "exports are .onnx or .pt2"),
        (["-o", "none/model.onnx"], "no folder none"),
        (["--precision", "bf16"], "no bf16"),
        (["--precision", "int7"], "did you mean 'int8'"),
        (["-o", "model.pt2", "--precision", "int8"], "a .pt2 file is of fp32"),
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


def test_a_predictor_of_runs_names_the_one_of_exports():
    with pytest.raises(RunError, match=r"trajflow\.runtime\.Predictor"):
        Predictor.load("model.onnx")


def test_a_damaged_model_is_one_line_and_exit_code_two(trajflow, fork, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x09 no model")
    out = tmp_path / "futures.csv"
    code, _, told = trajflow("predict", tmp_path / "model.onnx", fork, "-o", out)
    assert code == 2
    assert "cannot be used" in told
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_a_checked_export_forecasts_tracks(trajflow, trained, fork, tmp_path, name):
    code, said, told = trajflow(
        "export", trained[0], fork, "-o", tmp_path / name, "--check", "--json"
    )
    assert code == 0, told
    report = json.loads(said)
    assert report["largest difference"] < 1e-5
    assert np.isclose(report["min_ade"], report["min_ade of the run"], rtol=1e-4)
    if name.endswith(".onnx"):
        out = tmp_path / "futures.csv"
        assert trajflow("predict", tmp_path / name, fork, "-o", out)[0] == 0
        assert out.exists()


@pytest.mark.slow
def test_an_export_that_moves_too_far_is_not_kept(trajflow, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("trajflow.export.checking.AGREED", 0.0)
    code, _, told = trajflow("export", trained[0], "-o", tmp_path / "model.onnx", "--check")
    assert code == 2
    assert "nothing was written" in told
    assert not list(tmp_path.iterdir())
