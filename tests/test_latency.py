"""Latency: how cases are timed, what a floor counts, what fits a budget, what the command says."""

import json
import math
import time

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from trajflow.cli.app import app
from trajflow.errors import ConfigError, RunError
from trajflow.latency import (
    Case,
    Model,
    Times,
    choose_row,
    fit_budget,
    measure_latency,
    parse_milliseconds,
    products,
    time_in_turns,
    untrained_predictor,
    walkers,
)


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """Two threads that wait for each other on a busy machine would take these tests minutes."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


def test_products_are_counted_by_shape():
    left, right, bias = torch.ones(5, 3), torch.ones(3, 7), torch.ones(7)
    many = torch.ones(4, 5, 3)

    def call():
        left @ right
        torch.nn.functional.linear(left, right.T, bias)
        many @ right
        many @ torch.ones(4, 3, 2)

    found = products(call)
    assert found[(1, 5, 3, 7)] == 2
    assert sum(2 * math.prod(s) * n for s, n in found.items()) == 2 * (
        6 * 5 * 3 * 7 + 4 * 5 * 3 * 2
    )


def test_products_inside_layers_and_inference_mode_are_counted():
    layer, cell = torch.nn.Linear(3, 7), torch.nn.GRU(3, 2)

    @torch.inference_mode()
    def call():
        layer(torch.ones(5, 3))
        cell(torch.ones(4, 1, 3))

    found = products(call)
    assert found[(1, 5, 3, 7)] == 1
    assert sum(2 * math.prod(s) * n for s, n in found.items()) == 2 * (
        5 * 3 * 7 + 4 * (3 * 6 + 2 * 6)
    )


def test_cases_take_turns_and_are_prepared_before_each():
    calls = []
    cases = [
        Case({}, lambda n=n: calls.append(n), lambda n=n: calls.append(n.upper())) for n in "ab"
    ]
    shares = []
    times = time_in_turns(cases, 0.0, shares.append, min_turns=3)
    word = "".join(calls).replace("aa", "a").replace("bb", "b")
    while "aa" in word or "bb" in word:
        word = word.replace("aa", "a").replace("bb", "b")
    assert word.endswith("AaBb" * 3)
    assert [len(one.turns) for one in times] == [3, 3]
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])


def test_ratios_are_paired_within_a_turn():
    slow = Times([np.array([2.0]), np.array([20.0]), np.array([200.0])])
    fast = Times([np.array([1.0]), np.array([10.0]), np.array([100.0])])
    assert slow.ratio(fast) == 2


def test_a_case_that_takes_far_too_long_has_one_turn():
    cases = [Case({}, lambda: time.sleep(0.02)), Case({}, lambda: None)]
    slow, fast = time_in_turns(cases, 0.0, min_turns=4, give_up=0.01)
    assert (len(slow.turns), len(fast.turns)) == (1, 4)


def test_times_are_given_in_milliseconds():
    row = Times([np.array([0.001, 0.003]), np.array([0.002])], [0.5, 0.25, 1.0]).to_dict()
    assert row["least_ms"] == 1
    assert row["p50_ms"] == 2
    assert 2.9 < row["p99_ms"] <= 3
    assert row["cpu_ms"] == 500
    assert row["calls"] == 3


def test_sleep_takes_wall_time_and_no_cpu_time():
    (times,) = time_in_turns([Case({}, lambda: time.sleep(0.03))], 0.0)
    assert times.to_dict()["least_ms"] >= 30
    assert times.to_dict()["cpu_ms"] < 20


def test_every_number_of_agents_is_a_row_with_its_floor_and_threads_are_restored():
    before = torch.get_num_threads()
    rows = measure_latency([Model()], (1, 2), neighbors=3, samples=4, threads=(1,), seconds=0)
    assert torch.get_num_threads() == before
    assert [row["agents"] for row in rows] == [1, 2]
    assert [row["x_first"] for row in rows] == [1, 1]
    for row in rows:
        assert row["p50_ms"] >= row["least_ms"] > 0
        assert row["x_floor"] == pytest.approx(row["p50_ms"] / row["floor_ms"])


def test_a_forecast_counts_the_products_of_its_decoder():
    predictor = untrained_predictor()
    past = walkers(3, 8)
    found = products(lambda: predictor.predict(past, samples=7, seed=0))
    a = predictor.model.architecture
    least = 2 * 7 * 3 * a.decoder_depth * 4 * a.decoder_width**2
    assert least < sum(2 * math.prod(s) * n for s, n in found.items()) < 4 * least


@pytest.mark.parametrize(
    ("text", "value"), [("10ms", 10), ("0.5s", 500), ("800 us", 0.8), ("7", 7), ("2 MS", 2)]
)
def test_budgets_are_read(text, value):
    assert parse_milliseconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "ms", "-1ms", "0", "nan", "inf s", "10 min", "ten"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(ConfigError, match="a budget is a time"):
        parse_milliseconds(text)


def row(samples, precision, p99):
    return {"samples": samples, "precision": precision, "p99_ms": p99}


def test_more_samples_win_then_full_precision_then_speed():
    rows = [row(5, "fp32", 1), row(20, "int8", 2), row(20, "fp32", 8), row(20, "fp32", 6)]
    assert choose_row(rows, 9) is rows[3]
    assert choose_row(rows, 7) is rows[3]
    assert choose_row(rows, 5) is rows[1]
    assert choose_row(rows, 1.5) is rows[0]
    assert choose_row(rows, 0.5) is None


def test_fewer_samples_are_tried_where_all_are_too_slow():
    best, rows = fit_budget([Model()], 1e-6, 3, samples=8, neighbors=2, seconds=0)
    assert best is None
    assert {one["samples"] for one in rows} == {8, 4, 2}
    best, rows = fit_budget([Model()], 1e6, 3, samples=8, neighbors=2, seconds=0)
    assert best is not None
    assert {(one["samples"], one["agents"]) for one in rows} == {(8, 3)}


def run(*words):
    return CliRunner().invoke(app, ["bench", *words])


FAST = ["--agents", "1", "--neighbors", "2", "--samples", "3", "--seconds", "0.01"]


def test_the_command_prints_a_table():
    done = run(*FAST)
    assert done.exit_code == 0, done.output
    assert "x floor" in done.stdout
    assert "untrained" in done.stdout


def test_the_command_finds_what_fits_and_prints_python_that_forecasts(tmp_path):
    from trajflow.models.serialization import pack

    folder = tmp_path / "run"
    folder.mkdir()
    model = untrained_predictor().model
    (folder / "weights.safetensors").write_bytes(pack(model, {"dt": 0.4, "unit": "m"}))
    done = run(str(folder), "--budget", "1000s", *FAST, "--json")
    report = json.loads(done.stdout)
    assert report["fits"]
    assert report["chosen"]["samples"] == 3
    names = {"past": walkers(2, 8), "neighbors": walkers(1, 8)}
    before = torch.get_num_threads()
    exec("\n".join(report["code"]), names)
    torch.set_num_threads(before)
    assert names["forecast"].samples.shape == (3, 2, 12, 2)


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (["--agents", "1,x"], ConfigError, "--agents takes whole numbers"),
        (["--threads", "0"], ConfigError, "--threads takes whole numbers"),
        (["--budget", "soon"], ConfigError, "a budget is a time"),
        (["no/such/run"], RunError, "no weights at no/such/run"),
    ],
)
def test_what_cannot_be_measured_is_refused(words, error, text):
    done = run(*words)
    assert isinstance(done.exception, error)
    assert text in str(done.exception)
