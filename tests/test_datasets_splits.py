"""Splits: every row has one role, and what is judged on was never learned from."""

import dataclasses
import json
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.datasets.splits import NONE, PARTS, choose, draw_agents, leakage
from trajflow.errors import ConfigError

TRAIN, VAL, TEST = range(3)


def recordings(count=4, splits=("all",), folds=None):
    scenes = [f"scene{i}" for i in range(count)]
    return SimpleNamespace(scenes=scenes, splits=list(splits), folds=folds)


def walks(tracks_of, scenes=4, splits=("all",), seed=0):
    """Three agents a scene, each row in a stored part by chance."""
    chance = np.random.default_rng(seed)
    spans = [(scene, range(start, start + 20)) for scene in range(scenes) for start in (0, 7, 30)]
    tracks = tracks_of(spans)
    split = chance.integers(0, len(splits), len(tracks.step)).astype(np.int8)
    return dataclasses.replace(tracks, split=split, splits=list(splits))


def scene_of(tracks):
    return tracks.scene[tracks.track]


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_stored_parts_are_kept_under_any_usual_name(tracks_of, name):
    splits = ("test", name, "train", "other")
    tracks = walks(tracks_of, splits=splits)
    roles = choose(recordings(splits=splits)).roles(tracks)
    assert (roles == np.array([TEST, VAL, TRAIN, NONE])[tracks.split]).all()


def test_a_fold_is_judged_on_all_rows_of_its_recordings(tracks_of):
    splits = ("train", "val", "test")
    tracks = walks(tracks_of, splits=splits)
    folds = {"north": ["scene0", "scene2"], "south": ["scene3"]}
    roles = choose(recordings(splits=splits, folds=folds), fold="north").roles(tracks)
    judged = np.isin(scene_of(tracks), [0, 2])
    assert (roles[judged] == TEST).all()
    stored = np.array([TRAIN, VAL, NONE])[tracks.split]
    assert (roles[~judged] == stored[~judged]).all()


def test_without_folds_each_recording_is_one(tracks_of):
    tracks = walks(tracks_of, splits=("train", "val"))
    roles = choose(recordings(splits=("train", "val")), fold="scene1").roles(tracks)
    assert ((roles == TEST) == (scene_of(tracks) == 1)).all()


def test_an_unknown_name_is_answered_with_the_nearest():
    folds = {"zara1": ["scene0"], "hotel": ["scene1"]}
    with pytest.raises(ConfigError, match=r"no fold 'zara'; did you mean 'zara1'.*zara1, hotel"):
        choose(recordings(folds=folds), fold="zara")
    with pytest.raises(ConfigError, match=r"no split 'scenes'; did you mean 'scene'"):
        choose(recordings(), "scenes")


@pytest.mark.parametrize("fractions", [(0.5, 0.3, 0.3), (0.0, 0.5, 0.5), (1.2, -0.2, 0.0)])
def test_shares_must_be_shares(fractions):
    with pytest.raises(ConfigError, match="must be 0 or more, sum to 1 and leave something"):
        choose(recordings(), fractions=fractions)


def test_a_store_without_val_gives_up_the_end_of_its_training(tracks_of):
    splits = ("train", "test")
    tracks = walks(tracks_of, splits=splits)
    rule = choose(recordings(splits=splits), fractions=(0.6, 0.2, 0.2))
    roles = rule.roles(tracks)
    assert ((roles == TEST) == (tracks.split == 1)).all()
    for scene in range(4):
        here = (scene_of(tracks) == scene) & (tracks.split == 0)
        first, later = (tracks.step[here & (roles == role)] for role in (TRAIN, VAL))
        assert first.max() < later.min()
        assert 0.15 < len(later) / here.sum() <= 0.25
    none = choose(recordings(splits=splits), fractions=(0.8, 0.0, 0.2)).roles(tracks)
    assert VAL not in none


def test_where_nothing_is_stored_recordings_decide_and_time_where_they_are_few():
    assert choose(recordings(9)).kind == "scene"
    assert choose(recordings(2)).kind == "time"
    assert choose(recordings(2), fractions=(0.8, 0.2, 0.0)).kind == "scene"
    assert choose(recordings(9, ("train",))).kind == "stored"


@pytest.mark.parametrize("fold", [None, "scene3"])
def test_recordings_are_dealt_whole(tracks_of, fold):
    tracks = walks(tracks_of, scenes=20)
    roles = choose(recordings(20), "scene", fold, (0.7, 0.2, 0.1)).roles(tracks)
    counts = [len(np.unique(scene_of(tracks)[roles == role])) for role in range(3)]
    assert counts == ([14, 4, 2] if fold is None else [15, 4, 1])
    assert sum(counts) == 20
    if fold:
        assert (roles[scene_of(tracks) == 3] == TEST).all()


def test_the_seed_deals_the_recordings(tracks_of):
    tracks = walks(tracks_of, scenes=20)
    dealt = [choose(recordings(20), "scene", seed=seed).roles(tracks) for seed in (0, 0, 1)]
    assert (dealt[0] == dealt[1]).all()
    assert (dealt[0] != dealt[2]).any()


def test_too_few_recordings_cannot_be_dealt():
    for share in ((0.7, 0.15, 0.15), (0.1, 0.45, 0.45)):
        with pytest.raises(ConfigError, match=r"2 cannot be shared .* use split 'time'"):
            choose(recordings(2), "scene", fractions=share)


