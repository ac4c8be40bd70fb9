"""TrackData: parts of a store as batches, the same whether or not it fits in memory."""

import dataclasses
import json
import weakref

import numpy as np
import pytest

from trajflow.datasets.loader import TrackData
from trajflow.errors import ConfigError, DataError

SHAPE = {"history": 3, "horizon": 2}
ETHUCY = {"history": 8, "horizon": 12, "neighbors": 7}


def street(chance, agents=6):
    """Steps of agents who cross a street one after the other."""
    return [chance.integers(0, 40) + np.arange(chance.integers(2, 30)) for _ in range(agents)]


@pytest.fixture
def town(store_of):
    chance = np.random.default_rng(0)
    parts = ["train"] * 5 + ["val"] * 2 + ["test"] * 3
    return store_of({f"street{i}": (part, street(chance)) for i, part in enumerate(parts)})


def content(batches):
    """Every target with its window, as a set: what is the same in any order."""
    found = set()
    for batch in batches:
        for b, a in zip(*np.nonzero(batch.target), strict=True):
            path = np.concatenate([batch.past[b, a], batch.future[b, a]]).tobytes()
            crowd = frozenset(batch.agent[b].tolist()) - {-1}
            found.add((batch.scene[b], batch.start[b], batch.agent[b, a], path, crowd))
    return found


def told(batches):
    return [(b.past.tobytes(), b.scene.tolist(), b.start.tolist()) for b in batches]


@pytest.mark.parametrize("settings", [{}, {"split": "time"}, {"fold": "street3"}])
@pytest.mark.parametrize("fraction", [1.0, 0.3])
def test_a_store_read_in_groups_is_the_store_read_at_once(town, settings, fraction):
    settings = SHAPE | settings | {"fraction": fraction}
    whole, groups = (TrackData(town, **settings, max_rows=rows) for rows in (10**6, 150))
    assert len(list(groups.stream("train"))) > 2
    for part in ("train", "val", "test"):
        whole_windows = content(whole.batches(part, 7))
        assert content(groups.batches(part, 7)) == whole_windows
        assert sum(w.targets for w in groups.stream(part)) == whole.windows(part).targets
        assert len(whole_windows) == whole.windows(part).targets > 0
        assert groups.groups(part) == whole.groups(part)
    assert groups.describe() == whole.describe()


def test_a_store_too_large_for_memory_says_how_to_read_it(town):
    with pytest.raises(ConfigError, match=r"is read in . groups; take `stream`, or raise max_rows"):
        TrackData(town, **SHAPE, max_rows=200).windows("train")


def test_one_group_is_in_memory_at_a_time(town, monkeypatch):
    data = TrackData(town, **SHAPE, max_rows=150)
    load, loaded = type(town).tracks, []

    def watched(store, names):
        assert not any(tracks() for tracks, _ in loaded), "an earlier group is still held"
        tracks = load(store, names)
        loaded.append((weakref.ref(tracks), len(tracks.step)))
        return tracks

    monkeypatch.setattr(type(town), "tracks", watched)
    list(data.training(7, 0))
    list(data.validation(7, 30))
    assert len(loaded) > len(list(town.parts(150))) > 3
    assert max(rows for _, rows in loaded) <= 150


