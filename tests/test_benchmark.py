"""Benchmarks: what is planned, done, gone on with, tabulated and ranked."""

import dataclasses
import json
import time

import numpy as np
import pytest

from trajflow.benchmark.drafting import Ask, plan_of
from trajflow.benchmark.markdown import markdown
from trajflow.benchmark.peers import peers
from trajflow.benchmark.plan import Plan, read_plan
from trajflow.benchmark.pool import Order, Pool
from trajflow.benchmark.recipes import recipe, recordings_apart
from trajflow.benchmark.rows import Spread, _intervals, rows_of
from trajflow.benchmark.standing import is_done, is_trained, share_done
from trajflow.benchmark.table import Table
from trajflow.benchmark.working import Work
from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.datasets.splits import choose
from trajflow.errors import ConfigError, RunError
from trajflow.evaluation.ranking import by_protocol, differences, protocol, ranked
from trajflow.evaluation.report import read_report, report_name
from trajflow.models.serialization import unpack
from trajflow.runs import EVENTS, RESUME, WEIGHTS, RunFolder

SMALL = ("model.width=16", "model.decoder_width=16", "model.decoder_depth=1", "train.batch_size=20")
BRIEF = (*SMALL, "train.epochs=1", "train.samples=5", "train.threads=1")
QUESTION = {"fingerprint": "f", "hash": "h", "split": "test", "fold": "eth"}


@pytest.fixture
def places(store_of):
    """Two places, a fold each, with parts to learn from and to choose by."""
    walks = {"a": [range(60), range(5, 50), range(30, 55)], "b": [range(52), range(9, 48)]}
    scenes = {f"{name}-{part}": (part, walks[name]) for name in "ab" for part in ("train", "val")}
    return store_of(scenes, {name: [f"{name}-train", f"{name}-val"] for name in "ab"})


@pytest.fixture
def ask():
    return Ask("ethucy", seeds=1, presets=("mmf",), floors=("cv",), steps=(1, 2), words=BRIEF)


def work(plan, name, store, results):
    return Work(plan, plan.trial(name), store, results)


def test_a_plan_is_decided_by_what_is_asked_for(places, ask):
    asked = dataclasses.replace(ask, seeds=2, presets=("mmf", "flow"))
    plan = plan_of(asked, places)
    assert plan == plan_of(asked, places)
    names = [trial.name for trial in plan.trials]
    assert len(set(names)) == len(names) == 2 + 2 * 2 * 2
    assert names[:4] == ["a-cv-0", "b-cv-0", "a-mmf-0", "b-mmf-0"]
    one = plan.trial("b-mmf-1")
    assert (one.config.data.fold, one.config.train.seed, one.config.train.epochs) == ("b", 1, 1)
    assert [terms.steps for terms in one.evaluations] == [1, 2]
    assert [terms.steps for terms in plan.trial("a-flow-0").evaluations] == [1, 4, 16, 64]


def test_a_plan_is_read_as_it_was_written(places, ask, tmp_path):
    chosen = dataclasses.replace(ask, select=("kmeans",), draws=100)
    plan = plan_of(chosen, places)
    plan.save(tmp_path)
    assert read_plan(tmp_path) == plan
    assert str(tmp_path) not in (tmp_path / "plan.json").read_text()
    last = plan.trial("a-mmf-0").evaluations[-1]
    assert (last.selection, last.draws, last.samples) == ("kmeans", 100, 20)


