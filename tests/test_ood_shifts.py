"""Facts about shifts: each changes what it says and nothing else, and severity zero nothing."""

from dataclasses import replace

import numpy as np
import pytest

from trajflow.errors import ConfigError
from trajflow.ood.shifts import World, available, chosen
from trajflow.ood.shifts.crowding import crowded
from trajflow.ood.shifts.gaps import dropped, filled, late, momentary, padded
from trajflow.ood.shifts.sensing import glitched, noisy
from trajflow.ood.shifts.space import faster, mirrored, scaled
from trajflow.ood.shifts.splines import between, spline_weights
from trajflow.ood.shifts.timing import paced, reversed_time
from trajflow.types import Batch

B, A, T, F, R = 7, 4, 8, 12, 3


def scenes(seed=0):
    """Random walks with a reach of R: the last agent is a neighbor, seen late and cut off."""
    rng = np.random.default_rng(seed)
    around = rng.normal(size=(B, A, R * (T + F), 2)).cumsum(2)
    target = np.ones((B, A), bool)
    target[:, -1] = False
    around[:, -1, : R * T - 4] = np.nan
    around[:, -1, R * T :] = np.nan
    around[0, 0, R * T + F + 3 :] = np.nan
    around[1, 1, : R * T - T] = np.nan
    past, future = around[:, :, R * T - T : R * T], around[:, :, R * T : R * T + F]
    agent = np.arange(B * A).reshape(B, A)
    start = 100 * np.arange(B)
    return Batch(past, future, target, np.zeros(B, int), start, agent, around)


def rng(seed=1):
    return np.random.default_rng(seed)


def same(one, other):
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("past", "future", "target")]
    return all(
        x.shape == y.shape and np.allclose(x, y, rtol=1e-12, atol=1e-12, equal_nan=True)
        for x, y in pairs
    )


NOTHING = {
    "noise": lambda b: noisy(b, rng(), 0.0),
    "glitch": lambda b: glitched(b, rng(), 0.0),
    "pace": lambda b: paced(b, 1.0),
    "pace without around": lambda b: paced(replace(b, around=None), 1.0),
    "reversed twice": lambda b: reversed_time(reversed_time(b)),
    "no gap": lambda b: dropped(b, rng(), 0),
    "no gap to fill": lambda b: filled(b, rng(), 0),
    "all steps": lambda b: momentary(b, T),
    "no padding": lambda b: padded(b, T),
    "in time": lambda b: late(b, 0),
    "same unit": lambda b: scaled(b, 1.0),
    "mirrored twice": lambda b: mirrored(mirrored(b)),
    "as fast": lambda b: faster(b, 1.0),
    "nobody else": lambda b: crowded(b, rng(), b, 0),
}


@pytest.mark.parametrize("name", NOTHING)
def test_a_shift_by_nothing_changes_nothing(name):
    assert same(NOTHING[name](scenes()), scenes())


@pytest.mark.parametrize("key", available())
def test_a_shift_keeps_the_windows_and_repeats_itself(key):
    before, shift = scenes(), available()[key]
    after, again = (shift.apply(scenes(), rng(), World(pools={"crowd": before})) for _ in range(2))
    assert same(after, again)
    assert same(before, scenes())
    assert after.past.shape[2:] == before.past.shape[2:]
    assert (after.target[:, :A] <= before.target).all()
    assert np.array_equal(after.scene, before.scene)
    assert after.around is None
    assert not same(after, before)
    assert shift.what
    assert shift.level


@pytest.mark.parametrize("name", ["noise", "glitch", "dropped", "filled", "momentary", "late"])
def test_a_worse_look_at_the_past_changes_no_future(name):
    for shift in chosen(World(), [name]):
        after = shift.apply(scenes(), rng())
        assert np.array_equal(after.future, scenes().future, equal_nan=True)


def test_noise_has_the_deviation_it_says_in_metres_of_the_tracks():
    shift, world = available()["noise-2"], World(metre=40.0)
    added = [shift.apply(scenes(), rng(n), world).past - scenes().past for n in range(20)]
    assert np.nanstd(added) == pytest.approx(0.05 * 40, rel=0.03)


def test_a_glitch_moves_one_step_of_each_target():
    after = glitched(scenes(), rng(), 2.5)
    apart = np.linalg.norm(after.past - scenes().past, axis=-1)
    there = scenes().target
    assert ((apart[there] > 1e-9).sum(1) == 1).all()
    assert apart[there].max(1) == pytest.approx(2.5)
    assert np.array_equal(after.past[~there], scenes().past[~there], equal_nan=True)
    assert len(set(apart[there].argmax(1).tolist())) > 3
    third = glitched(scenes(), rng(), 2.5, step=3)
    assert (np.linalg.norm(third.past - scenes().past, axis=-1)[there].argmax(1) == 3).all()


@pytest.mark.parametrize("pace", [2, 3])
def test_skipping_frames_takes_every_so_many_rows(pace):
    before, after = scenes(), paced(scenes(), pace)
    now = R * T - 1
    taken = now + pace * np.arange(1 - T, F + 1)
    rows = before.around[:, :, taken]
    assert np.allclose(np.concatenate([after.past, after.future], 2), rows, equal_nan=True)
    assert not after.target[1, 1]
    assert after.target[0, 0]
    assert np.isnan(after.future[0, 0]).any()


