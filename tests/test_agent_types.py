"""Agent types as an input: chosen where there are several, used by name, unknown ones allowed."""

import json

import numpy as np
import pytest

from trajflow import Predictor
from trajflow.config import Config
from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.store import open_store
from trajflow.datasets.writer import StoreWriter
from trajflow.errors import ConfigError, TrajflowError
from trajflow.training.plan import plan_settings

AGENTS, ROWS = 60, 8
WORDS = ("model.width=16", "model.decoder_width=32", "train.batch_size=60", "train.samples=10")
WORDS += ("data.history=4", "data.horizon=4", "train.lr=0.015", "train.ema=0.95")
WORDS += ("train.validate_every=40", "train.mirror=false", "train.time_stretch=[1,1]")
WORDS += ("train.position_noise=0", "train.reverse_prob=0", "model.social=false")


def write_turners(path):
    """Everybody walks east; after the present a ship turns to the left, a car to the right."""
    rng = np.random.default_rng(0)
    with StoreWriter(path, dims=2, dt=0.5, unit="m") as writer:
        for split in ("train", "val", "test"):
            types = ["ship" if number % 2 else "car" for number in range(AGENTS)]
            side = np.where(np.array(types) == "ship", 1.0, -1.0)
            steps = np.arange(ROWS)
            x = rng.uniform(-900, 900, (AGENTS, 1)) + steps
            y = rng.uniform(-900, 900, (AGENTS, 1)) + side[:, None] * np.maximum(steps - 3, 0)
            places = np.stack([x, y], -1) + rng.normal(0, 0.05, (AGENTS, ROWS, 2))
            writer.append(
                TrackBlock(
                    scene=split,
                    labels=list(range(AGENTS)),
                    types=types,
                    rowsize=np.full(AGENTS, ROWS),
                    time=np.tile(steps * 0.5, AGENTS),
                    position=places.reshape(-1, 2),
                    split=split,
                )
            )
    return path


@pytest.fixture(scope="module")
def turners(tmp_path_factory):
    return write_turners(tmp_path_factory.mktemp("types") / "turners.zarr")


@pytest.fixture
def trained(trajflow, turners, tmp_path):
    def train(name, *words):
        run = tmp_path / name
        settings = [word for one in (*WORDS, *words) for word in ("--set", one)]
        code = trajflow("train", turners, "-o", run, "--updates", 80, "--no-race", *settings)[0]
        assert code == 0
        return run

    return train


def test_types_are_an_input_where_several_have_agents_enough(turners):
    plan = plan_settings(Config(), open_store(turners))
    assert plan.config.model.types
    assert any("model.types=true: 2 types have 20 agents or more" in one for one in plan.lines())
    assert not plan_settings(
        Config.load(None, ["model.types=false"]), open_store(turners)
    ).config.model.types


def test_a_forecast_follows_the_type_and_knows_unknown_ones(trajflow, trained, turners, tmp_path):
    run = trained("run")
    predictor = Predictor.load(run)
    past = np.stack([np.arange(4.0), np.zeros(4)], -1)[None].repeat(2, 0)
    past[1] += 500
    forecast = predictor.predict(past, seed=0, types=["ship", "car"])
    ends = forecast.samples[:, :, -1, 1].mean(0) - past[:, -1, 1]
    assert ends[0] > 2
    assert ends[1] < -2
    unknown = predictor.predict(past, seed=0, types=["ufo", ""])
    np.testing.assert_array_equal(unknown.samples, predictor.predict(past, seed=0).samples)
    with pytest.raises(TrajflowError, match=r"types must name each of the 2 agents, got shape \(1"):
        predictor.predict(past, types=["ship"])

    code, out, _ = trajflow("evaluate", run, turners, "--json", "--no-baselines")
    report = json.loads(out)
    assert code == 0
    assert list(report["by_type"]) == ["car", "ship"]
    assert report["by_type"]["car"]["windows"] == AGENTS / 2
    assert "by the type of the agent" in trajflow("evaluate", run, turners, "--no-baselines")[1]
    code, out, _ = trajflow(
        *("evaluate", trained("without", "model.types=false"), turners),
        *("--json", "--no-baselines"),
    )
    assert json.loads(out)["mean"]["energy_score"] > 2 * report["mean"]["energy_score"]

    code, _, said = trajflow("export", run, "-o", tmp_path / "model.onnx", "--check")
    assert code == 0, said
    exported = Predictor.load(tmp_path / "model.onnx")
    assert exported.format.types == predictor.format.types
    for types in (["ship", "car"], ["ufo", "car"], None):
        right = predictor.predict(past, seed=0, types=types).samples
        np.testing.assert_allclose(
            exported.predict(past, seed=0, types=types).samples, right, atol=1e-3
        )
    with pytest.raises(ConfigError, match="this model takes no agent types"):
        Predictor.load(tmp_path / "without").predict(past, types=["ship", "car"])
