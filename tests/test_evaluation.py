"""Reports: what is averaged over what, whose chance intervals are, what cannot pass as draws."""

import json
from dataclasses import replace

import numpy as np
import pytest

from trajflow import metrics
from trajflow.baselines import load
from trajflow.datasets.loader import TrackData
from trajflow.errors import ConfigError, DataError, TrajflowError
from trajflow.evaluation import EvaluationOptions, evaluate_folds, evaluate_forecaster
from trajflow.evaluation.scores import NAMES, sample_sensitivity
from trajflow.statistics import People, intervals, resampled_means
from trajflow.types import Batch

S, B, A, T, F, D = 7, 5, 3, 8, 12, 2
QUICK = EvaluationOptions(samples=S, resamples=50, miss=2.0, collide=0.2)


class Guess:
    """Draws around where everyone is, without a look at anything else."""

    def __init__(self, width=1.0):
        self.width = width

    def forecast(self, batch, samples, seed):
        chance = np.random.default_rng(seed)
        drawn = self.width * chance.normal(size=(samples, *batch.future.shape))
        return np.where(batch.target[..., None, None], batch.past[:, :, -1:] + drawn, np.nan)


class Choosy(Guess):
    """Keeps the first of its draws, with weights that fall fast from one to the next."""

    def choose(self, batch, samples, draws, rule, seed):
        kept = self.forecast(batch, draws, seed)[:samples]
        share = 0.4 ** np.arange(samples)
        share = (share / share.sum())[:, None, None]
        return kept, np.where(batch.target, share, np.nan)


def crowd(scene, seed=0, error=1.0, count=B):
    """Windows of a recording whose people end up `error` away from where they are."""
    chance = np.random.default_rng(seed)
    past = chance.normal(size=(count, A, T, D)).cumsum(2)
    future = past[:, :, -1:] + error * chance.normal(size=(count, A, F, D))
    target = chance.random((count, A)) < 0.7
    target[:, 0] = True
    agent = 1000 * scene + chance.integers(0, 2 * A, (count, A))
    scenes = np.full(count, scene)
    return Batch(past, future, target, scenes, np.arange(count), agent)


def test_the_mean_is_over_groups_not_over_windows():
    small, large = crowd(0, count=2, error=5.0), crowd(1, count=50)
    report = evaluate_forecaster(Guess(), [small, large], {"small": [0], "large": [1]}, QUICK)
    first, second = (report.scenes[name].means for name in ("small", "large"))
    for name in ("min_ade", "jfde", "energy_score", "coverage_90", "spread_ratio"):
        assert report.mean[name] == pytest.approx((first[name] + second[name]) / 2)
    total = (first["energy_score"] * small.targets + second["energy_score"] * large.targets) / (
        small.targets + large.targets
    )
    told = report.to_json()["window_mean"]
    assert told["energy_score"] == pytest.approx(total)
    ratio = told["spread"] / told["mean_ade"]
    assert told["spread_ratio"] == pytest.approx(ratio)
    assert report.scenes["large"].windows == large.targets
    assert report.overall.windows == small.targets + large.targets


def test_moments_of_few_agents_are_left_out_where_the_options_say_so():
    alone, together = crowd(0, seed=1), crowd(0, seed=2)
    alone.target[:, 1:], together.target[:] = False, True
    groups, options = {"street": [0]}, replace(QUICK, min_agents=2)
    report = evaluate_forecaster(Guess(), [alone, together], groups, options)
    only = evaluate_forecaster(Guess(), [together], groups, QUICK)
    assert report.overall.windows == together.targets
    assert report.mean["min_ade"] == pytest.approx(only.mean["min_ade"])
    assert report.to_json()["min_agents"] == 2


def test_a_group_may_hold_several_recordings_weighted_by_their_windows():
    batches = [crowd(0, 1), crowd(1, 2, count=9)]
    both = evaluate_forecaster(Guess(), batches, {"both": [0, 1]}, QUICK)
    each = evaluate_forecaster(Guess(), batches, {"one": [0], "two": [1]}, QUICK).scenes.values()
    weights = [score.windows for score in each]
    expected = np.average([score.means["min_fde"] for score in each], weights=weights)
    assert both.mean["min_fde"] == pytest.approx(expected)


