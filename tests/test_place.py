"""What is remembered of a place: nothing of the present or later, of oneself, or of elsewhere."""

import numpy as np
import pytest

from trajflow.errors import ConfigError, DataError, TrajflowError
from trajflow.place import Place

K, T, F = 8, 4, 6


def crowd(seed=0, people=40, steps=60, standing=0.4):
    """Positions [people, steps, 2] of walkers and people who stand, NaN where they are not there.

    Those who stand are at few places, so that many observations are equally good.
    """
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 8, (people, 1, 2)).round()
    heading = rng.uniform(0, 2 * np.pi, people)
    pace = np.where(rng.random(people) < standing, 0, rng.uniform(0.3, 1.2, people))[:, None]
    drift = pace * np.stack([np.cos(heading), np.sin(heading)], -1)
    path = start + np.arange(steps)[:, None] * drift[:, None]
    first = rng.integers(0, steps // 2, people)[:, None]
    length = rng.integers(T + 2, steps, people)[:, None]
    there = (np.arange(steps) >= first) & (np.arange(steps) < first + length)
    return np.where(there[..., None], path, np.nan)


def watched(*recordings, scale=1.0, **options):
    """A place that has seen recordings [people, steps, 2], scenes "0", "1", ..."""
    place = Place(scale, **options)
    for scene, path in enumerate(recordings):
        for step in range(path.shape[1]):
            seen = np.flatnonzero(np.isfinite(path[:, step]).all(-1))
            place.push(str(scene), step, seen.tolist(), path[seen, step])
    return place


def asked(path, now):
    """Pasts [N, T, 2] of those who are there at a step, and their ids."""
    there = np.flatnonzero(np.isfinite(path[:, now]).all(-1))
    return path[there, now - T + 1 : now + 1], there.tolist()


def found_at(place, path, now, scene="0"):
    past, agents = asked(path, now)
    return place.recall(scene, past, now, agents, K, F), agents


@pytest.mark.parametrize("now", [12, 25, 40])
def test_what_happens_from_the_present_on_changes_no_bit(now):
    path = crowd()
    rng = np.random.default_rng(1)
    noisy = path.copy()
    noisy[:, now + 1 :] = rng.uniform(0, 8, noisy[:, now + 1 :].shape)
    clean, changed = (found_at(watched(one), path, now)[0] for one in (path, noisy))
    online = found_at(watched(path[:, : now + 1]), path, now)[0]
    assert np.isfinite(clean).any((1, 2, 3)).mean() > 0.5
    assert clean.tobytes() == changed.tobytes() == online.tobytes()


@pytest.mark.parametrize("now", [12, 25, 40])
def test_no_remembered_step_is_at_the_present_or_later(now):
    ago = found_at(watched(crowd()), crowd(), now)[0][..., -1]
    assert np.isfinite(ago).any()
    assert np.nanmin(ago) >= 1


def test_remembered_positions_are_those_of_others_at_that_step():
    path, now = crowd(), 30
    found, agents = found_at(watched(path), path, now)
    for who, remembered in zip(agents, found, strict=True):
        for one in remembered[np.isfinite(remembered).any((1, 2))]:
            known = np.isfinite(one[:, 0])
            step = (now - one[known, -1]).astype(int)
            owners = (path[:, step] == one[known, :2]).all((1, 2))
            assert owners[np.arange(len(path)) != who].any()


def test_nobody_remembers_its_own_track():
    lone = crowd(people=1, standing=0)
    now = int(np.flatnonzero(np.isfinite(lone[0, :, 0]))[-1])
    place, past = watched(lone), lone[:, now - T + 1 : now + 1]
    assert np.isnan(place.recall("0", past, now, [0], K, F)).all()
    assert np.isfinite(place.recall("0", past, now, ["another"], K, F)).any()


def test_nobody_remembers_another_recording():
    here, there = crowd(0), crowd(1)
    both = found_at(watched(here, there), here, 30)[0]
    assert both.tobytes() == found_at(watched(here), here, 30)[0].tobytes()
    assert np.isnan(found_at(watched(there), here, 30, scene="elsewhere")[0]).all()


def test_those_who_went_the_other_way_are_not_remembered():
    steps = np.arange(10.0)
    line = np.stack([steps, 0 * steps], -1)
    place = watched(np.stack([line, line[::-1]]))
    found = place.recall("0", line[None, :T], 20, ["new"], K, F)[0]
    assert np.isfinite(found[0]).any()
    assert np.isnan(found[1:]).all()
    assert (np.diff(found[0, :, 0]) > 0).all()


def test_a_track_is_remembered_once_and_the_nearest_come_first():
    steps = np.arange(20.0)
    lanes = np.stack([np.stack([steps, 0 * steps + y], -1) for y in (2.0, 0.5, 1.0, 30.0)])
    found = watched(lanes).recall("0", lanes[1:2, 5:9] * [1, 0], 40, ["new"], K, F)[0]
    assert found[:3, 0, 1].tolist() == [0.5, 1.0, 2.0]
    assert np.isnan(found[3:]).all()


def test_the_radius_follows_the_displacement_scale():
    path = crowd()
    meters = found_at(watched(path), path, 30)[0]
    pixels = found_at(watched(32 * path, scale=32.0), 32 * path, 30)[0]
    np.testing.assert_array_equal(32 * meters[..., :2], pixels[..., :2])


def test_a_full_place_forgets_the_oldest():
    path = crowd(people=60)
    place = watched(path, max_observations=300)
    assert len(place) == 300
    found, _ = found_at(place, path, 59)
    counts = np.isfinite(path).all(-1).sum(0)
    first = 59 - np.flatnonzero(np.cumsum(counts[::-1]) >= 300)[0]
    assert np.isfinite(found).any()
    assert 59 - np.nanmax(found[..., -1]) >= first


def test_a_place_survives_a_file(tmp_path):
    path = crowd()
    for place in (watched(path), watched(path, max_observations=300)):
        place.save(tmp_path / "hall.npz")
        again = Place.load(tmp_path / "hall.npz")
        assert (len(again), again.scale, again.latest("0")) == (len(place), 1.0, 59)
        assert found_at(again, path, 59)[0].tobytes() == found_at(place, path, 59)[0].tobytes()
        again.push("0", 60, ["late"], [[0.0, 0.0]])


@pytest.mark.parametrize("damage", [b"", b"PK", None])
def test_a_damaged_file_is_refused(tmp_path, damage):
    file = tmp_path / "hall.npz"
    watched(crowd()).save(file)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] if damage is None else damage)
    with pytest.raises(DataError, match="no place, or damaged"):
        Place.load(file)
    with pytest.raises(DataError, match="cannot read"):
        Place.load(tmp_path / "none.npz")


