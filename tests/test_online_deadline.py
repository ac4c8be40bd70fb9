"""What happens without time: fewer samples, then none of the network's, never a late answer."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from online_support import HORIZON, Clock, Walker

from trajflow.errors import TrajflowError
from trajflow.online import OnlinePredictor
from trajflow.online.deadline import MARGIN, Budget, Cost


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
    assert (found.fallback, found.thinned, len(found.forecast.samples)) == (True, False, 1)
    assert found.straight.all()
    assert found.forecast.samples[0, 0] == pytest.approx(np.stack([along, 0 * ahead], 1))
    assert found.forecast.samples[0, 1] == pytest.approx(np.stack([still, 2 * along], 1))


def test_less_time_gives_fewer_samples_then_none_of_the_network():
    clock = Clock()
    walker = Walker(clock, each=0.002)
    online = two_walkers(OnlinePredictor(walker, deadline_ms=1000, clock=clock))
    full = online.forecast()
    assert (len(full.forecast.samples), full.thinned, full.late) == (20, False, False)
    walker.each = 0.04
    first = online.forecast()
    assert (first.late, first.fallback) == (True, False)
    check_straight(online.forecast())
    fewer = online.forecast()
    assert 5 < len(fewer.forecast.samples) < 15
    assert (fewer.thinned, fewer.late, fewer.fallback) == (True, False, False)
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
    assert (len(found.forecast.samples), found.late, found.thinned) == (20, False, False)


def test_what_the_predictor_refuses_is_heard():
    online = two_walkers(OnlinePredictor(Walker(), deadline_ms=5000))

    def refuse(*_, **__):
        raise TrajflowError("no")

    online.predictor.predict = refuse
    with pytest.raises(TrajflowError, match="no"):
        online.forecast()


positive = st.floats(1e-6, 1.0)


@given(start=positive, agent=positive, draw=positive, samples=st.integers(2, 40))
def test_a_cost_is_found_by_its_calls(start, agent, draw, samples):
    true = Cost(start, agent, draw)
    found = Cost.measured(lambda agents, each: true(agents, agents * each), samples)
    assert (found.start, found.agent, found.draw) == pytest.approx((start, agent, draw), rel=1e-3)


@given(
    cost=st.builds(Cost, positive, positive, positive),
    slower=st.floats(0.1, 10.0),
    agents=st.integers(1, 50),
    share=st.floats(0.0, 1.0),
    left=st.floats(-1.0, 100.0),
)
def test_a_budget_gives_as_many_samples_as_fit(cost, slower, agents, share, left):
    """One more would take longer than there is time."""
    drawn = 1 + int(share * (agents - 1))
    budget = Budget(cost)
    budget.learn(7, 11, slower * cost(7, 11))
    count = budget.samples(20, agents, drawn, left)
    spent = [slower * cost(agents, n * drawn) for n in (count, count + 1)]
    assert count == (left > 0) or spent[0] <= MARGIN * left * (1 + 1e-9)
    assert count == 20 or spent[1] > MARGIN * left * (1 - 1e-9)


def test_the_dearest_call_counts_until_nothing_would_fit():
    """Then it is forgotten, and one sample is dared."""
    budget = Budget(Cost(1.0, 0.0, 1.0))
    for seconds in (2.0, 20.0, 2.0):
        budget.learn(1, 1, seconds)
    assert [budget.samples(20, 1, 1, 10.0) for _ in range(2)] == [1, 7]


def test_after_calls_that_were_not_in_time_it_rests_ever_longer():
    budget, asked = Budget(Cost(1.0, 0.0, 1.0)), []
    for _ in range(200):
        asked.append(budget.samples(20, 1, 1, 100.0))
        if asked[-1]:
            budget.ended(in_time=len(asked) > 100)
    rests = [len(rest) for rest in "".join("x "[not n] for n in asked).split("x")[1:]]
    assert rests[:7] == [1, 2, 4, 8, 16, 32, 32]
    assert set(asked[-60:]) == {20}
