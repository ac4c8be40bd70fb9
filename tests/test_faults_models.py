"""Facts about weights of strangers: nothing is run, and nothing is built that is not in them."""

import resource
import subprocess
import sys
import time
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from trajflow.errors import RunError
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.learned_samples import LearnedSamples, LearnedSamplesShape
from trajflow.models.serialization import pack, pack_samples, pack_state, unpack, unpack_samples
from trajflow.models.trajectory_model import Architecture, TrajectoryModel

SHAPE = Architecture(8, 12, width=16, decoder_width=24, decoder_depth=1)
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples" / "faults"))

import hostile_runs  # noqa: E402

if find_spec("onnx"):
    import hostile_models
else:  # it is optional
    hostile_models = None
LARGE = {
    "a million nodes",
    "ten thousand large products",
    "thirty thousand nodes",
    "twenty million fields",
    "facts of ten million lists",
    "a hundred constants of 10^7 numbers",
    "golden pasts of ten million numbers",
    "arrays of a packed GiB",
    "fifty thousand arrays",
}
MODELS = sorted(hostile_models.MAKERS) if hostile_models else []
LATER = hostile_models.hostile_graphs.LATER if hostile_models else {}
"""Exports that are found out when they forecast."""


def lying(**changes):
    """Weights of a small network whose words tell of another one."""
    state = TrajectoryModel(SHAPE).state_dict()
    said = asdict(SHAPE) | changes
    return pack_state(state, {"architecture": said, "dt": 0.4, "unit": "m"})


@pytest.mark.parametrize(
    "changes",
    [
        {"horizon": 60_000},
        {"horizon": 10**15},
        {"width": 65_536},
        {"width": True},
        {"width": 16.0},
        {"decoder_width": 65_536},
        {"decoder_depth": 65_536},
        {"components": -1},
        {"speed_floor": float("nan")},
        {"encoder": "os.system"},
        {"encoder": "x" * 10_000},
        {"social": "yes"},
        {"encoder_options": [["depth", 65_536]]},
        {"encoder_options": [["depth", [1]]]},
        {"encoder_options": 5},
        {"history": None},
        {"surprise": 1},
    ],
)
def test_a_network_that_is_not_in_the_file_is_refused_at_once(changes):
    content = lying(**changes)
    began = time.process_time()
    with pytest.raises(RunError, match="weights-here"):
        unpack(content, "weights-here")
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "facts",
    [
        {"dt": -1.0},
        {"dt": "soon"},
        {"dt": True},
        {"temperature": float("inf")},
        {"unit": "m" * 100},
        {"unit": 3},
    ],
)
def test_facts_that_cannot_be_are_refused(facts):
    content = pack(TrajectoryModel(SHAPE), {"dt": 0.4, "unit": "m"} | facts)
    with pytest.raises(RunError, match="weights-here"):
        unpack(content, "weights-here")


def test_weights_that_are_not_finite_are_refused():
    model = TrajectoryModel(SHAPE)
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = torch.nan
    with pytest.raises(RunError, match="weights-here has values that are not finite"):
        unpack(pack(model, {}), "weights-here")


def test_weights_that_do_not_say_their_clock_are_refused(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(pack(TrajectoryModel(SHAPE), {}))
    with pytest.raises(RunError, match="does not say the dt"):
        TorchPredictor.load(tmp_path)


@pytest.mark.parametrize("changes", [{"count": 50_000}, {"width": 65_536}, {"components": 20_000}])
def test_a_set_that_is_not_in_the_file_is_refused(changes):
    noises = LearnedSamples(LearnedSamplesShape(8, 4, 5, 16))
    said = {"set": noises.shape.to_dict() | changes}
    with pytest.raises(RunError, match="set-here"):
        unpack_samples(pack_state(noises.state_dict(), said), "set-here")
    assert unpack_samples(pack_samples(noises, {}), "set-here")[0].shape == noises.shape


def test_nothing_of_ours_unpickles():
    """So `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD` has nothing to change."""
    sources = [p for top in ("trajflow", "cli", "datasets") for p in (ROOT / top).rglob("*.py")]
    assert len(sources) > 100
    for path in sources:
        text = path.read_text(encoding="utf-8")
        for word in ("torch.load(", "pickle.load", "import pickle", "allow_pickle=True"):
            assert word not in text, f"{path}: {word}"


@pytest.mark.parametrize("name", sorted(hostile_runs.MAKERS))
def test_a_hostile_run_is_refused(name, tmp_path):
    run, canary = tmp_path / "run", tmp_path / "canary"
    hostile_runs.tame(run)
    TorchPredictor.load(run)
    hostile_runs.MAKERS[name](run, canary)
    began = time.process_time()
    with pytest.raises(RunError):
        TorchPredictor.load(run)
    assert time.process_time() - began < 2
    assert not canary.exists()


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in LARGE)) for n in MODELS if n not in LATER],
)
def test_a_hostile_export_is_refused(name, tmp_path):
    pytest.importorskip("onnxruntime")
    from trajflow.inference.onnx.predictor import OnnxPredictor

    path, canary = tmp_path / "model.onnx", tmp_path / "canary"
    hostile_models.MAKERS[name](path, canary)
    began = time.process_time()
    with pytest.raises(RunError, match=r"model\.onnx"):
        OnnxPredictor.load(path)
    assert time.process_time() - began < 2
    assert not canary.exists()


