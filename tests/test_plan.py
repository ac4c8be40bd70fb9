"""Settings that are chosen from the tracks: what each rule sees, and that the user's stay."""

import json
import time

import numpy as np
import pytest

from trajflow.config import Config
from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.store import open_store
from trajflow.datasets.writer import StoreWriter
from trajflow.fitting import fit_trained
from trajflow.inference.predictor import TorchPredictor
from trajflow.runs import RunFolder
from trajflow.training.plan import (
    Plan,
    choose_settings,
    fit_time_limit,
    plan_settings,
    seconds_after,
)
from trajflow.training.start import start_training


@pytest.fixture
def moving(tmp_path):
    """Writes a store of agents: `moving(paths [K, N, 2], apart=...)`, all there at once."""

    def write(paths, name="tracks.zarr", dt=0.5):
        count, rows = paths.shape[:2]
        with StoreWriter(tmp_path / name, dims=2, dt=dt, unit="m") as writer:
            block = TrackBlock(
                scene="one",
                labels=list(range(count)),
                types=["walker"] * count,
                rowsize=np.full(count, rows),
                time=np.tile(np.arange(rows) * dt, count),
                position=paths.reshape(-1, 2),
            )
            writer.append(block)
        return open_store(tmp_path / name)

    return write


def walks(agents=40, rows=60, turn=0.0, growth=0.0, apart=3.0, seed=0):
    """Walkers of speeds of their own who turn by chance, or all to the left, or get faster."""
    rng = np.random.default_rng(seed)
    bends = rng.normal(turn, 0.1, (agents, rows))
    angle = rng.uniform(-3, 3, (agents, 1)) + bends.cumsum(1)
    speed = rng.uniform(0.3, 2.0, (agents, 1)) * np.exp(growth * np.arange(rows))
    speed = speed * np.exp(rng.normal(0, 0.05, (agents, rows)))
    steps = np.stack([np.cos(angle), np.sin(angle)], -1) * speed[..., None]
    return steps.cumsum(1) + apart * rng.normal(size=(agents, 1, 2))


def chosen(store, *words):
    return plan_settings(Config.load(None, ["data.split=time", *words]), store).config


@pytest.mark.parametrize(
    ("rows", "dt", "words", "hint"),
    [
        (600, 0.04, (), "a horizon of 0.48 s is short for tracks of 24 s; import them with"),
        (600, 0.04, ("data.horizon=12",), ""),
        (600, 0.4, (), ""),
        (150, 0.04, (), ""),
    ],
)
def test_a_horizon_that_shows_hardly_any_motion_is_hinted_at(moving, rows, dt, words, hint):
    store = moving(walks(agents=30, rows=rows), dt=dt)
    plan = plan_settings(Config.load(None, ["data.split=agent", *words]), store)
    hints = [line for line in plan.lines() if line.startswith("hint: ")]
    assert len(hints) == bool(hint)
    if hint:
        assert hint in hints[0]
        assert "--resample 0.4s, which makes it 4.8 s" in hints[0]


def test_walkers_who_could_walk_backwards_get_the_recipe_of_pedestrians(moving):
    config = chosen(moving(walks()))
    assert (config.train.reverse_prob, config.train.time_stretch) == (0.3, (0.77, 1.8))
    assert (config.data.reach, config.model.condition_on_dt, config.model.own_speed) == (2, 1, 1)
    assert config.train.mirror
    assert config.model.social


def test_smooth_tracks_get_little_noise(moving):
    """Noise of a third of a step hides all that smooth tracks say; on rough ones it is little."""
    assert chosen(moving(walks())).train.position_noise == 0.3
    rng = np.random.default_rng(0)
    steps = np.arange(60)[:, None] * rng.uniform(-2, 2, (40, 1, 2))
    smooth = steps + rng.normal(0, 20, (40, 1, 2)) + rng.normal(0, 0.003, (40, 60, 2))
    assert 0 < chosen(moving(smooth, "smooth.zarr")).train.position_noise < 0.02


def test_who_turns_left_is_neither_mirrored_nor_played_backwards(moving):
    config = chosen(moving(walks(turn=0.1)))
    assert (config.train.mirror, config.train.reverse_prob) == (False, 0.0)
    assert config.train.time_stretch == (1.0, 1.0)


def test_who_gets_faster_is_not_played_backwards(moving):
    config = chosen(moving(walks(growth=0.03)))
    assert (config.train.mirror, config.train.reverse_prob) == (True, 0.0)


def test_who_is_far_from_everybody_has_no_neighbors(moving):
    assert not chosen(moving(walks(apart=1e5))).model.social


def test_who_stops_and_goes_by_chance_is_not_scaled_by_the_own_speed(moving):
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(40, 60, 2)) * rng.exponential(1.0, (40, 60, 1)) ** 3
    assert not chosen(moving(steps.cumsum(1))).model.own_speed


