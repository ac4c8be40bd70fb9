"""Batches: every window once, in an order anyone can repeat, with little padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajflow.datasets.loader import batches, count_batches, evenly, plan
from trajflow.datasets.windows import cut
from trajflow.errors import ConfigError

TARGETS = st.lists(st.integers(1, 40), max_size=200).map(lambda counts: np.array(counts, int))


def uneven(count=2000, seed=0):
    """Agents and targets of windows like those of a street: most empty, some crowded."""
    chance = np.random.default_rng(seed)
    agents = 1 + chance.geometric(0.1, count)
    return agents, 1 + chance.integers(0, agents)


@given(targets=TARGETS, size=st.integers(1, 60), epoch=st.integers(0, 9), mixed=st.booleans())
def test_a_plan_holds_every_window_once_in_as_many_batches_as_foretold(targets, size, epoch, mixed):
    found = plan(targets + 3, targets, size, (7, epoch) if mixed else None)
    assert len(found) == count_batches(targets, size)
    assert all(len(rows) for rows in found)
    together = np.concatenate([np.zeros(0, int), *found])
    assert sorted(together) == list(range(len(targets)))


@given(targets=TARGETS, size=st.integers(1, 60))
def test_batches_are_of_like_size_and_what_is_larger_comes_alone(targets, size):
    small = targets[targets < size]
    mean = small.sum() / max(1, count_batches(small, size))
    for rows in plan(targets, targets, size, (0, 0)):
        held = targets[rows]
        assert len(rows) == 1 if held.max() >= size else abs(held.sum() - mean) <= small.max()


def test_no_batch_is_left_empty_between_two_large_windows():
    targets = np.array([1, 9, 9, 2])
    for epoch in range(40):
        found = plan(np.ones(4, int), targets, 10, (0, epoch))
        assert len(found) == count_batches(targets, 10)


def test_batches_are_about_as_large_as_asked():
    agents, targets = uneven()
    held = [targets[rows].sum() for rows in plan(agents, targets, 256, (0, 0))]
    assert abs(np.mean(held) - 256) < 10
    assert max(held) < 256 + targets.max()


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(*numbers):
        return [rows.tolist() for rows in plan(*uneven(), 64, numbers)]

    assert order(3, 1) == order(3, 1)
    first = {frozenset(rows) for rows in order(3, 1)}
    for other in (order(3, 2), order(4, 1), order(1, 3)):
        assert len(first & {frozenset(rows) for rows in other}) < len(first) / 20


def test_crowds_of_like_size_meet():
    agents, targets = uneven()
    spread = plan(agents, targets, 64, (0, 0))
    padded = sum(len(rows) * agents[rows].max() for rows in spread)
    by_chance = np.array_split(np.random.default_rng(0).permutation(len(agents)), len(spread))
    assert padded < 1.15 * agents.sum()
    assert sum(len(rows) * agents[rows].max() for rows in by_chance) > 2 * agents.sum()


def test_the_sizes_of_crowds_come_in_no_order():
    agents, targets = uneven()
    crowds = [agents[rows].mean() for rows in plan(agents, targets, 64, (0, 0))]
    assert abs(np.corrcoef(crowds, np.arange(len(crowds)))[0, 1]) < 0.2
    assert abs(np.corrcoef(crowds[1:], crowds[:-1])[0, 1]) < 0.2


def test_what_is_not_mixed_goes_from_small_crowds_to_large_ones():
    agents, targets = uneven()
    rows = np.concatenate(plan(agents, targets, 64))
    small = rows[targets[rows] < 64]
    assert (np.diff(agents[small]) >= 0).all()
    like = np.diff(agents[small]) == 0
    assert (np.diff(small)[like] > 0).all()


@pytest.fixture
def windows(tracks_of):
    walks = [(scene, range(start, start + 9)) for scene in range(3) for start in range(0, 40, 4)]
    return cut(tracks_of(walks), 3, 2)


def test_batches_hold_every_target_once(windows):
    seen = []
    for batch in batches(windows, 7, seed=5, epoch=2):
        b, a = np.nonzero(batch.target)
        seen += list(zip(batch.agent[b, a], batch.start[b], strict=True))
    assert len(seen) == len(set(seen)) == windows.targets


def test_an_epoch_goes_on_from_any_batch(windows):
    def told(skip):
        found = batches(windows, 7, seed=5, epoch=2, skip=skip)
        return [batch.past.tobytes() + batch.agent.tobytes() for batch in found]

    whole = told(0)
    assert len(whole) == count_batches(windows.target_counts, 7) > 5
    assert all(told(skip) == whole[skip:] for skip in range(len(whole) + 2))


def test_no_windows_make_no_batches(tracks_of):
    windows = cut(tracks_of([(0, range(4))]), 3, 2)
    assert list(batches(windows, 7)) == []
    assert count_batches(windows.target_counts, 7) == 0


def test_a_batch_of_nobody_is_refused(windows):
    with pytest.raises(ConfigError, match="at least 1 target, got size 0"):
        list(batches(windows, 0))


@given(total=st.integers(1, 300), data=st.data())
def test_a_choice_is_even_and_does_not_depend_on_the_pieces(total, data):
    count = data.draw(st.integers(1, total))
    chosen = evenly(np.arange(total), count, total)
    assert chosen[0]
    assert chosen.sum() == count
    gaps = np.diff(np.flatnonzero(chosen))
    assert not len(gaps) or gaps.max() - gaps.min() <= 1
    place = data.draw(st.integers(0, total))
    pieces = [evenly(part, count, total) for part in np.split(np.arange(total), [place])]
    assert (np.concatenate(pieces) == chosen).all()
