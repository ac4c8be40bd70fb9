"""What happens without time: fewer samples, then none of the network's, never a late answer."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from online_support import HORIZON, Clock, Walker

from trajflow import OnlinePredictor
from trajflow.errors import TrajflowError


class Stalling(Walker):
    """Stops in the middle of a call until it is told to go on."""

    def __init__(self):
        super().__init__()
        self.go, self.calls = threading.Event(), 0
        self.go.set()

    def predict(self, *asked, **told):
        self.calls += 1
        self.go.wait(20)
        return super().predict(*asked, **told)


def two_walkers(online):
    online.push(0.0, ["a", "b"], [[0, 0], [1, 0]])
    online.push(0.5, ["a", "b"], [[1, 0], [1, 2]])
    return online


def check_straight(found):
    """Two walkers go on as they went, and the answer says so."""
    ahead = np.arange(1, HORIZON + 1)
    along, still = 1 + ahead, np.ones(HORIZON)
    assert (found.fallback, found.fewer_samples, len(found.forecast.samples)) == (True, False, 1)
    assert found.constant_velocity.all()
    assert found.forecast.samples[0, 0] == pytest.approx(np.stack([along, 0 * ahead], 1))
    assert found.forecast.samples[0, 1] == pytest.approx(np.stack([still, 2 * along], 1))


def test_less_time_gives_fewer_samples_then_none_of_the_network():
    clock = Clock()
    walker = Walker(clock, each=0.002)
    online = two_walkers(OnlinePredictor(walker, deadline_ms=1000, clock=clock))
    full = online.forecast()
    assert (len(full.forecast.samples), full.fewer_samples, full.late) == (20, False, False)
    walker.each = 0.04
    first = online.forecast()
    assert (first.late, first.fallback) == (True, False)
    check_straight(online.forecast())
    fewer = online.forecast()
    assert 5 < len(fewer.forecast.samples) < 15
    assert (fewer.fewer_samples, fewer.late, fewer.fallback) == (True, False, False)
    walker.each = 0.9
    assert online.forecast().late
    check_straight(online.forecast())
    walker.each = 0.002
    assert len([online.forecast() for _ in range(70)][-1].forecast.samples) == 20


def test_a_call_that_stalls_is_not_waited_for():
    """The answer comes in time all the same, and the network is asked again when it is free."""
    walker = Stalling()
    online = two_walkers(OnlinePredictor(walker, deadline_ms=400))
    walker.go.clear()
    found = [online.forecast() for _ in range(9)]
    calls = walker.calls
    for one in found:
        check_straight(one)
    waited = [one for one in found if one.seconds > 0.1]
    assert len(waited) < 5
    assert 0.15 < min(one.seconds for one in waited) < 0.4
    assert not all(one.late for one in waited)
    walker.go.set()
    until = time.monotonic() + 20
    while online.forecast().fallback:
        assert time.monotonic() < until
    assert walker.calls > calls


def test_without_a_deadline_it_takes_its_time():
    clock = Clock()
    online = two_walkers(OnlinePredictor(Walker(clock, each=100.0), clock=clock))
    found = online.forecast()
    assert (len(found.forecast.samples), found.late, found.fewer_samples) == (20, False, False)


def test_what_the_predictor_refuses_is_raised():
    online = two_walkers(OnlinePredictor(Walker(), deadline_ms=5000))

    def refuse(*_, **__):
        raise TrajflowError("no")

    online.predictor.predict = refuse
    with pytest.raises(TrajflowError, match="no"):
        online.forecast()


class Costly(Walker):
    """A call takes a constant, and a share for each agent of the scene and each draw."""

    def __init__(self, constant, agent, draw):
        super().__init__(Clock())
        self.costs, self.slower = (constant, agent, draw), 1.0

    def seconds(self, agents, draws):
        return self.slower * np.dot(self.costs, (1, agents, draws))

    def predict(self, past, neighbors=None, samples=20, seed=None, agents=(), **options):
        around = 0 if neighbors is None else len(neighbors)
        self.clock.now += self.seconds(len(past) + around, samples * len(past))
        return super().predict(past, neighbors, samples, seed, agents, **options)


def loop_of(walker, deadline, agents=1):
    """A loop that has seen some agents; its deadline is in seconds."""
    online = OnlinePredictor(walker, deadline_ms=1000 * deadline, clock=walker.clock)
    online.push(0.0, range(agents), np.zeros((agents, 2)))
    return online


positive = st.floats(1e-3, 1.0)


@settings(max_examples=50, deadline=None)
@given(
    costs=st.tuples(positive, positive, positive),
    agents=st.integers(1, 30),
    share=st.floats(0.0, 1.0),
    deadline=st.floats(5.0, 100.0),
)
def test_there_are_as_many_samples_as_fit(costs, agents, share, deadline):
    """One more would take longer than eight tenths of the time, and one is always tried."""
    walker, targets = Costly(*costs), 1 + int(share * (agents - 1))
    found = loop_of(walker, deadline, agents).forecast(range(targets))
    count = len(found.forecast.samples)
    spent = [walker.seconds(agents, n * targets) for n in (count, count + 1)]
    assert count == 1 or spent[0] <= 0.8 * deadline * (1 + 1e-6)
    assert count == 20 or spent[1] > 0.8 * deadline * (1 - 1e-6)
    assert found.fewer_samples == (count < 20)


def test_the_slowest_call_counts_until_nothing_would_fit():
    """Then it is forgotten, and one sample is tried."""
    walker = Costly(1.0, 0.0, 1.0)
    online = loop_of(walker, 10.0)
    counts = []
    for walker.slower in (1.0, 10.0, 1.0, 1.0, 1.0):
        found = online.forecast()
        counts.append(0 if found.fallback else len(found.forecast.samples))
    assert counts == [7, 7, 0, 1, 7]


def test_after_calls_that_were_not_in_time_it_pauses_ever_longer():
    walker = Costly(0.01, 0.0, 0.01)
    online = loop_of(walker, 100.0)
    tried = []
    for k in range(200):
        walker.slower = 1.0 if k > 100 else 1e5
        found = online.forecast()
        tried.append(0 if found.fallback else len(found.forecast.samples))
    pauses = [len(pause) for pause in "".join("x "[not n] for n in tried).split("x")[1:]]
    assert pauses[:7] == [1, 2, 4, 8, 16, 32, 32]
    assert set(tried[-30:]) == {20}