def test_pushes_that_cannot_be_are_refused_and_change_nothing():
    place = Place(1.0)
    place.push("hall", 5, ["a", "b"], [[0.0, 0.0], [np.nan, 1.0]])
    assert len(place) == 1
    for step, agents, positions, words in (
        (5, ["a"], [[0.0, 0.0]], "not after its last one, 5"),
        (6, ["a", "a"], [[0.0, 0.0]] * 2, "'a' is there twice"),
        (6, ["a"], [[0.0, 0.0]] * 2, "1 agents have 2 positions"),
    ):
        with pytest.raises(TrajflowError, match=words):
            place.push("hall", step, agents, positions)
    assert (len(place), place.latest("hall"), place.scenes) == (1, 5, ["hall"])


@pytest.mark.parametrize("options", [{"scale": 0}, {"scale": 1, "dims": 4}])
def test_a_place_of_impossible_settings_is_refused(options):
    with pytest.raises(ConfigError):
        Place(**options)


def test_tracks_whose_future_was_seen_come_before_nearer_ones_that_left():
    steps = np.arange(20.0)
    lanes = np.stack([np.stack([steps, 0 * steps + y], -1) for y in (0.1, 0.3)])
    lanes[0, 9:] = np.nan
    found = watched(lanes).recall("0", lanes[1:2, 5:9] * [1, 0], 40, ["new"], 2, F)[0]
    assert found[:, T - 1, 1].tolist() == [0.3, 0.1]
    assert np.isfinite(found[0, :, 0]).all()


def test_what_is_too_old_is_no_longer_looked_at():
    path = crowd(people=60)
    for age in (10, 25):
        ago = found_at(watched(path, max_age=age), path, 50)[0]
        there = np.isfinite(ago).any((2, 3))
        assert there.any()
        assert np.nanmax(ago[..., T - 1, -1]) <= age
    with pytest.raises(ConfigError, match="max_age"):
        Place(1.0, max_age=0)
