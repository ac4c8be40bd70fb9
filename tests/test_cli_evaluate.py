"""`trajflow evaluate` as a person and as a program meet it."""

import json
import re

import pytest

QUICK = [
    "--set",
    "train.epochs=1",
    "--set",
    "model.width=16",
    "--set",
    "model.decoder_width=16",
    "--set",
    "model.decoder_depth=1",
]
KEYS = {"min_ade", "min_fde", "mean_ade", "mean_fde", "energy_score", "coverage_50", "coverage_90"}
KEYS |= {"jade", "jfde", "miss_rate", "collision_rate"}


@pytest.fixture
def places(store_of):
    """Two recordings with a part to learn from and one to choose by, a fold each, no test split."""
    walks = [range(60), range(5, 50)]
    scenes = {
        f"{name}-{part}": (part, walks) for name in ("hall", "yard") for part in ("train", "val")
    }
    folds = {name: [f"{name}-train", f"{name}-val"] for name in ("hall", "yard")}
    return store_of(scenes, folds).path


def test_a_run_is_judged_and_says_so_in_json(trajflow, places, tmp_path):
    run = tmp_path / "run"
    assert trajflow("train", places, "--out", run, "--set", "data.fold=yard", *QUICK)[0] == 0
    code, out, _ = trajflow("evaluate", run, places, "--samples", 5, "--steps", 2, "--json")
    report = json.loads(out)
    assert code == 0
    assert set(report["mean"]) >= KEYS
    assert (report["samples"], report["steps"]) == (5, 2)
    assert list(report["scenes"]) == ["yard"]
    assert report["windows"] == report["scenes"]["yard"]["windows"] == 2 * (41 + 26)
    assert report["people"] == 4
    low, high = report["intervals"]["min_ade"]
    assert low <= report["mean"]["min_ade"] <= high
    code, out, _ = trajflow("evaluate", run, places)
    assert code == 0
    assert "energy score" in out


def test_a_run_whose_recording_is_split_in_time_is_judged(trajflow, store_of, tmp_path):
    hall, run = store_of({"hall": ("all", [range(140)] * 40)}).path, tmp_path / "run"
    words = ("--updates", 1, "--no-race", *QUICK[2:])
    code, _, said = trajflow("train", hall, "--out", run, *words)
    assert code == 0, said
    code, out, said = trajflow("evaluate", run, hall, "--no-baselines", "--samples", 2, "--json")
    assert code == 0, said
    assert json.loads(out)["people"] == 40


def test_chosen_samples_are_judged_and_kept_beside_plain_draws(trajflow, trained, fork):
    run = trained[0]
    assert trajflow("evaluate", run, fork, "--samples", 4)[0] == 0
    before = {file.name: file.read_bytes() for file in run.glob("evaluation-*-4x1*")}
    words = ("evaluate", run, fork, "--samples", 4, "--select", "kmeans", "--draws", 30)
    code, out, _ = trajflow(*words)
    assert code == 0
    assert "4 chosen by kmeans from 30 draws" in out.splitlines()[0]
    report = json.loads(trajflow(*words, "--json")[1])
    assert (report["selection"], report["draws"]) == ("kmeans", 30)
    assert report["energy_score_kind"] == "weighted"
    assert report["mean"]["jade"] is None
    after = {file.name: file.read_bytes() for file in run.glob("evaluation-*-4x1*")}
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()


def test_samples_that_cannot_be_chosen_are_refused(trajflow, trained, fork):
    for words, told in (
        (("--draws", 400), "say by --select how to choose"),
        (("--select", "kmean"), "did you mean 'kmeans'"),
        (("--select", "kmeans", "--draws", 5), "cannot choose 20 samples of 5 draws"),
        (("--select", "kmeans", "--joint"), "judge plain draws"),
    ):
        code, _, said = trajflow("evaluate", trained[0], fork, *words)
        assert (code, told in said) == (2, True), said
    code, _, said = trajflow("evaluate", "--baseline", "cv", fork, "--select", "kmeans")
    assert (code, "not chosen" in said) == (2, True)


def test_a_floor_is_judged_on_every_fold_unless_one_is_named(trajflow, places):
    code, out, _ = trajflow("evaluate", "--baseline", "cv", places, "--json")
    both = json.loads(out)
    assert code == 0
    assert list(both["scenes"]) == ["hall", "yard"]
    means = [scene["min_ade"] for scene in both["scenes"].values()]
    assert both["mean"]["min_ade"] == pytest.approx(sum(means) / 2)
    _, out, _ = trajflow("evaluate", "--baseline", "cv", places, "--fold", "yard", "--json")
    one = json.loads(out)
    assert one["mean"]["min_ade"] == pytest.approx(both["scenes"]["yard"]["min_ade"])


