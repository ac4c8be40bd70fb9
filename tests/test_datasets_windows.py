"""Windows: who is forecast, who is seen, and that nobody sees what is to come."""

import dataclasses

import numpy as np
import pytest

from trajflow.datasets.windows import cut
from trajflow.errors import ConfigError

T, F = 3, 2
COUNTS = {"eth": 364, "hotel": 1197, "univ": 24334, "zara1": 2356, "zara2": 5910}
PEOPLE = {"eth": 44, "hotel": 122, "univ": 722, "zara1": 142, "zara2": 189}


def everything(windows):
    return windows.gather(np.arange(len(windows)))


def crowded(tracks_of, dims=2, seed=0):
    """Thirty agents of two scenes who come, go and are lost for a while."""
    chance = np.random.default_rng(seed)
    walks = []
    for scene in np.sort(chance.integers(0, 2, 30)):
        steps = chance.integers(-20, 5) + np.arange(chance.integers(1, 20))
        walks.append((scene, steps[chance.random(len(steps)) > 0.1]))
    return tracks_of([walk for walk in walks if len(walk[1])], dims, seed)


def slowly(tracks, history, horizon, rows, agents, stride):
    """The windows by the letter of their definition: {(scene, start): {agent: path, ...}}."""
    seen = {}
    for row in np.flatnonzero(rows):
        track = tracks.track[row]
        place = seen.setdefault(int(tracks.scene[track]), {})
        place.setdefault(int(tracks.agent[track]), {})[int(tracks.step[row])] = row
    found = {}
    for scene, people in seen.items():
        opening = min(min(steps) for steps in people.values())
        for start in range(opening, opening + 60, stride):
            now = start + history - 1
            steps = range(start, start + history + horizon)
            targets = [a for a in people if a in agents and all(s in people[a] for s in steps)]
            if targets:
                paths = {
                    agent: [
                        tracks.position[at[s]]
                        if s in at and (s <= now or agent in agents)
                        else None
                        for s in steps
                    ]
                    for agent, at in people.items()
                    if now in at
                }
                found[scene, start] = (set(targets), paths)
    return found


@pytest.mark.parametrize(("seed", "dims", "stride"), [(0, 2, 1), (1, 3, 1), (2, 2, 3)])
def test_windows_are_what_their_definition_says(tracks_of, seed, dims, stride):
    tracks = crowded(tracks_of, dims, seed)
    chance = np.random.default_rng(seed)
    rows = chance.random(len(tracks.step)) > 0.03
    agents = chance.permutation(tracks.agent)[:22]
    windows = cut(tracks, T, F, stride=stride, rows=rows, agents=agents)
    batch = everything(windows)
    expected = slowly(tracks, T, F, rows, set(agents.tolist()), stride)
    assert len(expected) > 5
    assert list(zip(batch.scene, batch.start, strict=True)) == sorted(expected)
    for b, (targets, paths) in enumerate(expected[key] for key in sorted(expected)):
        there = batch.agent[b] >= 0
        assert sorted(batch.agent[b][there]) == sorted(paths)
        assert set(batch.agent[b][batch.target[b]]) == targets
        for a, agent in enumerate(batch.agent[b]):
            path = np.concatenate([batch.past[b, a], batch.future[b, a]])
            for got, real in zip(path, paths.get(agent, [None] * (T + F)), strict=True):
                assert np.isnan(got).all() if real is None else (got == real).all()
    assert windows.targets == sum(len(targets) for targets, _ in expected.values())
    assert windows.people == len(set.union(*(targets for targets, _ in expected.values())))


def test_a_gap_of_one_step_ends_the_windows(tracks_of):
    whole, torn = np.arange(10), np.array([0, 1, 2, 3, 4, 6, 7, 8, 9, 10])
    assert cut(tracks_of([(0, whole)]), T, F).start.tolist() == [0, 1, 2, 3, 4, 5]
    assert cut(tracks_of([(0, torn)]), T, F).start.tolist() == [0, 6]


def test_agents_are_not_joined_to_one_long_track(tracks_of):
    assert len(cut(tracks_of([(0, range(4)), (0, range(4, 8)), (1, range(8, 12))]), T, F)) == 0


def test_tracks_shorter_than_a_window_give_none(tracks_of):
    for rows in range(1, T + F):
        windows = cut(tracks_of([(0, range(rows))]), T, F)
        assert (len(windows), windows.targets, windows.people) == (0, 0, 0)
    batch = everything(windows)
    assert batch.past.shape == (0, 0, T, 2)
    assert batch.future.shape == (0, 0, F, 2)