@pytest.mark.parametrize("max_rows", [150, 10**6])
def test_a_training_goes_on_from_any_step(town, max_rows):
    data, again, other = (
        TrackData(town, **SHAPE, max_rows=max_rows, order=order) for order in (3, 3, 4)
    )
    whole = [told(data.training(7, epoch)) for epoch in range(2)]
    assert [len(epoch) for epoch in whole] == [data.steps(7)] * 2
    for skip in (1, data.steps(7) // 2, data.steps(7) - 1):
        assert told(again.training(7, 1, skip)) == whole[1][skip:]
    assert whole[0] != whole[1]
    assert told(other.training(7, 0)) != whole[0]


def test_what_is_judged_comes_in_one_order(town):
    data = TrackData(town, **SHAPE)
    assert told(data.batches("test", 7, epoch=0)) == told(data.batches("test", 7, epoch=1))


@pytest.mark.parametrize("max_rows", [150, 10**6])
def test_a_validation_is_spread_over_the_whole_part(town, max_rows):
    data = TrackData(town, **SHAPE, max_rows=max_rows)
    part = content(data.batches("val", 7))
    some = content(data.validation(7, 30))
    assert some < part
    assert 15 < len(some) < 45
    assert {scene for scene, *_ in some} == {scene for scene, *_ in part}
    assert content(data.validation(7, 10**6)) == part
    assert told(data.validation(7, 30)) == told(data.validation(7, 30))
    assert some == content(TrackData(town, **SHAPE).validation(7, 30))


def test_half_of_the_validation_people_select_whatever_others_are_there(store_of):
    """A person is told by recording and id, and stays where it is as others come and go."""

    def halves(streets, folder):
        walks = [range(begin, begin + 8) for begin in range(12)]
        scenes = {"a": ("train", walks)} | {name: ("val", walks) for name in streets}
        store = store_of(scenes, name=folder)
        data = TrackData(store, **SHAPE)
        found = []
        for batches in (data.validation(20, 10**6), data.calibration(20, 10**6)):
            agents = np.unique(np.concatenate([b.agent[b.target] for b in batches]))
            found.append(set(zip(store.scenes_of(agents), store.labels(agents), strict=True)))
        assert data.calibrators() == {"people": len(found[1]), "left_out": 0, "independent": True}
        return found

    streets = [f"street{i}" for i in range(8)]
    selecting, calibrating = halves(streets, "all.zarr")
    assert not selecting & calibrating
    assert len(selecting | calibrating) == 8 * 12
    assert 30 < len(selecting) < 66
    fewer, rest = halves(streets[3:], "fewer.zarr")
    assert fewer < selecting
    assert rest < calibrating


def test_few_validation_people_all_select_and_it_is_said(town):
    data = TrackData(town, **SHAPE)
    people = data.windows("val").people
    assert content(data.validation(7, 10**6)) == content(data.calibration(7, 10**6))
    assert data.calibrators() == {"people": people, "left_out": 0, "independent": False}


def test_few_agents_are_learned_from_and_the_others_are_only_looked_at(town):
    full, few = (TrackData(town, **SHAPE, fraction=share) for share in (1.0, 0.2))
    chosen = few.windows("train").agents
    assert len(chosen) == round(0.2 * full.windows("train").people)
    assert set(chosen) < set(full.windows("train").agents)
    for batch in few.training(7, 0):
        others = ~np.isin(batch.agent, chosen)
        assert not batch.target[others].any()
        assert np.isnan(batch.future[others]).all()
    assert any(b.seen[~b.target].any() for b in few.training(7, 0))
    assert content(few.batches("test", 7)) == content(full.batches("test", 7))


def test_targets_in_two_parts_are_reported(town):
    assert all(len(agents) == 0 for agents in TrackData(town, **SHAPE).leakage().values())
    cut = TrackData(town, **SHAPE, split="time", fractions=(0.5, 0.25, 0.25))
    both = np.intersect1d(cut.windows("train").agents, cut.windows("val").agents)
    assert len(both)
    assert cut.leakage()["train+val"].tolist() == both.tolist()
    assert cut.describe()["leakage"]["train+val"] == len(both)


def test_groups_are_folds_where_there_are_some(store_of):
    walks = [np.arange(9)]
    scenes = {name: ("test", walks) for name in "abcd"} | {
        "e": ("train", walks),
        "f": ("val", walks),
    }
    store = store_of(scenes, {"north": ["a", "c"], "south": ["b", "e"], "west": ["f"]})
    data = TrackData(store, **SHAPE)
    assert data.groups("test") == {"north": [0, 2], "south": [1], "d": [3]}
    assert data.groups("train") == {"e": [4]}
    data = TrackData(store, **SHAPE, fold="south")
    assert data.groups("test") == {"south": [1, 4]}
    assert data.groups("val") == {"f": [5]}


def test_an_empty_part_says_what_there_is(store_of):
    walks = [np.arange(9), np.arange(3)]
    scenes = {"a": ("train", walks), "b": ("val", [np.arange(4)])}
    store = store_of(scenes, {"north": ["a"], "south": ["b"]})
    data = TrackData(store, **SHAPE)
    rule = "split 'stored' leaves windows train 5 .of 12 rows., val 0 .of 4 rows., test 0 .of 0"
    with pytest.raises(DataError, match=rf"3 \+ 2 steps in split 'val' .*{rule}.*use fewer steps"):
        data.windows("val")
    with pytest.raises(DataError, match=r"split 'test' .* choose a fold: north, south"):
        next(data.batches("test", 7))
    with pytest.raises(DataError, match="split 'val'"):
        data.steps(7)
    with pytest.raises(ConfigError, match="no split 'tests'; did you mean 'test'"):
        data.groups("tests")


@pytest.mark.parametrize("given", [{"fraction": 0.0}, {"history": 0}, {"neighbors": -1}])
def test_bad_settings_are_refused_at_the_door(town, given):
    with pytest.raises(ConfigError, match="must be"):
        TrackData(town, **(SHAPE | given))


def test_the_description_tells_one_split_from_another(town):
    one = TrackData(town, **SHAPE, split="scene").describe()
    assert json.loads(json.dumps(one)) == one
    assert one == TrackData(town, **SHAPE, split="scene").describe()
    others = [{"seed": 1}, {"fraction": 0.5}, {"fraction": 0.5, "seed": 1}]
    hashes = {TrackData(town, **SHAPE, split="scene", **o).describe()["hash"] for o in others}
    assert len(hashes | {one["hash"]}) == 4


def test_ethucy_parts_are_disjoint_and_complete(ethucy):
    counts = {"eth": 364, "hotel": 1197, "univ": 24334, "zara1": 2356, "zara2": 5910}
    for fold, count in counts.items():
        data = TrackData(ethucy, **ETHUCY, fold=fold)
        parts = data.describe()["parts"]
        assert parts["test"]["windows"] == count
        assert data.groups("test") == {fold: [ethucy.scenes.index(n) for n in ethucy.folds[fold]]}
        assert sum(part["rows"] for part in parts.values()) == ethucy.rows
        assert not data.leakage()["train+test"].size
        judged = set(data.windows("test").scene.tolist())
        assert not judged & set(data.windows("train").scene.tolist())


def test_ethucy_is_the_same_in_pieces(ethucy):
    whole, pieces = (TrackData(ethucy, **ETHUCY, fold="zara1", max_rows=n) for n in (10**6, 9000))
    assert pieces.describe() == whole.describe()
    assert content(pieces.batches("test", 64)) == content(whole.batches("test", 64))


def test_padding_costs_little_in_a_crowd(ethucy):
    data = TrackData(ethucy, **(ETHUCY | {"neighbors": None}), fold="eth")
    agents = [batch.agent for batch in data.training(256, 0)]
    padded, real = sum(a.size for a in agents), sum((a >= 0).sum() for a in agents)
    assert padded < 1.12 * real
    assert dataclasses.asdict(data.shape)["neighbors"] is None


def test_only_what_is_learned_from_reaches_beyond_its_window(town):
    """A forecaster that is judged must not be handed any more of the future."""
    data = TrackData(town, **SHAPE, reach=2)
    assert next(data.training(9, 0)).around.shape[2] == 2 * 5
    assert all(batch.around is None for part in ("val", "test") for batch in data.batches(part, 9))
    assert all(batch.around is None for batch in data.validation(9, 100))


def test_other_parts_reach_as_far_where_asked_and_hold_the_same_windows(town):
    usual, far = TrackData(town, **SHAPE), TrackData(town, **SHAPE, reach=2, around=("test",))
    assert next(far.training(9, 0)).around is None
    for one, other in zip(usual.batches("test", 9), far.batches("test", 9), strict=True):
        assert other.around.shape[2] == 2 * 5
        assert np.array_equal(one.past, other.past, equal_nan=True)
        assert np.array_equal(one.future, other.future, equal_nan=True)
    assert usual.describe()["hash"] == far.describe()["hash"]