def test_plans_grow_and_never_bend(places, ask, tmp_path):
    plan_of(ask, places).save(tmp_path)
    plan_of(dataclasses.replace(ask, seeds=2, steps=(4,)), places).save(tmp_path)
    both = read_plan(tmp_path)
    assert len(both.trials) == 2 + 4
    assert {terms.steps for terms in both.trial("a-mmf-0").evaluations} == {1, 2, 4}
    other = dataclasses.replace(ask, words=(*BRIEF, "train.lr=0.5"))
    with pytest.raises(RunError, match=r"train.lr 0.001, now 0.5"):
        plan_of(other, places).save(tmp_path)
    with pytest.raises(RunError, match="choose another --out"):
        dataclasses.replace(both, fingerprint="0" * 64).save(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"benchmark": "ethuci"}, "did you mean 'ethucy'"),
        ({"folds": ("c",)}, "no fold 'c'"),
        ({"floors": ("cvv",)}, "did you mean 'cv'"),
        ({"presets": ("mnf",)}, "did you mean 'mmf'"),
        ({"words": ("train.epoch=1",)}, "did you mean 'train.epochs'"),
        ({"seeds": 0}, "at least 1"),
        ({"select": ("kmean",)}, "did you mean 'kmeans'"),
        ({"select": ("kmeans",), "words": ("model.joint=true",)}, "leave out --select"),
        ({"benchmark": "sdd"}, "needs train and test"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_at_once(places, ask, change, said):
    with pytest.raises(ConfigError, match=said):
        plan_of(dataclasses.replace(ask, **change), places)


def test_a_stopped_trial_goes_on_to_the_same_end(places, ask, tmp_path):
    plan = plan_of(ask, places)
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    assert work(plan, "a-mmf-0", places, whole).train()
    one = work(plan, "a-mmf-0", places, parted)
    assert not one.train(going=lambda: False)
    assert (one.folder / RESUME).exists()
    assert not is_trained(one.folder)
    assert 0 <= share_done(plan, one.trial, parted) < 0.8
    assert work(plan, "a-mmf-0", places, parted).train()
    weights = [
        unpack((folder / "runs/a-mmf-0" / WEIGHTS).read_bytes(), "")[0].state_dict()
        for folder in (whole, parted)
    ]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    before = (one.folder / EVENTS).read_bytes()
    assert work(plan, "a-mmf-0", places, parted).train()
    assert (one.folder / EVENTS).read_bytes() == before


def test_a_trial_that_left_nothing_to_go_on_from_begins_again(places, ask, tmp_path):
    plan = plan_of(ask, places)
    one = work(plan, "a-mmf-0", places, tmp_path)
    RunFolder.create(one.folder, one.trial.config, {})
    assert one.train()


def test_every_row_tells_its_protocol_and_the_mean_is_of_folds(places, ask, tmp_path):
    plan = plan_of(ask, places)
    plan.save(tmp_path)
    for name in ("a-cv-0", "b-cv-0", "a-mmf-0"):
        one = work(plan, name, places, tmp_path)
        one.train()
        one.evaluate()
        assert is_done(plan, one.trial, tmp_path, "all")
        assert share_done(plan, one.trial, tmp_path) == pytest.approx(1)
    table = Table.of(plan, tmp_path, {"b-mmf-0": "lost"})
    floor, single, double = table.rows
    assert table.missing == ["b-mmf-0"]
    assert [row.protocol["steps"] for row in table.rows] == [1, 1, 2]
    for row in table.rows:
        told = protocol(row.to_json())
        assert "not stated" not in told.values()
        assert (told["samples"], told["draws"], told["selection"]) == ("20", "20", "plain")
        assert row.protocol["fold"] == "each of a, b"
    each = [fold["mean"]["min_ade"] for fold in floor.folds.values()]
    assert each[0] != each[1]
    assert floor.scores["min_ade"].mean == pytest.approx(np.mean(each))
    assert floor.protocol["selected_on"] is None
    assert single.protocol["selected_on"] == "val"
    assert single.scores == {}
    assert list(single.folds) == ["a"]
    command = double.facts["command"]
    assert command.startswith("trajflow benchmark ethucy tracks.zarr --folds a,b --seeds 1")
    assert "--steps 2" in command
    assert "--set train.batch_size=20" in command
    paths = table.write(tmp_path)
    assert [path.suffix for path in paths] == [".json", ".csv", ".md", ".png", ".svg"]
    text = (tmp_path / "table.md").read_text()
    assert "Failed: b-mmf-0**: lost" in text
    assert "never" not in text
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 1 + 3 + len(peers("ethucy"))
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["cv", "mmf", "mmf"]
    assert all(row["machine"]["torch"] for row in rows)


def test_seeds_are_told_by_their_mean_and_their_ends(places, ask, tmp_path):
    asked = dataclasses.replace(ask, seeds=2, folds=("a",), floors=(), steps=(1,))
    plan = plan_of(asked, places)
    found = []
    for seed in range(2):
        one = work(plan, f"a-mmf-{seed}", places, tmp_path)
        one.train()
        one.evaluate()
        (path,) = one.folder.glob("evaluation-*.json")
        found.append(read_report(path)["mean"]["energy_score"])
    (row,) = rows_of(plan, tmp_path)
    spread = row.scores["energy_score"]
    assert (spread.least, spread.most) == (min(found), max(found))
    assert spread.mean == pytest.approx(np.mean(found))
    assert min(found) < max(found)
    low, high = row.intervals["energy_score"]
    student = 12.706 * abs(found[0] - found[1]) / 2  # of two values, one degree of freedom
    assert low < spread.mean - student
    assert high > spread.mean + student
    fold = row.to_json()["folds"]["a"]
    assert fold["intervals"]["energy_score"] == pytest.approx([low, high])


def test_what_an_earlier_version_judged_is_judged_again(places, ask, tmp_path, trajflow):
    """By the plan that is there, with the weights that are there; its coverage is not shown."""
    asked = dataclasses.replace(ask, floors=("cv-sampled",), steps=(1,))
    plan = plan_of(asked, places)
    plan.save(tmp_path)
    for trial in plan.trials:
        one = work(plan, trial.name, places, tmp_path)
        one.train()
        one.evaluate()
    reports = sorted(tmp_path.rglob("evaluation-*.json"))
    weights = {path: path.read_bytes() for path in (tmp_path / "runs").glob(f"*/{WEIGHTS}")}
    whole = [json.loads(path.read_text()) for path in reports]
    for path, report in zip(reports, whole, strict=True):
        new = ("coverage_kind", "per_person", "window_mean")
        path.write_text(json.dumps({k: v for k, v in report.items() if k not in new}))
    stale = {row.method: row for row in rows_of(plan, tmp_path)}
    assert "coverage_90" not in stale["mmf"].scores
    assert "energy_score" in stale["mmf"].scores
    assert Table.of(plan, tmp_path).missing == [trial.name for trial in plan.trials]
    words = ("benchmark", "ethucy", places.path, "--out", tmp_path)
    code, _, said = trajflow(*words, "--stage", "refresh", "--set", "train.batch=7")
    assert code == 0, said
    again = [json.loads(path.read_text()) for path in reports]
    assert [one["mean"] for one in again] == [one["mean"] for one in whole]
    assert [one["coverage_kind"] for one in again] == ["rank"] * len(reports)
    assert {path: path.read_bytes() for path in weights} == weights
    assert len(json.loads((tmp_path / "people.json").read_text())) == 2
    found = json.loads(trajflow("compare", tmp_path, "--json")[1])
    assert found["ranks"][1]["behind"] is not None


def test_a_trial_that_fails_is_named_and_stopped_ones_can_go_on(places, ask, tmp_path):
    asked = dataclasses.replace(ask, words=(*BRIEF, "train.epochs=100000"), floors=())
    plan = plan_of(asked, places)
    plan.save(tmp_path)
    RunFolder.create(plan.trial("a-mmf-0").folder(tmp_path), Config(), {})
    pool = Pool(plan, Order(tmp_path, places.path, jobs=2))
    events = plan.trial("b-mmf-0").folder(tmp_path) / EVENTS
    deadline = time.monotonic() + 60
    for standing in pool.run():
        if (standing.failed and events.exists()) or time.monotonic() > deadline:
            pool.stop()
    assert list(standing.failed) == ["a-mmf-0"]
    assert "made with other settings" in standing.failed["a-mmf-0"]
    assert standing.interrupted
    assert (events.parent / RESUME).exists()


def test_intervals_of_people_who_are_others_add_in_squares():
    fold = {"mean": {"x": 2.0}, "intervals": {"x": [1.0, 4.0]}}
    one = {"x": Spread.of([2.0])}
    assert _intervals([fold], one)["x"] == pytest.approx((1.0, 4.0))
    low, high = _intervals([fold] * 4, one)["x"]
    assert (low, high) == pytest.approx((2 - 1 / 2, 2 + 2 / 2))
    assert _intervals([fold, {"mean": {"x": 2.0}, "intervals": {}}], one) == {}


def row(name, score, low=None, high=None, **terms):
    asked = QUESTION | {"history": 8, "horizon": 12, "stride": 1}
    known = {name: terms.pop(name) for name in list(terms) if name in asked}
    ends = {} if low is None else {"energy_score": [low, high]}
    usual = {"samples": 20, "draws": 20, "selection": "plain", "joint": False, "steps": 1}
    scores = {"energy_score": score} if score is not None else {}
    return {"name": name, "protocol": asked | known, "mean": scores, "intervals": ends} | (
        usual | terms
    )


def test_within_one_protocol_rows_are_ranked_and_ties_marked():
    rows = [row("c", 3, 2.8, 3.2), row("a", 1, 0.9, 1.1), row("b", 1.05, 1.0, 1.2), row("d", None)]
    assert differences(rows) == []
    places = [(place.row["name"], place.rank, place.tied) for place in ranked(rows)]
    assert places == [("a", 1, True), ("b", 1, True), ("c", 3, False), ("d", 4, False)]
    assert ranked(rows[::-1]) == ranked(rows)


def judged(name, scores, seeds=()):
    """A row of one group of people, ten windows each, with these energy scores."""
    people = {"agent": list(range(len(scores))), "windows": [10] * len(scores)}
    error = 1.96 * np.std(scores) / np.sqrt(len(scores))
    known = {"per_person": {"a": {**people, "energy_score": list(scores)}}}
    if len(seeds):
        known["seed_means"] = {"energy_score": list(seeds)}
    return row(name, np.mean(scores), np.mean(scores) - error, np.mean(scores) + error) | known


def test_rows_are_told_apart_by_the_differences_of_the_same_people():
    """People differ by far more than the two forecasters do of any of them."""
    chance = np.random.default_rng(0)
    hard = chance.exponential(size=80)
    better, worse = hard + 0.01 * chance.normal(size=80), hard + 0.02
    other = hard + 0.2 * chance.normal(size=80)
    best, second = ranked([judged("worse", worse), judged("better", better)])
    assert [(p.row["name"], p.rank, p.tied) for p in (best, second)] == [
        ("better", 1, False),
        ("worse", 2, False),
    ]
    low, high = second.behind
    assert 0 < low < 0.02 < high < 0.04
    assert best.behind is None
    assert all(place.tied for place in ranked([judged("better", better), judged("other", other)]))


def test_a_difference_smaller_than_that_of_seeds_is_a_tie():
    hard = np.random.default_rng(0).exponential(size=80)
    one, other = hard, hard + 0.02
    steady, moved = np.mean(one) + np.array([-1, 0, 1]) * 0.0001, [-0.03, 0.0, 0.03]
    apart = ranked([judged("one", one, steady), judged("other", other, steady + 0.02)])
    assert [place.rank for place in apart] == [1, 2]
    seeds = np.mean(other) + np.array(moved)
    assert all(p.tied for p in ranked([judged("one", one, steady), judged("other", other, seeds)]))


def test_reports_of_other_people_are_compared_by_their_intervals():
    one, other = judged("one", [1.0, 2.0, 3.0]), judged("other", [1.1, 2.1, 3.1])
    other["per_person"]["a"]["agent"] = [3, 4, 5]
    places = ranked([one, other])
    assert all(place.tied for place in places)
    assert places[1].behind is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("samples", 5),
        ("draws", 1000),
        ("selection", "kmeans"),
        ("joint", True),
        ("hash", "other"),
        ("fingerprint", "other"),
        ("fold", None),
        ("history", 4),
        ("stride", 2),
        ("split", "val"),
    ],
)
def test_a_difference_of_protocol_is_named_with_its_rows(field, value):
    rows = [row("one", 1), row("two", 2), row("odd", 0, **{field: value})]
    (found,) = differences(rows)
    assert found.field == field
    assert sorted(map(sorted, found.rows.values())) == [["odd"], ["one", "two"]]
    assert "odd" in str(found)
    assert [len(group) for group in by_protocol(rows)] == [2, 1]


