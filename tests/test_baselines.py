"""Floors: each a full forecaster, sound for those who stand, as good as the field found them."""

import numpy as np
import pytest

from trajflow import baselines, metrics
from trajflow.baselines import available, collect_windows, headings, load, turned
from trajflow.datasets.loader import TrackData
from trajflow.errors import ConfigError, DataError
from trajflow.evaluation import EvaluationOptions, evaluate_folds
from trajflow.types import Batch

B, A, T, F, S = 5, 3, 8, 12, 7


def batch_of(path, scene=0):
    """Scenes of one target each, from whole paths [N, T + F, D]."""
    count = len(path)
    return Batch(
        past=path[:, None, :T],
        future=path[:, None, T:],
        target=np.ones((count, 1), bool),
        scene=np.full(count, scene),
        start=np.arange(count),
        agent=np.arange(count)[:, None],
    )


def walks(count, dims=2, seed=0):
    """Paths of people who keep more or less to their own speed and direction, [N, T + F, D]."""
    chance = np.random.default_rng(seed)
    pace = chance.normal(size=(count, 1, dims))
    steps = pace + 0.2 * chance.normal(size=(count, T + F, dims))
    return 10 * chance.normal(size=(count, 1, dims)) + steps.cumsum(1)


def crowd(dims=2, seed=1):
    """Scenes of targets, of neighbors seen in part, and of padding."""
    path = walks(B * A, dims, seed).reshape(B, A, T + F, dims)
    target = np.random.default_rng(seed).random((B, A)) < 0.6
    agent = np.arange(B * A).reshape(B, A)
    path[0, 2], target[0, 2], agent[0, 2] = np.nan, False, -1
    path[1, 1, :3], target[1, 1] = np.nan, False
    zeros = np.zeros(B, int)
    return Batch(path[:, :, :T], path[:, :, T:], target, zeros, zeros, agent)


