"""Earlier paths in forecasts: how they go, how many there are, and that they know no future."""

import json

import numpy as np
import pytest
import torch

from trajflow import OnlinePredictor, Place
from trajflow.earlier_paths import MOST, Paths, PathShares
from trajflow.errors import ConfigError
from trajflow.export.onnx import to_onnx
from trajflow.inference.onnx.predictor import OnnxPredictor
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.trajectory_model import Architecture, TrajectoryModel

T, F = 4, 6


def predictor_of(**kind):
    torch.manual_seed(0)
    sizes = {"width": 16, "decoder_width": 24, "decoder_depth": 1}
    return TorchPredictor(
        TrajectoryModel(Architecture(T, F, **sizes, **kind)), {"dt": 0.4, "unit": "m"}
    )


def corner(start, speed=1.0, steps=24):
    """Someone who walks along x to 10 and then along y, from a step on; positions by step."""
    way = speed * np.arange(steps)
    return {start + k: np.array([min(w, 10.0), max(0.0, w - 10.0)]) for k, w in enumerate(way)}


def watched(walks, until):
    """A place that has seen walks, by name, until before a step."""
    place = Place(1.0)
    for step in range(until):
        there = [name for name, walk in walks.items() if step in walk]
        place.push("", step, there, [walks[name][step] for name in there])
    return place


def past_of(walk, now):
    return np.array([walk[now - k] for k in range(T - 1, -1, -1)])[None]


def paths_of(walk, now, other, match):
    """Paths of someone at a step where another was at the step `match`."""
    track = [other.get(match + k, np.full(2, np.nan)) for k in range(1 - T, F + 1)]
    memory = np.concatenate([track, np.full((T + F, 1), 9.0)], -1)[None, None]
    return Paths.of(past_of(walk, now), memory, 1.0)


def test_a_path_goes_round_the_corner_at_the_pace_of_then_and_at_the_own_speed():
    paths = paths_of(corner(30, 1.0), 38, corner(0, 2.0), 4)  # both are at x = 8
    assert paths.usable.tolist() == [[True]]
    assert paths.speed == pytest.approx([1.0])
    own, pace = paths.future[0, 0]
    np.testing.assert_allclose(own, [[9, 0], [10, 0], [10, 1], [10, 2], [10, 3], [10, 4]])
    np.testing.assert_allclose(pace, [[10, 0], [10, 2], [10, 4], [10, 6], [10, 8], [10, 10]])


def test_a_path_begins_at_the_agent_and_someone_who_stands_stays():
    walk = {step: np.array([7.5, 0.5]) for step in range(30, 40)}
    own, pace = paths_of(walk, 38, corner(0, 2.0), 4).future[0, 0]
    np.testing.assert_allclose(own, np.tile([7.5, 0.5], (F, 1)))
    np.testing.assert_allclose(pace[:2], [[9.5, 0.5], [9.5, 2.5]])


def test_a_track_that_ends_early_leads_straight_on_and_a_short_one_is_no_path():
    for last, usable in ((12, True), (11, False)):
        other = {step: point for step, point in corner(0).items() if step <= last or step > 15}
        paths = paths_of(corner(30), 39, other, 9)  # what comes after a gap does not count
        assert paths.usable.tolist() == [[usable]]
        if usable:
            np.testing.assert_allclose(paths.future[0, 0, 1, -1], [11, 4])


def test_the_energy_score_of_a_mixture_is_what_the_terms_say():
    rng = np.random.default_rng(0)
    drawn, future = rng.normal(size=(2, 1, F, 2)), rng.normal(size=(1, F, 2))
    paths = Paths(rng.normal(size=(1, 3, 2, F, 2)), np.array([[True, False, True]]), np.ones(1))
    gain, loss = (v[0] for v in paths.terms(drawn, future))

    def score(one, other):
        """Energy score of the draws with shares of the two ways of the two usable paths."""
        rest = 1 - one - other
        points = np.concatenate([drawn[:, 0], *(paths.future[0, k, w][None] for w in (0, 1)
                                                for k in (0, 2))])  # fmt: skip
        weight = np.array([rest / 2] * 2 + [one / 2] * 2 + [other / 2] * 2)
        flat = points.reshape(len(points), -1) / np.sqrt(F)
        apart = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
        # Two draws stand for a distribution: their distance to themselves is not part of it.
        apart[0, 0] = apart[1, 1] = apart[0, 1]
        truth = np.linalg.norm(flat - future.reshape(1, -1) / np.sqrt(F), axis=-1)
        return weight @ truth - weight @ apart @ weight / 2

    for shares in ((0.2, 0.0), (0.0, 0.5), (0.3, 0.25)):
        s = np.array(shares)
        expected = score(0, 0) - s @ gain + s @ loss @ s / 2
        assert score(*shares) == pytest.approx(expected, rel=1e-12)