def test_steps_are_a_cost_and_no_other_question():
    assert differences([row("one", 1), row("four", 1, steps=4)]) == []


def test_a_chosen_set_does_not_overwrite_the_plain_draws():
    where = {"split": "test", "fold": "eth", "fingerprint": "0123456789"}
    terms = {"samples": 20, "steps": 1, "draws": 20, "selection": "plain"}
    assert report_name(where, terms) == "evaluation-test-eth-01234567-20x1.json"
    names = {
        report_name(where, terms | change)
        for change in (
            {},
            {"steps": 2},
            {"selection": "kmeans", "draws": 1000},
            {"selection": "kmeans", "draws": 200},
            {"selection": "medians", "draws": 200},
        )
    }
    assert len(names) == 5


def test_every_figure_of_others_has_a_source_and_a_difference():
    found = peers()
    assert {peer.benchmark for peer in found} == {"ethucy", "sdd"}
    for peer in found:
        assert peer.source.strip()
        assert peer.difference.strip()
        assert peer.samples <= peer.draws
        assert {"min_ade", "min_fde"} <= set(peer.mean)
        assert (peer.selection == "plain") <= (peer.draws == peer.samples)
        assert set(peer.folds) in (set(), set(recipe(peer.benchmark).windows))
    names = [(peer.benchmark, peer.kind, peer.method) for peer in found]
    assert len(set(names)) == len(names)


