"""Each corruption changes what it says and nothing else, and at severity zero nothing."""

from dataclasses import replace

import numpy as np
import pytest

from trajflow.errors import ConfigError
from trajflow.ood.changes import (
    World,
    at_times,
    crowd,
    dropped,
    filled,
    glitch,
    late,
    mirrored,
    momentary,
    noise,
    padded,
    resampled,
    reversed_time,
    speed,
    unit,
)
from trajflow.ood.corruptions import (
    available,
    corrupt,
    select,
    trained,
)
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


def by(change, batch, severity, seed=1, world=None):
    """The batch under a change of one severity."""
    return change(batch, np.full(B, float(severity)), rng(seed), world or World())


NOTHING = {
    "noise": lambda b: by(noise, b, 0),
    "glitch": lambda b: by(glitch, b, 0),
    "resampled": lambda b: by(resampled, b, 1),
    "resampled without around": lambda b: by(resampled, replace(b, around=None), 1),
    "reversed twice": lambda b: by(reversed_time, by(reversed_time, b, 1), 1),
    "no gap": lambda b: by(dropped, b, 0),
    "no gap to fill": lambda b: by(filled, b, 0),
    "all steps": lambda b: by(momentary, b, T),
    "no padding": lambda b: by(padded, b, T),
    "in time": lambda b: by(late, b, 0),
    "same unit": lambda b: by(unit, b, 1),
    "mirrored twice": lambda b: by(mirrored, by(mirrored, b, 1), 1),
    "as fast": lambda b: by(speed, b, 1),
    "nobody else": lambda b: by(crowd, b, 0, world=World(pools={"crowd": b})),
}


@pytest.mark.parametrize("name", NOTHING)
def test_severity_zero_changes_nothing(name):
    assert same(NOTHING[name](scenes()), scenes())


@pytest.mark.parametrize("key", available())
def test_a_corruption_keeps_the_windows_and_repeats_itself(key):
    before, graded = scenes(), available()[key]
    after, again = (graded.apply(scenes(), rng(), World(pools={"crowd": before})) for _ in range(2))
    assert same(after, again)
    assert same(before, scenes())
    assert after.past.shape[2:] == before.past.shape[2:]
    assert (after.target[:, :A] <= before.target).all()
    assert np.array_equal(after.scene, before.scene)
    assert after.around is None
    assert not same(after, before)
    assert graded.corruption.what
    assert graded.level


@pytest.mark.parametrize("name", ["noise", "glitch", "dropped", "filled", "momentary", "late"])
def test_a_worse_look_at_the_past_changes_no_future(name):
    for graded in select(World(), [name]):
        assert graded.corruption.keeps_future
        after = graded.apply(scenes(), rng())
        assert np.array_equal(after.future, scenes().future, equal_nan=True)


def test_noise_has_the_deviation_it_says_in_metres_of_the_tracks():
    graded, world = available()["noise-2"], World(metre=40.0)
    added = [graded.apply(scenes(), rng(n), world).past - scenes().past for n in range(20)]
    assert np.nanstd(added) == pytest.approx(0.05 * 40, rel=0.03)


def test_a_glitch_moves_one_step_of_each_target():
    after = by(glitch, scenes(), 2.5)
    apart = np.linalg.norm(after.past - scenes().past, axis=-1)
    there = scenes().target
    assert ((apart[there] > 1e-9).sum(1) == 1).all()
    assert apart[there].max(1) == pytest.approx(2.5)
    assert np.array_equal(after.past[~there], scenes().past[~there], equal_nan=True)
    assert len(set(apart[there].argmax(1).tolist())) > 3


@pytest.mark.parametrize("pace", [2, 3])
def test_skipping_frames_takes_every_so_many_rows(pace):
    before, after = scenes(), by(resampled, scenes(), pace)
    now = R * T - 1
    taken = now + pace * np.arange(1 - T, F + 1)
    rows = before.around[:, :, taken]
    assert np.allclose(np.concatenate([after.past, after.future], 2), rows, equal_nan=True)
    assert not after.target[1, 1]
    assert after.target[0, 0]
    assert np.isnan(after.future[0, 0]).any()


