"""`trajflow evaluate` as a person and as a program meet it."""

import json

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
    """Two recordings with a part to learn from and one to choose by, a fold each, no test part."""
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
