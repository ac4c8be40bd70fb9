"""One model for several seconds per step: it is told them, and a run that was not says so."""

import numpy as np
import pytest
import torch
from test_training import CPU, FACTS, Walks, walks

from trajflow.config import Config
from trajflow.errors import ConfigError
from trajflow.inference.predictor import TorchPredictor
from trajflow.metrics import energy_score
from trajflow.runs import RunFolder
from trajflow.training.setup import new_trainer

TOLD = [
    "model.condition_on_dt=true",
    "model.social=false",
    "model.width=24",
    "train.time_stretch=[0.5,1]",
]
SMALL = [
    "train.epochs=60",
    "train.validate_every=20",
    "train.lr=0.01",
    "train.batch_size=15",
    "model.decoder_width=24",
    "model.decoder_depth=1",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A model of turning walkers that learned from half the seconds per step on."""
    folder = tmp_path_factory.mktemp("rates") / "run"
    config = Config.load(None, [*TOLD, *SMALL])
    list(new_trainer(config, Walks(), str(folder), {}, FACTS, CPU).run())
    return folder


def slower(scenes, pace):
    """Pasts and futures of turning walkers who are seen more often than once a step."""
    rng = np.random.default_rng(3)
    rate = rng.uniform(-0.3, 0.3, (scenes, 1, 1)) * pace
    angle = rng.uniform(-3, 3, (scenes, 1, 1)) + rate * np.arange(20)
    points = 0.5 * pace * np.stack([np.cos(angle), np.sin(angle)], -1).cumsum(2)
    return points[:, :, :8], points[:, :, 8:]


def test_the_run_and_its_predictor_know_the_range(run):
    predictor = TorchPredictor.load(run)
    assert (predictor.dts, predictor.dt) == ((0.2, 0.4), 0.4)
    past, _ = slower(3, 0.5)
    assert predictor.predict(past, dt=0.2).dt == pytest.approx(0.2)
    for wrong in (0.19, 0.5):
        with pytest.raises(ConfigError, match=r"trained for 0.2 to 0.4 s per step, got dt="):
            predictor.predict(past, dt=wrong)


def test_telling_the_seconds_per_step_helps(run):
    """Read as if at the usual rate, frequent positions look like somebody slow."""
    predictor = TorchPredictor.load(run)
    past, future = slower(60, 0.5)
    told = predictor.predict(past, samples=20, seed=0, dt=0.2).samples
    untold = predictor.predict(past, samples=20, seed=0).samples
    assert energy_score(told, future).mean() < 0.9 * energy_score(untold, future).mean()


def test_a_run_of_one_rate_refuses_another(tmp_path):
    config = Config.load(None, [*SMALL, "train.epochs=1", "model.width=16"])
    list(new_trainer(config, Walks(), str(tmp_path / "run"), {}, FACTS, CPU).run())
    predictor = TorchPredictor.load(tmp_path / "run")
    with pytest.raises(
        ConfigError, match=r"trained for 0.4 s per step, got dt=0.2; .*model.condition_on_dt"
    ):
        predictor.predict(walks(2, 0).past, dt=0.2)
    assert predictor.predict(walks(2, 0).past, dt=0.4, seed=1).samples.shape[0] == 20
    assert "least_rate" not in predictor.facts
    assert torch.is_tensor(predictor.model.normalizer.displacement_scale)
    assert RunFolder.open(tmp_path / "run").config.model.condition_on_dt is False