@pytest.mark.parametrize("name", sorted(LATER))
def test_an_export_that_goes_wrong_when_it_forecasts_ends_in_one_line(
    name, tmp_path, capfd, monkeypatch
):
    from trajflow.inference.onnx import session
    from trajflow.inference.onnx.predictor import OnnxPredictor

    monkeypatch.setattr(session, "CALL_SECONDS", 0.5)
    path, past = tmp_path / "model.onnx", np.zeros((3, 8, 2))
    hostile_models.MAKERS[name](path, tmp_path / "canary")
    predictor = OnnxPredictor.load(path)
    began, before = time.process_time(), memory()
    with pytest.raises(RunError, match="exported model") as caught:
        predictor.predict(past)
    assert time.process_time() - began < 2
    assert memory() - before < 512 * 2**20
    assert str(caught.value).isprintable()
    assert capfd.readouterr() == ("", "")


def memory():
    """The most bytes that this process has held."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_many_agents_are_forecast_in_calls_of_bounded_size(tmp_path):
    pytest.importorskip("onnxruntime")
    if hostile_models is None:
        pytest.skip("no onnx")
    from trajflow.inference.noise import normal, place_keys
    from trajflow.inference.onnx.predictor import OnnxPredictor

    hostile_models.tame(tmp_path / "model.onnx")
    predictor = OnnxPredictor.load(tmp_path / "model.onnx")
    sizes, session = [], predictor.session

    class Watched:
        inputs = session.inputs

        def run(self, outputs, inputs):
            sizes.append(inputs["noise"].size * 4)
            return session.run(outputs, inputs)

    predictor.session = Watched()
    past = np.random.default_rng(0).normal(size=(3000, 8, 2)).cumsum(1)
    drawn = predictor.predict(past, samples=40, seed=1).samples
    noise = normal(1, place_keys(np.ones((1, 3000), bool)), 40, 24)
    np.testing.assert_allclose(drawn, noise.reshape(40, 3000, 12, 2) + past[0, 0], atol=1e-5)
    assert len(sizes) > 1
    assert max(sizes) < 2**20


def test_the_command_forecasts_by_an_exported_model_without_torch(tmp_path):
    pytest.importorskip("onnxruntime")
    if hostile_models is None:
        pytest.skip("no onnx")
    import hostile_stores

    model, store, out = (tmp_path / name for name in ("model.onnx", "data.zarr", "out.csv"))
    hostile_models.tame(model)
    hostile_stores.tame(store)
    program = "import sys; sys.modules['torch'] = None; from trajflow.cli import main; main()"
    words = ["predict", model, store, "-o", out]
    subprocess.run([sys.executable, "-c", program, *words], check=True, capture_output=True)
    assert out.exists()


def test_a_tame_export_of_the_same_making_is_used(tmp_path):
    pytest.importorskip("onnxruntime")
    if hostile_models is None:
        pytest.skip("no onnx")
    from trajflow.inference.onnx.predictor import OnnxPredictor

    hostile_models.tame(tmp_path / "model.onnx")
    assert OnnxPredictor.load(tmp_path / "model.onnx").horizon == 12
