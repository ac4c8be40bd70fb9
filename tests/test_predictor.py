"""Facts about the predictor's door: what goes in, what comes out, what is refused."""

import numpy as np
import pytest
import torch

from trajflow import Ensemble, Predictor
from trajflow.datasets.store import open_store
from trajflow.errors import ConfigError, RunError, TrajflowError
from trajflow.forecast import Forecast
from trajflow.inference.choosing import RULES
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.serialization import pack
from trajflow.models.trajectory_model import Architecture, TrajectoryModel
from trajflow.types import Batch

A, T, F, S = 3, 8, 12, 7


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    model = TrajectoryModel(Architecture(T, F, width=16, decoder_width=24, decoder_depth=1))
    for parameter in model.velocity_net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return TorchPredictor(model, {"dt": 0.4, "unit": "m"})


def pasts(*lead, agents=A):
    return np.random.default_rng(0).normal(size=(*lead, agents, T, 2)).cumsum(-2)


def test_a_forecast_has_the_leading_axes_of_the_past(predictor):
    assert predictor.predict(pasts(), samples=S).samples.shape == (S, A, F, 2)
    assert predictor.predict(pasts(5, 2), samples=S).samples.shape == (S, 5, 2, A, F, 2)


def test_equal_seeds_give_equal_forecasts_and_none_draws_afresh(predictor):
    first, again = (predictor.predict(pasts(), seed=1).samples for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, predictor.predict(pasts(), seed=2).samples)
    drawn = [predictor.predict(pasts()).samples for _ in range(2)]
    assert not np.allclose(*drawn)


def scenes(count=5, agents=4):
    """Scenes of which some agents are targets."""
    chance = np.random.default_rng(2)
    target = chance.random((count, agents)) < 0.6
    target[0] = True
    past = chance.normal(size=(count, agents, T, 2)).cumsum(-2)
    past += 1000 * np.arange(count * agents).reshape(count, agents, 1, 1)
    nobody = np.zeros((count, agents), int)
    return Batch(
        past, np.full((count, agents, F, 2), np.nan), target, nobody[:, 0], nobody[:, 0], nobody
    )


@pytest.mark.parametrize("rule", RULES)
def test_samples_are_chosen_of_more_draws(predictor, rule):
    forecast = predictor.predict(pasts(5), samples=S, seed=1, select=rule, draws=40)
    assert forecast.samples.shape == (S, 5, A, F, 2)
    assert forecast.weights.shape == (S, 5, A)
    np.testing.assert_allclose(forecast.weights.sum(0), 1)
    assert np.abs(forecast.weights * 40 - np.round(forecast.weights * 40)).max() < 1e-4
    again = predictor.predict(pasts(5), samples=S, seed=1, select=rule, draws=40)
    assert np.array_equal(again.samples, forecast.samples)
    usual = predictor.predict(pasts(5), samples=S, seed=1, select=rule)
    assert np.abs(usual.weights * 20 * S - np.round(usual.weights * 20 * S)).max() < 1e-4


def test_a_chosen_set_is_nearer_to_what_the_model_expects_than_plain_draws(predictor):
    past = pasts(6)
    plain = predictor.predict(past, samples=S, seed=1).samples
    chosen = predictor.predict(past, samples=S, seed=1, select="kmeans").samples
    truth = predictor.predict(past, samples=60, seed=2).samples
    errors = [
        np.linalg.norm(truth[:, None] - s[None], axis=-1).mean(-1).min(1).mean()
        for s in (chosen, plain)
    ]
    assert errors[0] < 0.95 * errors[1]


def test_plain_forecasts_have_no_weights(predictor):
    assert predictor.predict(pasts(), seed=1).weights is None


def test_chosen_samples_of_a_batch_stand_with_their_agents_however_it_is_divided(
    predictor, monkeypatch
):
    batch = scenes()
    samples, weights = predictor.choose(batch, S, 64, "kmeans", 3)
    assert samples.shape == (S, *batch.target.shape, F, 2)
    assert np.array_equal(np.isfinite(weights).all(0), batch.target)
    assert np.array_equal(np.isfinite(samples).all((0, 3, 4)), batch.target)
    away = samples[:, batch.target].mean(0) - batch.past[batch.target][:, -1:]
    assert np.abs(away).max() < 500
    monkeypatch.setattr("trajflow.inference.predictor.BUDGET", 3 * 64 * F * 2)
    divided, _ = predictor.choose(batch, S, 64, "kmeans", 3)
    again = divided[:, batch.target].mean(0) - batch.past[batch.target][:, -1:]
    assert np.abs(away - again).max() < 0.5 * np.abs(away).max()
    assert np.array_equal(np.isfinite(divided).all((0, 3, 4)), batch.target)


