import math

import numpy as np
import pytest

from trajflow.errors import TrajflowError
from trajflow.metrics import deviation_ratio, energy_distance

rng = np.random.default_rng(0)


def test_two_points_are_twice_their_distance_apart():
    first, second = np.zeros((7, 12, 2)), np.zeros((5, 12, 2))
    second[:, 3] = [3.0, 4.0]
    assert energy_distance(first, second) == pytest.approx(10.0)


def test_it_is_the_mean_over_all_pairs():
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))
    across = np.mean([np.linalg.norm(a - b) for a in x for b in y])
    within = [
        np.mean(
            [np.linalg.norm(s[i] - s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]
        )
        for s in (x, y)
    ]
    assert energy_distance(x, y) == pytest.approx(2 * across - sum(within))


def test_shifted_normals_have_the_known_distance():
    x, y = rng.normal(size=(3000, 1)), rng.normal(size=(3000, 1)) + 1.5
    apart = 2 / math.sqrt(math.pi) * math.exp(-(1.5**2) / 4) + 1.5 * math.erf(0.75)
    assert energy_distance(x, y) == pytest.approx(2 * apart - 4 / math.sqrt(math.pi), rel=0.15)


def test_it_is_zero_in_the_mean_for_one_distribution():
    found = [energy_distance(rng.normal(size=(6, 2)), rng.normal(size=(9, 2))) for _ in range(500)]
    assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(len(found))
    assert min(found) < 0


@pytest.mark.parametrize("chunk", [1, 4, 7, 100])
def test_chunks_do_not_matter(chunk):
    x, y = rng.normal(size=(7, 12, 2)), rng.normal(size=(11, 12, 2)) + 0.2
    assert energy_distance(x, y, chunk=chunk) == pytest.approx(energy_distance(x, y), abs=1e-12)


def test_it_does_not_depend_on_the_order_or_on_a_far_origin():
    x, y = rng.normal(size=(7, 2)), rng.normal(size=(11, 2)) + 0.2
    assert energy_distance(x, y) == pytest.approx(energy_distance(y, x))
    assert energy_distance(x + 1e6, y + 1e6) == pytest.approx(energy_distance(x, y), abs=1e-7)


def test_equal_samples_in_one_set_are_at_no_distance():
    assert energy_distance(np.full((7, 3), 1e3 / 3), np.full((5, 3), 1e3 / 3)) == 0.0


def test_a_missing_value_is_not_hidden():
    x = rng.normal(size=(7, 2))
    broken = x.copy()
    broken[3, 1] = np.nan
    assert math.isnan(energy_distance(x, broken))


def test_spread_is_the_ratio_of_the_widths():
    y = rng.normal(size=(11, 12, 2))
    assert deviation_ratio(0.5 * y + 3.0, y) == pytest.approx(0.5)


def test_sets_that_cannot_be_compared_are_refused():
    with pytest.raises(TrajflowError, match="at least 2 samples"):
        energy_distance(np.zeros((1, 2)), np.zeros((5, 2)))
    with pytest.raises(TrajflowError, match=r"\[7, 2\] and \[5, 3\]"):
        deviation_ratio(np.zeros((7, 2)), np.zeros((5, 3)))
