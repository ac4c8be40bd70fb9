"""`trajflow benchmark` as a person meets it: one command, asked again until all is there."""

import json

import pytest

SMALL = ("model.width=16", "model.decoder_width=16", "model.decoder_depth=1", "train.batch_size=20")
WORDS = [word for name in (*SMALL, "train.epochs=1", "train.samples=5") for word in ("--set", name)]


@pytest.fixture
def places(store_of):
    walks = [range(60), range(5, 50), range(30, 55)]
    scenes = {f"{name}-{part}": (part, walks) for name in "ab" for part in ("train", "val")}
    return store_of(scenes, {name: [f"{name}-train", f"{name}-val"] for name in "ab"}).path


def test_one_command_trains_judges_and_tabulates(trajflow, places, tmp_path):
    results = tmp_path / "results"
    words = ("benchmark", "ethucy", places, "-o", results, "--folds", "b", "--seeds", 1)
    words += ("--presets", "mmf", "--floors", "cv", "--device", "cpu", "--jobs", 2, *WORDS)
    code, out, said = trajflow(*words)
    assert code == 0, said
    assert [line.split()[0] for line in out.splitlines()] == ["method", "cv", "mmf"]
    events = (results / "runs" / "b-mmf-0" / "events.jsonl").read_bytes()
    text = (results / "table.md").read_text()
    assert "| 1" in text
    assert "trajflow benchmark ethucy tracks.zarr --folds b" in text
    code, again, _ = trajflow(*words)
    assert (code, again) == (0, out)
    assert (results / "runs" / "b-mmf-0" / "events.jsonl").read_bytes() == events
    (results / "table.md").unlink()
    code, table, _ = trajflow("benchmark", "ethucy", "gone.zarr", "-o", results, "--stage", "table")
    assert (code, table) == (0, out)
    assert (results / "table.md").read_text() == text
    code, _, said = trajflow(*words, "--set", "train.lr=0.5")
    assert code == 2
    assert "train.lr" in said
    code, compared, _ = trajflow("compare", results, "--json")
    assert code == 0
    assert [len(json.loads(compared)[name]) for name in ("rows", "ranks", "differences")] == [
        2,
        2,
        0,
    ]
    assert trajflow("compare", results / "runs" / "b-mmf-0", results)[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ethuci", "DATA"], "did you mean 'ethucy'"),
        (["ethucy", "none.zarr"], "no store at"),
        (["ethucy", "DATA", "--folds", "c"], "no fold 'c'"),
        (["ethucy", "DATA", "--steps", "1,x"], "--steps needs numbers"),
        (["ethucy", "DATA", "--stage", "trian"], "did you mean 'train'"),
        (["ethucy", "DATA", "--stage", "table"], "has no plan.json"),
        (["sdd", "DATA"], "--columns split="),
    ],
)
def test_a_wrong_wish_is_answered_with_the_way_out(trajflow, places, tmp_path, words, said):
    asked = [places if word == "DATA" else word for word in words]
    code, out, complaint = trajflow("benchmark", *asked, "-o", tmp_path / "out")
    assert (code, out) == (2, "")
    assert said in complaint
    assert not (tmp_path / "out").exists()
