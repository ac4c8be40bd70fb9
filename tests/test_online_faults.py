"""Bad agents, ids, numbers and forks: nobody else suffers, and nothing is taken silently."""

import itertools
import os
import signal
import uuid
import warnings

import numpy as np
import pytest
import torch
from online_support import DT, HISTORY, HORIZON, Walker

from trajflow import OnlinePredictor, TrajflowError
from trajflow.inference.ensemble import Ensemble
from trajflow.inference.predictor import TorchPredictor
from trajflow.models.trajectory_model import Architecture, TrajectoryModel

MAP = np.array([5e5, 5e6])
"""Where the agents walk: coordinates of a map in metres."""


@pytest.fixture(scope="module")
def network():
    """A real predictor that has learned nothing, whose usual step is one metre."""
    torch.manual_seed(0)
    shape = Architecture(HISTORY, HORIZON, width=16, decoder_width=16, decoder_depth=1)
    return TorchPredictor(TrajectoryModel(shape), {"dt": DT, "unit": "m"})


def at(*away):
    return MAP + away


def walk(online, ids, steps=8):
    for k in range(steps + 1):
        online.push(DT * k, ids, [at(k + 3 * n, n) for n in range(len(ids))])
    return online


def alone(network, ids, moment):
    """What is forecast of some agents whom nobody disturbs, at a moment."""
    online = walk(OnlinePredictor(network), ids)
    online.push(moment, [], [])
    return online.forecast().forecast.samples


def check_others(found, expected, bad="bad"):
    """The bad agent is flagged and finite, all others are as if it had never been there."""
    others = [k for k, agent in enumerate(found.ids) if agent != bad]
    np.testing.assert_array_equal(found.forecast.samples[:, others], expected)
    assert np.isfinite(found.forecast.samples).all()
    assert not found.constant_velocity[others].any()
    assert not found.fallback
    if bad in found.ids:
        row = found.ids.index(bad)
        assert found.constant_velocity[row]
        assert (
            "from the others" in found.forecast.faults[row]
            or "moves more" in (found.forecast.faults[row])
        )
        assert all(found.forecast.faults[k] is None for k in others)


FIXES = [(0, 0), (5e5 + 5e4, 5e6), (5e5, 5e6 - 9e4), (1e7, -1e7), (1e38, 0), (-1e99, 1e99)]


@pytest.mark.parametrize("deadline", [None, 20_000])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("fix", FIXES)
def test_an_agent_that_jumps_is_quarantined_and_the_others_are_forecast(
    network, fix, count, deadline
):
    """Deadline or not; also where one of two agents jumps."""
    ids = [f"agent {n}" for n in range(count)]
    online = walk(OnlinePredictor(network, deadline_ms=deadline), [*ids, "bad"])
    online.push(8 * DT + 0.4, ["bad"], [fix])
    found = online.forecast()
    assert found.ids == (*ids, "bad")
    expected = alone(network, ids, found.time)
    if "moves more" in found.forecast.faults[-1]:  # it draws noise, as it does when it is well
        expected = alone(network, [*ids, "bad"], found.time)[:, :-1]
    check_others(found, expected)
    assert online.dropped["quarantined"] == 1


@pytest.mark.parametrize("fix", [(0, 0), (1e7, -1e7), (1e38, 0), (-1e99, 1e99)])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_newcomer_far_from_the_others_is_quarantined(network, fix, count):
    """Also where it is one of two agents: half of all are no majority."""
    ids = [f"agent {n}" for n in range(count)]
    online = walk(OnlinePredictor(network), ids)
    online.push(8 * DT, ["bad"], [fix])
    found = online.forecast()
    assert found.ids == (*ids, "bad")
    check_others(found, alone(network, ids, found.time))
    assert found.forecast.samples[0, -1] == pytest.approx(np.tile(fix, (HORIZON, 1)))


@pytest.mark.parametrize("fix", [(1e307, 0), (-1e307, 1e307), (np.finfo(float).max, -1e308)])
@pytest.mark.parametrize("who", ["bad", "agent 1"])
def test_a_position_too_large_to_compute_with_is_missing(network, fix, who):
    ids = ["agent 0", "agent 1"]
    online = walk(OnlinePredictor(network), ids)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        online.push(8 * DT, [who], [fix])
        found = online.forecast()
    check_others(found, alone(network, ids, found.time))
    assert (found.ids, online.dropped["too_large"]) == (tuple(ids), 1)