def test_what_a_run_has_learned_from_is_not_judged(trajflow, places, tmp_path):
    run = tmp_path / "run"
    trajflow("train", places, "--out", run, "--set", "data.fold=yard", *QUICK)
    code, _, said = trajflow("evaluate", run, places, "--fold", "hall")
    assert code == 2
    assert "left out fold 'yard'" in said


def test_wider_thresholds_miss_and_collide_otherwise(trajflow, places):
    words = ("evaluate", "--baseline", "cv", places, "--fold", "yard", "--json")
    near = json.loads(trajflow(*words, "--miss", 0.1, "--collide", 0.001)[1])["mean"]
    far = json.loads(trajflow(*words, "--miss", 50, "--collide", 50)[1])["mean"]
    assert near["miss_rate"] > 0.9 > far["miss_rate"]
    assert far["collision_rate"] > near["collision_rate"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "nothing.zarr"], "nowhere"),
        (["--baseline", "cvv", "DATA"], "did you mean 'cv'"),
        (["DATA"], "evaluate needs RUN DATA"),
    ],
)
def test_a_wrong_question_is_answered_with_the_way_out(trajflow, places, words, said):
    code, out, complaint = trajflow("evaluate", *[places if w == "DATA" else w for w in words])
    assert (code, out) == (2, "")
    assert said in complaint


def test_the_baselines_stand_beside_a_run_unless_left_out(trajflow, trained, fork, tmp_path):
    code, out, _ = trajflow("evaluate", trained[0], fork)
    assert code == 0
    table = out.partition("beside the baselines, on the same windows; lengths in m\n")[2]
    names = [line.split("  ")[0] for line in table.splitlines()[1:-1]]
    assert sorted(names) == ["analog", "anchors", "cv", "cv-sampled", "this run"]
    last = table.splitlines()[-1]
    assert "baseline" in last
    assert "anchors" in last
    run, words = tmp_path / "run", ("--epochs", 1, "--lr", 1e-9, *QUICK[2:])
    assert trajflow("train", fork, "--out", run, *words)[0] == 0
    last = trajflow("evaluate", run, fork)[1].splitlines()[-1]
    assert "the run does not beat the baseline anchors (energy score " in last
    again = re.escape(f"train {fork} --out {run} --resume --extend --updates ")
    assert re.search(again + r"1000$", last)
    report = json.loads(trajflow("evaluate", trained[0], fork, "--json")[1])
    alone = json.loads(trajflow("evaluate", "--baseline", "analog", fork, "--json")[1])
    for key in ("energy_score", "min_ade", "coverage_90"):
        assert report["baselines"]["analog"][key] == alone["mean"][key]
    without = trajflow("evaluate", trained[0], fork, "--no-baselines")[1]
    assert "baseline" not in without
    assert not [line for line in out.splitlines() if line.split()[-2:] == ["-", "-"]]


def test_a_run_is_evaluated_on_tracks_without_the_recordings_its_settings_name(
    trajflow, fork, tiny, tmp_path
):
    run, table, store = tmp_path / "run", tmp_path / "yard.csv", tmp_path / "yard.zarr"
    words = ("--set", 'data.validation=["train-00000", "train-00001"]', *tiny)
    assert trajflow("train", fork, "--out", run, *words)[0] == 0
    rows = [f"yard,test,{t},{0.4 * t},0" for t in range(24)]
    table.write_text("\n".join(["scene,split,frame,x,y", *rows]))
    columns = ("--dt", "0.4", "--unit", "m", "--columns", "agent=scene")
    assert trajflow("data", "import", table, "-o", store, *columns)[0] == 0
    code, out, said = trajflow("evaluate", run, store, "--no-baselines", "--json")
    assert code == 0
    assert json.loads(out)["windows"] == 5
    assert "lacks recordings of the settings of" in said


def test_a_run_that_beats_the_baselines_says_by_how_much(tmp_path):
    from trajflow.evaluation.comparison import verdict
    from trajflow.runs import RunFolder

    folder = RunFolder(tmp_path)
    assert verdict(folder, 0.9, {"cv": 2.0, "analog": 1.0}, "m", "x.zarr") == (
        "beats the best baseline, analog, by 10.0 % in energy score"
    )
