"""Measurements of speed: what is counted, who takes turns, what fits, what the command says."""

import json
import math
import subprocess
import time

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from trajflow.bench.asked import Asked
from trajflow.bench.budget import choose, milliseconds, within
from trajflow.bench.chosen import chosen_sets
from trajflow.bench.evaluations import evaluations
from trajflow.bench.floor import Floor, floor_of, flops, products
from trajflow.bench.hogs import hogs
from trajflow.bench.latency import latency
from trajflow.bench.measuring import check_sections, measure, settings_kept
from trajflow.bench.network import new_model, new_predictor
from trajflow.bench.scenes import batch, scene
from trajflow.bench.subjects import Engine, Subject, check
from trajflow.bench.timing import Case, Times, take_turns
from trajflow.bench.training import training_steps
from trajflow.cli.app import app
from trajflow.errors import ConfigError, RunError
from trajflow.selection import available

QUICK = Asked(agents=(2,), neighbours=3, samples=4, draws=8, seconds=0.0, batch=6)


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """Two threads that wait for each other on a busy machine would take these tests minutes."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    monkeypatch.setattr("trajflow.bench.footprint.ROUNDS", 1)


def quietly(share):
    assert 0 <= share <= 1


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
    assert sum(map(flops, found)) >= 2 * (5 * 3 * 7 + 4 * 5 * 3 * 2)
    assert sum(flops(s) * n for s, n in found.items()) == 2 * (6 * 5 * 3 * 7 + 4 * 5 * 3 * 2)


def test_products_inside_layers_and_inference_are_counted():
    layer, cell = torch.nn.Linear(3, 7), torch.nn.GRU(3, 2)

    @torch.inference_mode()
    def call():
        layer(torch.ones(5, 3))
        cell(torch.ones(4, 1, 3))

    found = products(call)
    assert found[(1, 5, 3, 7)] == 1
    assert sum(flops(s) * n for s, n in found.items()) == 2 * (5 * 3 * 7 + 4 * (3 * 6 + 2 * 6))


def test_a_forecast_counts_its_decoder():
    predictor = new_predictor()
    a, at = predictor.model.architecture, scene(3, 0, 8, 2)
    floor = floor_of(predictor.model, lambda: predictor.predict(at.past, samples=7, seed=0))
    rows = 7 * 3
    least = 2 * rows * a.decoder_depth * 4 * a.decoder_width**2
    assert least < floor.flops < 4 * least
    assert floor.bytes >= 4 * sum(p.numel() for p in predictor.model.parameters())
    assert floor.seconds > 0
    assert floor.bandwidth > 0


def test_the_floor_is_what_takes_longer():
    assert Floor(8, 2.0, 30, 10.0).least == 3.0
    assert Floor(8, 4.0, 30, 10.0).least == 4.0


def test_cases_take_turns_and_are_prepared_before_each():
    heard = []
    some = [
        Case({}, lambda n=n: heard.append(n), lambda n=n: heard.append(n.upper())) for n in "ab"
    ]
    shares = []
    times = take_turns(some, 0.0, shares.append, least=3)
    word = "".join(heard).replace("aa", "a").replace("bb", "b")
    while "aa" in word or "bb" in word:
        word = word.replace("aa", "a").replace("bb", "b")
    assert word.endswith("AaBb" * 3)
    assert [len(one.turns) for one in times] == [3, 3]
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])


def test_ratios_are_paired_within_a_turn():
    slow = Times([np.array([2.0]), np.array([20.0]), np.array([200.0])])
    quick = Times([np.array([1.0]), np.array([10.0]), np.array([100.0])])
    assert slow.over(quick) == 2


def test_the_hopeless_have_one_turn():
    some = [Case({}, lambda: time.sleep(0.02)), Case({}, lambda: None)]
    slow, quick = take_turns(some, 0.0, least=4, hopeless=0.01)
    assert (len(slow.turns), len(quick.turns)) == (1, 4)
    assert slow.over(quick) > 1


def test_times_are_told_in_milliseconds():
    told = Times([np.array([0.001, 0.003]), np.array([0.002])], [0.5, 0.25, 1.0]).to_dict()
    assert told["least_ms"] == 1
    assert told["p50_ms"] == 2
    assert 2.9 < told["p99_ms"] <= 3
    assert told["cpu_ms"] == 500
    assert told["calls"] == 3


def test_sleep_takes_the_time_it_takes():
    (times,) = take_turns([Case({}, lambda: time.sleep(0.03))], 0.0)
    assert times.to_dict()["least_ms"] >= 30
    assert times.to_dict()["cpu_ms"] < 20


def test_hogs_pause_go_on_and_end():
    with hogs(2) as some:
        processes = some._processes
        before = [_cpu(one.pid) for one in processes]
        some.go_on()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and min(_cpu(p.pid) for p in processes) <= max(before):
            time.sleep(0.02)
        assert all(_cpu(one.pid) > was for one, was in zip(processes, before, strict=True))
        some.pause()
        time.sleep(0.1)
        still = [_cpu(one.pid) for one in processes]
        time.sleep(0.2)
        assert [_cpu(one.pid) for one in processes] == still
    assert all(one.returncode is not None for one in processes)


def _cpu(pid: int) -> int:
    """Ticks of the processor that a process had."""
    told = subprocess.run(["ps", "-o", "cputimes=,stat=", "-p", str(pid)], capture_output=True)
    try:
        with open(f"/proc/{pid}/stat") as file:
            words = file.read().rsplit(")", 1)[1].split()
    except OSError:
        pytest.skip(f"no /proc here, and ps says {told.stdout!r}")
    return int(words[11]) + int(words[12])


def test_every_kernel_and_agent_count_is_a_row_with_its_floor():
    rows = latency([Subject()], Asked(agents=(1, 2), neighbours=3, samples=4, seconds=0), quietly)
    assert {row["agents"] for row in rows} == {1, 2}
    assert rows[0]["over_first"] == 1
    for row in rows:
        assert row["p50_ms"] >= row["least_ms"] > 0
        assert row["over_floor"] == pytest.approx(row["p50_ms"] / row["floor_ms"])


def test_hogged_calls_stand_beside_quiet_ones():
    rows = latency([Subject()], Asked(agents=(1,), neighbours=0, samples=2, seconds=0, hog=1),
                   quietly)  # fmt: skip
    assert {row["hogs"] for row in rows} == {0, 1}
    assert all(("over_quiet" in row) == bool(row["hogs"]) for row in rows)


def test_a_kernel_of_single_precision_agrees():
    engine = Subject().engines((1,), ("medium",))[0]
    with settings_kept():
        assert check(engine, scene(2, 1, 8, 2)) < 1e-2


def test_settings_of_torch_are_kept():
    before = torch.get_float32_matmul_precision(), torch.get_num_threads()
    with settings_kept():
        Engine(Subject(), 1, "medium").prepare()
        assert torch.get_float32_matmul_precision() == "medium"
    assert (torch.get_float32_matmul_precision(), torch.get_num_threads()) == before


def test_every_rule_stands_beside_plain_draws():
    rows = chosen_sets([Subject()], QUICK, quietly)
    assert {row["rule"] for row in rows} == {"plain", "drawing alone", *available()}
    assert rows[0]["over_plain"] == 1
    assert all(row["over_plain"] > 0 and row["floor_ms"] > 0 for row in rows)


def test_training_steps_stand_beside_flow_matching():
    rows = training_steps(QUICK, quietly)
    assert rows[0]["preset"] == "flow"
    assert rows[0]["over_flow"] == 1
    assert {(row["preset"], row["r_below_t"]) for row in rows} >= {("mmf", 0.25), ("mmf", 0.5)}
    assert all(row["steps_per_s"] > 0 for row in rows)


def test_more_evaluations_take_longer():
    rows = evaluations([Subject()], QUICK, quietly)
    assert [row["evaluations"] for row in rows] == [1, 10, 100]
    assert rows[0]["over_one"] == 1
    assert rows[2]["over_one"] > rows[1]["over_one"] > 1
    assert "energy_score" not in rows[0]


@pytest.mark.parametrize(
    ("text", "value"), [("10ms", 10), ("0.5s", 500), ("800 us", 0.8), ("7", 7), ("2 MS", 2)]
)
def test_budgets_are_read(text, value):
    assert milliseconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "ms", "-1ms", "0", "nan", "inf s", "10 min", "ten"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(ConfigError, match="a budget is a time"):
        milliseconds(text)


def row(samples, precision, p99):
    return {"samples": samples, "precision": precision, "p99_ms": p99}


def test_of_what_fits_more_samples_then_precision_then_speed_are_taken():
    rows = [row(5, "fp32", 1), row(20, "int8", 2), row(20, "fp32", 8), row(20, "fp32 medium", 6)]
    assert choose(rows, 9) == (True, rows[3])
    assert choose(rows, 7) == (True, rows[3])
    assert choose(rows, 5) == (True, rows[1])
    assert choose(rows, 1.5) == (True, rows[0])
    assert choose(rows, 0.5) == (False, rows[0])


def test_fewer_samples_are_tried_where_all_are_too_many():
    asked = Asked(neighbours=2, samples=8, seconds=0)
    choice, rows = within([Subject()], 1e-6, 3, asked, quietly)
    assert not choice.fits
    assert {one["samples"] for one in rows} == {8, 4, 2}
    choice, rows = within([Subject()], 1e6, 3, asked, quietly)
    assert choice.fits
    assert {one["samples"] for one in rows} == {8}
    assert {one["agents"] for one in rows} == {3}


def test_the_lines_of_a_choice_are_python_that_forecasts(tmp_path):
    from trajflow.weights import pack

    run = tmp_path / "run"
    run.mkdir()
    (run / "weights.safetensors").write_bytes(pack(new_model(), {"dt": 0.4, "unit": "m"}))
    choice, _ = within([Subject(run)], 1e6, 2, Asked(neighbours=1, samples=3, seconds=0), quietly)
    at = scene(2, 1, 8, 2)
    names = {"past": at.past, "neighbours": at.neighbours}
    with settings_kept():
        exec("\n".join(choice.lines), names)
    assert names["forecast"].samples.shape == (3, 2, 12, 2)


def test_unknown_sections_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'latency'"):
        check_sections(["latncy"])


def test_a_report_says_machine_and_terms():
    told = []
    report = measure([Subject()], ["sets"], QUICK, lambda name, share: told.append((name, share)))
    assert report["machine"]["torch"] == torch.__version__
    assert report["asked"]["samples"] == 4
    assert [name for name in report["sections"]] == ["sets"]
    assert told[0] == ("sets", 0)
    assert told[-1] == ("sets", 1)
    json.dumps(report, allow_nan=False)


def test_walkers_are_finite_and_as_many_as_asked():
    at = scene(4, 3, 8, 2)
    assert at.past.shape == (4, 8, 2)
    assert at.neighbours.shape == (3, 8, 2)
    some = batch(5, 3, 8, 12)
    assert some.targets == 15
    assert np.isfinite(some.past).all()
    assert np.isfinite(some.future).all()


def run(*words):
    return CliRunner().invoke(app, ["bench", *words])


FAST = ["--agents", "1", "--neighbours", "2", "--samples", "3", "--draws", "6", "--seconds", "0.01"]


def test_the_command_prints_a_table_and_keeps_a_report(tmp_path):
    out = tmp_path / "report.json"
    done = run("--show", "latency,sets", *FAST, "-o", str(out))
    assert done.exit_code == 0, done.output
    assert "x floor" in done.stdout
    assert "kmeans" in done.stdout
    kept = json.loads(out.read_text())
    assert set(kept["sections"]) == {"latency", "sets"}
    assert not list(tmp_path.glob("*.partial"))


def test_the_command_finds_what_fits_and_says_how():
    done = run("--budget", "1000s", *FAST, "--json")
    told = json.loads(done.stdout)
    assert told["fits"]
    assert told["chosen"]["samples"] == 3
    assert any("predictor.predict(" in line for line in told["code"])
    assert all(math.isfinite(one["p99_ms"]) for one in told["tried"])


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (["--show", "speed"], ConfigError, "no section 'speed'"),
        (["--agents", "1,x"], ConfigError, "--agents takes numbers"),
        (["--threads", "0"], ConfigError, "--threads takes numbers"),
        (["--budget", "soon"], ConfigError, "a budget is a time"),
        (["no/such/run"], RunError, "no weights at no/such/run"),
    ],
)
def test_what_cannot_be_measured_is_refused(words, error, text):
    done = run(*words)
    assert isinstance(done.exception, error)
    assert text in str(done.exception)


def test_footprints_are_of_fresh_processes():
    from trajflow.bench.footprint import footprint

    (told,) = footprint([Subject()], QUICK, quietly)
    assert told["import_ms"] > 1
    assert told["memory_mb"] > told["import_mb"] > 10
