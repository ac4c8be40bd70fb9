"""Facts about `trajflow export`: what it refuses before it begins, and that it leaves nothing."""

import json
import pickle
import subprocess
import sys
from shutil import copytree

import numpy as np
import pandas as pd
import pytest

from trajflow import Ensemble, Predictor
from trajflow.errors import ConfigError, RunError, TrajflowWarning

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


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """A run with its export in its folder."""
    path = tmp_path_factory.mktemp("exported") / "run"
    copytree(trained[0], path)
    done = subprocess.run(
        [sys.executable, "-m", "trajflow", "export", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(path / "model.onnx") in done.stdout
    return path


def walks(agents, seed=0, history=8):
    """Walks [A, T, D] like those of the fork, with missing steps."""
    rng = np.random.default_rng(seed)
    past = rng.uniform(-5, 5, (agents, 1, 2)) + rng.normal(0.3, 0.1, (agents, history, 2)).cumsum(1)
    past[rng.random((agents, history)) < 0.1] = np.nan
    return past


def test_a_run_forecasts_by_the_export_in_its_folder_what_its_weights_forecast(exported):
    auto, torch = Predictor.load(exported), Predictor.load(exported, backend="torch")
    assert (auto.backend, torch.backend) == ("onnx", "torch")
    assert "backend=onnx" in repr(auto)
    for seed in range(20):
        past, neighbors = walks(1 + seed % 4, seed), walks(seed, 100 + seed)
        one, two = (p.predict(past, neighbors, seed=seed).samples for p in (auto, torch))
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_learned_samples_of_an_earlier_export_are_drawn_by_its_run(exported):
    auto = Predictor.load(exported)
    auto.learned = {4: None}  # an export of before its graph drew them
    with pytest.raises(ConfigError, match=r"no learned set of 4 .*trajflow fit RUN DATA samples"):
        auto.predict(walks(3), samples=4, select="learned")  # said by torch: this run has no set


def test_what_an_export_cannot_do_its_run_does_and_an_export_alone_refuses(exported):
    auto, torch = Predictor.load(exported), Predictor.load(exported, backend="torch")
    for options in ({"select": "kmeans"}, {"select": "kmeans", "draws": 40}):
        one, two = (p.predict(walks(3), samples=4, seed=1, **options) for p in (auto, torch))
        np.testing.assert_array_equal(one.samples, two.samples)
        np.testing.assert_array_equal(one.weights, two.weights)
    with pytest.raises(ConfigError, match="no learned set of 4"):
        auto.predict(walks(3), samples=4, select="learned")
    with pytest.raises(ConfigError, match="cannot choose by 'kmeans'"):
        Predictor.load(exported, backend="onnx").predict(walks(3), samples=4, select="kmeans")
    with pytest.raises(AttributeError, match="backend='torch'"):
        _ = auto.model
    with pytest.warns(TrajflowWarning, match="draws in 1 evaluations and not in 2"):
        assert Predictor.load(exported, steps=2).backend == "torch"
    with pytest.raises(ConfigError, match="computes on the CPU, got device 'cuda'"):
        Predictor.load(exported, "cuda", backend="onnx")
    with pytest.raises(ConfigError, match="did you mean 'torch'"):
        Predictor.load(exported, backend="toch")
    with pytest.raises(ConfigError, match=r"torch cannot compute .*model\.onnx"):
        Predictor.load(exported / "model.onnx", backend="torch")


def test_an_export_of_what_the_run_was_before_is_not_used(exported, fork, trajflow, tmp_path):
    run = tmp_path / "run"
    copytree(exported, run)
    loaded = Predictor.load(run)
    code, _, told = trajflow("fit", run, fork, "ood")
    assert code == 0, told
    with pytest.raises(RunError, match="changed since it was loaded"):
        loaded.predict(walks(3), samples=4, select="kmeans")
    with pytest.warns(TrajflowWarning, match=r"made of another ood\.safetensors.*--overwrite"):
        predictor = Predictor.load(run)
    assert predictor.backend == "torch"
    assert np.isfinite(predictor.predict(walks(3), ood=True).ood_score).all()
    with pytest.raises(RunError, match=r"made of another ood\.safetensors"):
        Predictor.load(run, backend="onnx")
    (run / "model.onnx").write_bytes(b"no model")
    with pytest.warns(TrajflowWarning, match="cannot be used"):
        assert Predictor.load(run).backend == "torch"


def test_predict_takes_the_export_and_a_backend_on_request(exported, fork, trajflow, tmp_path):
    tables = []
    for backend in ("auto", "torch", "onnx"):
        out = tmp_path / f"{backend}.csv"
        code, _, told = trajflow("predict", exported, fork, "-o", out, "--backend", backend)
        assert code == 0, told
        assert ("model.onnx" in told) == (backend != "torch")
        tables.append(pd.read_csv(out))
    for table in tables[:2]:
        np.testing.assert_allclose(table[["x", "y"]], tables[2][["x", "y"]], atol=2e-4)
    copytree(exported, tmp_path / "bare")
    (tmp_path / "bare" / "model.onnx").unlink()
    words = ("predict", tmp_path / "bare", fork, "-o", tmp_path / "none.csv", "--backend")
    code, _, told = trajflow(*words, "onnx")
    assert code == 2
    assert "`trajflow export" in told
    assert trajflow(*words, "gpu")[0] == 2


def test_a_run_with_an_export_is_pickled_and_joins_an_ensemble(exported):
    predictor, past = Predictor.load(exported), walks(3)
    again = pickle.loads(pickle.dumps(predictor))
    want = predictor.predict(past, seed=1).samples
    np.testing.assert_array_equal(again.predict(past, seed=1).samples, want)
    torch = Predictor.load(exported, backend="torch")
    one, two = Ensemble([predictor, torch]), Ensemble([torch, torch])
    assert one.backend == "onnx and torch"
    for select in (None, "kmeans"):
        few, many = (e.predict(past, samples=4, seed=2, select=select).samples for e in (one, two))
        np.testing.assert_allclose(few, many, atol=1e-4)


def test_a_run_with_an_export_needs_no_torch(exported):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from trajflow import Predictor\n"
        "import numpy as np\n"
        "print(Predictor.load(sys.argv[1]).predict(np.zeros((2, 8, 2))).samples.shape)"
    )
    words = [sys.executable, "-c", code, exported]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(20, 2, 12, 2)", done.stderr
