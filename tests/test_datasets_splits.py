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
from trajflow.datasets.windows import cut
from trajflow.errors import ConfigError, DataError

TRAIN, VAL, TEST = range(3)


def recordings(count=4, splits=("all",), folds=None, people=3):
    """Recordings of so many agents each, numbered from 0, with rows in every stored split."""
    scenes = [f"scene{i}" for i in range(count)]
    return SimpleNamespace(
        scenes=scenes,
        splits=list(splits),
        folds=folds,
        trajectories=count * people,
        agent_splits=np.ones((count * people, len(splits)), bool),
        labels=lambda agents: [str(int(agent) % people) for agent in agents],
        scenes_of=lambda agents: [scenes[int(agent) // people] for agent in agents],
    )


def walks(tracks_of, scenes=4, splits=("all",), seed=0):
    """Three agents a scene, each row in a stored split by chance."""
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


@pytest.mark.parametrize("kind", ["stored", "scene", "time", "agent"])
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


def walkers(store_of, scenes, name="tracks.zarr"):
    """A store of recordings in which so many agents walk side by side for 40 steps."""
    walks = {scene: (split, [range(40)] * count) for scene, (split, count) in scenes.items()}
    return store_of(walks, name=name)


def parts_of(store, **settings):
    """Names of the target agents of each split."""
    data = TrackData(store, history=4, horizon=4, **settings)
    agents = {part: next(data.stream(part)).agents for part in PARTS}
    named = {p: (store.scenes_of(a), store.labels(a)) for p, a in agents.items()}
    return {part: set(zip(*two, strict=True)) for part, two in named.items()}


def test_agents_are_dealt_whole_in_about_their_shares(store_of):
    store = walkers(store_of, {"a": ("all", 150), "b": ("all", 150)})
    parts = parts_of(store, split="agent", fractions=(0.6, 0.2, 0.2))
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == 300
    assert [round(len(parts[part]) / 300, 1) for part in PARTS] == [0.6, 0.2, 0.2]
    assert parts != parts_of(store, split="agent", fractions=(0.6, 0.2, 0.2), seed=1)


def test_the_part_of_an_agent_does_not_depend_on_who_else_is_there(store_of):
    alone = parts_of(walkers(store_of, {"b": ("all", 40)}, "small.zarr"), split="agent")
    store = walkers(store_of, {"a": ("all", 30), "b": ("all", 60)})
    more = parts_of(store, split="agent")
    for part in PARTS:
        assert alone[part] == {one for one in more[part] if one[0] == "b" and int(one[1]) < 40}


def test_a_fold_is_judged_whole_where_agents_are_dealt(store_of):
    store = walkers(store_of, {"a": ("all", 40), "b": ("all", 40)})
    parts = parts_of(store, split="agent", fold="b")
    assert {scene for scene, _ in parts["test"]} == {"b"}
    assert len(parts["test"]) == 40
    assert {scene for scene, _ in parts["train"] | parts["val"]} == {"a"}


@pytest.mark.parametrize("part", PARTS)
def test_a_window_shows_the_past_of_everybody_and_the_future_of_its_part(store_of, part):
    store = walkers(store_of, {"a": ("all", 30)})
    data = TrackData(store, history=4, horizon=4, split="agent", neighbors=None)
    windows = next(data.stream(part))
    batch = windows.gather(np.arange(len(windows)))
    mine = np.isin(batch.agent, windows.agents)
    assert (windows.agent_counts == 30).all()
    assert np.isfinite(batch.past).all()
    assert (batch.target == mine).all()
    assert (np.isfinite(batch.future).all((2, 3)) == mine).all()
    assert np.isnan(batch.future[~mine]).all()


def test_a_training_window_never_reaches_past_the_cut_in_time(store_of):
    store = walkers(store_of, {"a": ("all", 12)})
    shape = {"history": 4, "horizon": 4, "reach": 3}
    data = TrackData(store, **shape, split="time", fractions=(0.5, 0.25, 0.25))
    windows = next(data.stream("train"))
    batch = windows.gather(np.arange(len(windows)))
    last = batch.start[:, None] - 8 + np.arange(24) >= 20
    assert last.any()
    assert np.isnan(np.moveaxis(batch.around, 2, 1)[last]).all()
    early = TrackData(store, **shape, split="time", fractions=(0.5, 0.25, 0.25), around=PARTS)
    later = next(early.stream("test"))
    back = later.gather(np.array([0])).around[0]
    assert np.isnan(back[:, :8]).all()  # what targets did in another part is not theirs to learn


def test_a_scene_played_backwards_does_not_learn_from_another_part(tracks_of):
    """The past of a target becomes its future there; that of a neighbor is only seen."""
    tracks = tracks_of([(0, range(24)), (0, range(8, 17))])
    own = tracks.step >= 12
    batch = cut(tracks, 3, 3, own=own, reach=3).gather(np.array([0]))
    assert batch.start.tolist() == [12]
    assert np.isnan(batch.around[0, 0, :6]).all()
    assert np.isfinite(batch.around[0, 1, 2:9]).all()
    assert np.isfinite(batch.around[0, 0, 6:]).all()


@pytest.mark.parametrize(("recordings", "count"), [(6, 4), (2, 40)])
def test_a_stored_test_without_val_keeps_its_test(store_of, recordings, count):
    """Whole recordings choose where there are five or more, else agents."""
    scenes = {f"s{i}": ("train", count) for i in range(recordings)} | {"t": ("test", 7)}
    parts = parts_of(walkers(store_of, scenes))
    assert {scene for scene, _ in parts["test"]} == {"t"}
    assert len(parts["test"]) == 7
    assert parts["val"]
    assert not parts["val"] & parts["train"]
    assert len(parts["val"] | parts["train"]) == recordings * count
    chosen = {scene for scene, _ in parts["val"]} & {scene for scene, _ in parts["train"]}
    assert bool(chosen) == (recordings == 2)


def test_val_agents_of_a_stored_test_may_be_asked_for(store_of):
    scenes = {f"s{i}": ("train", 4) for i in range(6)} | {"t": ("test", 7)}
    store = walkers(store_of, scenes)
    rule = choose(store, val_by="agent")
    assert (rule.val_by, rule.validation) == ("agent", ())
    assert choose(store).to_dict()["val_by"] == "scene"
    with pytest.raises(ConfigError, match="no val_by 'agents'; did you mean 'agent'"):
        choose(store, val_by="agents")


def test_a_run_recorded_before_validates_on_the_end_of_its_recordings(store_of):
    scenes = {f"s{i}": ("train", 4) for i in range(6)} | {"t": ("test", 7)}
    recorded = Config.recorded({"data": {"history": 3, "horizon": 3}})
    data = TrackData(walkers(store_of, scenes), **recorded.data.model_dump())
    assert data.describe()["split"]["val_by"] == "time"
    assert data.describe()["leakage"]["train+val"] == 24
    assert Config.load().data.val_by == "auto"


def test_a_part_without_agents_says_which_seed_to_change(store_of):
    store = walkers(store_of, {"a": ("all", 3)})
    data = TrackData(store, history=4, horizon=4, split="agent", fractions=(0.98, 0.01, 0.01))
    with pytest.raises(DataError, match=r"its 3 agents are few.*data.seed"):
        next(data.stream("test"))
