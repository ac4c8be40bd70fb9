"""`trajflow compare`: what may be ranked, what may not, and what it says then."""

import json
from shutil import copytree

import pytest

from trajflow.manifest import forget


@pytest.fixture
def report_of(trajflow, fork, tmp_path):
    """Writes the report of a floor on the fork: `report_of(name, *words)`."""

    def write(name, *words):
        path = tmp_path / f"{name}{''.join(map(str, words))}.json"
        path.write_text(trajflow("evaluate", "--baseline", name, fork, *words, "--json")[1])
        return path

    return write


@pytest.fixture
def unjudged(trained, tmp_path):
    """A copy of the run without the evaluations of other tests."""
    run = copytree(trained[0], tmp_path / "run")
    for report in run.glob("evaluation-*"):
        report.unlink()
        forget(report)
    return run


def test_runs_and_floors_are_ranked_side_by_side(trajflow, unjudged, fork, report_of):
    _, out, _ = trajflow("compare", unjudged)
    assert "val (in training)" in out.splitlines()[1]
    trajflow("evaluate", unjudged, fork)
    floor = report_of("cv")
    code, out, said = trajflow("compare", unjudged, floor)
    assert (code, said) == (0, "")
    assert out.splitlines()[0].split()[:3] == ["rank", "name", "split"]
    found = json.loads(trajflow("compare", unjudged, floor, "--json")[1])
    assert [row["windows"] for row in found["rows"]] == [9, 9]
    assert found["rows"][1]["mean"] == json.loads(floor.read_text())["mean"]
    scores = {row["name"]: row["mean"]["energy_score"] for row in found["rows"]}
    ranks = [one["name"] for one in found["ranks"]]
    assert ranks == sorted(scores, key=scores.get)
    assert found["differences"] == []


def test_unlike_protocols_are_refused_with_the_field_and_the_rows(trajflow, report_of):
    reports = [report_of("cv-sampled", "--samples", count) for count in (5, 6)]
    assert trajflow("compare", reports[0], reports[0])[0] == 0
    code, out, said = trajflow("compare", *reports)
    assert (code, out) == (2, "")
    assert "samples that are judged (samples): 5 for cv-sampled, 6 for cv-sampled" in said
    assert "--anyway" in said
    assert trajflow("compare", *reports, "--json")[0] == 2


def test_unlike_protocols_are_shown_apart_and_unranked_if_wanted(trajflow, report_of):
    reports = [report_of("cv-sampled", "--samples", count) for count in (5, 6)]
    code, out, _ = trajflow("compare", *reports, report_of("cv", "--samples", 5), "--anyway")
    assert code == 0
    assert "rank" not in out
    assert out.count("not to be compared with the others") == 2
    first, second = out.split("protocol 2")
    assert [line.split()[0] for line in first.splitlines()[2:4]] == ["cv-sampled", "cv"]
    assert "samples that are judged (samples)" in second
    found = json.loads(trajflow("compare", *reports, "--anyway", "--json")[1])
    assert found["ranks"] == []
    assert len(found["differences"]) == 2


def test_two_trainings_on_one_split_are_compared_by_validation(trajflow, fork, tiny, tmp_path):
    runs = [tmp_path / name for name in "ab"]
    for seed, run in enumerate(runs):
        trajflow("train", fork, "--out", run, "--seed", seed, *tiny, "--set", "train.epochs=1")
    assert trajflow("compare", *runs)[0] == 0


def test_a_file_that_is_no_report_is_refused(trajflow, tmp_path):
    (tmp_path / "x.json").write_text('{"mean": 3}')
    code, _, said = trajflow("compare", tmp_path / "x.json")
    assert code == 2
    assert "is not a report" in said
    (tmp_path / "table.json").write_text('{"rows": 3}')
    code, _, said = trajflow("compare", tmp_path)
    assert code == 2
    assert "is not a table" in said
