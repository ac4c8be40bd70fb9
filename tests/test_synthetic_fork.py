import math

import numpy as np
import pytest

from trajflow.datasets.synthetic import fork, make
from trajflow.errors import DataError
from trajflow.metrics import energy_distance


def turned(points, angle):
    c, s = math.cos(angle), math.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


def within(value, truth, error):
    return abs(value - truth) < 4 * error


def test_motion_is_read_at_the_end_of_the_past():
    seconds = 0.4 * np.arange(-7, 1)[:, None]
    past = np.array([3.0, 4.0]) + np.array([1.2, 1.6]) * seconds + [0.08, -0.06] * seconds**2
    seen = fork.read_motion(past, 0.4)
    np.testing.assert_allclose(seen.position, [3.0, 4.0])
    assert seen.speed == pytest.approx(2.0)
    assert seen.heading == pytest.approx(math.atan2(1.6, 1.2))
    assert seen.turn == pytest.approx(2 * (1.2 * -0.06 - 1.6 * 0.08) / 2.0**2)


def test_the_density_of_a_step_integrates_to_one():
    law = fork.Variation(along=(0.4,), across=(0.2,), noise=0.1)
    side = np.linspace(-3, 3, 241)
    grid = np.stack(np.meshgrid(side, side), -1)[:, :, None]
    density = np.exp(law.log_density(grid + 5.0, np.full((1, 2), 5.0), np.array([0.7])))
    assert density.sum() * (side[1] - side[0]) ** 2 == pytest.approx(1.0, abs=1e-6)


def test_the_density_is_that_of_the_stated_weights():
    law = fork.Variation(along=(0.4, 0.25), across=(0.2,), noise=0.05)
    draw = np.random.default_rng(0)
    F, heading = 5, np.linspace(-0.4, 0.9, 5)
    path, mean = draw.normal(size=(F, 2)), draw.normal(size=(F, 2))
    covariance = 0.05**2 * np.eye(2 * F)
    for power, size, angle in ((1, 0.4, 0), (2, 0.25, 0), (1, 0.2, np.pi / 2)):
        rise = (np.arange(1, F + 1) / F) ** power * size
        mode = rise[:, None] * np.stack([np.cos(heading + angle), np.sin(heading + angle)], -1)
        covariance += np.outer(mode, mode)
    offset = (path - mean).ravel()
    square = offset @ np.linalg.solve(covariance, offset)
    expected = -0.5 * (square + np.linalg.slogdet(2 * np.pi * covariance)[1])
    assert law.log_density(path, mean, heading) == pytest.approx(expected)


def own_frame(path):
    """Paths [N, 20, 2] seen from where their past ends, along its heading."""
    seen = fork.read_motion(path[:, :8], fork.DT)
    return np.stack(
        [turned(p - o, -h) for p, o, h in zip(path, seen.position, seen.heading, strict=True)]
    )


def test_fork_scenes_follow_the_conditional_law():
    draw = np.random.default_rng(1)

    def pairs(n):
        past = fork.draw_pasts(n, draw)
        return own_frame(np.concatenate([past, fork.conditional(past).sample(1, draw)[0]], 1))

    blocks = make("fork", 3, train=800, val=0, test=0).blocks
    made = own_frame(np.stack([block.position for block in blocks]))
    floor = 5 * np.std([energy_distance(pairs(800), pairs(800)) for _ in range(20)])
    assert abs(energy_distance(made, pairs(800))) < floor
    mirrored = made.copy()
    mirrored[:, 8:, 1] *= -1
    wide = made.copy()
    wide[:, 8:, 1] *= 1.3
    assert energy_distance(mirrored, pairs(800)) > floor
    assert energy_distance(wide, pairs(800)) > floor


def test_fork_futures_depend_on_the_past_as_the_density_says():
    draw = np.random.default_rng(2)
    past = fork.draw_pasts(2, draw)
    past[1] = past[0] + 0.0006 * np.arange(8)[:, None]
    law, other = (fork.conditional(p[None]) for p in past)
    future = law.sample(20000, draw)
    ratio = np.exp(other.log_density(future) - law.log_density(future))
    assert np.std(ratio) > 0.1
    assert within(ratio.mean(), 1.0, ratio.std() / math.sqrt(ratio.size))


def test_the_fork_density_has_mass_one():
    draw = np.random.default_rng(9)
    law = fork.conditional(fork.draw_pasts(50, draw))
    even = fork.VARIATION.sample(law.mean, law.heading, draw)
    parts = [fork.VARIATION.log_density(even, law.mean[k], law.heading[k]) for k in (0, 1)]
    ratio = np.exp(law.log_density(even) - np.logaddexp(*parts)).sum(0)
    np.testing.assert_allclose(ratio, 1.0, atol=1e-6)


def test_fork_branches_are_taken_with_their_probability():
    draw = np.random.default_rng(3)
    law = fork.conditional(fork.draw_pasts(5, draw))
    left = law.branch(law.sample(4000, draw))
    assert np.ptp(law.probability) > 0.1
    error = np.sqrt(law.probability * (1 - law.probability) / 4000)
    assert (abs(left.mean(0) - law.probability) < 4 * error).all()
    np.testing.assert_allclose(law.branch(law.mean), [[1.0] * 5, [0.0] * 5], atol=1e-9)


def test_left_is_left():
    past = np.stack([np.arange(8) * 0.5, np.zeros(8)], -1)
    left, right = fork.conditional(past).mean
    assert left[-1, 1] > 1 > -1 > right[-1, 1]


def test_fork_moves_and_turns_with_the_past():
    draw = np.random.default_rng(4)
    past = fork.draw_pasts(3, draw)
    future = fork.conditional(past).sample(7, draw)
    moved = fork.conditional(turned(past, 1.1) + 4.0)
    law = fork.conditional(past)
    np.testing.assert_allclose(moved.mean, turned(law.mean, 1.1) + 4.0, atol=1e-9)
    there = moved.log_density(turned(future, 1.1) + 4.0)
    np.testing.assert_allclose(there, law.log_density(future), atol=1e-6)
    assert there.shape == (7, 3)


def test_fork_refuses_a_past_of_another_length():
    with pytest.raises(DataError, match=r"\[\*, 8, 2\], got \[3, 9, 2\]"):
        fork.conditional(np.zeros((3, 9, 2)))