@pytest.mark.parametrize(("rows", "shape"), [(60, (8, 12)), (14, (6, 8)), (6, (2, 4))])
def test_windows_fit_into_the_tracks(moving, rows, shape):
    data = plan_settings(Config.load(None, ["data.split=agent"]), moving(walks(rows=rows))).config
    assert (data.data.history, data.data.horizon) == shape


def test_what_the_user_has_set_stays(moving):
    words = ("train.epochs=3", "train.lr=0.5", "data.history=5", "model.own_speed=false")
    words += ("data.reach=1", "train.mirror=true")
    plan = plan_settings(Config.load(None, ["data.split=time", *words]), moving(walks(turn=0.1)))
    config = plan.config
    assert (config.train.epochs, config.train.updates, config.train.lr) == (3, None, 0.5)
    assert (config.data.history, config.data.reach) == (5, 1)
    assert (config.model.own_speed, config.train.mirror) == (False, True)
    assert not {one.name for one in plan.chosen} & {word.partition("=")[0] for word in words}


def test_more_agents_get_more_updates_and_few_windows_fewer(moving):
    few = chosen(moving(walks(agents=4, rows=30), "few.zarr"))
    assert few.train.updates < 1000 < chosen(moving(walks())).train.updates
    assert (few.model.width, few.train.batch_size) == (64, 32)


def test_a_time_limit_bounds_the_updates_the_validations_and_what_follows_them(moving):
    plan = plan_settings(Config.load(None, ["data.split=time"]), moving(walks()))
    short = fit_time_limit(plan, 60, update=0.5, validation=0.3, per_epoch=10)
    assert isinstance(short, Plan)
    train = short.config.train
    tail = seconds_after(train, 0.3)
    assert tail > 11 * 0.3 + 5
    assert 45 < 0.5 * train.updates + 11 * 0.3 + tail <= 60
    assert train.validate_every == 1
    slow = fit_time_limit(plan, 60, update=0.5, validation=10.0, per_epoch=10).config.train
    assert slow.validation_windows < 500


def test_a_time_limit_with_room_for_more_gets_twice_the_updates_and_not_more(moving):
    plan = plan_settings(Config.load(None, ["data.split=time"]), moving(walks()))
    long = fit_time_limit(plan, 1e6, update=0.5, validation=1.0, per_epoch=1000).config.train
    assert long.updates == 2 * plan.config.train.updates


def test_a_training_is_validated_twelve_times_also_where_it_is_less_than_an_epoch(moving):
    made = plan_settings(Config.load(None, ["data.split=time"]), moving(walks())).fingerprint
    values = {one.name: one.value for one in choose_settings(made, 10_000_000, Config().train)}
    every = values["train.validate_every"] * -(-10_000_000 // values["train.batch_size"])
    assert every == pytest.approx(values["train.updates"] / 12, rel=0.01)


def test_a_time_limit_counts_from_the_start_of_the_command_and_leaves_a_usable_run(
    fork, tmp_path, caplog
):
    words = ["train.time_limit=60", "model.width=16", "model.decoder_width=16", "train.samples=5"]
    began = time.monotonic() - 62
    trainer = start_training(fork, Config.load(None, words), tmp_path / "run", "cpu", began)
    *_, last = trainer.run()
    assert (last.reason, last.step < 20) == ("done", True)
    assert last.seconds > 62
    assert TorchPredictor.load(tmp_path / "run").predict(np.zeros((1, 8, 2))).samples.size
    assert not trainer.has_time(5)
    fit_trained(trainer)
    assert "no OOD detector fitted: the time limit leaves no time for it" in caplog.text


def test_the_recipe_of_the_benchmark_is_what_the_defaults_give_on_its_data(ethucy):
    plan = plan_settings(Config.load(None, ["data.fold=zara1"]), ethucy)
    recipe = Config.load("examples/benchmarks/pedestrians.toml", ["data.fold=zara1"])
    ends = {"patience": 6, "validate_every": plan.config.train.validate_every}
    same = recipe.model_copy(update={"train": recipe.train.model_copy(update=ends)})
    assert plan.config.model_dump() == same.model_dump()
    assert len(plan.lines()) <= 15


def test_a_training_says_what_it_chose_and_keeps_it(trajflow, moving, tmp_path):
    store = moving(walks(agents=12, rows=40))
    words = ("--split", "agent", "--updates", 2, "--set", "data.seed=3")
    code, _, said = trajflow("train", store.path, "-o", tmp_path / "run", *words)
    assert code == 0
    assert "  model.own_speed=true: speeds before and after a moment correlate by " in said
    record = RunFolder.open(tmp_path / "run").read_record()["plan"]
    assert record["chosen"]["model.own_speed"]["value"] is True
    assert "train.updates" not in record["chosen"]
    assert record["fingerprint"]["agents"] > 4
    assert RunFolder.open(tmp_path / "run").config.model.own_speed
    json.dumps(record)
