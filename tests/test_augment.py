"""Facts about augmentation: whole scenes change, and in each the same law holds."""

import math

import numpy as np
import pytest

from trajflow.training.augment import Augmentation
from trajflow.types import Batch

T, F = 8, 12
STILL = {"mirror": False, "scale_jitter": 0.0}


def straight(scenes=40, agents=3, seed=0):
    """Agents at constant velocity, the last of them not a target and unseen at first."""
    rng = np.random.default_rng(seed)
    start, velocity = rng.normal(size=(2, scenes, agents, 1, 2))
    path = start + velocity * np.arange(1 - T, F + 1)[:, None]
    target = np.ones((scenes, agents), bool)
    target[:, -1] = False
    path[:, -1, :3] = np.nan
    agent = np.arange(scenes * agents).reshape(scenes, agents)
    past, future = path[:, :, :T], path[:, :, T:]
    return Batch(past, future, target, np.zeros(scenes, int), agent[:, 0], agent)


def whole(batch):
    return np.concatenate([batch.past, batch.future], 2)


def changed(batch, seed=1, **how):
    return Augmentation(**{**STILL, **how})(batch, np.random.default_rng(seed))


def test_scenes_are_mirrored_and_stretched_as_wholes():
    before = straight()
    after, pace = changed(before, mirror=True, scale_jitter=0.3)
    ratio = (whole(after) / whole(before))[:, :-1]
    assert np.allclose(ratio, ratio[:, :1, :1])
    assert np.allclose(np.abs(ratio[..., 0]), np.abs(ratio[..., 1]))
    assert set(np.sign(ratio[:, 0, 0, 1])) == {-1, 1}
    assert (ratio[..., 0] > 0).all()
    assert math.isclose(np.abs(np.log(ratio[..., 0])).max(), math.log(1.3), rel_tol=0.1)
    assert (pace == 1).all()


def test_nothing_asked_changes_nothing():
    before = straight()
    after, pace = changed(before)
    assert np.array_equal(whole(after), whole(before), equal_nan=True)
    assert (pace == 1).all()


def test_some_scenes_are_played_backwards_and_twice_is_once():
    before = straight()
    after, _ = changed(before, reverse_prob=0.5)
    back = (whole(after)[:, 0] == whole(before)[:, 0, ::-1]).all((1, 2))
    same = (whole(after)[:, 0] == whole(before)[:, 0]).all((1, 2))
    assert (back ^ same).all()
    assert 10 < back.sum() < 30
    once, _ = changed(before, reverse_prob=1.0)
    twice, _ = changed(once, reverse_prob=1.0)
    assert np.array_equal(whole(twice), whole(before), equal_nan=True)


def test_a_slower_scene_keeps_its_present_and_its_straight_lines():
    before = straight()
    after, pace = changed(before, time_stretch=(0.5, 1.0))
    assert np.allclose(after.past[:, :2, -1], before.past[:, :2, -1])
    moved = np.diff(whole(after), axis=2)[:, :2]
    expected = pace[:, None, None, None] * np.diff(whole(before), axis=2)[:, :2]
    assert np.allclose(moved, expected)
    assert 0.5 <= pace.min() < 0.6
    assert 10 < (pace == 1).sum() < 30


def test_a_model_that_is_told_the_pace_sees_all_scenes_at_another():
    _, pace = changed(straight(), time_stretch=(0.5, 1.0), time_stretch_share=1.0)
    assert (pace < 1).all()


def test_a_slower_scene_invents_nobody():
    before = straight()
    after, _ = changed(before, time_stretch=(0.5, 1.0))
    unseen = np.isnan(before.past[:, -1]).all(-1)
    assert np.isnan(after.past[:, -1, 0]).any()
    first = np.isfinite(whole(after)[:, -1, :, 0]).argmax(1)
    assert (first <= unseen.sum(1)).all()
    assert np.isfinite(after.future).all()


def long_walks(scenes=40, agents=3, seed=0, reach=2):
    """Agents on circles, seen for `reach` times as long around the present; one leaves earlier."""
    rng = np.random.default_rng(seed)
    turn, phase = rng.uniform(0.02, 0.1, (2, scenes, agents, 1))
    angle = phase + turn * np.arange(1 - reach * T, reach * F + 1)
    path = np.stack([np.cos(angle), np.sin(angle)], -1)
    path[:, -1, reach * T + F + 4 :] = np.nan
    present = reach * T
    agent = np.arange(scenes * agents).reshape(scenes, agents)
    past, future = path[:, :, present - T : present], path[:, :, present : present + F]
    target = np.ones((scenes, agents), bool)
    return Batch(past, future, target, np.zeros(scenes, int), agent[:, 0], agent, path), turn


