"""Scores of samples against what happened, by hand, by brute force and by their laws."""

import numpy as np
import pytest

from trajflow import metrics

S, B, A, F, D = 7, 5, 3, 12, 2
CHANCE = np.random.default_rng(0)


@pytest.fixture
def drawn():
    chance = np.random.default_rng(1)
    samples = chance.normal(size=(S, B, A, F, D)).cumsum(-2)
    return samples, chance.normal(size=(B, A, F, D)).cumsum(-2)


def path(*ends):
    """Paths in a plane of two steps, [S, 1, 2, 2], that go through given points."""
    return np.array(ends, float)[:, None]


def test_each_minimum_takes_its_own_sample():
    samples = path([(0, 0), (0, 3)], [(0, 4), (0, 1)])
    future = np.zeros((1, 2, 2))
    assert metrics.min_ade(samples, future) == 1.5
    assert metrics.min_fde(samples, future) == 1.0
    assert metrics.mean_ade(samples, future) == 2.0
    assert metrics.mean_fde(samples, future) == 2.0
    assert metrics.miss_rate(samples, future, within=0.9) == 1
    assert metrics.miss_rate(samples, future, within=1.0) == 0


def test_a_displacement_is_a_length_in_two_and_three_dimensions():
    assert metrics.mean_ade(path([(3, 4), (3, 4)]), np.zeros((1, 2, 2))) == 5
    assert metrics.mean_ade(path([(2, 3, 6), (2, 3, 6)]), np.zeros((1, 2, 3))) == 7


def test_each_agent_has_its_own_best_sample_but_a_scene_has_one():
    samples = np.zeros((2, 1, 2, F, D))
    samples[0, 0, 0] = samples[1, 0, 1] = 10.0
    future, both = np.zeros((1, 2, F, D)), np.ones((1, 2), bool)
    assert metrics.min_ade(samples, future).max() == 0
    assert metrics.joint_ade(samples, future, both).mean() == pytest.approx(10 / np.sqrt(2))
    assert metrics.joint_fde(samples, future, both).mean() == pytest.approx(10 / np.sqrt(2))


def test_who_does_not_count_has_no_say_in_the_best_sample_of_a_scene():
    samples = np.zeros((2, 1, 3, F, D))
    samples[0, 0, 0], samples[1, 0, 1], samples[1, 0, 2] = 1.0, 2.0, np.nan
    marked = np.array([[True, False, False]])
    found = metrics.joint_ade(samples, np.zeros((1, 3, F, D)), marked)
    assert found[0, 0] == 0
    assert np.isnan(found[0, 1:]).all()


def test_a_joint_minimum_is_never_below_the_minima_of_its_agents(drawn):
    marked = CHANCE.random((B, A)) < 0.8
    for joint, own in (
        (metrics.joint_ade, metrics.min_ade),
        (metrics.joint_fde, metrics.min_fde),
    ):
        together, alone = joint(*drawn, marked)[marked], own(*drawn)[marked]
        assert (together >= alone).all()
        assert together.mean() > alone.mean()


@pytest.mark.parametrize("budget", [1, 1 << 20])
@pytest.mark.parametrize("count", [1, 2, 6, 7])
def test_weighted_samples_are_the_same_as_samples_that_come_again(
    drawn, monkeypatch, count, budget
):
    monkeypatch.setattr(metrics, "BUDGET", budget)
    samples, future = drawn[0][:count], drawn[1]
    times = CHANCE.integers(1, 4, (count, B, A))
    weights = times / times.sum(0)
    spread, score = np.zeros((B, A)), np.zeros((B, A))
    for i, one in enumerate(samples):
        away = np.linalg.norm((one - future).reshape(B, A, -1), axis=-1)
        score += weights[i] * away
        for j, other in enumerate(samples):
            pair = weights[i] * weights[j]
            spread += pair * np.linalg.norm(one - other, axis=-1).mean(-1)
            score -= pair * np.linalg.norm((one - other).reshape(B, A, -1), axis=-1) / 2
    found = metrics.weighted_energy_score(samples, weights, future)
    np.testing.assert_allclose(found, score / np.sqrt(F))
    np.testing.assert_allclose(metrics.spread(samples, weights), spread)


def test_equal_weights_differ_from_draws_by_the_pairs_of_the_same_path(drawn):
    weights = np.full((S, B, A), 1 / S)
    more = metrics.weighted_energy_score(drawn[0], weights, drawn[1]) - metrics.energy_score(*drawn)
    flat = np.moveaxis(drawn[0].reshape(S, B, A, -1), 0, 2)
    between = np.linalg.norm(flat[:, :, :, None] - flat[:, :, None], axis=-1)
    mean = between.sum((2, 3)) / (S * (S - 1))
    np.testing.assert_allclose(more, mean / (2 * S * np.sqrt(F)))