def test_means_of_others_are_the_means_of_their_folds():
    for peer in peers():
        if peer.folds:
            each = np.mean(list(peer.folds.values()), 0)
            told = [peer.mean["min_ade"], peer.mean["min_fde"]]
            assert each == pytest.approx(told, abs=0.0061), peer.method


def test_validation_recordings_are_whole_and_within_the_share(tracks_of):
    walks = [(scene, range(10)) for scene in range(8) for _ in range(1 + scene % 3)]
    names = [f"{place}_{n}" for place in ("hall", "yard") for n in range(4)]
    tracks = dataclasses.replace(tracks_of(walks), scenes=names, splits=["train", "test"])
    split = np.where(tracks.scene[tracks.track] == 7, 1, 0).astype(np.int8)
    tracks = dataclasses.replace(tracks, split=split)
    for seed in range(9):
        taken = recordings_apart(tracks, 0.4, seed)
        assert taken == recordings_apart(tracks, 0.4, seed)
        counts = np.bincount(tracks.scene)[:7]
        held = counts[[names.index(name) for name in taken]].sum()
        assert 0 < held <= 0.4 * counts.sum()
        assert {name[:4] for name in taken} == {"hall", "yard"}
        assert "yard_3" not in taken
    assert recordings_apart(tracks, 0.01, 0) == ()


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


