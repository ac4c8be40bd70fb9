"""What an import costs, told by a fresh interpreter."""

import json
import resource
import subprocess
import sys

import pytest

HEAVY = {"torch", "pandas", "sklearn", "zarr", "matplotlib", "textual", "numpy", "pyarrow", "scipy"}

LOADED = """
import atexit, json, sys
sys.argv = ["trajflow", *{arguments}]
atexit.register(lambda: sys.stderr.write(json.dumps(sorted(sys.modules))))
{code}
"""
COMMAND = "from trajflow.cli import main; main()"


def modules_loaded_by(code: str, *arguments: str) -> set[str]:
    program = LOADED.format(arguments=list(arguments), code=code)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def loaded_by(code: str, *arguments: str) -> set[str]:
    return {name.split(".")[0] for name in modules_loaded_by(code, *arguments)}


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("import trajflow", ()),
        ("import trajflow; trajflow.__version__", ()),
        ("import trajflow.cli", ()),
        (COMMAND, ("--help",)),
        (COMMAND, ("--version",)),
        (COMMAND, ("train", "--help")),
        (COMMAND, ("data", "import", "--help")),
    ],
)
def test_nothing_heavy_is_imported(code, arguments):
    loaded = loaded_by(code, *arguments)
    assert "trajflow" in loaded
    assert not loaded & HEAVY


def test_public_names_are_imported_on_first_use():
    models = loaded_by("from trajflow import TrajectoryForecaster, Ensemble, fit_ood")
    assert "torch" in models
    assert "duckdb" not in models
    code = "import trajflow.training.launch; from trajflow import Predictor"
    assert "torch" not in loaded_by(code)
    assert not loaded_by("from trajflow import Forecast, TrajflowError") & {"torch", "pandas"}


NETWORK = """
import torch
from trajflow.models.sampler import Sampler, traced
from trajflow.models.trajectory_model import Architecture, TrajectoryModel
from trajflow.training.optimizer import AdamW

model = TrajectoryModel(Architecture(history=2, horizon=3, width=32, decoder_width=32))
optimiser = AdamW(model.parameters(), fused=True)
sum(weight.sum() for weight in model.parameters()).backward()
optimiser.step()
optimiser.zero_grad()
optimiser.load_state_dict(optimiser.state_dict())
traced(Sampler(model.eval().requires_grad_(False), 1.0), torch.device("cpu"))
print("done")
"""


def test_neither_an_update_nor_a_forecast_imports_the_compiler_of_torch():
    loaded = modules_loaded_by(NETWORK)
    assert "torch.jit" in loaded
    assert not loaded & {"torch._dynamo", "sympy", "torch.distributed.tensor"}


def test_an_unknown_public_name_is_an_attribute_error():
    import trajflow

    with pytest.raises(AttributeError, match="no 'Predicter'"):
        _ = trajflow.Predicter
    assert set(dir(trajflow)) >= {"Predictor", "Forecast", "TrajectoryForecaster", "__version__"}


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_takes_less_than_half_a_second_of_the_processor(word):
    assert any(seconds_of("-m", "trajflow", word) < 0.5 for _ in range(3))


def seconds_of(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