def test_no_rows_give_no_windows(tracks_of):
    tracks = tracks_of([(0, range(9))])
    assert len(cut(tracks, T, F, rows=np.zeros(9, bool))) == 0


def test_a_lonely_walker_is_forecast(tracks_of):
    batch = everything(cut(tracks_of([(0, range(5))]), T, F))
    assert batch.target.tolist() == [[True]]


def test_what_is_to_come_never_reaches_the_past(tracks_of):
    tracks = crowded(tracks_of)
    windows = cut(tracks, T, F, neighbors=3)
    for number in range(0, len(windows), 3):
        now = windows.start[number] + T - 1
        position = tracks.position.copy()
        position[tracks.step > now] += 1e3 * np.random.default_rng(1).normal(size=2)
        other = cut(dataclasses.replace(tracks, position=position), T, F, neighbors=3)
        one, two = (w.gather(np.array([number])) for w in (windows, other))
        assert one.past.tobytes() == two.past.tobytes()
        assert (one.agent == two.agent).all()
        assert (one.future[one.target] != two.future[two.target]).all()


def test_nobody_sees_a_row_of_another_part(tracks_of):
    tracks = crowded(tracks_of)
    late = tracks.step >= 0
    hidden = dataclasses.replace(tracks, position=np.where(late[:, None], tracks.position, np.inf))
    windows = cut(hidden, T, F, rows=late)
    batch = everything(windows)
    assert len(windows) > 3
    assert batch.start.min() >= 0
    assert not np.isinf(batch.past).any()
    assert not np.isinf(batch.future).any()


def test_the_nearest_neighbors_are_kept_in_order(tracks_of):
    tracks = tracks_of([(0, range(5)), (0, range(5)), *[(0, [1, 2])] * 6])
    position = tracks.position.copy()
    places = {0: 0.0, 1: 100.0, 2: 30.0, 3: 99.0, 4: -1.5, 5: 70.0, 6: 102.0, 7: 40.0}
    for track, place in places.items():
        position[(tracks.track == track) & (tracks.step == T - 1)] = (place, 0)
    tracks = dataclasses.replace(tracks, position=position)
    near = [100, 101, 103, 104, 106, 102, 105, 107]
    assert everything(cut(tracks, T, F)).agent.tolist() == [near]
    for kept in range(7):
        windows = cut(tracks, T, F, neighbors=kept)
        assert windows.agent_counts.tolist() == [2 + kept]
        assert everything(windows).agent[0].tolist() == near[: 2 + kept]


def test_targets_are_never_left_out(tracks_of):
    windows = cut(tracks_of([(0, range(5))] * 7 + [(0, range(4))] * 2), T, F, neighbors=0)
    batch = everything(windows)
    assert batch.target.all()
    assert batch.target.shape == (1, 7)


def test_a_neighbor_at_a_targets_place_comes_after_it(tracks_of):
    tracks = tracks_of([(0, range(4)), (0, range(5))])
    position = tracks.position.copy()
    position[:4] = position[4:8]
    batch = everything(cut(dataclasses.replace(tracks, position=position), T, F))
    assert batch.agent.tolist() == [[101, 100]]
    assert batch.target.tolist() == [[True, False]]


def test_people_are_counted_once_however_many_windows_they_fill(tracks_of):
    windows = cut(tracks_of([(0, range(30)), (1, range(12))]), T, F)
    assert (windows.targets, windows.people) == (26 + 8, 2)
    assert windows.agents.tolist() == [100, 101]


@pytest.mark.parametrize("neighbors", [None, 2])
def test_a_window_is_the_same_in_any_company(tracks_of, neighbors):
    windows = cut(crowded(tracks_of), T, F, neighbors=neighbors)
    batch = everything(windows)
    assert ((batch.agent >= 0).sum(1) == windows.agent_counts).all()
    for number in range(len(windows)):
        alone = windows.gather(np.array([number]))
        count = alone.agent.shape[1]
        assert (alone.agent[0] == batch.agent[number, :count]).all()
        assert (batch.agent[number, count:] == -1).all()
        np.testing.assert_array_equal(alone.past[0], batch.past[number, :count])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"history": 0}, "history must be at least 1 step, got 0"),
        ({"horizon": -2}, "horizon must be at least 1 step, got -2"),
        ({"stride": 0}, "stride must be at least 1 step, got 0"),
        ({"neighbors": -1}, "neighbors must be 0 or more, or None for all, got -1"),
    ],
)
def test_impossible_windows_are_refused(tracks_of, given, message):
    settings = {"history": T, "horizon": F} | given
    with pytest.raises(ConfigError, match=message):
        cut(tracks_of([(0, range(9))]), **settings)