def test_one_part_is_scored_as_one_group_where_no_fold_is_left_out(store_of, tmp_path):
    walks = [range(40), range(8, 45)]
    scenes = {"a_0": ("train", walks), "b_0": ("train", walks)}
    scenes |= {"a_1": ("test", walks), "b_1": ("test", walks[:1])}
    store = store_of(scenes)
    plan = plan_of(Ask("sdd", seeds=1, presets=(), floors=("cv",)), store)
    assert isinstance(plan, Plan)
    one = work(plan, "sdd-cv-0", store, tmp_path)
    one.evaluate()
    (found,) = rows_of(plan, tmp_path)
    assert list(found.folds) == ["sdd"]
    assert found.folds["sdd"]["windows"] == 21 + 18 + 21
    assert (found.protocol["miss"], found.protocol["fold"]) == (50.0, None)


def test_a_chosen_set_is_judged_beside_the_plain_draws(places, ask, tmp_path):
    asked = dataclasses.replace(ask, select=("kmeans",), draws=200, steps=(1,), floors=())
    plan = plan_of(dataclasses.replace(asked, folds=("a",)), places)
    one = work(plan, "a-mmf-0", places, tmp_path)
    one.train()
    one.evaluate()
    plain, chosen = rows_of(plan, tmp_path)
    assert chosen.label == "mmf kmeans of 200"
    assert (chosen.protocol["samples"], chosen.protocol["draws"]) == (20, 200)
    assert chosen.scores["min_ade"].mean < plain.scores["min_ade"].mean
    assert {one.field for one in differences([plain.to_json(), chosen.to_json()])} == {
        "draws",
        "selection",
    }
    assert "--select kmeans --draws 200" in chosen.facts["command"]


@pytest.mark.slow
def test_the_drone_cut_has_the_windows_of_the_field(research_data, tmp_path):
    from trajflow.datasets.importing import import_tracks
    from trajflow.datasets.store import open_store

    columns = {"scene": "scene", "agent": "agent_id", "time": "t_seconds", "split": "split"}
    import_tracks(
        "table",
        research_data / "sdd_trajnet.csv.gz",
        tmp_path / "sdd.zarr",
        columns=columns | {"x": "x", "y": "y", "type": "agent_type"},
        unit="px",
        speed_limit=float("inf"),
    )
    store = open_store(tmp_path / "sdd.zarr")
    words = recipe("sdd").words(store, "sdd")
    data = TrackData(store, **Config.load(None, words).data.model_dump())
    parts = data.describe()["parts"]
    assert parts["test"]["windows"] == recipe("sdd").windows["sdd"] == 2829
    learnt, chosen = parts["train"]["windows"], parts["val"]["windows"]
    assert learnt + chosen == 8494
    assert 0.09 < chosen / 8494 <= 0.1
    assert not any(data.describe()["leakage"].values())


