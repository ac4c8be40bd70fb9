"""Noise: of each agent its own; even noise covers the distribution better than chance."""

import numpy as np
import pytest
import torch
from test_training import walks

from trajflow.inference.ensemble import Ensemble
from trajflow.inference.noise import normal, uniform
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.trajectory_model import Architecture, TrajectoryModel
from trajflow.selection import even_noise

S, N, SIZE = 512, 40, 6


def predictor(joint=False):
    torch.manual_seed(0)
    sizes = {"width": 16, "decoder_width": 24, "decoder_depth": 1}
    model = TrajectoryModel(Architecture(8, 12, joint=joint, **sizes))
    for parameter in model.velocity_net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return TorchPredictor(model, {"dt": 0.4, "unit": "m"})


def even(seed=0, draws=S, agents=N):
    return even_noise(
        draws, torch.rand(agents, SIZE, generator=torch.Generator().manual_seed(seed)), seed
    )


def test_a_single_draw_is_normal():
    first = torch.stack([even(seed, draws=2, agents=300)[0] for seed in range(10)]).flatten(0, 1)
    assert first.shape == (3000, SIZE)
    assert first.mean(0).abs().max() < 0.08
    torch.testing.assert_close(first.T.cov(), torch.eye(SIZE), atol=0.1, rtol=0)
    level = torch.special.ndtr(first).sort(0).values
    expected = torch.linspace(0, 1, 3000)[:, None]
    assert (level - expected).abs().max() < 0.04


def test_means_over_an_agents_draws_err_less_than_independent_ones():
    noise = even()
    independent = torch.randn(noise.shape, generator=torch.Generator().manual_seed(1))
    for moment in (lambda z: z, torch.square, lambda z: z[..., :1] * z[..., 1:]):
        err, usual = (moment(z).mean(0).sub(moment(z).mean()).std() for z in (noise, independent))
        assert err < 0.7 * usual


def test_agents_have_noise_of_their_own_and_seeds_repeat_it():
    noise = even()
    assert noise.isfinite().all()
    assert (noise[:, 0] - noise[:, 1]).abs().min(0).values.max() > 0
    assert torch.equal(noise, even())
    assert not torch.allclose(noise, even(seed=1))


KEYS = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [0, -1, 0], [2**40, 5, 2**62]])


def test_each_seed_scene_step_and_agent_has_independent_normal_numbers():
    noise = normal(3, KEYS, 4000, SIZE)
    assert noise.shape == (4000, len(KEYS), SIZE)
    flat = noise.reshape(4000, -1)
    covariance = np.cov(np.concatenate([flat, normal(4, KEYS[:1], 4000, SIZE)[:, 0]], 1).T)
    assert np.abs(covariance - np.eye(len(covariance))).max() < 0.1
    assert np.abs(flat.mean(0)).max() < 0.07


def test_the_noise_of_an_agent_is_its_own_in_any_order_and_number_of_samples():
    noise, order = normal(3, KEYS, 7, SIZE), [4, 0, 5]
    assert np.array_equal(normal(3, KEYS[order], 7, SIZE), noise[:, order])
    assert np.array_equal(normal(3, KEYS, 2, SIZE), noise[:2])
    assert np.array_equal(uniform(3, KEYS[order], SIZE), uniform(3, KEYS, SIZE)[order])
    assert not np.array_equal(normal(None, KEYS, 2, SIZE), normal(None, KEYS, 2, SIZE))


@pytest.mark.parametrize("joint", [False, True])
def test_a_forecast_is_the_same_in_any_batch(joint):
    one, batch = predictor(joint), walks(7, 0)
    whole = one.forecast(batch, 5, 0)
    rows = np.array([6, 2])
    part = one.forecast(batch.take(rows), 5, 0)
    np.testing.assert_allclose(part, whole[:, rows], rtol=1e-4, atol=1e-4)


def test_chosen_samples_are_the_same_in_any_batch():
    one, batch = predictor(), walks(7, 0)
    whole, _ = one.choose(batch, 4, 64, "kmeans", 0)
    rows = np.array([6, 2])
    part, _ = one.choose(batch.take(rows), 4, 64, "kmeans", 0)
    np.testing.assert_allclose(part, whole[:, rows], rtol=1e-3, atol=1e-3)


def test_an_ensemble_forecasts_the_same_in_any_batch():
    ensemble, batch = Ensemble([predictor(), predictor()]), walks(7, 0)
    whole, rows = ensemble.forecast(batch, 5, 0), np.array([6, 2])
    part = ensemble.forecast(batch.take(rows), 5, 0)
    np.testing.assert_allclose(part, whole[:, rows], rtol=1e-4, atol=1e-4)


def test_an_agent_draws_the_same_whoever_else_is_forecast():
    one, past = predictor(), np.random.default_rng(0).normal(size=(3, 8, 2)).cumsum(1)
    alone = one.predict(past[:1], past[1:], samples=5, seed=2).samples
    among = one.predict(past, samples=5, seed=2).samples[:, :1]
    np.testing.assert_allclose(alone, among, rtol=1e-4, atol=1e-4)