def street(people=12, gap=5):
    return {f"p{k}": corner(gap * k, 0.8 + 0.05 * (k % 5)) for k in range(people)}


class Without:
    """A predictor that leaves earlier paths out."""

    def __init__(self, predictor):
        self.predictor, self.displacement_scale = predictor, predictor.displacement_scale

    def predict(self, past, place, earlier_paths, **options):
        return self.predictor.predict(past, **options)


def nearest(samples, walk, step):
    """Mean distance of the truth to the nearest sample."""
    truth = np.array([walk[step + k] for k in range(1, F + 1)])
    return np.linalg.norm(samples - truth, axis=-1).mean(-1).min()


def forecasts(predictor, walks, steps, **options):
    """Forecasts of all who are there, step by step, with and without earlier paths."""
    place = Place(predictor.displacement_scale)
    result = {}
    for step in range(steps):
        there = [name for name, walk in walks.items() if step in walk]
        place.push("", step, there, [walks[name][step] for name in there])
        for name in there:
            if step - T + 1 in walks[name] and step + F in walks[name]:
                forecast = predictor.predict(past_of(walks[name], step), seed=step, samples=10,
                                             agents=[name], place=place, earlier_paths=True,
                                             **options)  # fmt: skip
                result[name, step] = forecast.samples[:, 0]
                if forecast.weights is not None:
                    np.testing.assert_allclose(forecast.weights.sum(0), 1, rtol=1e-6)
    return result, place


def test_where_everyone_turns_forecasts_learn_to_turn():
    predictor, walks = predictor_of(), street()
    drawn, place = forecasts(predictor, walks, 80)
    errors = {}
    for (name, step), samples in drawn.items():
        truth = np.array([walks[name][step + k] for k in range(1, F + 1)])
        errors.setdefault(int(name[1:]) >= 6, []).append(
            np.linalg.norm(samples - truth, axis=-1).mean()
        )
    assert np.mean(errors[True]) < 0.7 * np.mean(errors[False])
    speed = np.array([0.9 / place.scale])
    shares = place.earlier_paths[0].shares.of("", 80, speed, F * place.scale)
    assert 0.5 < shares.sum() <= MOST + 1e-12


def test_paths_replace_the_least_likely_of_chosen_futures_and_take_their_share_as_weight():
    rng = np.random.default_rng(0)
    drawn, future = rng.normal(size=(8, 1, F, 2)), rng.normal(size=(1, 2, 2, F, 2))
    paths = Paths(future, np.ones((1, 2), bool), np.ones(1))
    weights = np.array([9, 1, 8, 2, 7, 3, 6, 4])[:, None] / 40
    mixed, new = paths.mixed(drawn, np.array([[0.25, 0.25]]), weights)
    np.testing.assert_array_equal(mixed[[1, 3], 0], future[0, [0, 0], [0, 1]])
    kept = [0, 2, 4, 5, 6, 7]
    np.testing.assert_array_equal(mixed[kept], drawn[kept])
    np.testing.assert_allclose(new[[1, 3], 0], 0.25)
    np.testing.assert_allclose(new[kept, 0], weights[kept, 0] * 40 / 37 / 2)


