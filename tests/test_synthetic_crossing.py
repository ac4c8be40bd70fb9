import math

import numpy as np
import pytest

from trajflow.datasets.synthetic import crossing
from trajflow.errors import DataError


def turned(points, angle):
    c, s = math.cos(angle), math.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


def within(value, truth, error):
    return abs(value - truth) < 4 * error


def arrivals(past, future):
    """Seconds after which each walker is nearest to the middle of the crossing, [n, *, A]."""
    centre = np.zeros(2)
    fine = np.linspace(0, 12, 241)
    whole = np.concatenate(
        [np.broadcast_to(past[..., -1:, :], (*future.shape[:-2], 1, 2)), future], -2
    )
    low = fine.astype(int).clip(max=11)
    path = whole[..., low, :] + (fine - low)[:, None] * (
        whole[..., low + 1, :] - whole[..., low, :]
    )
    return crossing.DT * fine[np.linalg.norm(path - centre, axis=-1).argmin(-1)]


def meeting(n, agents, draw):
    """Pasts that meet at the origin: without the noise that blurs where they meet."""
    past = crossing.draw_pasts(n, agents, draw)
    law = crossing.conditional(past)
    forward = np.stack([np.cos(law.heading[..., 0]), np.sin(law.heading[..., 0])], -1)
    centre = crossing._meeting_point(past[..., -1, :], forward)
    return past - centre[:, None, None]


@pytest.mark.parametrize("agents", [2, 3])
def test_walkers_pass_one_after_the_other(agents):
    draw = np.random.default_rng(5)
    past = meeting(200, agents, draw)
    future = crossing.conditional(past).sample(5, draw)
    gaps = np.diff(np.sort(arrivals(past, future)), axis=-1)
    assert (gaps[..., 0] > 0.5).mean() > 0.99
    mixed = np.stack([np.roll(future[..., a, :, :], a, 0) for a in range(agents)], -3)
    gaps = np.diff(np.sort(arrivals(past, mixed)), axis=-1)
    assert (gaps[..., 0] > 0.5).mean() < 0.8


@pytest.mark.parametrize("agents", [2, 3])
def test_who_is_first_has_the_stated_probability(agents):
    draw = np.random.default_rng(6)
    past = meeting(5, agents, draw)
    law = crossing.conditional(past)
    future = law.sample(1000, draw)
    first = law.goes_first(future)
    seen = arrivals(past, future).argmin(-1)
    assert (seen == first.argmax(-1)).mean() > 0.99
    np.testing.assert_allclose(law.first.sum(-1), 1.0)
    np.testing.assert_allclose(law.probability.sum(-1), 1.0)
    assert np.ptp(law.first) > 0.1
    error = np.sqrt(law.first * (1 - law.first) / 1000)
    assert (abs(first.mean(0) - law.first) < 4.5 * error).all()


def test_the_joint_density_is_that_of_the_samples():
    draw = np.random.default_rng(7)
    past = crossing.draw_pasts(1, 2, draw)
    other = crossing.conditional(past + 0.0004 * np.arange(8)[:, None])
    law = crossing.conditional(past)
    future = law.sample(20000, draw)
    ratio = np.exp(other.log_density(future) - law.log_density(future))
    assert np.std(ratio) > 0.1
    assert within(ratio.mean(), 1.0, ratio.std() / math.sqrt(ratio.size))


@pytest.mark.parametrize("agents", [2, 3])
def test_the_joint_density_has_mass_one(agents):
    draw = np.random.default_rng(10)
    law = crossing.conditional(crossing.draw_pasts(50, agents, draw))
    heading = np.broadcast_to(law.heading, law.mean.shape[:-1])
    even = crossing.VARIATION.sample(law.mean, heading, draw)
    parts = [crossing.VARIATION.log_density(even, mean, law.heading) for mean in law.mean]
    one = np.logaddexp.reduce(np.stack(parts).sum(-1), 0)
    ratio = np.exp(law.log_density(even) - one).sum(0)
    np.testing.assert_allclose(ratio, 1.0, atol=1e-3)


def test_who_would_arrive_sooner_is_first_more_often():
    heading = np.array([0.0, 2.1, 4.2])
    forward = np.stack([np.cos(heading), np.sin(heading)], -1)
    arrival = np.array([2.0, 2.2, 2.5])
    before = arrival[:, None] + 0.4 * np.arange(7, -1, -1)
    law = crossing.conditional(-1.3 * before[..., None] * forward[:, None])
    weight = np.exp(-arrival / crossing.PATIENCE)
    np.testing.assert_allclose(law.first, weight / weight.sum())
    second = law.probability[law.orders.tolist().index([0, 2, 1])] / law.first[0]
    assert second == pytest.approx(weight[2] / (weight[1] + weight[2]))


def test_crossing_knows_no_place_and_no_order_of_walkers():
    draw = np.random.default_rng(8)
    past = crossing.draw_pasts(4, 3, draw)
    law = crossing.conditional(past)
    future = law.sample(7, draw)
    again = crossing.conditional(turned(past, 2.0)[:, [2, 0, 1]] - 3.0)
    there = turned(future, 2.0)[..., [2, 0, 1], :, :] - 3.0
    np.testing.assert_allclose(again.first, law.first[:, [2, 0, 1]])
    np.testing.assert_allclose(again.log_density(there), law.log_density(future), atol=1e-6)
    assert law.log_density(future).shape == (7, 4)


def test_walkers_side_by_side_have_no_crossing():
    walk = np.stack([np.arange(8) * 0.5, np.zeros(8)], -1)
    with pytest.raises(DataError, match="side by side"):
        crossing.conditional(np.stack([walk, walk + 1.0]))
    with pytest.raises(DataError, match="A > 1"):
        crossing.conditional(walk[None])