def test_more_frames_a_second_keep_the_present_and_every_second_row():
    before = scenes()
    after = by(resampled, replace(before, around=None), 0.5)
    assert np.allclose(after.past[:, :, 1::2], before.past[:, :, T // 2 :], equal_nan=True)
    assert np.allclose(after.future[:, :, 1::2], before.future[:, :, : F // 2], equal_nan=True)
    assert np.array_equal(after.target, before.target)


def test_a_past_with_more_frames_does_not_know_what_comes_after():
    other = replace(scenes(), future=scenes().future + 5.0, around=None)
    one, two = (by(resampled, b, 0.5) for b in (replace(scenes(), around=None), other))
    assert np.array_equal(one.past, two.past, equal_nan=True)


def test_splines_run_through_the_steps_and_follow_a_cubic_inside():
    when = np.arange(40) / 4 + 5
    knots = np.arange(21.0)
    path = (knots**2 * (30 - knots) / 100)[None, None, :, None]
    expected = when**2 * (30 - when) / 100
    assert at_times(path, when)[0, 0, :, 0] == pytest.approx(expected, abs=1e-2)
    assert at_times(path, knots)[0, 0, :, 0] == pytest.approx(path[0, 0, :, 0])
    straight = np.linspace(0, 5, 41)
    line = np.arange(6.0)[None, None, :, None]
    assert at_times(line, straight)[0, 0, :, 0] == pytest.approx(straight)


def test_splines_stop_at_a_gap():
    path = np.arange(10.0)[None, None, :, None].copy()
    path[0, 0, 4] = np.nan
    found = at_times(path, np.arange(0, 9.5, 0.5))[0, 0, :, 0]
    assert np.isnan(found[7:10]).all()
    assert np.allclose(np.delete(found, [7, 8, 9]), np.delete(np.arange(0, 9.5, 0.5), [7, 8, 9]))


def test_reversed_scenes_have_the_reversed_future():
    before, after = scenes(), by(reversed_time, scenes(), 1)
    whole = np.concatenate([before.past, before.future], 2)
    back = np.concatenate([after.past, after.future], 2)
    assert np.array_equal(back[:, :, ::-1], whole, equal_nan=True)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_filled_steps_lie_on_a_line_and_are_equal(count):
    before, after = scenes(), by(filled, scenes(), count)
    changed = (np.abs(after.past - before.past) > 1e-12).any(-1)
    assert (changed[before.target].sum(1) == count).all()
    assert not changed[:, :, [0, -1]].any()
    for b, a in zip(*np.nonzero(before.target), strict=True):
        first = int(changed[b, a].argmax())
        steps = np.diff(after.past[b, a, first - 1 : first + count + 1], axis=0)
        assert np.allclose(steps, steps[0])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_dropped_steps_are_where_filled_ones_would_be(count):
    missing = np.isnan(by(dropped, scenes(), count).past).any(-1)
    made_up = (np.abs(by(filled, scenes(), count).past - scenes().past) > 1e-12).any(-1)
    assert np.array_equal(missing[scenes().target], made_up[scenes().target])


def test_short_pasts_hide_what_they_say():
    before, there = scenes(), scenes().target
    assert (np.isfinite(by(momentary, before, 3).past[there]).all(-1).sum(1) == 3).all()
    assert np.array_equal(
        by(padded, before, 3).past[:, :, -3:], before.past[:, :, -3:], equal_nan=True
    )
    assert (np.diff(by(padded, before, 3).past[there], axis=1)[:, : T - 3] == 0).all()
    found = by(late, before, 6)
    assert (np.isfinite(found.past[there]).all(-1).sum(1) == 2).all()
    assert np.array_equal(found.past[~there], before.past[~there], equal_nan=True)


def test_a_mirror_keeps_distances_between_everybody():
    def distances(batch):
        path = np.concatenate([batch.past, batch.future], 2)
        return np.linalg.norm(path[:, :, None] - path[:, None], axis=-1)

    assert np.allclose(distances(by(mirrored, scenes(), 1)), distances(scenes()), equal_nan=True)


def test_bikers_stay_where_they_are_and_cover_more_way():
    before, after = scenes(), by(speed, scenes(), 2)
    there = before.target
    assert np.array_equal(after.past[:, :, -1], before.past[:, :, -1], equal_nan=True)
    assert np.allclose(np.diff(after.past[there], axis=1), 2 * np.diff(before.past[there], axis=1))
    assert np.array_equal(after.past[~there], before.past[~there], equal_nan=True)
    assert np.allclose(after.future[there][:, 0] - after.past[there][:, -1], 2 * _next(before))


def _next(batch):
    return batch.future[batch.target][:, 0] - batch.past[batch.target][:, -1]


def test_a_crowd_is_borrowed_from_other_moments_of_the_recording():
    before = scenes()
    after = by(crowd, before, 2, world=World(pools={"crowd": scenes()}))
    assert after.past.shape[1] == 3 * A
    assert np.array_equal(after.past[:, :A], before.past, equal_nan=True)
    assert not after.target[:, A:].any()
    own = before.agent[:, :1] // A
    assert (after.agent[:, A:] // A != own).all()
    elsewhere = replace(scenes(), scene=np.ones(B, int))
    alone = by(crowd, before, 1, world=World(pools={"crowd": elsewhere}))
    assert np.isnan(alone.past[:, A:]).all()
    assert (alone.agent[:, A:] == -1).all()


def test_windows_of_others_are_taken_as_they_are():
    pool = scenes(seed=5)
    world = World(pools={"crowd": pool, "place hotel": pool, "place univ": pool, "against": pool})
    found = available(world)
    assert [found[key].level for key in ("place-1", "place-2")] == ["hotel", "univ"]
    for key in ("place-1", "place-2", "against-1"):
        assert same(found[key].apply(scenes(), rng(), world), pool)
        assert found[key].corruption.pool


def test_an_unknown_corruption_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'noise'"):
        select(World(), ["nosie"])
    with pytest.raises(ConfigError, match="--against"):
        select(World(), ["against"])
    assert [graded.key for graded in select(World(), ["noise-2", "mirrored"])] == [
        "noise-2",
        "mirrored-1",
    ]


def test_training_draws_corruptions_by_their_weights_and_keeps_what_follows():
    some = trained(["noise", "late", "speed"])
    assert [one.name for one in some] == ["noise", "late", "speed"]
    batch = Batch(
        *(
            np.tile(getattr(scenes(), name), (200,) + (1,) * (n - 1))
            for name, n in (
                ("past", 4),
                ("future", 4),
                ("target", 2),
                ("scene", 1),
                ("start", 1),
                ("agent", 2),
            )
        )
    )
    corrupted, which = corrupt(batch, some, 0.5, rng())
    shares = np.bincount(which) / len(which)
    weights = np.array([one.weight for one in some])
    assert shares == pytest.approx(weights / weights.sum(), abs=0.04)
    kept = np.isin(which, [0, 1])
    assert np.array_equal(corrupted.future[kept], batch.future[kept], equal_nan=True)
    assert (corrupted.future[~kept] != batch.future[~kept]).any()
    with pytest.raises(ConfigError, match="did you mean 'noise'"):
        trained(["nois"])