def test_gains_of_chosen_futures_follow_from_their_weighted_energy_score():
    rng = np.random.default_rng(1)
    truth, tracks = rng.normal(size=(1, F, 2)), rng.normal(size=(1, 2, 2, F, 2))
    drawn, weights = rng.normal(size=(5, 1, F, 2)), rng.dirichlet(np.ones(5))[:, None]
    paths = Paths(tracks, np.ones((1, 2), bool), np.ones(1))
    gain, loss = paths.terms(drawn, truth, weights)
    shares = np.array([0.1, 0.3])

    def score(share):
        """Of the mixture of the draws and both paths of both tracks."""
        points = np.concatenate([drawn[:, 0], *tracks[0]])
        of_paths = np.tile(share / 2, 2)
        weight = np.concatenate([(1 - share.sum()) * weights[:, 0], of_paths])
        apart = np.linalg.norm(points[:, None] - points, axis=(2, 3)) / F**0.5
        to_truth = np.linalg.norm(points - truth, axis=(1, 2)) / F**0.5
        return weight @ to_truth - weight @ apart @ weight / 2

    falls = score(np.zeros(2)) - score(shares)
    assert falls == pytest.approx(shares @ gain[0] - shares @ loss[0] @ shares / 2)


def test_chosen_futures_learn_to_turn_by_shares_of_their_own():
    predictor, walks = predictor_of(), street(8)
    drawn, place = forecasts(predictor, walks, 60, select="kmeans", draws=40)
    plain, _ = forecasts(Without(predictor), walks, 60, select="kmeans", draws=40)
    late = [key for key in drawn if key[1] > 40]
    error = [
        np.mean([nearest(some[name, step], walks[name], step) for name, step in late])
        for some in (drawn, plain)
    ]
    assert error[0] < 0.8 * error[1]
    assert place.earlier_paths[1].shares.packed()
    assert not place.earlier_paths[0].shares.packed()


def test_paths_that_are_wrong_stay_out():
    shares = PathShares()
    rng, here = np.random.default_rng(0), np.zeros((1, 1, F, 2))
    for step in range(40):
        future = rng.normal(size=(1, F, 2))
        drawn = rng.normal(size=(20, 1, F, 2))  # the distribution of the truth
        paths = Paths(
            here[:, :, None] + np.full((1, 1, 2, F, 2), 5.0), np.ones((1, 1), bool), np.ones(1)
        )
        shares.add("hall", step, np.ones(1), *paths.terms(drawn, future))
    np.testing.assert_array_equal(shares.of("hall", 100, np.ones(1), F), [[0, 0]])
    np.testing.assert_array_equal(shares.of("elsewhere", 100, np.ones(1), F), [[0, 0]])


def test_a_forecast_is_the_same_whatever_comes_after_its_present():
    predictor, walks = predictor_of(), street()
    drawn, _ = forecasts(predictor, walks, 80)
    shift = np.array([30.0, -9.0])
    changed = {
        name: {step: point + (step > 50) * shift for step, point in walk.items()}
        for name, walk in walks.items()
    }
    again, _ = forecasts(predictor, changed, 80)
    early = [key for key in drawn if key[1] <= 50]
    assert len(early) > 50
    assert all(drawn[key].tobytes() == again[key].tobytes() for key in early)
    assert any(drawn[key].tobytes() != again[key].tobytes() for key in drawn.keys() - early)


def test_the_export_draws_what_the_run_draws(tmp_path):
    predictor, walks = predictor_of(), street(8)
    (tmp_path / "model.onnx").write_bytes(to_onnx(predictor))
    one, _ = forecasts(predictor, walks, 50)
    two, _ = forecasts(OnnxPredictor.load(tmp_path / "model.onnx"), walks, 50)
    for key, samples in one.items():
        np.testing.assert_allclose(two[key], samples, atol=1e-4)


def test_what_was_learned_is_saved_with_the_place(tmp_path):
    _, place = forecasts(predictor_of(), street(8), 60)
    place.save(tmp_path / "corner.npz")
    speed, again = np.array([0.3, 0.9]) / place.scale, Place.load(tmp_path / "corner.npz")
    unit = F * place.scale
    saved = [p.earlier_paths[0].shares.of("", 1000, speed, unit) for p in (place, again)]
    assert saved[0].any()
    np.testing.assert_allclose(*saved)


def test_what_does_not_go_together_is_refused():
    predictor, past = predictor_of(), past_of(corner(0), 10)
    place = Place(predictor.displacement_scale)
    options = {"agents": ["a"], "place": place, "earlier_paths": True}
    with pytest.raises(ConfigError, match="needs place="):
        predictor.predict(past, agents=["a"], earlier_paths=True)
    with pytest.raises(ConfigError, match="joint"):
        predictor_of(joint=True).predict(past, **options)
    predictor.predict(past, **options | {"place": place.at("", 9)})
    with pytest.raises(ConfigError, match="order of time"):
        predictor.predict(past, **options | {"place": place.at("", 7)})
    with pytest.raises(ConfigError, match="needs watch=True"):
        OnlinePredictor(predictor, earlier_paths=True)