def test_nobody_but_bad_agents_is_an_answer_too(network):
    online = walk(OnlinePredictor(network), ["bad"])
    online.push(8 * DT + 0.4, ["bad"], [at(5e4, 0)])
    found = online.forecast()
    assert found.constant_velocity.tolist() == [True]
    assert np.isfinite(found.forecast.samples).all()
    assert "moves more" in found.forecast.faults[0]


def test_a_bad_agent_goes_on_from_where_it_was_near_the_others(network):
    """Not at the speed of the jump; and it is forecast again once the fix is forgotten."""
    online = walk(OnlinePredictor(network), ["good", "bad"])
    online.push(8.4 * DT, ["bad"], [(0, 0)])
    found = online.forecast()
    assert np.abs(found.forecast.samples[:, 1] - MAP).max() < 50
    for k in range(9, 9 + 2 * HISTORY):
        online.push(DT * k, ["good", "bad"], [at(k, 0), at(k + 3, 1)])
    found = online.forecast()
    assert not found.constant_velocity.any()
    assert found.forecast.faults.tolist() == [None, None]


def test_a_bad_neighbor_of_those_asked_for_changes_nothing(network):
    online = walk(OnlinePredictor(network), ["good", "bad"])
    online.push(8.4 * DT, ["bad"], [at(5e4, 0)])
    found = online.forecast(["good"])
    check_others(found, alone(network, ["good"], found.time))


def test_half_of_the_agents_at_null_island_do_not_drag_the_others(network):
    """Whoever is seen at more steps is right; the middle between the two is nowhere."""
    online = walk(OnlinePredictor(network), ["a", "b"])
    online.push(8 * DT, ["zero", "null"], [(0, 0), (0, 0)])
    found = online.forecast()
    assert found.constant_velocity.tolist() == [False, False, True, True]


def test_an_ensemble_quarantines_too(network):
    both = Ensemble([network, network])
    online = walk(OnlinePredictor(both), ["good", "bad"])
    online.push(8.4 * DT, ["bad"], [at(5e4, 0)])
    assert online.forecast().constant_velocity.tolist() == [False, True]


def test_two_agents_far_from_each_other_are_not_judged_by_their_order(network):
    """In `predict`: who was seen at more steps is taken for the one that is not absurd."""
    past = np.cumsum(np.ones((2, HISTORY, 2)), 1)
    past[1] -= 1e9
    for order in ([0, 1], [1, 0]):
        past[1, :-1] = np.nan
        found = network.predict(past[order], on_bad="quarantine")
        assert [order[k] for k in np.flatnonzero(found.faults == None)] == [0]  # noqa: E711


class Changing:
    """Its hash is another one each time it is asked for."""

    counter = itertools.count()

    def __hash__(self):
        return next(self.counter)

    def __eq__(self, other):
        return self is other


class ChangingText(str):
    """A text, but for its hash."""

    counter = itertools.count()

    def __hash__(self):
        return next(self.counter)

    def __eq__(self, other):
        return str.__eq__(self, other)


HUGE = "an id has at most 256 characters"
KINDS = "ids must be numbers, strings, UUIDs or tuples"


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["x" * 10**6], HUGE),
        ([b"x" * 300], HUGE),
        ([10**400], HUGE),
        ([10**5000], HUGE),
        ([tuple("x" * 10 for _ in range(30))], HUGE),
        ([("a", ("b", ("c", ("d", ("e",)))))], KINDS),
        ([tuple(range(10**5))], KINDS),
        ([Changing()], f"{KINDS}.*Changing"),
        ([frozenset([1])], f"{KINDS}.*frozenset"),
        ([np.datetime64("2024-01-01")], f"{KINDS}.*datetime64"),
        ([np.timedelta64(5, "s")], f"{KINDS}.*timedelta64"),
        ([1j], f"{KINDS}.*complex"),
        ([np.ma.masked], KINDS),
        ([("a", float("nan"))], "cannot be an id"),
        (itertools.count(), "at most 10000 agents"),
    ],
)
def test_ids_that_cannot_be_kept_are_refused_by_name(ids, said):
    online = OnlinePredictor(Walker())
    with pytest.raises(TrajflowError, match=f"(?s){said}") as refused:
        online.push(0.0, ids, [[0, 0]])
    assert len(str(refused.value)) < 400
    with pytest.raises(TrajflowError, match="nobody was seen"):
        online.forecast()