def test_scores_are_those_of_the_metrics():
    batch = crowd(0)
    report = evaluate_forecaster(load("cv")([batch]), [batch], {"all": [0]}, QUICK)
    samples = load("cv")([batch]).forecast(batch, S, 0)
    drawn, future = samples[:, batch.target], batch.future[batch.target]
    assert report.mean["min_ade"] == pytest.approx(metrics.min_ade(drawn, future).mean())
    assert report.mean["mean_fde"] == pytest.approx(metrics.mean_fde(drawn, future).mean())
    jade = metrics.joint_ade(samples, batch.future, batch.target)
    assert report.mean["jade"] == pytest.approx(np.nanmean(jade))
    assert report.mean["true_collision_rate"] == pytest.approx(
        np.nanmean(metrics.collision_rate(batch.future[None], batch.target, 0.2))
    )


def test_a_joint_score_is_worse_than_each_agents_own():
    report = evaluate_forecaster(Guess(), [crowd(0, count=60)], {"all": [0]}, QUICK)
    assert report.mean["jade"] > 1.02 * report.mean["min_ade"]
    assert report.mean["jfde"] > 1.05 * report.mean["min_fde"]


def test_how_windows_are_batched_does_not_matter():
    batch = crowd(0, count=200)
    floor = load("cv")([batch])
    whole = evaluate_forecaster(floor, [batch], {"all": [0]}, QUICK)
    single = [batch.take(np.array([k])) for k in range(200)]
    pieces = evaluate_forecaster(floor, single, {"all": [0]}, QUICK)
    assert pieces.mean == pytest.approx(whole.mean, nan_ok=True)
    assert (
        pieces.overall.people == whole.overall.people == len(np.unique(batch.agent[batch.target]))
    )
    assert pieces.overall.intervals["min_ade"] == pytest.approx(whole.overall.intervals["min_ade"])


def test_batches_do_not_share_their_chance():
    seeds = []

    class Listening(Guess):
        def forecast(self, batch, samples, seed):
            seeds.append(seed)
            return super().forecast(batch, samples, seed)

    batches = [crowd(0, k) for k in range(4)]
    one = evaluate_forecaster(Listening(), batches, {"all": [0]}, QUICK)
    assert len(set(seeds)) == len(seeds) == 5
    again = evaluate_forecaster(Guess(), batches, {"all": [0]}, QUICK)
    other = evaluate_forecaster(Guess(), batches, {"all": [0]}, replace(QUICK, seed=1))
    assert again.mean == one.mean
    assert again.overall.intervals == one.overall.intervals
    assert other.mean["min_ade"] != one.mean["min_ade"]


def test_a_forecaster_cannot_see_what_happened():
    class Cheat:
        def forecast(self, batch, samples, seed):
            return np.broadcast_to(batch.future, (samples, *batch.future.shape))

    with pytest.raises(TrajflowError, match=r"NaN .* every target must be forecast"):
        evaluate_forecaster(Cheat(), [crowd(0)], {"all": [0]}, QUICK)


def test_a_forecast_of_the_wrong_shape_is_refused():
    class Short(Guess):
        def forecast(self, batch, samples, seed):
            return super().forecast(batch, samples - 1, seed)

    with pytest.raises(TrajflowError, match=rf"\[{S}, {B}, {A}, {F}, {D}\]"):
        evaluate_forecaster(Short(), [crowd(0)], {"all": [0]}, QUICK)


def test_groups_and_scenes_must_fit():
    with pytest.raises(DataError, match=r"scenes \[3\] are in no group"):
        evaluate_forecaster(Guess(), [crowd(3)], {"all": [0]}, QUICK)
    with pytest.raises(DataError, match=r"no windows in \['rest'\]"):
        evaluate_forecaster(Guess(), [crowd(0)], {"all": [0], "rest": [1]}, QUICK)
    with pytest.raises(DataError, match="no windows in any group"):
        evaluate_forecaster(Guess(), [], {}, QUICK)


def people_of(scores, windows):
    """A group in which each person has the same score in all their windows."""
    windows = np.asarray(windows)
    sums = np.repeat(np.asarray(scores, float)[:, None], len(NAMES), 1) * windows[:, None]
    return People(np.arange(len(windows)), windows, sums)


def test_a_person_with_many_windows_is_one_observation():
    scores = np.random.default_rng(0).normal(10, 1, 40)
    once, often = (people_of(scores, np.full(40, n)) for n in (1, 50))
    one, many = (intervals({"all": people}, 1000, 0)[1][:, 0] for people in (once, often))
    np.testing.assert_allclose(one, many)
    error = scores.std() / np.sqrt(40)
    np.testing.assert_allclose(
        one, [scores.mean() - 1.96 * error, scores.mean() + 1.96 * error], atol=0.1
    )