def test_what_cannot_be_chosen_is_refused(predictor):
    with pytest.raises(ConfigError, match="say by `select`"):
        predictor.predict(pasts(), samples=S, draws=100)
    with pytest.raises(ConfigError, match="cannot choose 7 samples of 5 draws"):
        predictor.predict(pasts(), samples=S, draws=5, select="kmeans")
    with pytest.raises(ConfigError, match="did you mean 'kmeans'"):
        predictor.predict(pasts(), samples=S, select="kmean")
    shape = Architecture(T, F, width=16, decoder_width=24, decoder_depth=1, joint=True)
    together = TorchPredictor(TrajectoryModel(shape), {"dt": 0.4, "unit": "m"})
    with pytest.raises(ConfigError, match="draws the agents of a scene together"):
        together.predict(pasts(), samples=S, select="kmeans")


def test_weights_count_in_everything_a_forecast_says():
    samples = np.random.default_rng(0).normal(size=(3, 2, A, F, 2))
    weights = np.broadcast_to(np.array([0.5, 0.25, 0.25])[:, None, None], (3, 2, A))
    chosen = Forecast(samples, 0.4, weights=weights)
    spelt = Forecast(samples[[0, 0, 1, 2]], 0.4)
    np.testing.assert_allclose(chosen.mean(), spelt.mean())
    np.testing.assert_allclose(chosen.spread(), spelt.spread())
    np.testing.assert_allclose(chosen.region(0.7).centre, spelt.region(0.7).centre)
    expected = np.quantile(spelt.samples, (0.3, 0.8), axis=0, method="inverted_cdf")
    np.testing.assert_allclose(chosen.quantiles((0.3, 0.8)), expected)
    frame = chosen.to_frame()
    assert len(frame) == 3 * 2 * A * F
    assert frame.groupby("sample").weight.agg(["min", "max"]).to_numpy().tolist() == [
        [0.5, 0.5],
        [0.25, 0.25],
        [0.25, 0.25],
    ]
    assert "weight" not in spelt.to_frame()