def test_a_weighted_region_holds_the_weight_of_its_level():
    ends = np.array([0.0, 1.0, -2.0, 4.0])
    samples = np.zeros((4, 1, F, D))
    samples[:, 0, -1, 0] = ends
    weights = np.array([0.4, 0.4, 0.1, 0.1])[:, None]
    centre = float((weights[:, 0] * ends).sum())
    reach = np.sort(np.abs(ends - centre))
    for level, radius in ((0.7, reach[1]), (0.85, reach[2]), (0.95, reach[3])):
        for away, inside in ((0.99, 1), (1.01, 0)):
            future = np.zeros((1, F, D))
            future[0, -1, 0] = centre + away * radius
            assert metrics.coverage(samples, future, level, weights) == inside


@pytest.mark.parametrize("count", [1, 2, 6, 7])
@pytest.mark.parametrize("budget", [1, 1 << 20])
def test_pairs_of_samples_are_those_of_a_double_loop(drawn, monkeypatch, count, budget):
    monkeypatch.setattr(metrics, "BUDGET", budget)
    samples, future = drawn[0][:count], drawn[1]
    pairs = [(x, y) for i, x in enumerate(samples) for j, y in enumerate(samples) if i != j]
    away = np.mean([np.linalg.norm((x - future).reshape(B, A, -1), axis=-1) for x in samples], 0)
    whole = [np.linalg.norm((x - y).reshape(B, A, -1), axis=-1) for x, y in pairs]
    steps = [np.linalg.norm(x - y, axis=-1).mean(-1) for x, y in pairs]
    score = (away - (np.mean(whole, 0) / 2 if pairs else 0)) / np.sqrt(F)
    np.testing.assert_allclose(metrics.energy_score(samples, future), score, rtol=1e-12)
    expected = np.mean(steps, 0) if pairs else np.zeros((B, A))
    np.testing.assert_allclose(metrics.spread(samples), expected, rtol=1e-12)


def test_the_energy_score_does_not_depend_on_the_number_of_samples():
    chance = np.random.default_rng(2)
    future = chance.normal(size=(20_000, 1, D))
    few, many = (
        metrics.energy_score(chance.normal(size=(count, 20_000, 1, D)), future).mean()
        for count in (3, 20)
    )
    assert few == pytest.approx(many, abs=0.015)


@pytest.mark.parametrize("wrong", [0.5, 2.0])
def test_the_truth_has_the_best_energy_score_and_is_neither_too_sure_nor_too_wide(wrong):
    chance = np.random.default_rng(3)
    future = chance.normal(size=(4000, F, D))
    samples = chance.normal(size=(20, 4000, F, D))
    right = metrics.energy_score(samples, future).mean()
    assert metrics.energy_score(wrong * samples, future).mean() > right
    assert metrics.spread_ratio(samples, future) == pytest.approx(1, abs=0.01)
    assert (metrics.spread_ratio(wrong * samples, future) > 1.1) == (wrong > 1)


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_samples_of_the_truth_cover_what_they_say(level):
    chance = np.random.default_rng(4)
    samples, future = chance.normal(size=(200, 3000, F, D)), chance.normal(size=(3000, F, D))
    assert metrics.coverage(samples, future, level).mean() == pytest.approx(level, abs=0.025)


LAWS = {
    "gaussian": lambda chance, size: chance.normal(size=size),
    "heavy-tailed": lambda chance, size: chance.standard_t(2, size=size),
    "bimodal": lambda chance, size: (
        0.3 * chance.normal(size=size)
        + 2 * np.sign(chance.random((*size[:-1], 1)) - 0.5) * np.eye(size[-1])[0]
    ),
}


@pytest.mark.parametrize(
    "count", [10, *(pytest.param(n, marks=pytest.mark.slow) for n in (20, 50)), 400]
)
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("law", LAWS)
def test_a_perfect_forecaster_covers_the_level_whatever_the_number_of_samples(law, dims, count):
    chance = np.random.default_rng([1, count, dims])
    points = LAWS[law](chance, (count + 1, 30_000 if count < 100 else 9_000, 1, dims))
    covered = metrics.coverage(points[1:], points[0], 0.9)
    assert covered.mean() == pytest.approx(0.9, abs=0.005)
    assert np.array_equal(covered, metrics.coverage(points[1:], points[0], 0.9))


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_ranks_decide_and_a_rank_between_counts_by_its_share(level):
    """The truth beside 4 samples has ranks 1 to 5; of these the first 5 level are inside."""
    samples = path([(0, 0)], [(0, 1.01)], [(1, 0)], [(1, 1.02)])
    shares = []
    for end in ((0.5, 0.5), (30, 0)):
        shares.append(metrics.coverage(samples, path([end])[0], level)[0])
    assert shares == pytest.approx([1, np.clip(5 * level - 4, 0, 1)])
    again = metrics.coverage(samples, path([(30, 0)])[0], level)[0]
    assert again == shares[1]


