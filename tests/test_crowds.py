"""Crowded moments: memory grows with the agents, and nobody's windows or forecasts change."""

import tracemalloc

import numpy as np
import pytest
import torch

from trajflow.datasets.loader import TrackData
from trajflow.datasets.schema import TrackBlock
from trajflow.datasets.store import open_store
from trajflow.datasets.windows import cut
from trajflow.datasets.writer import StoreWriter
from trajflow.evaluation import evaluate_forecaster
from trajflow.evaluation.scores import EvaluationOptions
from trajflow.inference.predictor import TorchPredictor
from trajflow.metrics import collision_rate
from trajflow.models.trajectory_model import Architecture, TrajectoryModel

T, F = 3, 2


def crowd(path, agents, lonely=0):
    """One moment of walkers, of whom every other one is seen in the past alone."""
    chance = np.random.default_rng(0)
    sizes = np.where(np.arange(agents) % 2, T, T + F)
    start = chance.uniform(0, 2 * np.sqrt(agents), (agents, 2))
    walks = [p + chance.normal(0, 0.3, (n, 2)).cumsum(0) for p, n in zip(start, sizes, strict=True)]
    with StoreWriter(path, dims=2, dt=0.4, unit="m") as writer:
        for scene, count in (("crowd", agents), ("pair", lonely)):
            if count:
                writer.append(
                    TrackBlock(
                        scene=scene,
                        labels=list(range(count)),
                        types=["walker"] * count,
                        rowsize=sizes[:count],
                        time=np.concatenate([np.arange(n) for n in sizes[:count]]) * 0.4,
                        position=np.concatenate(walks[:count]),
                        split="test",
                    )
                )
    return open_store(path)


def peak_of(work):
    tracemalloc.start()
    result = work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result, peak


def test_memory_of_a_crowded_window_is_linear_in_its_agents(tmp_path):
    peaks = []
    for agents in (2000, 8000):
        tracks = crowd(tmp_path / f"{agents}.zarr", agents).tracks()
        windows = cut(tracks, T, F, neighbors=agents // 4)
        batch, peak = peak_of(lambda windows=windows: windows.gather(np.array([0])))
        peaks.append(peak)
        assert batch.past.shape[1] == agents // 2 + agents // 4
    assert peaks[1] < 5 * peaks[0]


def test_the_nearest_neighbors_of_a_crowd_are_kept_in_order(tmp_path):
    tracks = crowd(tmp_path / "tracks.zarr", 3000).tracks()
    batch = cut(tracks, T, F, neighbors=400).gather(np.array([0]))
    here, target = tracks.position[tracks.step == T - 1], np.arange(3000) % 2 == 0
    square = ((here[~target, None] - here[None, target]) ** 2).sum(-1).min(1)
    nearest = np.flatnonzero(~target)[np.argsort(square, kind="stable")[:400]]
    assert batch.agent[0].tolist() == np.flatnonzero(target).tolist() + nearest.tolist()


@pytest.mark.parametrize("neighbors", [0, 6])
def test_batches_bring_a_crowded_scene_in_parts_with_the_neighbors_these_need(tmp_path, neighbors):
    data = TrackData(crowd(tmp_path / "tracks.zarr", 3000, 2), history=T, horizon=F, neighbors=None)
    whole = list(data.batches("test", 64))
    data.divide(neighbors)
    parts = list(data.batches("test", 64))
    assert len(parts) == len(whole)
    (full,) = (batch for batch in whole if batch.past.shape[1] == 3000)
    (some,) = (batch for batch in parts if len(batch.scene) > 1)
    assert some.past.shape[1] < 1000
    place = {agent: column for column, agent in enumerate(full.agent[0])}
    assert sorted(some.agent[some.target]) == sorted(full.agent[full.target])
    for row, column in zip(*np.nonzero(some.agent >= 0), strict=True):
        own = place[some.agent[row, column]]
        assert np.array_equal(some.past[row, column], full.past[0, own])
        assert np.array_equal(some.future[row, column], full.future[0, own], equal_nan=True)
    here = full.past[0, :, -1]
    for row, column in np.argwhere(some.target)[::50]:
        away = ((here - some.past[row, column, -1]) ** 2).sum(-1)
        nearest = full.agent[0][np.argsort(away)[: neighbors + 1]]
        assert set(nearest) <= set(some.agent[row])


def test_collisions_of_a_crowd_are_those_of_all_pairs_in_little_memory():
    chance = np.random.default_rng(0)
    for agents in (500, 4000):
        start = chance.uniform(0, 3 * np.sqrt(agents), (agents, 2))
        samples = start[:, None] + chance.normal(0, 0.3, (2, 1, agents, F, 2)).cumsum(-2)
        marked = chance.random((1, agents)) < 0.9
        rate, peak = peak_of(lambda s=samples, m=marked: collision_rate(s, m, 0.5))
        for agent in np.flatnonzero(marked[0])[::200]:
            alone = np.arange(agents) == agent
            steps = samples - samples[:, :, agent, None]
            near = _nearest_step(steps) < 0.5
            touched = (near & marked & ~alone).any(-1).mean()
            assert rate[0, agent] == touched
    assert 0 < np.nanmean(rate) < 1
    assert peak < 30e6


def _nearest_step(away):
    """Least distance of straight motion between the two steps, [S, B, A]."""
    first, motion = away[..., 0, :], away[..., 1, :] - away[..., 0, :]
    square = np.maximum((motion**2).sum(-1), 1e-300)
    share = np.clip(-(first * motion).sum(-1) / square, 0, 1)
    return np.linalg.norm(first + share[..., None] * motion, axis=-1)


def predictor():
    torch.manual_seed(0)
    model = TrajectoryModel(Architecture(T, F, width=16, decoder_width=24, decoder_depth=1))
    for parameter in model.velocity_net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return TorchPredictor(model, {"dt": 0.4, "unit": "m"})


def test_a_crowd_is_evaluated_in_parts_with_the_scores_of_the_whole(tmp_path, monkeypatch):
    store = crowd(tmp_path / "tracks.zarr", 1200, 2)
    data = TrackData(store, history=T, horizon=F, neighbors=None)
    options, forecaster = (
        EvaluationOptions(samples=4, resamples=10, miss=2.0, collide=0.2),
        predictor(),
    )
    scores, widths = [], []
    draw = TorchPredictor.forecast

    def watched(self, batch, *words):
        widths[-1].append(batch.past.shape[1])
        return draw(self, batch, *words)

    monkeypatch.setattr(TorchPredictor, "forecast", watched)
    for least in (1000, 10**6):
        monkeypatch.setattr("trajflow.datasets.windows.CROWD", least)
        widths.append([])
        report = evaluate_forecaster(
            forecaster, data.batches("test", 64), data.groups("test"), options
        )
        scores.append({name: s.means for name, s in report.scenes.items()})
    assert max(widths[0]) < 800 < 1200 == max(widths[1])
    for name, values in scores[0].items():
        assert values == pytest.approx(scores[1][name], rel=1e-3, abs=1e-4)