def test_resamples_are_those_of_people_drawn_one_by_one(monkeypatch):
    chance = np.random.default_rng(1)
    scores, windows = chance.normal(10, 3, 12), chance.integers(1, 30, 12)
    monkeypatch.setattr("trajflow.statistics.BUDGET", 100)
    fast = resampled_means(people_of(scores, windows), 20_000, np.random.default_rng(0))[:, 0]
    rows = chance.integers(12, size=(20_000, 12))
    slow = (scores * windows)[rows].sum(1) / windows[rows].sum(1)
    assert len(fast) == 20_000
    assert fast.mean() == pytest.approx(slow.mean(), rel=0.01)
    assert fast.std() == pytest.approx(slow.std(), rel=0.03)


def test_the_interval_of_a_mean_covers_as_often_as_it_says():
    chance = np.random.default_rng(2)
    truth, covered = 5.0, 0
    for repeat in range(200):
        groups = {
            name: people_of(chance.normal(truth, 2, 30), chance.integers(1, 9, 30))
            for name in ("one", "two", "three")
        }
        low, high = intervals(groups, 300, repeat)[1][:, 0]
        covered += low <= truth <= high
    assert 0.88 < covered / 200 < 0.99


def test_of_one_person_nothing_is_known_and_of_many_such_recordings_something_is():
    lone = {f"r{k}": people_of([score], [4]) for k, score in enumerate([1.0, 2.0, 3.0, 4.0])}
    each, overall = intervals(lone, 1000, 0)
    assert np.isnan(each["r0"]).all()
    assert 1 < overall[0, 0] < 2.5 < overall[1, 0] < 4
    assert np.isnan(intervals({"r0": lone["r0"]}, 10, 0)[1]).all()


def test_draws_move_with_the_seed_and_sets_do_not():
    chance = np.random.default_rng(3)
    one, other = chance.normal(size=(2, 20, 50, F, D))
    assert sample_sensitivity(one, other) == pytest.approx(1, abs=0.1)
    assert sample_sensitivity(one, one) == 0
    assert sample_sensitivity(one, one[::-1]) == 0
    assert sample_sensitivity(one, one + 0.005) < 0.01
    assert sample_sensitivity(one[:1], other[:1]) == 1


def test_who_stands_surely_says_nothing_about_the_seed():
    chance = np.random.default_rng(4)
    one, other = chance.normal(size=(2, 20, 50, F, D))
    one[:, :40], other[:, :40] = 0, 0
    assert sample_sensitivity(one, other) == pytest.approx(1, abs=0.2)
    assert sample_sensitivity(one[:, :40], other[:, :40]) == 0


class Fixed(Guess):
    """A set of paths that ignores its seed, but for their order."""

    def forecast(self, batch, samples, seed):
        order = np.random.default_rng(seed).permutation(samples)
        return super().forecast(batch, samples, 0)[order]


def test_a_set_regressor_is_flagged():
    batches = [crowd(0, k) for k in range(3)]
    fixed, drawn = (
        evaluate_forecaster(one, batches, {"all": [0]}, QUICK) for one in (Fixed(), Guess())
    )
    assert fixed.set_regressor
    assert fixed.sample_sensitivity == 0
    assert not drawn.set_regressor


def test_thresholds_are_in_the_unit_of_the_store():
    batch = crowd(0)
    scaled = replace(batch, past=100 * batch.past, future=100 * batch.future)
    metres = evaluate_forecaster(Guess(), [batch], {"all": [0]}, replace(QUICK, miss=1.0))
    pixels = replace(QUICK, miss=100.0, collide=20.0)
    pixels = evaluate_forecaster(Guess(100.0), [scaled], {"all": [0]}, pixels)
    assert 0 < metres.mean["miss_rate"] < 1
    for name in ("miss_rate", "collision_rate", "coverage_50", "spread_ratio"):
        assert pixels.mean[name] == pytest.approx(metres.mean[name])
    assert pixels.mean["energy_score"] == pytest.approx(100 * metres.mean["energy_score"])