def test_ids_are_kept_as_plain_values():
    """A text with a hash of its own is the text that it is."""
    online, name = OnlinePredictor(Walker()), uuid.uuid4()
    for k in range(3):
        ids = [ChangingText("a"), np.int64(7), ("people", np.int32(3)), name, np.str_("b")]
        online.push(DT * k, ids, np.full((5, 2), k))
    found = online.forecast([ChangingText("a"), 7, ("people", 3), name, "b"])
    assert found.ids == ("a", 7, ("people", 3), name, "b")
    assert found.seen.tolist() == [3] * 5
    assert len(online.forecast().ids) == 5


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([[10**400, 0]], "too large"),
        (np.array([["2020-01-01", "2021-01-01"]], "datetime64[D]"), "datetime64"),
        (np.array([[1, 2]], "timedelta64[s]"), "timedelta64"),
        (np.array([[1 + 2j, 0]]), "complex"),
        ([[1 + 2j, 0]], "complex"),
        (np.array([["1", "2"]]), "array of <U1"),
        ([[True, False]], "bool"),
        (torch.zeros(1, 2, requires_grad=True), "detach"),
    ],
)
def test_positions_that_are_no_real_numbers_are_refused_by_name(points, said):
    online = OnlinePredictor(Walker())
    with pytest.raises(TrajflowError, match=f"positions must be an array of numbers.*{said}"):
        online.push(0.0, ["a"], points)


@pytest.mark.parametrize(
    "time", [10**400, "12.5", b"1", np.timedelta64(5, "ms"), np.datetime64("2020"), np.ma.masked]
)
def test_times_that_are_no_seconds_are_refused_by_name(time):
    online = OnlinePredictor(Walker())
    with pytest.raises(TrajflowError, match=r"^time ") as refused:
        online.push(time, ["a"], [[0, 0]])
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("as_rows", [False, True])
def test_a_masked_position_is_a_missing_one(as_rows):
    walker = Walker()
    online = OnlinePredictor(walker)
    online.push(0.0, ["a", "b"], [[0, 0], [1, 1]])
    points = np.ma.array([[5, 5], [7, 7]], mask=[[False, True], [False, False]])
    online.push(DT, ["a", "b"], list(points) if as_rows else points)
    found = online.forecast()
    assert found.seen.tolist() == [1, 2]
    assert np.isnan(walker.past[0, -1]).all()
    assert online.dropped["not_finite"] == 1


def forked(work):
    """What some work returns in a child of this process; 70 if it raises, -14 if it never ends."""
    child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            os._exit(work())
        except BaseException:
            os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("deadline", [None, 5000])
def test_after_a_fork_the_network_of_the_child_is_reached(deadline):
    """By the parent too, and with what was pushed before."""
    online = walk(OnlinePredictor(Walker(), deadline_ms=deadline), ["a", "b"])
    assert not online.forecast().fallback

    def child():
        online.push(8 * DT, ["c"], [MAP])
        found = online.forecast()
        return int(found.fallback) + 2 * (len(found.ids) != 3)

    assert forked(child) == 0
    assert len(online.forecast().ids) == 2
    assert not online.forecast().fallback


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_in_the_middle_of_a_push_does_not_lock_the_child():
    """What a thread was about to push is unknown; the child begins anew."""
    waiting = {"fork": False}

    def clock():
        if waiting.pop("fork", False):
            waiting["code"] = forked(child)
        return 1.0

    online = OnlinePredictor(Walker(), clock=clock)
    walk(online, ["a"])

    def child():
        online.push(0.0, ["b"], [MAP])
        return int(online.forecast().ids != ("b",))

    waiting["fork"] = True
    online.push(99.0, ["a"], [MAP])
    assert waiting["code"] == 0