def fitted(name, dims=2, samples=S):
    return load(name)([batch_of(walks(300, dims)), batch_of(walks(90, dims, 2), 1)], samples, 0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", available())
def test_a_floor_forecasts_every_target_and_nobody_else(name, dims):
    batch = crowd(dims)
    samples = fitted(name, dims).forecast(batch, S, 3)
    assert samples.shape == (S, B, A, F, dims)
    assert np.isfinite(samples[:, batch.target]).all()
    assert np.isnan(samples[:, ~batch.target]).all()


@pytest.mark.parametrize("name", available())
def test_a_seed_gives_one_forecast_and_only_drawing_floors_listen_to_it(name):
    floor, batch = fitted(name), crowd()
    first, again, other = (floor.forecast(batch, S, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other, equal_nan=True) == (name in ("cv", "anchors"))


@pytest.mark.parametrize("name", available())
def test_a_forecast_moves_and_turns_with_the_scene(name):
    floor, path = fitted(name), walks(20, seed=3)
    there = np.array([300.0, -200.0])
    samples = floor.forecast(batch_of(path), S, 3)
    moved = floor.forecast(batch_of(turned(path, np.array(2.0)) + there), S, 3)
    np.testing.assert_allclose(moved, turned(samples, np.array(2.0)) + there, atol=1e-9)


@pytest.mark.parametrize("name", available())
def test_a_floor_does_not_care_for_the_unit(name):
    metres, centimetres = (
        load(name)([batch_of(scale * walks(300))], S, 0).forecast(batch_of(scale * walks(9)), S, 3)
        for scale in (1.0, 100.0)
    )
    np.testing.assert_allclose(100 * metres, centimetres, rtol=1e-6)


@pytest.mark.parametrize("name", available())
def test_someone_who_stands_gets_a_forecast_of_numbers(name):
    paths = walks(300)
    paths[:40] = paths[:40, :1]
    paths[40:60, :T] = paths[40:60, :1]
    floor = load(name)([batch_of(paths)], S, 0)
    samples = floor.forecast(batch_of(paths[:50]), S, 3)
    assert np.isfinite(samples).all()
    if name in ("cv", "cv-sampled"):
        here = paths[:50, T - 1, None]
        np.testing.assert_allclose(samples[:, :, 0], np.broadcast_to(here, (S, 50, F, 2)))


@pytest.mark.parametrize("name", available())
def test_a_training_set_in_which_all_stand_is_no_division_by_zero(name):
    still = np.zeros((30, T + F, 2))
    still[0, T:] = 1e-3
    samples = load(name)([batch_of(still)], S, 0).forecast(batch_of(still), S, 3)
    assert np.isfinite(samples).all()


@pytest.mark.parametrize("name", available())
def test_one_past_step_and_few_windows_suffice(name):
    batch = batch_of(walks(4))
    short = Batch(**{**vars(batch), "past": batch.past[:, :, -1:]})
    assert np.isfinite(load(name)([short], S, 0).forecast(short, S, 3)).all()


@pytest.mark.parametrize("name", available())
def test_no_training_windows_is_said(name):
    with pytest.raises(DataError, match="choose another split or fold"):
        load(name)([], S, 0)


def test_constant_velocity_repeats_the_last_step():
    path = np.zeros((1, T + F, 2))
    path[0, T - 1] = 3, 4
    samples = fitted("cv").forecast(batch_of(path), S, 0)
    np.testing.assert_allclose(samples[S - 1, 0, 0], np.arange(2, F + 2)[:, None] * [3, 4])


def test_sampled_constant_velocity_keeps_the_speed_and_turns_by_25_degrees():
    path = np.zeros((1, T + F, 3))
    path[0, T - 1] = 0, 2, 1
    step = np.diff(fitted("cv-sampled", 3).forecast(batch_of(path), 20_000, 0)[:, 0, 0], axis=1)
    np.testing.assert_allclose(np.linalg.norm(step[..., :2], axis=-1), 2)
    np.testing.assert_allclose(step[..., 2], 1)
    np.testing.assert_allclose(step, np.broadcast_to(step[:, :1], step.shape), atol=1e-12)
    angles = np.rad2deg(np.arctan2(step[:, 0, 1], step[:, 0, 0])) - 90
    assert abs(angles.mean()) < 1
    assert angles.std() == pytest.approx(25, abs=0.5)


def test_each_agent_has_its_own_angle():
    path = np.broadcast_to(np.arange(T + F)[:, None] * [1.0, 0.0], (3, T + F, 2))
    samples = fitted("cv-sampled").forecast(batch_of(path), S, 0)
    assert len(np.unique(samples[:, :, 0, -1, 1].round(9))) == 3 * S


def manners(count, seed, kinds=3):
    """Paths of people with the same past up to speed and direction and one of a few futures."""
    chance = np.random.default_rng(seed)
    kind = chance.integers(kinds, size=count)
    bend = np.linspace(0, 1, F) * (kind[:, None] - 1)
    angles = np.concatenate([np.zeros((count, T)), bend], 1)
    steps = turned(np.broadcast_to(np.array([1.0, 0.0]), (count, T + F, 2)), angles)
    pace = chance.uniform(1, 2, (count, 1, 1))
    facing = chance.uniform(-np.pi, np.pi, (count, 1))
    return turned(pace * steps, facing).cumsum(1)


@pytest.mark.parametrize("name", ["anchors", "analog"])
def test_what_people_do_is_found_whatever_their_speed_and_direction(name):
    floor = load(name)([batch_of(manners(900, 0))], 20, 0)
    batch = batch_of(manners(100, 1))
    samples = floor.forecast(batch, 20, 0)
    forward = fitted("cv").forecast(batch, 20, 0)
    error, naive = (metrics.min_ade(drawn, batch.future).mean() for drawn in (samples, forward))
    assert error < 0.06 * naive


@pytest.mark.parametrize("name", ["anchors", "analog"])
def test_left_is_as_good_as_right(name):
    floor = load(name)([batch_of(manners(200, 0, 1))], 20, 0)
    batch = batch_of(manners(50, 1, 1) * [1, -1])
    forward = fitted("cv").forecast(batch, 20, 0)
    drawn = floor.forecast(batch, 20, 0)
    error, naive = (metrics.min_ade(one, batch.future).mean() for one in (drawn, forward))
    assert error < 0.06 * naive


def test_anchors_are_as_many_as_they_were_fitted_for():
    with pytest.raises(ConfigError, match="7 anchors, not 8"):
        fitted("anchors").forecast(crowd(), S + 1, 0)


def test_anchors_give_every_recording_the_same_say():
    left, right = manners(2000, 0, 1), manners(40, 1, 1)
    right = turned(right, np.array(1.0)) * [1, -1]
    bank = collect_windows([batch_of(left), batch_of(right, 1)], 10_000, np.random.default_rng(0))
    from trajflow.baselines import _evenly

    chosen = _evenly(bank, 60, np.random.default_rng(0))
    assert len(chosen) == 60
    assert 12 < (chosen.scene == 1).sum() < 48


def test_analogs_are_those_who_moved_alike(monkeypatch):
    monkeypatch.setattr(baselines, "NEAREST", 30)
    paths = manners(200, 0, 1)
    pace = np.linalg.norm(paths[:, 1] - paths[:, 0], axis=-1)
    paths[:, T:] = paths[:, T - 1 : T] + (pace > 1.5)[:, None, None] * (
        paths[:, T:] - paths[:, T - 1 : T]
    )
    floor = load("analog")([batch_of(paths)], S, 0)
    stop, go = (floor.forecast(batch_of(paths[some]), S, 1) for some in (pace < 1.2, pace > 1.8))
    assert metrics.spread(stop).max() == 0
    assert metrics.mean_ade(stop, paths[pace < 1.2, None, T:]).max() == 0
    assert np.linalg.norm(go[..., -1, :] - go[..., 0, :], axis=-1).min() > 5


def test_analogs_are_drawn_without_replacement_while_there_are_enough():
    floor = load("analog")([batch_of(walks(10))], 20, 0)
    paths = floor.forecast(batch_of(walks(1, seed=5)), 20, 0)[:, 0, 0]
    assert len(np.unique(paths.round(9), axis=0)) == 20
    assert np.isfinite(floor.forecast(batch_of(walks(1)), 50, 0)).all()


def test_who_never_moved_has_no_direction():
    path = np.zeros((3, T, 2))
    path[1, 2:] = 0, -1
    path[2] = np.arange(T)[:, None] * [1, 1]
    np.testing.assert_allclose(headings(path), [np.nan, -np.pi / 2, np.pi / 4])


def test_the_bank_holds_an_even_choice_of_many_windows():
    batches = [batch_of(walks(50, seed=k), scene=k) for k in range(40)]
    bank = collect_windows(batches, 400, np.random.default_rng(0))
    assert len(bank) == 400
    counts = np.bincount(bank.scene, minlength=40)
    assert counts[:20].sum() == pytest.approx(200, abs=40)
    assert (bank.past[:, -1] == 0).all()
    assert len(collect_windows(batches, 5000, np.random.default_rng(0))) == 2000


def test_an_unknown_floor_is_refused_by_name():
    with pytest.raises(ConfigError, match="did you mean 'anchors'"):
        load("anchor")


PUBLISHED = {
    "cv": ([1.075, 0.319, 0.524, 0.427, 0.324], 0.534, 1.148),
    "cv-sampled": ([0.934, 0.242, 0.387, 0.304, 0.227], 0.419, 0.865),
    "anchors": ([], 0.235, 0.410),
    "analog": ([], 0.288, 0.487),
}
"""Best of 20 on ETH/UCY as measured by others: minADE of the folds, mean minADE and minFDE."""


@pytest.mark.parametrize(
    "name",
    ["cv", "cv-sampled", *(pytest.param(n, marks=pytest.mark.slow) for n in ("anchors", "analog"))],
)
def test_floors_on_pedestrians_are_those_of_the_field(name, ethucy):
    folds = (TrackData(ethucy, history=T, horizon=F, fold=fold) for fold in ethucy.folds)
    judging = EvaluationOptions(samples=2 if name == "cv" else 20, resamples=1)
    report = evaluate_folds(load(name), folds, judging)
    each, ade, fde = PUBLISHED[name]
    assert [score.windows for score in report.scenes.values()] == [364, 1197, 24334, 2356, 5910]
    assert report.mean["min_ade"] == pytest.approx(ade, rel=0.02)
    assert report.mean["min_fde"] == pytest.approx(fde, rel=0.02)
    if each:
        found = [score.means["min_ade"] for score in report.scenes.values()]
        assert found == pytest.approx(each, rel=0.02)
    assert report.overall.people == 1219
    assert report.set_regressor == (name in ("cv", "anchors"))