@pytest.mark.parametrize("fold", COUNTS)
def test_ethucy_windows_are_those_of_the_field(ethucy, research_data, fold):
    oracle = np.load(research_data / "ethucy_windows.npz")
    scenes, agents, frames, paths = (
        oracle[f"{fold}_test{part}"] for part in ("_scene", "_agent", "_frame", "")
    )
    windows = cut(ethucy.tracks(ethucy.folds[fold]), 8, 12)
    assert (windows.targets, windows.people) == (COUNTS[fold], PEOPLE[fold])
    found = {}
    for first in range(0, len(windows), 100):
        batch = windows.gather(np.arange(first, min(first + 100, len(windows))))
        path = np.concatenate([batch.past, batch.future], 2)
        for b, a in zip(*np.nonzero(batch.target), strict=True):
            scene = ethucy.scenes[batch.scene[b]]
            found[scene, int(batch.agent[b, a]), int(batch.start[b])] = path[b, a]
    numbers = {}
    for scene in set(scenes.tolist()):
        known = ethucy.tracks([scene]).agent
        named = zip(known.tolist(), ethucy.labels(known), strict=True)
        numbers |= {(scene, label): number for number, label in named}
    keys = [
        (scene, numbers[scene, str(agent)], frame // 10)
        for scene, agent, frame in zip(scenes.tolist(), agents, frames.tolist(), strict=True)
    ]
    assert set(keys) == set(found)
    np.testing.assert_array_equal(np.stack([found[key] for key in keys]).astype("f4"), paths)


def test_positions_are_the_files_to_the_last_bit(ethucy, research_data):
    lines = (research_data / "ethucy_raw" / "biwi_hotel.txt").read_text().splitlines()
    real = {}
    for frame, agent, x, y in (line.split() for line in lines):
        real[int(float(frame)) // 10, str(int(float(agent)))] = (float(x), float(y))
    windows = cut(ethucy.tracks(["biwi_hotel"]), 8, 12)
    batch = everything(windows)
    labels = ethucy.labels(batch.agent[batch.target])
    starts = np.repeat(batch.start, batch.target.sum(1))
    path = np.concatenate([batch.past, batch.future], 2)[batch.target]
    for label, start, steps in zip(labels, starts, path, strict=True):
        assert [real[start + i, label] for i in range(20)] == list(map(tuple, steps.tolist()))


def test_a_longer_reach_brings_what_lies_around_the_window(tracks_of):
    """The middle of `around` is the window itself; beyond it stand the rows that exist."""
    tracks = crowded(tracks_of)
    usual, far = cut(tracks, T, F), cut(tracks, T, F, reach=3)
    assert len(usual) == len(far)
    one, other = everything(usual), everything(far)
    assert one.around is None
    window = other.around[:, :, 2 * T : 3 * T + F]
    assert np.array_equal(window[:, :, :T], one.past, equal_nan=True)
    assert np.array_equal(window[:, :, T:], one.future, equal_nan=True)
    wide = {(s, m): b for b, (s, m) in enumerate(zip(other.scene, other.start, strict=True))}
    compared = 0
    for b, (scene, start) in enumerate(zip(other.scene, other.start, strict=True)):
        later = wide.get((scene, start + F))
        for a in np.flatnonzero(other.target[b]):
            follows = later is not None and other.agent[b, a] in other.agent[later]
            if follows:
                there = int(np.flatnonzero(other.agent[later] == other.agent[b, a])[0])
                expected = other.past[later, there]
                found = other.around[b, a, 2 * T + F : 3 * T + F]
                assert np.array_equal(found, expected, equal_nan=True)
                compared += 1
    assert compared > 10


def test_a_longer_reach_sees_no_row_of_another_part(tracks_of):
    tracks = tracks_of([(0, range(30))])
    rows = np.arange(30) < 12
    batch = everything(cut(tracks, T, F, rows=rows, reach=4))
    assert np.array_equal(np.isfinite(batch.around[0, 0, :, 0]).nonzero()[0], np.arange(9, 20))
