"""Forecasts in a loop: who is there, what time it is, and that nobody suffers for another."""

import copy
import gc
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from online_support import DT, HISTORY, HORIZON, Clock, Walker, line

from trajflow import OnlinePredictor
from trajflow.errors import ConfigError, TrajflowError
from trajflow.inference.ensemble import Ensemble
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.trajectory_model import Architecture, TrajectoryModel


@pytest.fixture(scope="module")
def network():
    """A real predictor that has learned nothing, of several rates."""
    torch.manual_seed(0)
    sizes = {"width": 16, "decoder_width": 16, "decoder_depth": 1, "condition_on_dt": True}
    model = TrajectoryModel(Architecture(HISTORY, HORIZON, **sizes))
    return TorchPredictor(model, {"dt": DT, "unit": "m", "least_rate": 0.5})


def walked(online, agents, seconds=3.0, every=0.25):
    for k in range(int(seconds / every) + 1):
        moment = every * k
        online.push(moment, agents, [line(moment, 3 * n, 1 + n) for n in range(len(agents))])
    return online


def test_a_past_is_read_off_irregular_observations():
    """Whoever walks evenly is where it is at every step, however it was seen."""
    walker = Walker()
    online = OnlinePredictor(walker, seed=None)
    times = np.sort(np.random.default_rng(0).uniform(0, 3, 31))
    for moment in [*times, 3.0]:
        online.push(moment, ["a"], [line(moment)])
    found = online.forecast()
    steps = 3 - DT * np.arange(HISTORY)[::-1]
    assert walker.past[0] == pytest.approx(np.array([line(t) for t in steps]))
    assert (found.ids, found.seen.tolist(), found.age.tolist()) == (("a",), [HISTORY], [0.0])
    assert found.forecast.samples.shape == (20, 1, HORIZON, 2)
    flags = (
        found.fallback,
        found.fewer_samples,
        found.late,
        found.stale,
        found.constant_velocity.any(),
    )
    assert not any(flags)


def test_who_is_not_seen_for_the_length_of_a_past_is_given_up():
    online = OnlinePredictor(Walker())
    online.push(0.0, ["a"], [[0, 0]])
    online.push(2.25, ["b"], [[1, 1]])
    assert online.forecast().ids == ("a", "b")
    online.push(2.3, ["b"], [[1, 1]])
    assert online.forecast().ids == ("b",)
    with pytest.raises(TrajflowError, match="'a' was not seen lately"):
        online.forecast(["a"])


def test_others_stand_around_those_who_are_asked_for():
    walker = Walker()
    online = OnlinePredictor(walker)
    online.push(0.0, ["a", "b", "c"], np.eye(3)[:, :2])
    found = online.forecast(["c", "a"])
    assert (found.ids, len(walker.past), len(walker.around)) == (("c", "a"), 2, 1)
    assert walker.past[0, -1].tolist() == [0, 0]


def test_agents_keep_the_order_in_which_they_appeared():
    online = OnlinePredictor(Walker())
    online.push(0.0, ["b"], [[0, 0]])
    online.push(0.1, ["a", 3, np.int64(7), "b"], np.zeros((4, 2)))
    assert online.forecast().ids == ("b", "a", 3, 7)
    online.push(2.3, np.array([7, 3]), np.ones((2, 2)))
    assert online.forecast().ids == ("b", "a", 3, 7)
    online.push(2.4, ["b"], [[0, 0]])
    online.push(4.9, [], [])
    online.push(4.9, ["a", "b"], np.zeros((2, 2)))
    assert online.forecast().ids == ("b", "a")


def test_nobody_is_an_answer_but_not_before_the_first_push():
    online = OnlinePredictor(Walker())
    with pytest.raises(TrajflowError, match="push observations first"):
        online.forecast()
    online.push(0.0, ["a"], [[0, 0]])
    online.push(9.0, [], [])
    found = online.forecast()
    assert (found.ids, found.forecast.samples.shape) == ((), (20, 0, HORIZON, 2))
    assert (found.time, found.fallback, found.fewer_samples) == (9.0, False, False)
    online.push(9.0, ["b"], [[0, 0]])
    assert online.forecast([]).ids == ()


