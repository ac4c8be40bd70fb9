"""`trajflow runs` lists the runs below a folder, without torch."""

import json
import shutil

import pytest
from tui_support import make_run, started, step, whole_training

from trajflow.library import read_store


@pytest.fixture
def shelf(tmp_path, fork):
    """A folder with a finished run on a store beside it, a stopped one and a damaged one."""
    shutil.copytree(fork, tmp_path / "fork.zarr")
    fingerprint = read_store(tmp_path / "fork.zarr").fingerprint
    make_run(tmp_path / "a" / "whole", whole_training(), learned=fingerprint, age=9000)
    make_run(tmp_path / "early", [started(), step(5)], record={"dt": 9.0, "dims": 3}, age=1000)
    (make_run(tmp_path / "bad", age=5000) / "run.json").write_text("{")
    return tmp_path


def test_runs_are_listed_with_scores_and_the_newest_first(trajflow, shelf):
    code, out, said = trajflow("runs", shelf)
    lines = out.splitlines()
    assert code == 0
    header = "run state epoch energy score minADE minFDE coverage@90 data split age"
    assert lines[0].split() == header.split()
    whole = next(line for line in lines if line.startswith("a/whole"))
    assert {"done", "5/5", "0.4", "fork.zarr", "2:30:00"} <= set(whole.split())
    assert [line.split()[0] for line in lines[1:]] == ["bad", "early", "a/whole"]
    assert "damaged" in out
    assert "bad is damaged:" in said


def test_json_has_every_column_and_null_for_missing_values(trajflow, shelf):
    code, out, _ = trajflow("runs", shelf, "--sort", "energy_score", "--json")
    rows = json.loads(out)["runs"]
    assert code == 0
    assert rows[0]["name"] == "whole"
    assert rows[0]["energy_score"] == pytest.approx(0.4)
    assert (rows[0]["state"], rows[0]["data"], rows[0]["epoch"]) == ("done", "fork.zarr", 5.0)
    early = next(row for row in rows if row["name"] == "early")
    assert (early["energy_score"], early["data"], early["state"]) == (None, None, "stopped")


def test_a_run_folder_is_listed_by_its_own_name(trajflow, shelf):
    _, out, _ = trajflow("runs", shelf / "a" / "whole")
    assert out.splitlines()[1].startswith("whole ")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("nowhere",), "no folder nowhere; give a folder with runs below it"),
        ((".", "--sort", "minade"), "no column 'minade'; did you mean 'min_ade'?"),
        (("s3://bucket/runs",), "copy s3://bucket/runs to this machine first"),
    ],
)
def test_what_cannot_be_listed_is_refused(trajflow, words, hint):
    code, out, said = trajflow("runs", *words)
    assert (code, out, said.count("\n")) == (2, "", 1)
    assert hint in said


def test_a_folder_without_runs_names_the_command_that_makes_one(trajflow, tmp_path):
    code, out, said = trajflow("runs", tmp_path)
    assert (code, out) == (0, "")
    assert "trajflow train DATA" in said
    assert json.loads(trajflow("runs", tmp_path, "--json")[1])["runs"] == []
