"""Forecasts of large stores: the same in any parts, of crowded moments in bounded memory."""

import numpy as np
import pandas as pd
import pytest
import torch
import zarr

from trajflow.datasets import import_tracks, open_store
from trajflow.inference import predict, tracks
from trajflow.inference.predict import PredictOptions, predict_tracks
from trajflow.inference.predictor import TorchPredictor
from trajflow.inference.shards import ShardFolder
from trajflow.inference.tracks import Shard, forecast_ends, outlooks, shards_of
from trajflow.models.trajectory_model import Architecture, TrajectoryModel

T, F, S = 4, 5, 3


def predictor(**kind):
    torch.manual_seed(0)
    sizes = {"width": 16, "decoder_width": 24, "decoder_depth": 1}
    model = TrajectoryModel(Architecture(T, F, **sizes, **kind))
    for parameter in model.velocity_net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return TorchPredictor(model, {"dt": 0.4, "unit": "m"})


def store_of(folder, name, scenes, agents, steps=8):
    """A store of recordings of walkers who are all there at every step."""
    rows = []
    for scene in scenes:
        chance = np.random.default_rng(scene)
        side = np.sqrt(agents) * 2
        for agent in range(agents):
            path = chance.uniform(0, side, 2) + chance.normal(0, 0.2, (steps, 2)).cumsum(0)
            rows += [(f"s{scene}", f"p{agent}", 0.4 * k, *xy) for k, xy in enumerate(path)]
    table = folder / f"{name}.csv"
    pd.DataFrame(rows, columns=["scene", "agent", "time", "x", "y"]).to_csv(table, index=False)
    import_tracks("table", table, folder / f"{name}.zarr", unit="m", dt=0.4)
    return open_store(folder / f"{name}.zarr")


def by_agent(parts):
    return {
        (scene, agent, int(step)): part.samples[:, row]
        for part in parts
        for row, (scene, agent, step) in enumerate(
            zip(part.scene, part.agent, part.step, strict=True)
        )
    }


def test_forecasts_of_a_recording_are_the_same_in_any_store(tmp_path):
    model = predictor()
    whole = by_agent(forecast_ends(model, store_of(tmp_path, "all", range(4), 90), samples=S))
    part = by_agent(forecast_ends(model, store_of(tmp_path, "one", [2], 90), samples=S))
    assert len(whole) == 360
    assert len(part) == 90
    for key, drawn in part.items():
        np.testing.assert_allclose(drawn, whole[key], atol=1e-4)


def test_a_crowded_moment_is_forecast_in_parts_with_the_neighbors_these_need(tmp_path):
    model, store = predictor(), store_of(tmp_path, "crowd", [0], 1500)
    rows = store.tracks()
    batches = list(outlooks(rows, T, F, neighbors=model.format.neighbors))
    assert max(batch.past.shape[1] for batch in batches) < 500
    assert sorted(a for b in batches for a in b.agent[b.target]) == list(range(1500))
    (whole,) = outlooks(rows, T, F)
    right = model.forecast(whole, S, 0)
    place = {agent: column for column, agent in enumerate(whole.agent[0])}
    for batch in batches:
        drawn = model.forecast(batch, S, 0)
        for row, column in np.argwhere(batch.target):
            expected = right[:, 0, place[batch.agent[row, column]]]
            np.testing.assert_allclose(drawn[:, row, column], expected, atol=2e-2)


