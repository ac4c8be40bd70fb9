"""Forecasts of large stores: the same in any parts, of crowded moments in bounded memory."""

import numpy as np
import pandas as pd
import torch

from trajflow.datasets import import_tracks, open_store
from trajflow.inference.predictor import TorchPredictor
from trajflow.inference.tracks import forecast_ends, outlooks
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
    tracks = store.tracks()
    batches = list(outlooks(tracks, T, F, neighbors=model.format.neighbors))
    assert max(batch.past.shape[1] for batch in batches) < 500
    assert sorted(a for b in batches for a in b.agent[b.target]) == list(range(1500))
    (whole,) = outlooks(tracks, T, F)
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
