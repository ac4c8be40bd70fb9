"""Scripts of whole benchmarks: what is planned, done, gone on with, tabulated and ranked."""

import dataclasses
import json
import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from trajflow.config import Config
from trajflow.datasets.loader import TrackData
from trajflow.errors import ConfigError, RunError
from trajflow.evaluation.evaluate import evaluate_run
from trajflow.evaluation.ranking import differences, protocol
from trajflow.evaluation.report import read_report
from trajflow.models.serialization import unpack
from trajflow.runs import EVENTS, RESUME, WEIGHTS, RunFolder, facts_of, track_data

SCRIPTS = Path(__file__).parents[1] / "examples" / "benchmarks"
sys.path.append(str(SCRIPTS))

import drone  # noqa: E402
import harness  # noqa: E402
import pedestrians  # noqa: E402
from harness import Session, command_line, main  # noqa: E402
from plan import command_of, make_plan, read_plan  # noqa: E402
from table import make_rows, make_table, mean_intervals, peers, to_markdown, write_table  # noqa: E402

SMALL = ("model.width=16", "model.decoder_width=16", "model.decoder_depth=1", "train.batch_size=20")
BRIEF = (*SMALL, "train.epochs=1", "train.samples=5", "train.threads=1")
ETHUCY, SDD = pedestrians.BENCHMARK, drone.BENCHMARK
BENCHMARKS = {"ethucy": ETHUCY, "sdd": SDD}


@pytest.fixture
def places(store_of):
    """Two places, a fold each, with parts to learn from and to choose by."""
    walks = {"a": [range(60), range(5, 50), range(30, 55)], "b": [range(52), range(9, 48)]}
    scenes = {f"{name}-{part}": (part, walks[name]) for name in "ab" for part in ("train", "val")}
    return store_of(scenes, {name: [f"{name}-train", f"{name}-val"] for name in "ab"})


def arguments(words, settings):
    pairs = [word for setting in settings for word in ("--set", setting)]
    return ["--config", "none", *map(str, words), *pairs]


def plan_of(store, *words, settings=BRIEF, benchmark=ETHUCY):
    """One seed of mmf and constant velocity, unless the words say otherwise."""
    defaults = ["x.zarr", "--seeds", 1, "--presets", "mmf", "--baselines", "cv", "--steps", "1,2"]
    options = command_line(benchmark).parse_args(arguments([*defaults, *words], settings))
    return make_plan(benchmark, options, store)


def session_of(plan, store, results, benchmark=ETHUCY):
    return Session(benchmark, plan, store.path, results)


def do(plan, store, results, *names, benchmark=ETHUCY):
    """Train and judge trials in this process; the rows that come out."""
    session = session_of(plan, store, results, benchmark)
    for trial in map(plan.trial, names or [trial.name for trial in plan.trials]):
        session.train(trial)
        session.evaluate(trial)
    return make_rows(benchmark, plan, results)


def command_of_script(name, *words, settings=BRIEF):
    return [str(SCRIPTS / name), *arguments(words, settings), "--device", "cpu"]


@pytest.fixture
def script(capsys):
    """Runs a script's command line in this process: exit code, stdout, stderr.

    Its trials run in processes of their own.
    """
    handler = signal.getsignal(signal.SIGTERM)

    def run(name, *words, settings=BRIEF):
        capsys.readouterr()
        _, *words = command_of_script(name, *words, settings=settings)
        with pytest.raises(SystemExit) as left:
            main({"pedestrians.py": ETHUCY, "drone.py": SDD}[name], "", words)
        return left.value.code, *capsys.readouterr()

    yield run
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def one_process(monkeypatch):
    """The trials of a script run in this process, for tests of what comes out of them."""

    def start(session, trial, stage):
        session.log(trial.name).parent.mkdir(parents=True, exist_ok=True)
        session.log(trial.name).touch()
        code = harness._work(session, trial.name, stage)
        return SimpleNamespace(poll=lambda: code, returncode=code)

    monkeypatch.setattr(harness, "_start", start)
    monkeypatch.setattr(harness, "POLL_SECONDS", 0)