def test_more_frames_a_second_keep_the_present_and_every_second_row():
    before, after = scenes(), paced(replace(scenes(), around=None), 0.5)
    assert np.allclose(after.past[:, :, 1::2], before.past[:, :, T // 2 :], equal_nan=True)
    assert np.allclose(after.future[:, :, 1::2], before.future[:, :, : F // 2], equal_nan=True)
    assert np.array_equal(after.target, before.target)


def test_a_past_with_more_frames_does_not_know_what_comes_after():
    other = replace(scenes(), future=scenes().future + 5.0, around=None)
    one, two = paced(replace(scenes(), around=None), 0.5), paced(other, 0.5)
    assert np.array_equal(one.past, two.past, equal_nan=True)


def test_splines_run_through_the_steps_and_follow_a_cubic_inside():
    when = np.arange(40) / 4 + 5
    knots = np.arange(21.0)
    path = (knots**2 * (30 - knots) / 100)[None, None, :, None]
    expected = when**2 * (30 - when) / 100
    assert between(path, when)[0, 0, :, 0] == pytest.approx(expected, abs=1e-2)
    assert np.array_equal(spline_weights(6, np.arange(6.0)), np.eye(6))
    straight = np.linspace(0, 5, 41)
    assert spline_weights(6, straight) @ np.arange(6.0) == pytest.approx(straight)


def test_splines_stop_at_a_gap():
    path = np.arange(10.0)[None, None, :, None].copy()
    path[0, 0, 4] = np.nan
    found = between(path, np.arange(0, 9.5, 0.5))[0, 0, :, 0]
    assert np.isnan(found[7:10]).all()
    assert np.allclose(np.delete(found, [7, 8, 9]), np.delete(np.arange(0, 9.5, 0.5), [7, 8, 9]))


def test_reversed_scenes_have_the_reversed_future():
    before, after = scenes(), reversed_time(scenes())
    whole = np.concatenate([before.past, before.future], 2)
    back = np.concatenate([after.past, after.future], 2)
    assert np.array_equal(back[:, :, ::-1], whole, equal_nan=True)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_filled_steps_lie_on_a_line_and_are_equal(count):
    before, after = scenes(), filled(scenes(), rng(), count)
    changed = (np.abs(after.past - before.past) > 1e-12).any(-1)
    assert (changed[before.target].sum(1) == count).all()
    assert not changed[:, :, [0, -1]].any()
    for b, a in zip(*np.nonzero(before.target), strict=True):
        first = int(changed[b, a].argmax())
        steps = np.diff(after.past[b, a, first - 1 : first + count + 1], axis=0)
        assert np.allclose(steps, steps[0])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_dropped_steps_are_where_filled_ones_would_be(count):
    missing = np.isnan(dropped(scenes(), rng(), count).past).any(-1)
    made_up = (np.abs(filled(scenes(), rng(), count).past - scenes().past) > 1e-12).any(-1)
    assert np.array_equal(missing[scenes().target], made_up[scenes().target])


def test_short_pasts_hide_what_they_say():
    before, there = scenes(), scenes().target
    assert (np.isfinite(momentary(before, 3).past[there]).all(-1).sum(1) == 3).all()
    assert np.array_equal(padded(before, 3).past[:, :, -3:], before.past[:, :, -3:], equal_nan=True)
    assert (np.diff(padded(before, 3).past[there], axis=1)[:, : T - 3] == 0).all()
    found = late(before, 6)
    assert (np.isfinite(found.past[there]).all(-1).sum(1) == 2).all()
    assert np.array_equal(found.past[~there], before.past[~there], equal_nan=True)


def test_a_mirror_keeps_distances_between_everybody():
    def distances(batch):
        path = np.concatenate([batch.past, batch.future], 2)
        return np.linalg.norm(path[:, :, None] - path[:, None], axis=-1)

    assert np.allclose(distances(mirrored(scenes())), distances(scenes()), equal_nan=True)


def test_bikers_stay_where_they_are_and_cover_more_way():
    before, after = scenes(), faster(scenes(), 2.0)
    there = before.target
    assert np.array_equal(after.past[:, :, -1], before.past[:, :, -1], equal_nan=True)
    assert np.allclose(np.diff(after.past[there], axis=1), 2 * np.diff(before.past[there], axis=1))
    assert np.array_equal(after.past[~there], before.past[~there], equal_nan=True)
    assert np.allclose(after.future[there][:, 0] - after.past[there][:, -1], 2 * _next(before))


def _next(batch):
    return batch.future[batch.target][:, 0] - batch.past[batch.target][:, -1]


def test_a_crowd_is_borrowed_from_other_moments_of_the_recording():
    before, after = scenes(), crowded(scenes(), rng(), scenes(), 2)
    assert after.past.shape[1] == 3 * A
    assert np.array_equal(after.past[:, :A], before.past, equal_nan=True)
    assert not after.target[:, A:].any()
    own = before.agent[:, :1] // A
    assert (after.agent[:, A:] // A != own).all()
    elsewhere = replace(scenes(), scene=np.ones(B, int))
    alone = crowded(before, rng(), elsewhere, 1)
    assert np.isnan(alone.past[:, A:]).all()
    assert (alone.agent[:, A:] == -1).all()


def test_windows_of_others_are_taken_as_they_are():
    pool = scenes(seed=5)
    world = World(pools={"crowd": pool, "place hotel": pool, "place univ": pool, "against": pool})
    found = available(world)
    assert [found[key].level for key in ("place-1", "place-2")] == ["hotel", "univ"]
    for key in ("place-1", "place-2", "against-1"):
        assert found[key].apply(scenes(), rng(), world) is pool
        assert found[key].taken


def test_an_unknown_shift_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'noise'"):
        chosen(World(), ["nosie"])
    with pytest.raises(ConfigError, match="--against"):
        chosen(World(), ["against"])
    assert [shift.key for shift in chosen(World(), ["noise-2", "mirrored"])] == [
        "noise-2",
        "mirrored-1",
    ]