def test_the_callers_torch_is_left_as_it_was(predictor, tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(pack(predictor.model, predictor.facts))
    threads, products = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(threads + 1)
    torch.set_float32_matmul_precision("high")
    try:
        torch.manual_seed(5)
        before = torch.get_rng_state()
        loaded = TorchPredictor.load(tmp_path)
        for select in (None, "kmeans"):
            loaded.predict(pasts(), samples=S, seed=1, select=select)
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.get_num_threads() == threads + 1
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.is_grad_enabled()
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(products)


def test_forecasts_keep_millimetres_far_from_the_origin(predictor):
    far = np.array([5_000_000.0, 400_000.0])
    near = predictor.predict(pasts(), seed=1).samples
    assert np.abs(predictor.predict(pasts() + far, seed=1).samples - far - near).max() < 1e-3


def test_ragged_neighbors_count_and_those_of_other_scenes_do_not(predictor):
    past = pasts(2)
    crowd = [pasts(agents=4) + 0.5, np.empty((0, T, 2))]
    alone = predictor.predict(past, seed=1).samples
    among = predictor.predict(past, crowd, seed=1).samples
    assert not np.allclose(alone[:, 0], among[:, 0])
    assert np.allclose(alone[:, 1], among[:, 1], atol=1e-4)


def test_a_neighbor_must_be_seen_at_the_present_step(predictor):
    past, around = pasts(), pasts(agents=4) + 0.5
    alone = predictor.predict(past, seed=1).samples
    late, left = around.copy(), around.copy()
    late[:, :-1], left[:, -1] = np.nan, np.nan
    np.testing.assert_allclose(predictor.predict(past, left, seed=1).samples, alone, atol=1e-5)
    assert not np.allclose(predictor.predict(past, late, seed=1).samples, alone, atol=1e-3)


def test_an_agent_who_is_missing_at_present_is_forecast_but_is_no_neighbor(predictor):
    past = pasts()
    past[1, -2:] = np.nan
    among = predictor.predict(past, seed=1).samples
    assert np.isfinite(among).all()
    moved = past.copy()
    moved[1] += 0.3
    np.testing.assert_allclose(
        predictor.predict(moved, seed=1).samples[:, [0, 2]], among[:, [0, 2]], atol=1e-5
    )
    moved = past.copy()
    moved[0] += 0.3
    assert not np.allclose(predictor.predict(moved, seed=1).samples[:, 1], among[:, 1], atol=1e-3)


def test_an_empty_array_of_neighbors_is_nobody(predictor):
    alone = predictor.predict(pasts(), seed=1).samples
    for nobody in (np.empty((0, T, 2)), np.empty((1, 0, T, 2))):
        np.testing.assert_array_equal(predictor.predict(pasts(), nobody, seed=1).samples, alone)


def test_missing_steps_are_allowed_and_never_seen_agents_are_not(predictor):
    past = pasts()
    past[1, [2, 5]] = np.nan
    past[2, :7, 0] = np.nan
    assert np.isfinite(predictor.predict(past).samples).all()
    past[1] = np.nan
    with pytest.raises(TrajflowError, match="agent bus of scene 0 was not seen"):
        predictor.predict(past, agents=["car", "bus", "tram"])


@pytest.mark.parametrize(
    ("past", "said"),
    [
        (np.zeros((3, 9, 2)), r"must be \[A, 8, 2\] or \[B, A, 8, 2\], got \[3, 9, 2\]"),
        (np.zeros((8, 2)), r"got \[8, 2\]"),
        ([["a"]], "must be an array of numbers"),
    ],
)
def test_a_wrong_past_is_refused_with_the_right_shape(predictor, past, said):
    with pytest.raises(TrajflowError, match=said):
        predictor.predict(past)


def test_wrong_neighbors_and_counts_are_refused(predictor):
    with pytest.raises(TrajflowError, match="neighbors are of 3 scenes, the past of 2"):
        predictor.predict(pasts(2), [pasts()] * 3)
    with pytest.raises(TrajflowError, match="samples must be at least 1, got 0"):
        predictor.predict(pasts(), samples=0)
    with pytest.raises(TrajflowError, match="2 ids for 3 agents"):
        predictor.predict(pasts(), agents=["a", "b"])


def test_a_batch_is_forecast_for_its_targets_only(predictor):
    target = np.ones((5, A), bool)
    target[1, 2] = False
    batch = Batch(
        pasts(5),
        np.zeros((5, A, F, 2)),
        target,
        np.zeros(5, int),
        np.arange(5),
        np.zeros((5, A), int),
    )
    drawn = predictor.forecast(batch, S, seed=0)
    assert drawn.shape == (S, 5, A, F, 2)
    assert np.array_equal(np.isfinite(drawn).all((0, 3, 4)), target)


def test_what_is_saved_forecasts_as_before(predictor, tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(pack(predictor.model, predictor.facts))
    loaded = TorchPredictor.load(tmp_path)
    assert np.array_equal(
        loaded.predict(pasts(), seed=1).samples, predictor.predict(pasts(), seed=1).samples
    )
    assert (loaded.dt, loaded.unit, loaded.history, loaded.horizon) == (0.4, "m", T, F)


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(RunError, match="no weights at"):
        TorchPredictor.load(tmp_path / "nothing")


def test_a_forecast_answers_questions(predictor):
    forecast = predictor.predict(pasts(), samples=S, seed=1, agents=["a", "b", "c"])
    assert forecast.mean().shape == (A, F, 2)
    assert forecast.quantiles((0.1, 0.9)).shape == (2, A, F, 2)
    assert forecast.spread().shape == (A, F)
    table = forecast.to_frame()
    assert len(table) == S * A * F
    row = table[(table["sample"] == 4) & (table["agent"] == "b") & (table["step"] == 3)].iloc[0]
    assert row[["x", "y"]].tolist() == forecast.samples[4, 1, 2].tolist()
    assert row["seconds"] == pytest.approx(1.2)


def test_a_predictor_and_a_store_say_what_they_are(trained, fork):
    predictor, store = Predictor.load(trained[0]), open_store(fork)
    assert repr(predictor).startswith(
        "TorchPredictor(history=8, horizon=12, dims=2, unit=m, backend=torch, dt=0.4 s,"
    )
    assert repr(predictor).endswith("device=cpu)")
    assert "<th>unit</th><td>m</td>" in predictor._repr_html_()
    assert repr(Ensemble([predictor, predictor])).startswith("Ensemble(members=2, history=8,")
    assert repr(store).endswith("rows=1220, tracks=61, recordings=61, dims=2, unit=m, dt=0.4 s)")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused_in_one_sentence(trained):
    predictor = Predictor.load(trained[0])
    assert predictor.to("cpu") is predictor
    with pytest.raises(ConfigError, match="torch finds no CUDA GPU"):
        predictor.to("cuda")
    with pytest.raises(ConfigError, match="torch finds no CUDA GPU"):
        Predictor.load(trained[0], device="cuda")
    with pytest.raises(ConfigError, match="torch finds no CUDA GPU"):
        Ensemble([predictor]).to("cuda")
