"""Facts about ensembles: every draw is one of a member's, each has its share."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_training import walks
from walkers_support import walkers

import trajflow
from trajflow.calibration import CalibrationOrigin, fit, gather, median_spread
from trajflow.errors import ConfigError, TrajflowError
from trajflow.inference.ensemble import Ensemble
from trajflow.inference.predictor import TorchPredictor
from trajflow.metrics import spread
from trajflow.models.learned_samples import LearnedSamples, LearnedSamplesShape
from trajflow.models.trajectory_model import Architecture, TrajectoryModel
from trajflow.ood.fitting import fit_detector

S = 11


def predictor(seed, **facts):
    torch.manual_seed(seed)
    model = TrajectoryModel(Architecture(8, 12, width=16, decoder_width=24, decoder_depth=1))
    for parameter in model.velocity_net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return TorchPredictor(model, {"dt": 0.4, "unit": "m"} | facts)


def test_every_member_draws_its_share_in_its_turn():
    members, batch = [predictor(seed) for seed in range(3)], walks(4, 0)
    ensemble = Ensemble(members)
    drawn = ensemble.forecast(batch, S, seed=5)
    assert drawn.shape == (S, *batch.target.shape, 12, 2)
    shares = ensemble.shares(S, 5)
    assert sorted(shares) == [3, 4, 4]
    first = 0
    for number, (member, share) in enumerate(zip(members, shares, strict=True)):
        own = member.forecast(batch, share, 5 + 1_000_003 * number)
        assert np.array_equal(drawn[first : first + share], own, equal_nan=True)
        first += share


def test_who_draws_one_more_is_left_to_the_seed():
    ensemble = Ensemble([predictor(seed) for seed in range(3)])
    found = np.array([ensemble.shares(S, seed) for seed in range(300)])
    assert (found.sum(1) == S).all()
    assert np.allclose(found.mean(0), S / 3, atol=0.15)
    assert {tuple(ensemble.shares(2, seed)) for seed in range(30)} == {
        (1, 1, 0),
        (1, 0, 1),
        (0, 1, 1),
    }


def test_members_who_disagree_make_a_wider_forecast():
    members, batch = [predictor(seed) for seed in range(3)], walks(6, 0)
    together = Ensemble(members).forecast(batch, 60, 0)[:, batch.target]
    alone = [member.forecast(batch, 60, 0)[:, batch.target] for member in members]
    assert spread(together).mean() > np.mean([spread(one).mean() for one in alone])


def test_a_ensemble_is_asked_what_a_predictor_is():
    ensemble = Ensemble([predictor(0), predictor(1)])
    assert (ensemble.history, ensemble.horizon, ensemble.dims) == (8, 12, 2)
    assert (ensemble.dt, ensemble.unit) == (0.4, "m")


@pytest.mark.parametrize(
    ("members", "said"),
    [([], "got none"), ([predictor(0), predictor(1, dt=0.2)], "0.2 s.*0.4 s")],
)
def test_unlike_predictors_are_refused(members, said):
    with pytest.raises(ConfigError, match=said):
        Ensemble(members)


def test_equal_seeds_predict_the_same_and_none_draws_afresh():
    ensemble, batch = Ensemble([predictor(0), predictor(1)]), walks(4, 0)
    forecast = ensemble.predict(batch.past, samples=S, seed=5)
    assert forecast.samples.shape == (S, *batch.past.shape[:2], 12, 2)
    assert forecast.dt == 0.4
    again = ensemble.predict(batch.past, samples=S, seed=5).samples
    assert np.array_equal(forecast.samples, again)
    assert not np.allclose(ensemble.predict(batch.past, samples=S).samples, again)
    with pytest.raises(TrajflowError, match="at least 1, got 0"):
        ensemble.predict(batch.past, samples=0)


def learned(seed):
    """A predictor with a set of 6 futures and uneven weights."""
    one = predictor(seed)
    noises = LearnedSamples(LearnedSamplesShape(16, one.model.normalizer.components, 6, 8))
    torch.nn.init.normal_(noises.weigh.weight)
    return TorchPredictor(one.model, one.facts, sets={6: noises})


def test_the_learned_sets_of_equal_members_merge_into_that_set():
    one, batch = learned(0), walks(4, 0)
    futures, weights = Ensemble([one, one, one]).choose(batch, 6, 6, "learned", 0)
    alone, shares = one.choose(batch, 6, 6, "learned", 0)
    assert np.allclose(futures, alone, atol=1e-6, equal_nan=True)
    assert np.allclose(weights, shares, atol=1e-9, equal_nan=True)


def test_sets_of_unlike_members_merge_into_weighted_means_of_theirs():
    members, batch = [learned(seed) for seed in range(3)], walks(4, 0)
    sets = [one.choose(batch, 6, 6, "learned", 0) for one in members]
    futures, weights = Ensemble(members).choose(batch, 6, 18, "learned", 0)
    here = batch.target
    assert futures.shape == (6, *here.shape, 12, 2)
    assert np.allclose(weights[:, here].sum(0), 1)
    pooled = np.concatenate([part for part, _ in sets])[:, here]
    mean = np.mean([(part * share[..., None, None]).sum(0) for part, share in sets], 0)
    found = (futures * weights[..., None, None]).sum(0)
    assert np.allclose(found[here], mean[here], atol=0.2 * pooled.std())
    assert (futures[:, here] <= pooled.max(0) + 1e-9).all()
    assert (futures[:, here] >= pooled.min(0) - 1e-9).all()


@pytest.mark.parametrize("rule", ["kmeans", "learned"])
def test_a_ensemble_chooses_for_an_array_what_it_chooses_for_a_batch(rule):
    ensemble, batch = Ensemble([learned(seed) for seed in range(2)]), walks(4, 0)
    whole = batch.target.all(1)
    assert whole.any()
    some = batch.take(np.flatnonzero(whole))
    # An array has no recordings: the noise of an agent follows from its place.
    scene, agent = np.indices(some.target.shape)
    some = replace(some, scene=scene[:, 0], start=np.full(len(scene), -7), agent=agent)
    futures, weights = ensemble.choose(some, 6, 40, rule, 3)
    forecast = ensemble.predict(some.past, samples=6, draws=40, select=rule, seed=3)
    assert np.allclose(forecast.samples, futures, atol=1e-6)
    assert np.allclose(forecast.weights, weights)


def test_chosen_futures_without_a_seed_are_drawn_afresh():
    ensemble, batch = Ensemble([predictor(0), predictor(1)]), walks(2, 0)
    first, second = (
        ensemble.predict(batch.past, samples=3, draws=12, select="kmeans").samples for _ in range(2)
    )
    assert not np.allclose(first, second)


def test_an_ensemble_sets_bad_agents_apart_like_a_predictor():
    ensemble, past = Ensemble([predictor(0), predictor(1)]), walks(4, 0).past
    past[1, 2] = np.inf
    with pytest.raises(TrajflowError, match="agent 2 of scene 1 has an infinite coordinate"):
        ensemble.predict(past, samples=S, seed=5)
    for select in (None, "kmeans"):
        asked = {"samples": 4, "seed": 5, "select": select, "on_bad": "quarantine"}
        told = ensemble.predict(past, **asked)
        missing = past.copy()
        missing[1, 2] = np.nan
        expected = ensemble.predict(missing, **asked)
        assert np.array_equal(told.samples, expected.samples, equal_nan=True)
        assert np.isnan(told.samples).any((0, 3, 4)).sum() == 1
        assert "infinite" in told.faults[1, 2]


def test_regions_of_an_ensemble_hold_once_it_is_calibrated():
    members = [predictor(seed) for seed in range(2)]
    own = gather(Ensemble(members), [walks(30, seed) for seed in range(3)], 20, 0)
    calibration = fit(own, median_spread(own), CalibrationOrigin(samples=20))
    ensemble = Ensemble(members, calibration)
    batch = walks(30, 7)
    drawn = ensemble.predict(batch.past, samples=20, seed=0, on_bad="quarantine")
    region = drawn.region(0.8)
    assert region.calibrated
    assert not Ensemble(members).predict(batch.past, samples=20, seed=0).region(0.8).calibrated
    inside = region.contains(batch.future)[batch.target]
    assert 0.65 < inside.mean() < 0.95


def test_the_ood_score_of_an_ensemble_is_the_mean_of_its_members():
    members = []
    for seed in range(2):
        one = predictor(seed)
        known = fit_detector(one, walkers(30, 1, 8, 12), walkers(30, 2, 8, 12), seed=seed)
        members.append(TorchPredictor(one.model, one.facts, detector=known))
    past = np.concatenate([batch.past for batch in walkers(6, 3, 8, 12)])
    past[0, 0] = np.inf
    asked = {"samples": 2, "seed": 0, "ood": True, "on_bad": "quarantine"}
    each = [one.predict(past, **asked) for one in members]
    told = Ensemble(members).predict(past, **asked)
    for name in ("ood_score", "expected_error"):
        expected = np.mean([getattr(one, name) for one in each], 0)
        np.testing.assert_allclose(getattr(told, name), expected)
    assert np.isnan(told.ood_score[0, 0])
    assert np.isfinite(told.ood_score).sum() == told.ood_score.size - 1
    assert told.ood_reasons[0, 0] == ""
    with pytest.raises(ConfigError, match="for each member"):
        Ensemble([members[0], predictor(1)]).predict(past, **asked)


def test_the_old_name_still_opens_an_ensemble():
    with pytest.warns(DeprecationWarning, match="trajflow.Ensemble"):
        assert trajflow.Mixture is Ensemble


def test_a_set_that_no_member_has_learned_is_refused():
    with pytest.raises(ConfigError, match="no learned set of 5"):
        Ensemble([learned(0), learned(1)]).choose(walks(2, 0), 5, 5, "learned", 0)