def test_a_report_is_json_with_its_options():
    terms = replace(QUICK, steps=2, draws=100, selection="k-means", joint=True)
    report = evaluate_forecaster(Choosy(), [crowd(0)], {"eth": [0]}, terms)
    told = json.loads(json.dumps(report.to_json(), allow_nan=False))
    expected = {"samples": S, "steps": 2, "draws": 100, "selection": "k-means", "joint": True}
    assert expected.items() <= told.items()
    assert told["mean"].keys() == told["intervals"].keys() == {*NAMES, "spread_ratio"}
    assert {"windows", "people", "min_ade", "intervals"} <= told["scenes"]["eth"].keys()
    assert told["seconds_per_batch"] > told["seconds_per_forecast"] > 0
    low, high = told["intervals"]["min_ade"]
    assert low < told["mean"]["min_ade"] < high


def test_what_is_not_known_is_null():
    batch = crowd(0, count=1)
    still = replace(batch, past=0 * batch.past, future=0 * batch.future, agent=0 * batch.agent)
    told = evaluate_forecaster(load("cv")([still]), [still], {"all": [0]}, QUICK).to_json()
    assert told["mean"]["spread_ratio"] is None
    assert told["intervals"]["min_ade"] == [None, None]
    json.dumps(told, allow_nan=False)


def test_terms_that_contradict_themselves_are_refused():
    for wrong in ({"samples": 0}, {"draws": 100}, {"draws": 5, "selection": "k-means"}):
        with pytest.raises(ConfigError):
            EvaluationOptions(**wrong)


def test_chosen_samples_are_judged_by_their_weights():
    batch, seed = crowd(0), 4
    terms = replace(QUICK, draws=9, selection="k-means", seed=seed)
    report = evaluate_forecaster(Choosy(), [batch], {"all": [0]}, terms)
    chance = int(np.random.SeedSequence([seed, 0, 0]).generate_state(1)[0])
    samples, weights = Choosy().choose(batch, S, 9, "k-means", chance)
    drawn, share, future = (x[:, batch.target] for x in (samples, weights, batch.future[None]))
    future = future[0]
    away = np.linalg.norm(drawn - future, axis=-1)
    score = metrics.weighted_energy_score(drawn, share, future)
    assert report.mean["min_fde"] == pytest.approx(away[..., -1].min(0).mean())
    assert report.mean["mean_ade"] == pytest.approx((share * away.mean(-1)).sum(0).mean())
    assert report.mean["energy_score"] == pytest.approx(score.mean())
    assert report.mean["spread"] == pytest.approx(metrics.spread(drawn, share).mean())
    for level in (50, 90):
        inside = metrics.coverage(drawn, future, level / 100, share)
        assert report.mean[f"coverage_{level}"] == pytest.approx(inside.mean())
    assert {name for name, mean in report.mean.items() if np.isnan(mean)} == {
        "jade",
        "jfde",
        "collision_rate",
    }
    told = report.to_json()
    assert (told["energy_score_kind"], told["draws"]) == ("weighted", 9)
    assert (
        evaluate_forecaster(Guess(), [batch], {"all": [0]}, QUICK).to_json()["energy_score_kind"]
        == "draws"
    )


def test_choosing_needs_one_who_can_weights_that_sum_to_one_and_no_joint_scores():
    terms = replace(QUICK, draws=9, selection="k-means")
    with pytest.raises(ConfigError, match="score plain draws"):
        evaluate_forecaster(Guess(), [crowd(0)], {"all": [0]}, terms)

    class Heavy(Choosy):
        def choose(self, *words):
            samples, weights = super().choose(*words)
            return samples, 1.01 * weights

    with pytest.raises(TrajflowError, match="sum to one"):
        evaluate_forecaster(Heavy(), [crowd(0)], {"all": [0]}, terms)
    with pytest.raises(ConfigError, match="no agreement"):
        replace(terms, shuffles=2)


def test_folds_are_fitted_and_judged_one_by_one(store_of):
    steps = range(30)
    store = store_of({name: ("train", [steps, steps, steps]) for name in ("a", "b", "c")})

    def fold(name):
        return TrackData(store, history=T, horizon=F, fold=name, split="time")

    report = evaluate_folds(load("cv"), map(fold, "abc"), QUICK)
    alone = [
        evaluate_forecaster(
            load("cv")(one.batches("train", 9)), one.batches("test", 9), one.groups("test"), QUICK
        )
        for one in map(fold, "abc")
    ]
    assert list(report.scenes) == ["a", "b", "c"]
    assert [s.windows for s in report.scenes.values()] == [33, 33, 33]
    assert report.mean["min_ade"] == pytest.approx(np.mean([one.mean["min_ade"] for one in alone]))