def test_equal_seeds_give_equal_forecasts_and_none_gives_others(network):
    drawn = [
        walked(OnlinePredictor(network, seed=seed), ["a", "b"]).forecast().forecast.samples
        for seed in (4, 4, 5, None, None)
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    apart = [np.abs(drawn[k] - drawn[k + 1]).max() for k in (1, 2, 3)]
    assert min(apart) > 1e-3


@pytest.mark.parametrize("where", [np.nan, np.inf, -np.inf, 1e7, -1e38, 1e300])
def test_one_bad_agent_changes_nobody_elses_forecast(network, where):
    """Neither numbers that are none nor ones that single precision cannot hold."""
    good = walked(OnlinePredictor(network), [1, "2", (3,)])
    expected = good.forecast()
    good.push(3.0, ["bad"], [[where, 1.0]])
    found = good.forecast()
    np.testing.assert_array_equal(found.forecast.samples[:, :3], expected.forecast.samples)
    assert np.isfinite(found.forecast.samples).all()
    assert found.constant_velocity.tolist() == ([False] * 3 + [True])[: len(found.ids)]
    assert good.dropped["not_finite"] == (not np.isfinite(where))


def test_what_is_not_finite_later_leaves_what_was_seen_before(network):
    online = walked(OnlinePredictor(network), ["a", "b"])
    before = online.forecast().forecast.samples
    online.push(3.0, ["b"], [[np.nan, 0]])
    np.testing.assert_array_equal(online.forecast().forecast.samples, before)


def test_any_gap_may_be_bridged(network):
    online = OnlinePredictor(network, max_gap=np.inf)
    online.push(0.0, ["a"], [line(0.0)])
    online.push(2.0, ["a"], [line(2.0)])
    assert online.forecast().seen.tolist() == [HISTORY]
    assert online.dropped["dense"] == 0


def test_who_was_seen_once_is_forecast(network):
    online = walked(OnlinePredictor(network), ["a", "b"])
    online.push(3.1, ["new"], [[1e3, 2]])
    found = online.forecast()
    assert found.seen[-1] == 1
    assert np.isfinite(found.forecast.samples).all()
    assert not found.constant_velocity.any()


def test_another_step_is_passed_on_to_who_knows_it(network):
    walker = Walker()
    walked(OnlinePredictor(walker, 0.3), ["a"]).forecast()
    assert walker.told == {"dt": 0.3}
    assert np.diff(walker.past[0, :, 0]) == pytest.approx(0.3)
    assert walked(OnlinePredictor(network, 0.3), ["a"]).forecast().forecast.dt == 0.3
    with pytest.raises(ConfigError, match="got dt=2"):
        OnlinePredictor(network, 2.0)


def test_several_predictors_serve_as_one(network):
    online = walked(OnlinePredictor(Ensemble([network, network]), deadline_ms=5000), ["a", "b"])
    found = online.forecast()
    assert (found.ids, found.forecast.samples.shape) == (("a", "b"), (20, 2, HORIZON, 2))
    assert not found.constant_velocity.any()


def test_silence_makes_stale_and_so_does_a_clock_that_stands():
    clock = Clock()
    online = OnlinePredictor(Walker(), clock=clock, stale_after=0.7)
    online.push(0.0, ["a"], [[0, 0]])
    clock.now += 0.6
    assert not online.forecast().stale
    online.push(0.0, ["a"], [[0, 0]])
    clock.now += 0.2
    assert online.forecast().stale
    online.push(0.1, ["a"], [[0, 0]])
    assert not online.forecast().stale


def test_a_clock_that_stands_is_not_set_back():
    """A paused simulation goes on telling of its last moment."""
    clock = Clock()
    online = walked(OnlinePredictor(Walker(), clock=clock), ["a", "b"])
    for _ in range(100):
        clock.now += 0.05
        online.push(3.0, ["a"], [[0, 0]])
    found = online.forecast()
    assert (found.ids, found.stale, online.dropped["rewound"]) == (("a", "b"), True, 0)


@pytest.mark.parametrize("begin", [-1000.0, 1.7, 1e9])
def test_a_clock_set_back_begins_anew(begin):
    """Also after one stamp that was far ahead: within a second it goes on as it was."""
    clock, walker = Clock(), Walker()
    online = walked(OnlinePredictor(walker, clock=clock), ["a", "b"])
    if begin > 3:
        online.push(begin * 1e3, ["a"], [[0, 0]])
    for k in range(60):
        clock.now += 0.05
        online.push(begin + 0.05 * k, ["b"], [line(0.05 * k)])
    found = online.forecast()
    assert (found.ids, found.time) == (("b",), begin + 0.05 * 59)
    assert not found.stale
    assert online.dropped["rewound"] == 1
    known = walker.past[0][np.isfinite(walker.past[0, :, 0])]
    assert np.diff(known[:, 0]) == pytest.approx(2 * DT)


def test_a_sensor_that_is_always_behind_sets_no_clock_back():
    clock = Clock()
    online = OnlinePredictor(Walker(), clock=clock)
    for k in range(400):
        clock.now += 0.05
        if k % 15 == 0:
            online.push(0.05 * k, ["fast"], [line(0.05 * k)])
        online.push(0.05 * k - 0.4, ["slow"], [line(0.05 * k)])
    assert online.dropped["rewound"] == 0
    assert online.forecast().seen.tolist() == [HISTORY, HISTORY]


def test_forgetting_all_begins_anew():
    online = walked(OnlinePredictor(Walker()), ["a"])
    online.reset()
    with pytest.raises(TrajflowError, match="push observations first"):
        online.forecast()
    online.push(-5.0, ["b"], [[0, 0]])
    assert (online.forecast().ids, online.forecast().time) == (("b",), -5.0)


def test_what_comes_too_late_to_matter_is_counted():
    online = OnlinePredictor(Walker())
    online.push(10.0, ["a"], [[0, 0]])
    online.push(1.0, ["a", "b"], np.zeros((2, 2)))
    assert online.forecast().ids == ("a",)
    assert online.dropped["late"] == 2


@pytest.mark.parametrize(
    ("time", "ids", "points", "said"),
    [
        (np.nan, ["a"], [[0, 0]], "time must be a finite number"),
        ("now", ["a"], [[0, 0]], "time must be a number of seconds, got 'now'"),
        (0.0, ["a", "a"], [[0, 0], [1, 1]], "'a' is there twice"),
        (0.0, "ab", [[0, 0], [1, 1]], "sequence of ids, got 'ab'"),
        (0.0, 7, [[0, 0]], "sequence of ids, got 7"),
        (0.0, [[1]], [[0, 0]], "ids must be numbers, strings"),
        (0.0, [float("nan")], [[0, 0]], "cannot be an id"),
        (0.0, ["a"], [[0, 0, 0]], r"must be \[1, 2\], got \[1, 3\]"),
        (0.0, [], [[0, 0]], r"must be \[0, 2\], got \[1, 2\]"),
        (0.0, ["a"], [["x", "y"]], "array of numbers"),
    ],
)
def test_a_wrong_push_takes_nothing(time, ids, points, said):
    online = OnlinePredictor(Walker())
    with pytest.raises(TrajflowError, match=said):
        online.push(time, ids, points)
    with pytest.raises(TrajflowError, match="nobody was seen"):
        online.forecast()


@pytest.mark.parametrize(
    "setting",
    [
        {"dt": 0.0},
        {"samples": 0},
        {"deadline_ms": 0},
        {"deadline_ms": np.nan},
        {"max_observations": 4 * HISTORY - 1},
        {"max_gap": -1.0},
        {"stale_after": 0},
        {"max_agents": 0},
    ],
)
def test_settings_out_of_bounds_are_refused(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        OnlinePredictor(Walker(), **setting)


@pytest.mark.parametrize("deadline", [None, 500])
def test_threads_may_push_and_ask_at_once(network, deadline):
    online = OnlinePredictor(network, samples=2, deadline_ms=deadline)
    online.push(0.0, ["a"], [[0, 0]])
    wrong = []

    def push(first):
        for k in range(150):
            online.push(0.02 * k, ["a", first + k % 7], [[k, k], [k, -k]])

    def ask():
        for _ in range(30):
            found = online.forecast()
            shape = found.forecast.samples.shape[1:]
            if shape != (len(found.ids), HORIZON, 2) or len(set(found.ids)) < len(found.ids):
                wrong.append(found)

    threads = [threading.Thread(target=push, args=(k,)) for k in (0, 100)]
    threads += [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(online.forecast().ids) == 15


def test_predictors_that_are_gone_leave_no_thread():
    """Each with a deadline has one of its own."""
    before = threading.active_count()
    for _ in range(20):
        walked(OnlinePredictor(Walker(), deadline_ms=1000), ["a"]).forecast()
    gc.collect()
    until = time.monotonic() + 20
    while threading.active_count() > before:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_loop_needs_no_torch():
    """What forecasts may come without it, and then nothing else brings it in."""
    code = "import sys, trajflow; trajflow.OnlinePredictor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_who_is_not_seen_at_present_is_no_neighbor(network):
    """One who was seen a moment ago is forecast, but the network has learned nothing of such."""
    torch.manual_seed(1)
    lively = TorchPredictor(copy.deepcopy(network.model), network.facts)
    for parameter in lively.model.velocity_net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    alone = walked(OnlinePredictor(lively), ["a"]).forecast().forecast.samples
    for last, changes in ((2.0, False), (3.0, True)):
        online = OnlinePredictor(lively)
        for moment in np.arange(0, 3.1, 0.25):
            online.push(moment, ["a"], [line(moment, 0, 1)])
            if moment <= last:
                online.push(moment, ["b"], [line(moment, 1.0)])
        assert np.isfinite(online.forecast(["a", "b"]).forecast.samples).all()
        away = np.abs(online.forecast(["a"]).forecast.samples - alone).max()
        assert (away > 1e-3) == changes