def test_all_seeds_are_judged_together_once_they_are_trained(places, ask, tmp_path):
    asked = dataclasses.replace(
        ask, folds=("a",), seeds=2, steps=(1,), floors=(), ensemble=True, select=("learned",)
    )
    plan = plan_of(asked, places)
    plan.save(tmp_path)
    assert read_plan(tmp_path) == plan
    both = plan.trials[-1]
    assert (both.name, both.members) == ("a-mmf-ensemble-0", ("a-mmf-0", "a-mmf-1"))
    with pytest.raises(RunError, match="not trained"):
        work(plan, both.name, places, tmp_path).evaluate()
    for name in both.members:
        assert not work(plan, both.name, places, tmp_path).train()
        work(plan, name, places, tmp_path).train()
    together = work(plan, both.name, places, tmp_path)
    assert together.train()
    together.evaluate()
    plain, chosen = rows_of(plan, tmp_path)
    assert (plain.label, chosen.label) == ("mmf-ensemble", "mmf-ensemble learned of 40")
    assert "--seeds 2 --presets mmf --floors '' --ensemble" in plain.facts["command"]
    assert (chosen.protocol["selection"], chosen.protocol["draws"]) == ("learned", 40)
    assert "--ensemble --select learned --set" in chosen.facts["command"]
    assert not (tmp_path / "runs" / both.name / WEIGHTS).exists()


def test_a_clock_is_told_beside_the_usual_and_is_a_row_of_its_own(places, ask, tmp_path):
    """The real clock of a recording changes forecasts there, and nowhere else."""
    asked = dataclasses.replace(ask, clocks="b-val=0.7", floors=())
    with pytest.raises(ConfigError, match=r"model\.condition_on_dt=true"):
        plan_of(asked, places)
    words = (*BRIEF, "model.condition_on_dt=true", "train.time_stretch=[1,1.5]", "data.reach=2")
    plan = plan_of(dataclasses.replace(asked, words=words), places)
    for name in ("a-mmf-0", "b-mmf-0"):
        one = work(plan, name, places, tmp_path)
        one.train()
        one.evaluate()
    usual, steps, told = rows_of(plan, tmp_path)
    assert [row.label for row in (usual, steps, told)] == ["mmf", "mmf", "mmf told clocks"]
    score = [row.folds[fold]["mean"]["min_ade"] for row in (usual, told) for fold in "ab"]
    assert score[0] == score[2]
    assert score[1] != score[3]
    assert "--clock b-val=0.7" in told.facts["command"]
    assert "told the real seconds per step of b-val=0.7" in markdown(Table.of(plan, tmp_path, {}))


def test_a_learned_set_is_learned_once_and_judged(places, ask, tmp_path):
    words = (*BRIEF, "samples.epochs=2", "samples.batch_size=20")
    asked = dataclasses.replace(
        ask, folds=("a",), steps=(1,), floors=(), select=("learned",), draws=300, words=words
    )
    plan = plan_of(asked, places)
    one = work(plan, "a-mmf-0", places, tmp_path)
    one.train()
    one.evaluate()
    plain, learned = rows_of(plan, tmp_path)
    assert learned.label == "mmf learned"
    assert (learned.protocol["samples"], learned.protocol["draws"]) == (20, 20)
    assert learned.scores["min_ade"].mean < plain.scores["min_ade"].mean
    assert "--select learned" in learned.facts["command"]
    assert (one.folder / "set-20.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [({"seeds": 1}, "2 seeds"), ({"words": (*BRIEF, "model.joint=true")}, "leave out --ensemble")],
)
def test_a_ensemble_that_cannot_be_is_refused(places, ask, change, said):
    asked = dataclasses.replace(ask, ensemble=True, **({"seeds": 2} | change))
    with pytest.raises(ConfigError, match=said):
        plan_of(asked, places)