def test_a_faster_scene_turns_faster_by_its_pace():
    before, turn = long_walks()
    after, pace = changed(before, time_stretch=(1.0, 1.9))
    assert after.around is None
    assert pace.min() == 1
    assert 1.7 < pace.max() <= 1.9
    path = whole(after)[:, :2]
    angle = np.unwrap(np.arctan2(path[..., 1], path[..., 0]), axis=-1)
    assert np.allclose(np.diff(angle), (turn[:, :2, 0] * pace[:, None])[..., None], rtol=0.02)
    assert np.allclose(path[:, :, T - 1], before.past[:, :2, -1])


def test_who_leaves_too_early_for_a_pace_is_not_learned_from():
    before, _ = long_walks()
    after, pace = changed(before, time_stretch=(1.0, 1.9))
    stays = F * pace <= F + 4
    assert np.array_equal(after.target[:, -1], stays)
    assert 15 < stays.sum() < 35
    assert after.target[:, :2].all()


def test_a_scene_in_which_nobody_stays_long_enough_keeps_its_pace():
    before, _ = long_walks(agents=1)
    after, pace = changed(before, time_stretch=(1.0, 1.9))
    assert after.target.all()
    kept = pace == 1
    assert kept.any()
    assert np.array_equal(whole(after)[kept], whole(before)[kept])


def test_backwards_and_faster_ends_where_it_began():
    before, turn = long_walks()
    after, pace = changed(before, time_stretch=(1.0, 1.5), reverse_prob=1.0)
    path = whole(after)[:, :1]
    angle = np.unwrap(np.arctan2(path[..., 1], path[..., 0]), axis=-1)
    assert np.allclose(np.diff(angle), -(turn[:, :1, 0] * pace[:, None])[..., None], rtol=0.02)


def test_who_is_left_out_is_no_neighbor_and_not_learned_from():
    before = straight()
    after, _ = changed(before, agent_dropout=0.4)
    gone = np.isnan(after.past).all((2, 3))
    assert not (gone & after.target).any()
    assert (after.target == before.target & ~gone).all()
    assert math.isclose(gone.mean(), 0.4, abs_tol=0.15)
    assert np.array_equal(after.past[~gone], before.past[~gone], equal_nan=True)


def test_somebody_is_always_left_to_learn_from():
    before = straight(scenes=1, agents=2)
    for seed in range(20):
        after, _ = changed(before, seed, agent_dropout=0.95)
        assert after.targets


def test_a_shortened_past_ends_as_it_did():
    before = straight()
    after, _ = changed(before, history_dropout=1.0)
    seen = np.isfinite(after.past).all(-1)[:, 0]
    assert (np.diff(seen.astype(int), axis=1) >= 0).all()
    assert set(seen.sum(1)) == set(range(2, T))
    assert np.array_equal(after.past[:, 0][seen], before.past[:, 0][seen])
    assert np.array_equal(after.future, before.future)


def test_half_of_the_scenes_get_noise_of_a_level_of_their_own():
    """Levels are even between 0 and the largest, so their mean square is a third of its."""
    before = straight(scenes=2000)
    after, _ = changed(before, position_noise=0.06)
    noise = (after.past - before.past)[:, :2]
    noisy = (noise != 0).any((1, 2, 3))
    assert math.isclose(noisy.mean(), 0.5, abs_tol=0.05)
    assert math.isclose(noise[noisy].std(), 0.06 / math.sqrt(3), rel_tol=0.05)
    levels = noise[noisy].std((1, 2, 3))
    assert levels.min() < 0.006
    assert levels.max() > 0.055
    assert np.array_equal(after.future, before.future)


@pytest.mark.parametrize(
    "how",
    [
        {"time_stretch": (2 / 3, 1.0)},
        {"reverse_prob": 0.5},
        {"agent_dropout": 0.3},
        {"history_dropout": 0.5},
    ],
)
def test_the_same_chance_gives_the_same_scene(how):
    before = straight()
    one, other = (changed(before, 3, **how)[0] for _ in range(2))
    assert np.array_equal(whole(one), whole(other), equal_nan=True)
    assert not np.array_equal(whole(one), whole(changed(before, 4, **how)[0]), equal_nan=True)