def test_coverage_looks_at_the_end_alone():
    samples = path([(9, 9), (-1, 0)], [(9, 9), (1, 0)], [(9, 9), (0, -1)])
    for end, covered in (((0, 0.5), 1), ((0, 30), 0), ((0.3, 0.3), 1)):
        assert metrics.coverage(samples, path([(0, 0), end])[0], 0.7) == covered


def test_certain_samples_of_someone_who_stands_still_cover_the_level_and_no_more():
    still = np.zeros((4, 1, F, D))
    assert metrics.coverage(still, still[0], 0.9) == pytest.approx(0.9)
    assert metrics.coverage(still + 1e6, still[0], 0.75) == 0
    assert np.isnan(metrics.coverage(still[:1], still[0], 0.9))
    assert metrics.energy_score(still, still[0]) == 0
    assert np.isnan(metrics.spread_ratio(still, still[0]))


def test_an_unseen_step_makes_no_number(drawn):
    samples, future = drawn
    future[0, 0, -1] = np.nan
    for score in (metrics.min_ade, metrics.min_fde, metrics.energy_score, metrics.miss_rate):
        assert np.isnan(score(samples, future)).sum() == 1
    assert np.isnan(metrics.coverage(samples, future, 0.9)).sum() == 1


def walk(*points):
    return np.array(points, float)


def test_two_who_swap_places_between_steps_collide():
    samples = np.stack([walk((0, 0), (4, 0)), walk((4, 0.1), (0, 0.1))])[None, None]
    both = np.ones((1, 2), bool)
    assert metrics.collision_rate(samples, both, 0.2).tolist() == [[1, 1]]
    assert metrics.collision_rate(samples, both, 0.09).tolist() == [[0, 0]]


def test_collisions_are_counted_within_one_joint_sample():
    apart = np.zeros((2, 1, 3, F, D))
    apart[:, 0, :, :, 0] = np.arange(3)[:, None] * 5
    apart[1, 0, 1] = apart[1, 0, 0]
    apart[0, 0, 2] = apart[1, 0, 0]
    apart[0, 0, 0] += 30
    every = np.ones((1, 3), bool)
    assert metrics.collision_rate(apart, every).tolist() == [[0.5, 0.5, 0]]
    found = metrics.collision_rate(apart, np.array([[True, False, True]]))
    np.testing.assert_array_equal(found, [[0, np.nan, 0]])


def test_collisions_of_one_step_of_nobody_and_of_crowds_in_pieces(monkeypatch):
    samples = np.random.default_rng(5).normal(size=(S, B, 6, F, 3))
    marked = np.random.default_rng(6).random((B, 6)) < 0.7
    whole = metrics.collision_rate(samples, marked, 0.5)
    assert 0 < np.nanmean(whole) < 1
    assert (metrics.collision_rate(samples[..., :1, :], marked, 0.5) <= whole)[marked].all()
    assert np.isnan(metrics.collision_rate(samples, marked & False)).all()
    monkeypatch.setattr(metrics, "BUDGET", 1)
    np.testing.assert_array_equal(metrics.collision_rate(samples, marked, 0.5), whole)


def test_nearest_approach_is_that_of_a_fine_grid():
    chance = np.random.default_rng(7)
    path = chance.normal(size=(1, 50, 4, 2))
    grid = np.linspace(0, 1, 2001)[:, None, None]
    between = path[0, :, None, :-1] * (1 - grid) + path[0, :, None, 1:] * grid
    fine = np.linalg.norm(between, axis=-1).min((1, 2))
    hit = metrics.collision_rate(
        np.stack([path[0], 0 * path[0]], 1)[None], np.ones((50, 2), bool), 0.3
    )
    np.testing.assert_array_equal(hit[:, 0] == 1, fine < 0.3)


def test_scores_move_with_nothing_but_the_difference(drawn):
    samples, future = drawn
    there = np.array([1e3, -2e3])
    for score in (metrics.min_ade, metrics.mean_fde, metrics.energy_score):
        np.testing.assert_allclose(score(samples + there, future + there), score(samples, future))
    np.testing.assert_allclose(metrics.spread(samples[..., ::-1]), metrics.spread(samples))
