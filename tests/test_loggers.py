"""`trajflow train --log`: losses and scores in a file or a tracker."""

import csv
import json
import os

import pytest

from trajflow.errors import ConfigError
from trajflow.training.events import Evaluated, Finished, Step, TemperatureChosen
from trajflow.training.loggers import log_events

EVENTS = (
    Step(1, 0.1, epoch=0.5, loss=2.0, weight=0.1, lr=1e-3, eta=9.0),
    Evaluated(2, 0.2, epoch=1.0, metrics={"energy_score": 0.5, "min_ade": 0.4}, best=True),
    TemperatureChosen(2, 0.3, temperature=1.2, metrics={"energy_score": 0.45}),
    Finished(2, 0.4, reason="done", best_energy_score=0.5, best_step=2),
)


def test_csv_has_what_the_run_says(trajflow, fork, tiny, tmp_path):
    run = tmp_path / "run"
    assert trajflow("train", fork, "--out", run, *tiny, "--log", "csv")[0] == 0
    with (run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    scores = [float(r["value"]) for r in rows if r["name"] == "validation/energy_score"]
    events = map(json.loads, (run / "events.jsonl").read_text().splitlines())
    assert scores == [e["metrics"]["energy_score"] for e in events if e["event"] == "evaluated"]
    assert {"train/loss", "train/lr", "final/energy_score"} <= {row["name"] for row in rows}


def test_a_resumed_training_goes_on_in_the_same_csv(tmp_path):
    for part in (EVENTS[:1], EVENTS[1:]):
        assert list(log_events(part, ["csv", "csv"], tmp_path)) == list(part)
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert rows[0] == "step,name,value"
    assert rows[1:] == [
        "1,train/loss,2.0",
        "1,train/lambda,0.1",
        "1,train/lr,0.001",
        "2,validation/energy_score,0.5",
        "2,validation/min_ade,0.4",
        "2,final/energy_score,0.45",
    ]


def test_tensorboard_has_the_scores(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    list(log_events(EVENTS, ["tensorboard"], tmp_path))
    read = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [s.value for s in read.Scalars("validation/energy_score")] == [0.5]


def test_mlflow_has_the_scores(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    list(log_events(EVENTS, ["mlflow"], tmp_path / "walk"))
    (run,) = mlflow.MlflowClient().search_runs(["0"])
    assert (run.info.run_name, run.info.status) == ("walk", "FINISHED")
    assert run.data.metrics["validation/energy_score"] == 0.5
    assert run.data.metrics["train/loss"] == 2.0


def test_mlflow_without_a_server_keeps_its_files_with_each_run(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    mlflow.set_tracking_uri(None)
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        list(log_events(EVENTS, ["mlflow"], tmp_path / name))
        uri = (tmp_path / name / "mlruns").as_uri()
        (run,) = mlflow.MlflowClient(tracking_uri=uri).search_runs(["0"])
        assert run.data.metrics["validation/energy_score"] == 0.5
    assert sorted(os.listdir()) == ["one", "two"]


def test_wandb_keeps_an_offline_run_with_the_run(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    list(log_events(EVENTS, ["wandb"], tmp_path))
    wandb.teardown()  # its service process writes the file in the background until it ends
    (kept,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"validation/energy_score" in kept.read_bytes()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--log", "csvv"), "no logger 'csvv'; did you mean 'csv'?"),
        (("--log", "csv,missing_here"), "no logger 'missing_here'"),
    ],
)
def test_a_logger_that_is_not_there_is_refused_first(trajflow, fork, tmp_path, words, hint):
    code, _, said = trajflow("train", fork, "--out", tmp_path / "run", *words)
    assert (code, said.count("\n")) == (2, 1)
    assert hint in said
    assert os.listdir(tmp_path) == []


def test_a_logger_that_cannot_be_opened_is_one_sentence(tmp_path):
    (tmp_path / "log.csv").mkdir()
    with pytest.raises(ConfigError, match=r"the logger csv cannot be opened: .*log.csv.*--log csv"):
        list(log_events(EVENTS, ["csv"], tmp_path))


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_names_its_extra(trajflow, fork, tmp_path, monkeypatch, name):
    monkeypatch.setitem(__import__("sys").modules, name, None)
    code, _, said = trajflow("train", fork, "--out", tmp_path / "run", "--log", name)
    assert (code, said.count("\n")) == (2, 1)
    assert f"pip install 'trajflow[{'log' if name == 'tensorboard' else name}]'" in said
    assert os.listdir(tmp_path) == []
