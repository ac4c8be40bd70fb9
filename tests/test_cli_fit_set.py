"""`trajflow fit RUN DATA samples`, and what evaluating and predicting make of a learned set."""

import json
import shutil

import pandas as pd
import pytest

WORDS = ("--count", 6, "--set", "samples.epochs=3", "--set", "samples.batch_size=20")


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a trained run."""
    return shutil.copytree(trained[0], tmp_path / "run")


@pytest.fixture
def fitted(trajflow, run, fork):
    """A run that has learned a set of six, and what that said."""
    code, out, said = trajflow("fit", run, fork, "samples", *WORDS, "--json")
    assert code == 0, said
    return run, json.loads(out)


def test_a_set_is_kept_in_the_run_and_said_to_be(fitted):
    run, told = fitted
    assert told["set"] == str(run / "set-6.safetensors")
    assert (run / "set-6.safetensors").is_file()
    assert told["count"] == 6
    assert 0 < told["min_ade"] < told["min_fde"]


def test_what_follows_is_said(trajflow, run, fork):
    code, out, _ = trajflow("fit", run, fork, "samples", *WORDS)
    assert code == 0
    assert f"trajflow evaluate {run} {fork} --select learned" in out


def test_an_evaluation_names_the_set_and_its_errors_are_less(trajflow, fitted, fork):
    run, _ = fitted
    terms = ("evaluate", run, fork, "--samples", 6, "--json")
    _, plain, _ = trajflow(*terms)
    code, learned, said = trajflow(*terms, "--select", "learned")
    assert code == 0, said
    plain, learned = json.loads(plain), json.loads(learned)
    assert (learned["selection"], learned["draws"]) == ("learned", 6)
    assert learned["energy_score_kind"] == "weighted"
    assert learned["mean"]["min_ade"] < plain["mean"]["min_ade"]
    kept = {path.name.split("-6x1")[1] for path in run.glob("evaluation-*-6x1*.json")}
    assert kept == {".json", "-learned-of-6.json"}


def test_predictions_carry_the_weights_of_the_set(trajflow, fitted, fork, tmp_path):
    run, _ = fitted
    out = tmp_path / "futures.csv"
    words = ("--samples", 6, "--select", "learned", "-o", out)
    code, _, said = trajflow("predict", run, fork, *words)
    assert code == 0, said
    table = pd.read_csv(out)
    shares = table.groupby(["scene", "agent", "step"])["weight"].sum()
    assert shares.to_numpy() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "train.epochs=3"), "only samples.NAME=VALUE can be set"),
        (("--set", "samples.epoch=3"), "did you mean 'samples.epochs'"),
        (("--count", "1"), "--count"),
    ],
)
def test_wrong_settings_are_refused(trajflow, run, fork, words, said):
    code, _, complaint = trajflow("fit", run, fork, "samples", *words)
    assert code == 2
    assert said in complaint
    assert not list(run.glob("set-*"))


def test_a_set_that_was_not_learned_is_asked_for(trajflow, run, fork):
    code, _, said = trajflow("evaluate", run, fork, "--select", "learned", "--samples", 6)
    assert code == 2
    assert "trajflow fit RUN DATA samples --count 6" in said


def test_a_damaged_set_is_named(trajflow, fitted, fork):
    run, _ = fitted
    path = run / "set-6.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    code, _, said = trajflow("evaluate", run, fork)
    assert code == 2
    assert str(path) in said