def weights_of(folder):
    return unpack((folder / WEIGHTS).read_bytes(), "")[0].state_dict()


def test_one_command_trains_judges_and_tabulates(trajflow, script, places, tmp_path):
    results = tmp_path / "results"
    words = (places.path, "-o", results, "--folds", "b", "--seeds", 1)
    words += ("--baselines", "cv", "--jobs", 2)
    code, out, said = script("pedestrians.py", *words)
    assert code == 0, said
    assert [line.split()[1] for line in out.splitlines()] == ["method", "---", "cv", "mmf"]
    events = (results / "runs" / "b-mmf-0" / EVENTS).read_bytes()
    text = (results / "table.md").read_text()
    assert "| 1" in text
    assert "python examples/benchmarks/pedestrians.py tracks.zarr --folds b" in text
    assert script("pedestrians.py", *words)[:2] == (0, out)
    assert (results / "runs" / "b-mmf-0" / EVENTS).read_bytes() == events
    (results / "table.md").unlink()
    gone = ("gone.zarr", "-o", results, "--stage", "table")
    assert script("pedestrians.py", *gone)[:2] == (0, out)
    assert (results / "table.md").read_text() == text
    code, _, said = script("pedestrians.py", *words, settings=(*BRIEF, "train.lr=0.5"))
    assert code == 2
    assert "train.lr" in said
    code, compared, _ = trajflow("compare", results, "--json")
    assert code == 0
    found = json.loads(compared)
    assert [len(found[name]) for name in ("rows", "ranks", "differences")] == [2, 2, 0]
    assert trajflow("compare", results / "runs" / "b-mmf-0", results)[0] == 0


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("pedestrians.py", ["none.zarr"], "no store at"),
        ("pedestrians.py", ["DATA", "--folds", "c"], "no fold 'c'"),
        ("pedestrians.py", ["DATA", "--steps", "1,x"], "'x' is no whole number of at least 1"),
        ("pedestrians.py", ["DATA", "--stage", "trian"], "invalid choice: 'trian'"),
        ("pedestrians.py", ["DATA", "--stage", "table"], "has no plan.json"),
        ("pedestrians.py", ["DATA", "--stage", "refresh"], "has no plan.json"),
        ("drone.py", ["DATA"], "--columns split="),
    ],
)
def test_what_a_script_cannot_do_is_refused_with_advice(
    script, places, tmp_path, name, words, said
):
    words = [places.path if word == "DATA" else word for word in words]
    code, out, complaint = script(name, *words, "-o", tmp_path / "out")
    assert (code, out) == (2, "")
    assert said in complaint
    assert "Traceback" not in complaint
    assert not (tmp_path / "out").exists()


def test_without_options_the_settings_of_the_published_table_are_used(places):
    for benchmark in (ETHUCY, SDD):
        options = command_line(benchmark).parse_args(["x.zarr"])
        assert options.config == SCRIPTS / benchmark.script.replace(".py", ".toml")
    plan = make_plan(ETHUCY, command_line(ETHUCY).parse_args(["x.zarr"]), places)
    settings = Config.load(SCRIPTS / "pedestrians.toml").train
    seeds = {trial.seed for trial in plan.trials if trial.method == "mmf"}
    assert seeds == {0, 1, 2}
    assert plan.trial("a-mmf-0").config.train == settings


def test_equal_options_make_equal_plans(places):
    words = ("--seeds", 2, "--presets", "mmf,flow")
    plan = plan_of(places, *words)
    assert plan == plan_of(places, *words)
    names = [trial.name for trial in plan.trials]
    assert len(set(names)) == len(names) == 2 + 2 * 2 * 2
    assert names[:4] == ["a-cv-0", "b-cv-0", "a-mmf-0", "b-mmf-0"]
    one = plan.trial("b-mmf-1")
    assert (one.config.data.fold, one.config.train.seed, one.config.train.epochs) == ("b", 1, 1)
    assert [terms.steps for terms in one.evaluations] == [1, 2]
    assert [terms.steps for terms in plan.trial("a-flow-0").evaluations] == [1, 4, 16, 64]


