"""What is remembered of agents, and where they were at even steps."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from online_support import DT, HISTORY, Clock, Walker, line

from trajflow import OnlinePredictor

GAP = 3 * DT


def naive(seen, moment):
    """Where an agent was, from all that was ever seen of it, {time: point}; None if unknown."""
    times = sorted(seen)
    before = max((t for t in times if t < moment), default=None)
    after = min((t for t in times if t >= moment), default=None)
    if None not in (before, after) and after - before <= GAP:
        share = (moment - before) / (after - before)
        return (1 - share) * seen[before] + share * seen[after]
    nearest = min(times, key=lambda t: (abs(t - moment), -t))
    if abs(nearest - moment) > DT / 2:
        return None
    if nearest < moment:
        beside = [t for t in times if nearest - GAP <= t <= nearest - DT / 2][-1:]
    else:
        beside = [t for t in times if nearest + DT / 2 <= t <= nearest + GAP][:1]
    if not beside:
        return seen[nearest]
    pace = (seen[beside[0]] - seen[nearest]) / (beside[0] - nearest)
    return seen[nearest] + (moment - nearest) * pace


class Pushes(RuleBasedStateMachine):
    """Pushes in any order, with gaps and repeats, tell what their whole history tells."""

    @initialize(epoch=st.sampled_from([0.0, -64.0, 1.7e9]))
    def begin(self, epoch):
        self.walker = Walker()
        self.online = OnlinePredictor(self.walker, clock=Clock())
        self.now, self.epoch, self.seen = None, epoch, {}

    @rule(
        ticks=st.one_of(st.integers(-200, 40), st.sampled_from([-32, -16, 0, 3, 16, 32, 400])),
        who=st.sets(st.sampled_from(["a", "b", 7, (1, 2)]), max_size=4),
        numbers=st.integers(0, 2**32),
        bad=st.sampled_from([None, None, "a", 7]),
    )
    def push(self, ticks, who, numbers, bad):
        time = (self.epoch if self.now is None else self.now) + ticks / 64
        points = np.random.default_rng(numbers).normal(size=(len(who), 2))
        told = np.where([[agent == bad] for agent in who] or points, np.nan, points)
        self.online.push(time, list(who), told)
        self.now = time if self.now is None else max(time, self.now)
        for agent, point in zip(who, points, strict=True):
            if agent != bad:
                self.seen.setdefault(agent, {})[time] = point

    @precondition(lambda self: self.now is not None)
    @rule()
    def forget_all(self):
        self.online.reset()
        self.now, self.seen = None, {}

    @precondition(lambda self: self.now is not None)
    @invariant()
    def pasts_are_those_of_the_whole_history(self):
        length = (HISTORY - 0.5) * DT
        known = {a for a, seen in self.seen.items() if max(seen) >= self.now - length}
        found = self.online.forecast()
        assert set(found.ids) == known
        assert len(found.ids) == len(known)
        for k, agent in enumerate(found.ids):
            assert found.age[k] == self.now - max(self.seen[agent])
            steps = self.now - DT * np.arange(HISTORY)[::-1]
            expected = [naive(self.seen[agent], moment) for moment in steps]
            blank = np.full(2, np.nan)
            expected = np.array([blank if one is None else one for one in expected])
            np.testing.assert_allclose(self.walker.past[k], expected, atol=1e-9)
            assert found.seen[k] == np.isfinite(expected[:, 0]).sum()


Pushes.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestPushes = Pushes.TestCase


def past_of(times, points, max_gap=GAP):
    """The past that is forecast from, of an agent observed at times up to the present, 0."""
    walker = Walker()
    online = OnlinePredictor(walker, max_gap=max_gap)
    online.push(0.0, [], [])
    for time, point in zip(times, points, strict=True):
        online.push(time, ["a"], [point])
    online.forecast()
    return walker.past[0]


@pytest.mark.parametrize("start", range(12))
def test_who_walks_evenly_is_on_the_line_however_it_was_seen(start):
    """At every step that is known, also before the first and after the last observation."""
    chance = np.random.default_rng(start)
    times = np.sort(chance.uniform(-2.5, 0, 2 + start))
    times[-1] = max(times[-1], -2.0)
    if np.ptp(times) < DT:
        times[0] = times[-1] - DT
    past = past_of(times, [line(t) for t in times])
    steps = -DT * np.arange(HISTORY)[::-1]
    seen = np.isfinite(past).all(-1)
    assert past[seen] == pytest.approx(np.array([line(t) for t in steps])[seen])
    near = np.abs(times[:, None] - steps).min(0) <= DT / 2
    assert seen[near].all()


def test_two_observations_close_together_do_not_fling_anybody():
    """The pace of a millisecond's noise is nobody's pace."""
    past = past_of([-0.2, -0.199], [[0.0, 0.0], [0.02, 0.0]])
    assert np.nanmax(np.abs(past)) <= 0.02


def test_a_gap_is_bridged_or_left_open_by_its_length():
    times = [-2.0, -1.5, 0.0]
    points = [line(t) for t in times]
    assert np.isfinite(past_of(times, points, 1.5)).all(-1).tolist() == [True] * 5
    assert np.isfinite(past_of(times, points, 1.4)).all(-1).tolist() == [
        True,
        True,
        False,
        False,
        True,
    ]


def test_an_observation_halfway_between_two_steps_serves_one_of_them_at_any_epoch():
    for epoch in (0.0, 1.7e9, 1.7e9 + 0.1, -3e8 + 0.7):
        for back in (0.25, 0.75, 1.75, 2.25):
            walker = Walker()
            online = OnlinePredictor(walker)
            online.push(epoch, [], [])
            online.push(epoch - back, ["a"], [[3, 4]])
            assert online.forecast().seen.tolist() in ([1], [2])


def test_nobody_is_known_and_yet_at_no_step_whatever_rounding_does():
    """At the times of today a double ends at the seventh digit after the point."""
    bound = (HISTORY - 0.5) * DT
    for epoch in 1.7e9 + np.random.default_rng(0).random(40):
        for least in range(-3, 4):
            online = OnlinePredictor(Walker())
            online.push(epoch, [], [])
            online.push(epoch - bound + least * np.spacing(epoch), ["a"], [[3, 4]])
            assert online.forecast().seen.tolist() in ([], [1])


def test_who_is_seen_too_often_is_kept_more_coarsely_but_as_far_back():
    """1000 observations a second fill no past of some seconds, but their line is kept."""
    walker = Walker()
    online = OnlinePredictor(walker, max_observations=20)
    for k in range(4000):
        online.push(k / 1000, ["a"], [line(k / 1000)])
    found = online.forecast()
    steps = found.time - DT * np.arange(HISTORY)[::-1]
    assert walker.past[0] == pytest.approx(np.array([line(t) for t in steps]))
    assert found.age.tolist() == [0.0]
    assert online.dropped["dense"] > 3000


def test_the_last_word_on_a_time_counts():
    walker = Walker()
    online = OnlinePredictor(walker)
    for point in ([1.0, 2.0], [5.0, 6.0]):
        online.push(DT, ["a"], [point])
        online.push(0.0, ["a"], [point])
    online.forecast()
    assert walker.past[0, -2:].tolist() == [[5, 6], [5, 6]]


def test_there_is_room_for_the_latest():
    """Who was not seen for longest goes, and who comes too late for that is not let in."""
    online = OnlinePredictor(Walker(), max_agents=2)
    for time, agent in ((0.0, "a"), (0.1, "b"), (0.0, "late")):
        online.push(time, [agent], [[0, 0]])
    assert online.forecast().ids == ("a", "b")
    online.push(0.2, ["c", "a"], np.zeros((2, 2)))
    assert online.forecast().ids == ("a", "c")
    online.push(0.3, ["c", "d", "e", "f"], np.zeros((4, 2)))
    assert online.forecast().ids == ("c", "d")
    assert online.dropped["crowded"] == 5


def test_agents_come_and_go_by_thousands_and_memory_does_not_grow():
    online = OnlinePredictor(Walker(), max_agents=4, max_observations=20)
    tracemalloc.start()
    try:
        for k in range(3000):
            online.push(0.1 * k, [k, k + 1, f"{k + 2}"], np.full((3, 2), float(k)))
            if k == 100:
                before = tracemalloc.get_traced_memory()[0]
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()
    assert set(online.forecast().ids) <= {*range(2990, 3002), *map(str, range(2990, 3002))}
    assert len(online.forecast().ids) == 4
    assert online.dropped["crowded"] > 3000