def test_agents_that_are_drawn_together_stay_together(tmp_path):
    model, store = predictor(joint=True), store_of(tmp_path, "crowd", [0], 600)
    (part,) = forecast_ends(model, store, samples=S)
    assert part.samples.shape[1] == 600


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of few rows, and as many threads as a process of a pool has."""
    monkeypatch.setattr(tracks, "ROWS", 200)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def one_process(monkeypatch):
    """Shards are computed in this process, for tests of what becomes of them."""

    def compute(work, items, jobs):
        return ((number, work(item)) for number, item in enumerate(items))

    monkeypatch.setattr(predict, "compute", compute)


def read(path):
    group = zarr.open_group(str(path), mode="r")
    return {name: array[:] for name, array in group.arrays()}


OPTIONS = PredictOptions(samples=3, seed=2, every=4)


@pytest.mark.usefixtures("small_shards")
def test_any_number_of_processes_forecasts_the_same(trained, fork, tmp_path):
    assert len(shards_of(open_store(fork))) > 3
    said = []
    for jobs in (1, 2):
        report = lambda *words: said.append(words)  # noqa: E731
        out = tmp_path / f"{jobs}.zarr"
        predict_tracks(trained[0], fork, out, OPTIONS, jobs=jobs, on_shards=report)
    one, two = (read(tmp_path / f"{jobs}.zarr") for jobs in (1, 2))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert [done for _, done, _ in said] == list(range(said[0][2] + 1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.zarr", "2.zarr"]


@pytest.mark.usefixtures("small_shards", "one_process")
def test_shares_of_several_machines_make_one_file_and_are_not_computed_again(
    trained, fork, tmp_path, trajflow
):
    command = ["predict", trained[0], fork, "-o", tmp_path / "out.zarr", "--every", 4, "--seed", 2]
    for share in ("2/2", "1/2"):
        code, said, _ = trajflow(*command, "--samples", 3, "--shard", share)
        assert code == 0
        assert said.strip() == str(tmp_path / "out.zarr.shards")
        assert not (tmp_path / "out.zarr").exists()
    times = {f: f.stat().st_mtime_ns for f in (tmp_path / "out.zarr.shards").iterdir()}
    assert len(times) == len(shards_of(open_store(fork)))
    (next(iter(times))).unlink()
    computed = []
    predict_tracks(
        trained[0],
        fork,
        tmp_path / "out.zarr",
        OPTIONS,
        on_shards=lambda _, done, total: computed.append((done, total)),
    )
    assert computed == [(len(times) - 1, len(times)), (len(times), len(times))]
    predict_tracks(trained[0], fork, tmp_path / "right.zarr", OPTIONS)
    found, right = (read(tmp_path / name) for name in ("out.zarr", "right.zarr"))
    assert all(np.array_equal(found[name], right[name]) for name in right)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.zarr", "right.zarr"]


def test_a_share_that_is_none_is_refused(trained, fork, tmp_path, trajflow):
    out = tmp_path / "out.zarr"
    for share in ("0/2", "3/2", "two"):
        code, _, said = trajflow("predict", trained[0], fork, "-o", out, "--shard", share)
        assert code == 2
        assert "--shard is K/N" in said


def test_a_shard_that_fails_leaves_no_file(tmp_path):
    def failing():
        yield from ()
        raise KeyboardInterrupt

    folder = ShardFolder(tmp_path / "out.zarr", {"seed": 0})
    with pytest.raises(KeyboardInterrupt):
        folder.write(Shard(0, ("hall",)), failing())
    assert not list(folder.path.iterdir())


def street(folder, agents=70):
    """A recording in which walkers come and go, some of them seen again after a while."""
    chance = np.random.default_rng(0)
    rows = []
    for agent in range(agents):
        steps = chance.integers(0, 90) + np.arange(chance.integers(2, 30))
        steps = steps[(steps < steps[0] + 4) | (steps > steps[0] + 12)] if agent % 5 == 0 else steps
        path = chance.uniform(0, 20, 2) + chance.normal(0, 0.2, (len(steps), 2)).cumsum(0)
        rows += [("hall", f"p{agent}", 0.4 * k, *xy) for k, xy in zip(steps, path, strict=True)]
    table = folder / "street.csv"
    pd.DataFrame(rows, columns=["scene", "agent", "time", "x", "y"]).to_csv(table, index=False)
    import_tracks("table", table, folder / "street.zarr", unit="m", dt=0.4)
    return open_store(folder / "street.zarr")


def before_40(tracks):
    return tracks.step < 40


@pytest.mark.parametrize("every", [None, 4])
@pytest.mark.parametrize("own", [None, before_40])
def test_a_large_recording_is_forecast_some_steps_at_a_time(tmp_path, monkeypatch, every, own):
    model, store = predictor(), street(tmp_path)
    whole = by_agent(forecast_ends(model, store, samples=S, every=every, own=own))
    monkeypatch.setattr(tracks, "ROWS", 200)
    load, rows = type(store).tracks, []

    def watched(store, *parts):
        loaded = load(store, *parts)
        rows.append(len(loaded.step))
        return loaded

    monkeypatch.setattr(type(store), "tracks", watched)
    parts = list(forecast_ends(model, store, samples=S, every=every, own=own))
    assert len(rows) > 3
    assert max(rows) < 350 < store.rows
    assert sum(len(part.agent) for part in parts) == len(whole) > 15
    for key, drawn in by_agent(parts).items():
        np.testing.assert_allclose(drawn, whole[key], atol=1e-4)