@pytest.mark.parametrize("fold", [None, "scene3"])
def test_time_cuts_each_recording_and_keeps_a_moment_together(tracks_of, fold):
    tracks = walks(tracks_of)
    roles = choose(recordings(), "time", fold, (0.5, 0.25, 0.25)).roles(tracks)
    shares = [0.5, 0.25, 0.25] if fold is None else [2 / 3, 1 / 3, 0]
    for scene in range(3):
        here = scene_of(tracks) == scene
        assert (np.diff(roles[here][np.argsort(tracks.step[here], kind="stable")]) >= 0).all()
        for step in np.unique(tracks.step[here]):
            assert len(set(roles[here & (tracks.step == step)])) == 1
        for role, share in enumerate(shares):
            assert abs((roles[here] == role).mean() - share) < 0.05
    assert (roles[scene_of(tracks) == 3] == TEST).all() == (fold is not None)


def test_time_cuts_at_the_very_row(tracks_of):
    for rows, parts in ((20, [10, 5, 5]), (4, [2, 1, 1])):
        rule = choose(recordings(1), "time", fractions=(0.5, 0.25, 0.25))
        roles = rule.roles(tracks_of([(0, range(5, 5 + rows))]))
        assert roles.tolist() == np.repeat([TRAIN, VAL, TEST], parts).tolist()


@pytest.mark.parametrize("kind", ["stored", "scene", "time"])
@pytest.mark.parametrize("fold", [None, "scene3"])
def test_a_role_does_not_depend_on_what_else_is_loaded(tracks_of, kind, fold):
    splits = ("train", "test")
    tracks = walks(tracks_of, scenes=6, splits=splits)
    rule = choose(recordings(6, splits), kind, fold)
    for scene in range(6):
        rows = scene_of(tracks) == scene
        columns = {name: getattr(tracks, name)[rows] for name in ("position", "step", "split")}
        some = dataclasses.replace(tracks, **columns, track=tracks.track[rows])
        assert (rule.roles(some) == rule.roles(tracks)[rows]).all()


@pytest.mark.parametrize("kind", ["stored", "scene", "time"])
def test_a_rule_comes_back_from_its_record(kind):
    store = recordings(9, ("train", "val"))
    rule = choose(store, kind, "scene2", (0.6, 0.3, 0.1), seed=5)
    told = json.loads(json.dumps(rule.to_dict()))
    again = (told["kind"], told["fold"], tuple(told["fractions"]), told["seed"])
    assert choose(store, *again) == rule
    assert told["tests"] == ["scene2"]


@pytest.mark.parametrize("fold", ["eth", "hotel", "univ", "zara1", "zara2"])
def test_ethucy_roles_are_those_of_the_protocol(ethucy, research_data, fold):
    tracks = ethucy.tracks()
    roles = choose(ethucy, fold=fold).roles(tracks)
    scenes = np.array(tracks.scenes)[tracks.scene[tracks.track]]
    ours = pd.DataFrame({"scene": scenes, "frame": tracks.step * 10, "ours": roles})
    table = pd.read_csv(research_data / "ethucy.csv.gz").groupby(["scene", "frame"])
    real = table.agg(rows=("x", "size"), role=(f"fold_{fold}", "first")).reset_index()
    ours = ours.groupby(["scene", "frame"])["ours"].agg(["size", "min", "max"]).reset_index()
    both = real.merge(ours, on=["scene", "frame"], validate="1:1")
    assert both["rows"].sum() == both["size"].sum() == ethucy.rows
    assert (both["min"] == both["max"]).all()
    wanted = {part: code for code, part in enumerate(PARTS)}
    assert (both["role"].map(wanted) == both["min"]).all()


def test_fewer_agents_are_among_more():
    agents = np.arange(500) * 3
    drawn = [set(draw_agents(agents, share, 1).tolist()) for share in (0.001, 0.01, 0.1, 0.5, 1)]
    assert [len(some) for some in drawn] == [1, 5, 50, 250, 500]
    assert all(fewer < more for fewer, more in pairwise(drawn))
    assert drawn[2] == set(draw_agents(agents, 0.1, 1).tolist())
    assert drawn[2] != set(draw_agents(agents, 0.1, 2).tolist())


@pytest.mark.parametrize("share", [0, -0.1, 1.5])
def test_a_share_of_no_agents_is_refused(share):
    with pytest.raises(ConfigError, match="must be above 0 and at most 1"):
        draw_agents(np.arange(5), share, 0)


def test_leakage_names_who_is_in_two_parts():
    agents = {"train": np.array([1, 2, 5]), "val": np.array([2, 7]), "test": np.array([5, 7, 9])}
    found = {pair: some.tolist() for pair, some in leakage(agents).items()}
    assert found == {"train+val": [2], "train+test": [5], "val+test": [7]}


def test_recordings_for_validation_leave_all_other_rows_alone(store_of):
    walks = [range(40), range(8, 45)]
    scenes = {"a": ("train", walks), "b": ("train", walks), "c": ("test", walks)}
    store = store_of(scenes)
    tracks = store.tracks()
    roles = choose(store, validation=["b", "c"]).roles(tracks)
    assert (roles == np.array([0, 1, 2])[tracks.scene[tracks.track]]).all()
    with pytest.raises(ConfigError, match="no recording 'd'"):
        choose(store, validation=["d"])
    data = TrackData(store, history=8, horizon=12, validation=("b",))
    assert data.describe()["split"]["validation"] == ["b"]
    config = Config.load(None, ['data.validation=["b"]'])
    assert config.data.validation == ("b",)