def test_an_online_predictor_learns_between_the_steps_too():
    predictor, walks = predictor_of(), street(10)
    online = OnlinePredictor(predictor, watch=True, earlier_paths=True, forget_after=1.0)
    plain = OnlinePredictor(predictor, forget_after=1.0)
    differ = 0
    for tick in range(280):  # four observations in a step of 0.4 s
        step, time = tick / 4, 0.1 * tick
        there = [n for n, w in walks.items() if int(step) in w and int(step) + 1 in w]
        points = [
            walks[n][int(step)] * (1 - step % 1) + walks[n][int(step) + 1] * (step % 1)
            for n in there
        ]
        for one in (online, plain):
            one.push(time, there, np.reshape(points, (-1, 2)))
        if there and tick > 20:
            samples = [one.forecast().forecast.samples for one in (online, plain)]
            differ += not np.array_equal(*samples)
    assert differ > 50
    shares = online.place.earlier_paths[0].shares
    assert (
        shares.of("", 10_000, np.array([0.9]) / online.place.scale, F * online.place.scale).sum()
        > 0.3
    )


def test_evaluate_scores_a_run_with_and_without_earlier_paths(store_of, trajflow, tiny, tmp_path):
    walks = [np.arange(first, first + 14) for first in range(0, 90, 3)]
    data = store_of({"north": ("all", walks), "south": ("all", walks[::2])}).path
    shape = ("data.history=3", "data.horizon=2", "data.split=time", "data.fractions=[0.5,0.2,0.3]")
    words = [word for setting in shape for word in ("--set", setting)]
    assert trajflow("train", data, "--out", tmp_path / "run", *tiny, *words)[0] == 0
    code, out, said = trajflow("evaluate", tmp_path / "run", data, "--earlier-paths", "--json")
    assert code == 0, said
    report = json.loads(out)
    assert report["protocol"]["watched"] == "earlier paths"
    assert report["mean"]["energy_score"] < 0.9 * report["unwatched"]["mean"]["energy_score"]
    names = sorted(path.name for path in (tmp_path / "run").glob("evaluation-*.json"))
    assert len(names) == 2
    assert any(name.endswith("-earlier-paths.json") for name in names)
    out = trajflow("evaluate", tmp_path / "run", data, "--earlier-paths", "--no-baselines")[1]
    assert "with paths" in out
    assert "without paths" in out
    words = ["--earlier-paths", "--select", "kmeans", "--json"]
    code, out, said = trajflow("evaluate", tmp_path / "run", data, *words)
    assert code == 0, said
    report = json.loads(out)
    assert report["mean"]["energy_score"] < 0.9 * report["unwatched"]["mean"]["energy_score"]
    for more in (["--jobs", "2"], ["--ood"]):
        code, _, said = trajflow("evaluate", tmp_path / "run", data, "--earlier-paths", *more)
        assert code == 2
        assert "earlier" in said


def test_what_followed_counts_from_the_step_on_at_which_it_is_known():
    shares, gain, loss = PathShares(), np.array([[9.0, 0.0]]), np.eye(2)[None]
    shares.add("hall", 10, np.ones(1), gain, loss)
    assert not shares.of("hall", 9, np.ones(1), 0.1).any()
    assert shares.of("hall", 10, np.ones(1), 0.1)[0, 0] == pytest.approx(MOST)
    assert not shares.of("hall", 10, np.array([0.1]), 0.1).any()  # another class of speed


def test_models_of_different_horizons_share_a_place():
    walks, place = street(8), Place(1.0)
    for step in range(40):
        there = [name for name, walk in walks.items() if step in walk and step > T - 2]
        there = [name for name in there if step - T + 1 in walks[name]]
        place.push("", step, there, [walks[name][step] for name in there])
        past = np.concatenate([np.zeros((0, T, 2)), *(past_of(walks[n], step) for n in there)])
        horizon = F if step % 2 else F - 2
        drawn = np.zeros((5, len(there), horizon, 2))
        mixed, _ = place.earlier_paths[0].mixed(place, "", step, past, there, drawn)
        assert mixed.shape == drawn.shape