def test_a_plan_is_read_as_it_was_written(places, tmp_path):
    plan = plan_of(places, "--select", "kmeans", "--draws", 100)
    plan.save(tmp_path)
    assert read_plan(tmp_path) == plan
    assert str(tmp_path) not in (tmp_path / "plan.json").read_text()
    last = plan.trial("a-mmf-0").evaluations[-1]
    assert (last.selection, last.draws, last.samples) == ("kmeans", 100, 20)


def test_plans_grow_and_never_bend(places, tmp_path):
    plan_of(places).save(tmp_path)
    plan_of(places, "--seeds", 2, "--steps", 4).save(tmp_path)
    both = read_plan(tmp_path)
    assert len(both.trials) == 2 + 4
    assert {terms.steps for terms in both.trial("a-mmf-0").evaluations} == {1, 2, 4}
    with pytest.raises(RunError, match=r"train.lr 0.001, now 0.5"):
        plan_of(places, settings=(*BRIEF, "train.lr=0.5")).save(tmp_path)
    with pytest.raises(RunError, match="choose another --out"):
        dataclasses.replace(both, fingerprint="0" * 64).save(tmp_path)


@pytest.mark.parametrize(
    ("words", "settings", "said"),
    [
        (["--baselines", "cvv"], BRIEF, "did you mean 'cv'"),
        (["--presets", "mnf"], BRIEF, "did you mean 'mmf'"),
        ([], ["train.epoch=1"], "did you mean 'train.epochs'"),
        (["--select", "kmean"], BRIEF, "did you mean 'kmeans'"),
        (["--select", "kmeans"], ["model.joint=true"], "leave out --select"),
        (["--ensemble"], BRIEF, "2 seeds"),
        (["--ensemble", "--seeds", 2], ["model.joint=true"], r"model\.joint=false"),
        (["--memory"], ["model.memory=4"], r"or model\.memory=4 out"),
        (["--clock", "b-val=0.7"], BRIEF, r"model\.condition_on_dt=true"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_at_once(places, words, settings, said):
    with pytest.raises(ConfigError, match=said):
        plan_of(places, *words, settings=settings)


def test_a_stopped_trial_goes_on_to_the_same_end(places, tmp_path):
    plan = plan_of(places)
    trial = plan.trial("a-mmf-0")
    whole = session_of(plan, places, tmp_path / "whole")
    parted = session_of(plan, places, tmp_path / "parted")
    assert whole.train(trial)
    assert not parted.train(trial, going=lambda: False)
    folder = trial.folder(parted.results)
    assert (folder / RESUME).exists()
    assert parted.has_work(trial, "train")
    assert parted.train(trial)
    one, other = weights_of(folder), weights_of(trial.folder(whole.results))
    assert all((one[name] == other[name]).all() for name in one)
    before = (folder / EVENTS).read_bytes()
    assert parted.train(trial)
    assert (folder / EVENTS).read_bytes() == before


def test_a_trial_that_left_nothing_to_go_on_from_begins_again(places, tmp_path):
    plan = plan_of(places)
    trial = plan.trial("a-mmf-0")
    session = session_of(plan, places, tmp_path)
    record = track_data(places, trial.config).describe() | facts_of(places)
    RunFolder.create(trial.folder(tmp_path), trial.config, record)
    assert session.train(trial)


def test_every_row_has_its_protocol_and_the_mean_over_folds(places, tmp_path):
    plan = plan_of(places)
    do(plan, places, tmp_path, "a-cv-0", "b-cv-0", "a-mmf-0")
    session = session_of(plan, places, tmp_path)
    missing = [trial.name for trial in plan.trials if session.has_work(trial, "all")]
    assert missing == ["b-mmf-0"]
    table = make_table(ETHUCY, plan, tmp_path, missing, {"b-mmf-0": "lost"})
    floor, single, double = table["rows"]
    assert [row["steps"] for row in table["rows"]] == [1, 1, 2]
    for row in table["rows"]:
        told = protocol(row)
        assert "not stated" not in told.values()
        assert (told["samples"], told["draws"], told["selection"]) == ("20", "20", "plain")
        assert row["protocol"]["fold"] == "each of a, b"
    each = [fold["mean"]["min_ade"] for fold in floor["folds"].values()]
    assert each[0] != each[1]
    assert floor["mean"]["min_ade"] == pytest.approx(np.mean(each))
    assert floor["protocol"]["selected_on"] is None
    assert single["protocol"]["selected_on"] == "val"
    assert single["mean"] == {}
    assert list(single["folds"]) == ["a"]
    start = "python examples/benchmarks/pedestrians.py tracks.zarr --folds a,b --seeds 1"
    assert double["command"].startswith(start)
    assert "--steps 2" in double["command"]
    assert "--set train.batch_size=20" in double["command"]
    paths = write_table(table, tmp_path)
    assert [path.suffix for path in paths] == [".json", ".csv", ".md", ".png"]
    text = (tmp_path / "table.md").read_text()
    assert "Failed: b-mmf-0**: lost" in text
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 1 + 3 + len(peers("ethucy"))
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["cv", "mmf", "mmf"]
    assert all(row["machine"]["torch"] for row in rows)


def test_the_command_of_a_row_makes_its_plan_again(places):
    """With settings, folds and seeds as they were, whatever the script's usual ones are."""
    words = ("--folds", "a", "--seeds", 2, "--ensemble", "--select", "kmeans", "--draws", 90)
    plan = plan_of(places, *words)
    terms = dataclasses.asdict(plan.trial("a-mmf-ensemble-0").evaluations[-1])
    command = shlex.split(command_of(ETHUCY, plan, "mmf-ensemble", terms))
    again = make_plan(ETHUCY, command_line(ETHUCY).parse_args(command[2:]), places)
    assert [trial.name for trial in again.trials] == ["a-mmf-0", "a-mmf-1", "a-mmf-ensemble-0"]
    for trial in again.trials:
        assert trial.config == plan.trial(trial.name).config
    assert again.trials[-1].evaluations == plan.trials[-1].evaluations


def test_a_row_of_several_seeds_has_their_mean_and_range(places, tmp_path):
    plan = plan_of(places, "--seeds", 2, "--folds", "a", "--baselines", "", "--steps", 1)
    (row,) = do(plan, places, tmp_path)
    found = []
    for trial in plan.trials:
        (path,) = trial.folder(tmp_path).glob("evaluation-*.json")
        found.append(read_report(path)["mean"]["energy_score"])
    assert row["seed_means"]["energy_score"] == found
    mean = row["mean"]["energy_score"]
    assert mean == pytest.approx(np.mean(found))
    assert min(found) < max(found)
    low, high = row["intervals"]["energy_score"]
    student = 12.706 * abs(found[0] - found[1]) / 2  # of two values, one degree of freedom
    assert low < mean - student
    assert high > mean + student
    text = to_markdown(make_table(ETHUCY, plan, tmp_path))
    assert f"{{{min(found):.3f} - {max(found):.3f}}}" in text


@pytest.mark.usefixtures("one_process")
def test_what_an_earlier_version_judged_is_judged_again(places, tmp_path, trajflow, script):
    """By its plan, with its weights, and without training; its coverage is not shown."""
    words = ("--folds", "a", "--seeds", 2, "--baselines", "cv-sampled", "--steps", 1)
    plan = plan_of(places, *words)
    plan.save(tmp_path)
    done = [trial.name for trial in plan.trials if trial.seed == 0]
    do(plan, places, tmp_path, *done)
    as_version_0_1_0(tmp_path)
    reports = sorted(tmp_path.rglob("evaluation-*.json"))
    weights = {path: path.read_bytes() for path in (tmp_path / "runs").glob(f"*/{WEIGHTS}")}
    whole = [json.loads(path.read_text()) for path in reports]
    for path, report in zip(reports, whole, strict=True):
        new = ("coverage_kind", "per_person", "window_mean")
        path.write_text(json.dumps({k: v for k, v in report.items() if k not in new}))
    old = read_plan(tmp_path)
    assert old == plan
    stale = {row["method"]: row for row in make_rows(ETHUCY, old, tmp_path)}
    assert "coverage_90" not in stale["mmf"]["folds"]["a"]["mean"]
    assert "energy_score" in stale["mmf"]["folds"]["a"]["mean"]
    words = (places.path, "--out", tmp_path, "--stage", "refresh")
    code, out, said = script("pedestrians.py", *words, settings=["train.batch=7"])
    assert code == 0, said
    assert "Not done yet: a-mmf-1." in out
    again = [json.loads(path.read_text()) for path in reports]
    assert [one["mean"] for one in again] == [one["mean"] for one in whole]
    assert [one["coverage_kind"] for one in again] == ["rank"] * len(reports)
    assert {path: path.read_bytes() for path in weights} == weights
    assert len(json.loads((tmp_path / "people.json").read_text())) == 2
    found = json.loads(trajflow("compare", tmp_path, "--json")[1])
    assert found["ranks"][1]["behind"] is not None


def as_version_0_1_0(results):
    """Call baselines floors, on disk and in the plan, as the command did that came before."""
    (results / "baselines").rename(results / "floors")
    plan = json.loads((results / "plan.json").read_text())
    for trial in plan["trials"]:
        trial["floor"] = trial.pop("baseline")
    (results / "plan.json").write_text(json.dumps(plan))


def test_a_trial_that_fails_is_named_and_stopped_ones_can_go_on(
    script, places, tmp_path, monkeypatch
):
    settings = (*BRIEF, "train.epochs=100000", "train.time_limit=240")
    plan = plan_of(places, settings=settings)
    broken, slow = plan.trial("a-mmf-0"), plan.trial("b-mmf-0")
    RunFolder.create(broken.folder(tmp_path), Config(), {})
    words = (places.path, "-o", tmp_path, "--seeds", 1, "--baselines", "", "--jobs", 2)
    events, said, done = slow.folder(tmp_path) / EVENTS, [], threading.Event()
    monkeypatch.setattr(harness, "_log", said.append)

    def interrupt():
        """Press Ctrl-C once one has failed and the other, which would never end, trains."""
        end = time.monotonic() + 180
        while not done.wait(0.05):
            failed = any("failed" in line for line in said)
            if (failed and events.exists()) or time.monotonic() > end:
                os.kill(os.getpid(), signal.SIGINT)
                return

    thread = threading.Thread(target=interrupt)
    thread.start()
    code = script("pedestrians.py", *words, settings=settings)[0]
    done.set()
    thread.join()
    assert code == 1, said
    failed = json.loads((tmp_path / "table.json").read_text())["failed"]
    assert list(failed) == ["a-mmf-0"]
    assert "made with other settings" in failed["a-mmf-0"]
    assert (slow.folder(tmp_path) / RESUME).exists()
    assert json.loads(events.read_text().splitlines()[-1])["reason"] == "stopped"


@pytest.mark.usefixtures("one_process")
def test_a_fold_cannot_command_a_terminal_nor_leave_the_folder(script, store_of, tmp_path):
    fold = "../../a\x1b[31m"
    scenes = {f"{fold}-{part}": (part, [range(60), range(5, 50)]) for part in ("train", "val")}
    scenes |= {f"b-{part}": (part, [range(52), range(9, 48)]) for part in ("train", "val")}
    folds = {name: [f"{name}-train", f"{name}-val"] for name in (fold, "b")}
    store = store_of(scenes, folds)
    words = (store.path, "-o", tmp_path / "deep" / "out", "--presets", "", "--baselines", "cv")
    words += ("--folds", fold)
    code, out, said = script("pedestrians.py", *words, settings=())
    assert code == 0, said
    assert "\x1b" not in out + said + (tmp_path / "deep" / "out" / "table.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"deep", store.path.name}
    assert len(list((tmp_path / "deep" / "out" / "baselines").iterdir())) == 1


def test_intervals_of_people_who_are_others_add_in_squares():
    fold = {"mean": {"x": 2.0}, "people_intervals": {"x": [1.0, 4.0]}}
    one = {"x": [2.0]}
    assert mean_intervals([fold], one)["x"] == pytest.approx([1.0, 4.0])
    low, high = mean_intervals([fold] * 4, one)["x"]
    assert (low, high) == pytest.approx((2 - 1 / 2, 2 + 2 / 2))
    assert mean_intervals([fold, {"mean": {"x": 2.0}, "people_intervals": {}}], one) == {}


def test_an_interval_contains_the_variance_of_the_seeds():
    fold = {"mean": {"x": 2.0}, "people_intervals": {"x": [1.0, 4.0]}}
    student = 12.706 * 0.1  # of two values, one degree of freedom
    low, high = mean_intervals([fold], {"x": [1.9, 2.1]})["x"]
    assert low == pytest.approx(2 - np.hypot(1, student), abs=1e-4)
    assert high == pytest.approx(2 + np.hypot(2, student), abs=1e-4)


def test_every_figure_of_others_has_a_source_and_a_difference():
    found = [peer for name in BENCHMARKS for peer in peers(name)]
    for peer in found:
        assert peer["by"].strip()
        assert peer["source"].strip()
        assert peer["difference"].strip()
        assert peer["selected_on"].strip()
        assert peer["kind"] in ("published", "measured")
        assert 1 <= peer["samples"] <= peer["draws"]
        assert peer["joint"] in (True, False)
        assert {"min_ade", "min_fde"} <= set(peer["mean"])
        assert (peer["selection"] == "plain") <= (peer["draws"] == peer["samples"])
        assert set(peer["folds"]) in (set(), set(BENCHMARKS[peer["benchmark"]].windows))
    names = [(peer["benchmark"], peer["kind"], peer["method"]) for peer in found]
    assert len(set(names)) == len(names) > 50


def test_means_of_others_are_the_means_of_their_folds():
    for peer in peers("ethucy") + peers("sdd"):
        if peer["folds"]:
            each = np.mean(list(peer["folds"].values()), 0)
            told = [peer["mean"]["min_ade"], peer["mean"]["min_fde"]]
            assert each == pytest.approx(told, abs=0.0061), peer["method"]


def test_validation_recordings_are_whole_and_within_the_share(tracks_of):
    walks = [(scene, range(10)) for scene in range(8) for _ in range(1 + scene % 3)]
    names = [f"{place}_{n}" for place in ("hall", "yard") for n in range(4)]
    tracks = dataclasses.replace(tracks_of(walks), scenes=names, splits=["train", "test"])
    split = np.where(tracks.scene[tracks.track] == 7, 1, 0).astype(np.int8)
    tracks = dataclasses.replace(tracks, split=split)
    for seed in range(9):
        taken = drone.validation_recordings(tracks, 0.4, seed)
        assert taken == drone.validation_recordings(tracks, 0.4, seed)
        counts = np.bincount(tracks.scene)[:7]
        held = counts[[names.index(name) for name in taken]].sum()
        assert 0 < held <= 0.4 * counts.sum()
        assert {name[:4] for name in taken} == {"hall", "yard"}
        assert "yard_3" not in taken
    assert drone.validation_recordings(tracks, 0.01, 0) == ()


def test_one_part_is_scored_as_one_group_where_no_fold_is_left_out(store_of, tmp_path):
    walks = [range(40), range(8, 45)]
    scenes = {"a_0": ("train", walks), "b_0": ("train", walks)}
    scenes |= {"a_1": ("test", walks), "b_1": ("test", walks[:1])}
    store = store_of(scenes)
    plan = plan_of(store, "--presets", "", settings=(), benchmark=SDD)
    (row,) = do(plan, store, tmp_path, "sdd-cv-0", benchmark=SDD)
    assert list(row["folds"]) == ["sdd"]
    assert list(row["per_person"]) == ["sdd"]
    assert row["folds"]["sdd"]["windows"] == 21 + 18 + 21
    assert (row["protocol"]["miss"], row["protocol"]["fold"]) == (50.0, None)
    assert row["command"].startswith("python examples/benchmarks/drone.py tracks.zarr --presets")


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
    words = drone.settings(store, "sdd")
    data = TrackData(store, **Config.load(None, words).data.model_dump())
    parts = data.describe()["parts"]
    assert parts["test"]["windows"] == SDD.windows["sdd"] == 2829
    learnt, chosen = parts["train"]["windows"], parts["val"]["windows"]
    assert learnt + chosen == 8494
    assert 0.09 < chosen / 8494 <= 0.1
    assert not any(data.describe()["leakage"].values())


def test_a_chosen_set_is_judged_beside_the_plain_draws(places, tmp_path):
    words = ("--folds", "a", "--select", "kmeans", "--draws", 200, "--steps", 1)
    plan = plan_of(places, *words, "--baselines", "")
    plain, chosen = do(plan, places, tmp_path)
    assert chosen["label"] == "mmf kmeans of 200"
    assert (chosen["samples"], chosen["draws"]) == (20, 200)
    assert chosen["mean"]["min_ade"] < plain["mean"]["min_ade"]
    assert {one.field for one in differences([plain, chosen])} == {"draws", "selection"}
    assert "--select kmeans --draws 200" in chosen["command"]


def test_a_learned_set_is_learned_once_and_judged(places, tmp_path):
    settings = (*BRIEF, "samples.epochs=2", "samples.batch_size=20")
    words = ("--folds", "a", "--select", "learned", "--draws", 300, "--steps", 1)
    plan = plan_of(places, *words, "--baselines", "", settings=settings)
    plain, learned = do(plan, places, tmp_path)
    assert learned["label"] == "mmf learned"
    assert (learned["samples"], learned["draws"]) == (20, 20)
    assert learned["mean"]["min_ade"] < plain["mean"]["min_ade"]
    assert "--select learned" in learned["command"]
    kept = tmp_path / "runs" / "a-mmf-0" / "set-20.safetensors"
    before = kept.stat().st_mtime_ns
    for report in kept.parent.glob("evaluation-*learned*.json"):
        report.unlink()
    do(plan, places, tmp_path)
    assert kept.stat().st_mtime_ns == before


def test_an_ensemble_of_all_seeds_is_judged_once_they_are_trained(places, tmp_path):
    words = ("--folds", "a", "--seeds", 2, "--steps", 1, "--ensemble", "--select", "learned")
    plan = plan_of(places, *words, "--baselines", "")
    plan.save(tmp_path)
    assert read_plan(tmp_path) == plan
    both = plan.trials[-1]
    assert (both.name, both.members) == ("a-mmf-ensemble-0", ("a-mmf-0", "a-mmf-1"))
    session = session_of(plan, places, tmp_path)
    with pytest.raises(RunError, match="not trained"):
        session.evaluate(both)
    for name in both.members:
        assert not session.train(both)
        session.train(plan.trial(name))
    assert session.train(both)
    session.evaluate(both)
    plain, chosen = make_rows(ETHUCY, plan, tmp_path)
    assert (plain["label"], chosen["label"]) == ("mmf-ensemble", "mmf-ensemble learned of 40")
    assert "--seeds 2 --presets mmf --baselines '' --ensemble" in plain["command"]
    assert (chosen["selection"], chosen["draws"]) == ("learned", 40)
    assert "--ensemble --select learned --config none --set" in chosen["command"]
    assert not (tmp_path / "runs" / both.name / WEIGHTS).exists()


def test_earlier_paths_and_moments_of_several_agents_are_rows_of_their_own(places, tmp_path):
    words = ("--folds", "a", "--baselines", "", "--steps", 1)
    plan = plan_of(places, *words, "--earlier-paths", "--min-agents", 3)
    plain, paths, few, both = do(plan, places, tmp_path)
    labels = ["", " with earlier paths", " moments of 3 agents or more"]
    labels.append("".join(labels))
    assert [row["label"] for row in (plain, paths, few, both)] == [f"mmf{x}" for x in labels]
    assert plain["windows"] == paths["windows"] > few["windows"] == both["windows"] > 0
    assert plain["mean"]["min_ade"] != paths["mean"]["min_ade"]
    assert both["command"].count("--earlier-paths --min-agents 3") == 1
    table = make_table(ETHUCY, plan, tmp_path)
    assert table["folds"]["a"]["windows"] == plain["windows"]
    text = to_markdown(table)
    assert "per agent, with earlier paths of the recording; moments of 3 agents or more:" in text

    session, trial = session_of(plan, places, tmp_path), plan.trial("a-mmf-0")
    assert not session.missing(trial)
    evaluate_run(trial.folder(tmp_path), places.path)  # replaces the report of the trial
    assert [options.earlier_paths for options in session.missing(trial)] == [False]
    assert len(make_rows(ETHUCY, plan, tmp_path)) == 3
    joint = ("--set", "model.joint=true")
    with pytest.raises(ConfigError, match="leave out --earlier-paths"):
        plan_of(places, *words, "--earlier-paths", *joint)


def test_memory_is_added_to_each_finished_training(places, tmp_path):
    """Only its reader is trained, and its rows say that they saw the recording."""
    words = ("--folds", "a", "--seeds", 2, "--steps", 1, "--memory", "--ensemble")
    plan = plan_of(places, *words, "--select", "learned", "--baselines", "")
    plan.save(tmp_path)
    assert read_plan(tmp_path) == plan
    added, both = plan.trial("a-mmf-memory-0"), plan.trial("a-mmf-memory-ensemble-0")
    assert (added.needs, both.members) == (("a-mmf-0",), ("a-mmf-memory-0", "a-mmf-memory-1"))
    assert (added.config.model.memory, added.config.train.updates) == (8, 1000)
    with pytest.raises(RunError, match="a-mmf-0"):
        session_of(plan, places, tmp_path).train(added)
    brief = added.config.train.model_copy(update={"updates": 3})
    trials = [
        dataclasses.replace(t, config=t.config.model_copy(update={"train": brief})) if t.init else t
        for t in plan.trials
    ]
    rows = do(dataclasses.replace(plan, trials=tuple(trials)), places, tmp_path)
    labels = [f"{name}{chosen}" for name in ("mmf", "mmf-memory") for chosen in ("", " learned")]
    assert [row["label"] for row in rows[:4]] == labels
    assert [row["label"] for row in rows[-2:]] == [
        "mmf-memory-ensemble",
        "mmf-memory-ensemble learned of 40",
    ]
    plain, with_memory = rows[0], rows[2]
    assert plain["mean"]["energy_score"] != with_memory["mean"]["energy_score"]
    assert with_memory["protocol"]["watched"] == "yes"
    assert "watched" not in plain["protocol"]
    before, after = (weights_of(tmp_path / "runs" / name) for name in ("a-mmf-0", added.name))
    assert all((after[name] == before[name]).all() for name in before)
    assert any(name.startswith("memory.") for name in set(after) - set(before))
    command = with_memory["command"]
    assert "--seeds 2 --presets mmf --memory --baselines ''" in command
    assert "updates" not in command
    again = make_plan(ETHUCY, command_line(ETHUCY).parse_args(shlex.split(command)[2:]), places)
    assert again.trial("a-mmf-memory-1").config == plan.trial("a-mmf-memory-1").config
    text = to_markdown(make_table(ETHUCY, plan, tmp_path))
    assert "per agent, with a memory of the recording:" in text


def test_real_clocks_are_a_row_of_their_own(places, tmp_path):
    """The real clock of a recording changes forecasts there, and nowhere else."""
    settings = (*BRIEF, "model.condition_on_dt=true", "train.time_stretch=[1,1.5]", "data.reach=2")
    words = ("--clock", "b-val=0.7", "--baselines", "")
    plan = plan_of(places, *words, settings=settings)
    plain, steps, clocks = do(plan, places, tmp_path)
    labels = [row["label"] for row in (plain, steps, clocks)]
    assert labels == ["mmf", "mmf", "mmf real time steps"]
    score = [row["folds"][fold]["mean"]["min_ade"] for row in (plain, clocks) for fold in "ab"]
    assert score[0] == score[2]
    assert score[1] != score[3]
    assert "--clock b-val=0.7" in clocks["command"]
    text = to_markdown(make_table(ETHUCY, plan, tmp_path))
    assert "with the real time steps of b-val=0.7" in text
