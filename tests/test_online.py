"""Forecasts in a loop: what is remembered, what is bridged, and what happens without time."""

import threading

import numpy as np
import pytest

from trajflow.errors import ConfigError, TrajflowError
from trajflow.forecast import Forecast
from trajflow.online import OnlinePredictor
from trajflow.online.deadline import Budget
from trajflow.online.memory import Memory

HISTORY, HORIZON, DT = 5, 3, 0.5


class Clock:
    """Seconds that pass when told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Walker:
    """Goes on from where agents are; each draw takes its time."""

    history, horizon, dims, dt = HISTORY, HORIZON, 2, DT

    def __init__(self, clock=None, each=0.0):
        self.clock, self.each, self.asked = clock, each, []

    def predict(self, past, neighbours=None, samples=20, seed=None, agents=()):
        around = 0 if neighbours is None else len(neighbours)
        self.asked.append((np.array(past), around, samples))
        if self.clock is not None:
            self.clock.now += self.each * samples * (len(past) + around)
        future = np.repeat(np.nan_to_num(past[:, -1:]), self.horizon, 1)
        return Forecast(np.repeat(future[None], samples, 0), self.dt, tuple(agents))


def line(time, start=0.0, pace=2.0):
    return np.array([start + pace * time, 1.0])


def test_a_past_is_read_off_irregular_observations():
    """Whoever walks evenly is where it is at every step, however it was seen."""
    walker = Walker()
    online = OnlinePredictor(walker, seed=None)
    times = np.sort(np.random.default_rng(0).uniform(0, 3, 31))
    for time in [*times, 3.0]:
        online.push(time, ["a"], [line(time)])
    found = online.forecast()
    steps = 3 - DT * np.arange(HISTORY)[::-1]
    assert walker.asked[-1][0][0] == pytest.approx(np.array([line(t) for t in steps]))
    assert (found.ids, found.seen.tolist(), found.age.tolist()) == (("a",), [HISTORY], [0.0])
    assert found.forecast.samples.shape == (20, 1, HORIZON, 2)
    assert {found.fallback, found.thinned, found.late, found.stale} == {False}


def test_the_order_of_pushes_does_not_matter():
    pasts = []
    for order in (range(9), [3, 0, 8, 1, 2, 7, 6, 5, 4]):
        walker = Walker()
        online = OnlinePredictor(walker)
        for k in order:
            online.push(0.3 * k, ["a"], [[np.sin(k), np.cos(k)]])
        online.forecast()
        pasts.append(walker.asked[-1][0])
    np.testing.assert_array_equal(pasts[0], pasts[1])


def test_a_gap_is_bridged_or_left_open_by_its_length():
    for gap, known in ((1.6, 5), (1.2, 3)):
        walker = Walker()
        online = OnlinePredictor(walker, gap=gap)
        for time in (0.0, 0.5, 2.0):
            online.push(time, ["a"], [line(time)])
        assert online.forecast().seen.tolist() == [known]


def test_who_was_just_missed_goes_on_for_half_a_step():
    memory = Memory(3, 4, 2)
    for time in (0.0, 0.4):
        memory.add(time, ["a"], line(time)[None])
    (found,) = memory.positions(["a"], np.array([0.1, 0.6, 1.1]), 1.0)
    assert found[0] == pytest.approx(line(0.1))
    assert found[1] == pytest.approx(line(0.6))
    assert np.isnan(found[2]).all()


def test_agents_come_and_go_and_no_array_grows():
    online = OnlinePredictor(Walker(), most_agents=4, observations=6)
    arrays = online._memory.times, online._memory.points
    for k in range(200):
        online.push(0.1 * k, [k, k + 1, k + 2], np.full((3, 2), float(k)))
    assert set(online.forecast().ids) <= set(range(196, 202))
    assert len(online._memory) == 4
    assert online.dropped["crowded"] > 100
    assert online._memory.times is arrays[0]
    assert online._memory.points is arrays[1]


def test_who_is_not_seen_for_the_length_of_a_past_is_given_up():
    online = OnlinePredictor(Walker())
    online.push(0.0, ["a"], [[0, 0]])
    online.push(2.2, ["b"], [[1, 1]])
    assert set(online.forecast().ids) == {"a", "b"}
    online.push(2.3, ["b"], [[1, 1]])
    assert online.forecast().ids == ("b",)
    with pytest.raises(TrajflowError, match="'a' was not seen lately"):
        online.forecast(["a"])


def test_others_stand_around_those_who_are_asked_for():
    walker = Walker()
    online = OnlinePredictor(walker)
    online.push(0.0, ["a", "b", "c"], np.eye(3)[:, :2])
    found = online.forecast(["c", "a"])
    past, around, _ = walker.asked[-1]
    assert (found.ids, len(past), around) == (("c", "a"), 2, 1)
    assert past[0, -1].tolist() == [0, 0]


def test_less_time_gives_fewer_samples_then_none_of_the_network():
    clock = Clock()
    walker = Walker(clock, each=0.002)
    online = OnlinePredictor(walker, samples=20, deadline_ms=1000, clock=clock)
    online.push(0.0, ["a", "b"], [[0, 0], [1, 0]])
    online.push(0.5, ["a", "b"], [[1, 0], [1, 2]])
    assert len(online.forecast().forecast.samples) == 20
    walker.each = 0.1
    first = online.forecast()
    assert (first.late, first.fallback) == (True, False)
    found = online.forecast()
    assert (found.fallback, len(found.forecast.samples)) == (True, 1)
    ahead = np.arange(1, HORIZON + 1)
    along, still = 1 + ahead, np.ones(HORIZON)
    assert found.forecast.samples[0, 0] == pytest.approx(np.stack([along, 0 * ahead], 1))
    assert found.forecast.samples[0, 1] == pytest.approx(np.stack([still, 2 * along], 1))
    walker.each = 0.002
    assert any(not online.forecast().fallback for _ in range(40))


def test_a_budget_gives_as_many_samples_as_fit():
    budget = Budget(margin=1.0)
    assert budget.samples(20, 7, 1e-9) == 20
    budget.learn(draws=0, seconds=0.002)
    assert budget.samples(20, 100, 0.003) == 10
    assert budget.expected(1000) == pytest.approx(0.003)
    assert budget.samples(20, 100, 0.001) == 0


def test_silence_makes_stale():
    clock = Clock()
    online = OnlinePredictor(Walker(), clock=clock, stale_after=0.7)
    online.push(0.0, ["a"], [[0, 0]])
    clock.now += 0.6
    assert not online.forecast().stale
    clock.now += 0.2
    assert online.forecast().stale


@pytest.mark.parametrize(
    ("time", "ids", "points", "said"),
    [
        (np.nan, ["a"], [[0, 0]], "time must be"),
        (0.0, ["a", "a"], [[0, 0], [1, 1]], "'a' is there twice"),
        (0.0, ["a"], [[0, 0, 0]], r"must be \[1, 2\], got \[1, 3\]"),
        (0.0, ["a"], [["x", "y"]], "array of numbers"),
    ],
)
def test_a_wrong_push_takes_nothing(time, ids, points, said):
    online = OnlinePredictor(Walker())
    with pytest.raises(TrajflowError, match=said):
        online.push(time, ids, points)
    with pytest.raises(TrajflowError, match="nobody was seen"):
        online.forecast()


def test_what_is_not_finite_is_counted_and_spares_the_others():
    online = OnlinePredictor(Walker())
    online.push(0.0, ["a", "b"], [[np.nan, 0], [1, 1]])
    assert online.forecast().ids == ("b",)
    assert online.dropped["not_finite"] == 1


@pytest.mark.parametrize("setting", [{"samples": 0}, {"deadline_ms": 0}, {"observations": 1}])
def test_settings_out_of_bounds_are_refused(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        OnlinePredictor(Walker(), **setting)


def test_threads_may_push_and_ask_at_once():
    online = OnlinePredictor(Walker())
    online.push(0.0, ["a"], [[0, 0]])
    wrong = []

    def push():
        for k in range(300):
            online.push(0.01 * k, ["a", k % 7], [[k, k], [k, -k]])

    def ask():
        for _ in range(200):
            found = online.forecast()
            if not np.isfinite(found.forecast.samples).all():
                wrong.append(found)

    threads = [threading.Thread(target=one) for one in (push, push, ask, ask)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert "a" in online.forecast().ids
