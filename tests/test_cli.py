"""The command line as a person and as a program meet it."""

import io
import json
import logging
import shutil
import signal
import subprocess
import sys
import tomllib
import warnings

import pandas as pd
import pytest

from trajflow.cli import main
from trajflow.cli.progress import Progress, span
from trajflow.cli.streams import listen, paint, say_json
from trajflow.cli.tables import pairs, table
from trajflow.errors import DataProblem, TrajflowWarning


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def trajflow(capsys):
    """Run a command in this process: its exit code, what it printed and what it said."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(list(map(str, words)))
        out, said = capsys.readouterr()
        return int(left.value.code or 0), out, said

    return run


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="module")
def fork(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "fork.zarr"
    sizes = ["--set", "train=40", "--set", "val=12", "--set", "test=9"]
    with pytest.raises(SystemExit) as left:
        main(["data", "make", "fork", "-o", str(path), "--seed", "3", *sizes])
    assert not left.value.code
    return path


def test_without_arguments_the_help_is_shown(trajflow):
    code, out, said = trajflow()
    assert code == 2
    assert "Usage: trajflow" in out + said
    assert trajflow("--help")[0] == 0


def test_every_command_has_help(trajflow):
    names = ["train", "evaluate", "compare", "predict", "plot", "doctor"]
    data = [["data", name] for name in ("import", "make", "info", "check", "plot")]
    for words in [*([name] for name in names), *data]:
        code, out, _ = trajflow(*words, "--help")
        assert code == 0
        assert f"Usage: trajflow {' '.join(words)}" in out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["trian"], "Did you mean 'train'?"),
        (["data", "imprt"], "Did you mean 'import'?"),
        (["train", "x.zarr", "--sede", "1"], "--seed"),
    ],
)
def test_a_misspelt_word_gets_a_suggestion(trajflow, words, hint):
    code, out, said = trajflow(*words)
    assert (code, out) == (2, "")
    assert hint in said


def test_a_known_error_is_one_line_on_stderr(trajflow, tmp_path):
    code, out, said = trajflow("data", "info", tmp_path / "none.zarr")
    assert (code, out) == (2, "")
    assert said.startswith("error: no store at ")
    assert said.count("\n") == 1


def test_an_error_cannot_speak_to_the_terminal(trajflow, tmp_path):
    _, _, said = trajflow("data", "info", tmp_path / "a\x1b]0;owned\x07b\n.zarr")
    assert "\\x1b]0;owned\\x07b" in said
    assert not set(said) & set("\x1b\x07")
    assert said.count("\n") == 1


def test_the_error_decides_the_exit_code(trajflow, monkeypatch):
    def refuse(path):
        raise DataProblem("seven jumps")

    monkeypatch.setattr("trajflow.datasets.store.open_store", refuse)
    assert trajflow("data", "info", "x.zarr") == (3, "", "error: seven jumps\n")


def test_an_unknown_error_keeps_its_traceback(monkeypatch):
    def break_down(path):
        raise ZeroDivisionError

    monkeypatch.setattr("trajflow.datasets.store.open_store", break_down)
    with pytest.raises(ZeroDivisionError):
        main(["data", "info", "x.zarr"])


def test_an_interrupt_is_130(trajflow, monkeypatch):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("trajflow.datasets.store.open_store", interrupt)
    assert trajflow("data", "info", "x.zarr")[0] == 130


def test_python_m_is_the_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "trajflow", "data", "info", "none.zarr"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no store at none.zarr")


def test_shells_are_completed(tmp_path):
    words = {"_TRAJFLOW_COMPLETE": "complete_bash", "COMP_WORDS": "trajflow tr", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from trajflow.cli import main; main()"],
        env=words,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["train"]


def test_made_data_can_be_looked_at(trajflow, fork):
    code, out, _ = trajflow("data", "info", fork, "--json")
    known = json.loads(out)
    assert code == 0
    assert known["splits"] == {"train": 800, "val": 240, "test": 180}
    assert known["history"] == (
        "trajflow data make fork --seed 3 --set train=40 --set val=12 --set test=9"
    )
    assert "61 recordings" in trajflow("data", "info", fork)[1]


def test_equal_seeds_make_equal_stores(trajflow, fork, tmp_path):
    sizes = ["--set", "train=40", "--set", "val=12", "--set", "test=9", "--json"]
    made = {}
    for seed in (3, 4):
        path = tmp_path / f"{seed}.zarr"
        made[seed] = json.loads(
            trajflow("data", "make", "fork", "-o", path, "--seed", seed, *sizes)[1]
        )["fingerprint"]
    assert made[3] == json.loads(trajflow("data", "info", fork, "--json")[1])["fingerprint"]
    assert made[3] != made[4]


def test_a_store_is_not_overwritten_unasked(trajflow, fork):
    code, _, said = trajflow("data", "make", "fork", "-o", fork)
    assert code == 2
    assert "exists" in said


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_data_is_drawn(trajflow, fork, tmp_path, suffix):
    path = tmp_path / f"tracks.{suffix}"
    code, out, _ = trajflow("data", "plot", fork, "-o", path, "--most", "4")
    assert (code, out) == (0, f"{path}\n")
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")


def test_a_picture_of_unknown_kind_is_refused_first(trajflow, tmp_path):
    code, _, said = trajflow("data", "plot", tmp_path / "none.zarr", "-o", tmp_path / "x.bmp")
    assert code == 2
    assert ".png, .svg" in said


def walk(path, jump=0.0):
    """A CSV of two walkers, 30 steps of 0.5 s; the second one may jump away and back."""
    rows = ["id,t,lon,lat"]
    for step in range(30):
        rows.append(f"a,{step * 0.5},{step * 0.6},{0.01 * step}")
        rows.append(f"b,{step * 0.5},{step * 0.5},{5 + jump * (step == 15)}")
    path.write_text("\n".join(rows) + "\n")
    return path


COLUMNS = ("--columns", "agent=id,time=t,x=lon,y=lat")


def test_a_table_is_imported_by_column_names(trajflow, tmp_path):
    table = walk(tmp_path / "walk.csv")
    words = (
        "data",
        "import",
        "table",
        table,
        "-o",
        tmp_path / "walk.zarr",
        *COLUMNS,
        "--unit",
        "m",
    )
    code, out, said = trajflow(*words)
    assert code == 0
    assert out.startswith("60 of 60 rows kept: 2 trajectories in 1 scenes")
    assert said.startswith("wrote ")
    known = json.loads(trajflow("data", "info", tmp_path / "walk.zarr", "--json")[1])
    assert (known["dt"], known["unit"], known["rows"]) == (0.5, "m", 60)
    assert known["history"].startswith("trajflow data import table walk.csv --unit m --columns ")


def test_a_problem_is_set_apart_or_refused_as_asked(trajflow, tmp_path):
    table, out = walk(tmp_path / "walk.csv", jump=1e4), tmp_path / "walk.zarr"
    words = ("data", "import", "table", table, "-o", out, *COLUMNS)
    code, printed, said = trajflow(*words, "--on-problem", "teleport=refuse")
    assert (code, printed) == (3, "")
    assert "teleport" in said
    assert not out.exists()
    code, printed, _ = trajflow(*words, "--json")
    report = json.loads(printed)
    assert code == 0
    assert report["quarantined"] == {"teleport": 1}
    assert trajflow(*words, "--overwrite", "--on-problem", "refuse")[0] == 3
    assert json.loads(trajflow("data", "info", out, "--json")[1])["rows"] == report["rows_kept"]


def test_misspelt_columns_and_policies_name_the_option(trajflow, tmp_path):
    words = ("data", "import", "table", walk(tmp_path / "w.csv"), "-o", tmp_path / "w.zarr")
    assert "--columns needs NAME=VALUE, got 'lon'" in trajflow(*words, "--columns", "lon")[2]
    assert "did you mean 'teleport'" in trajflow(*words, "--on-problem", "telport=refuse")[2]


def test_a_damaged_store_is_found(trajflow, fork, tmp_path):
    assert trajflow("data", "check", fork)[0] == 0
    copy = shutil.copytree(fork, tmp_path / "copy.zarr")
    chunk = next(path for path in (copy / "x").rglob("c/*") if path.is_file())
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    code, out, _ = trajflow("data", "check", copy)
    assert code == 3
    assert out.startswith("error    files  damaged store")
    assert (
        json.loads(trajflow("data", "check", copy, "--json")[1])["findings"][0]["level"] == "error"
    )


def test_the_doctor_says_what_was_found(trajflow, fork):
    code, out, _ = trajflow("doctor", fork, "--json")
    findings = {finding["code"]: finding["level"] for finding in json.loads(out)["findings"]}
    assert code == 0
    assert findings["unit"] == "ok"
    lines = trajflow("doctor", fork, "--horizon", "99")[1].splitlines()
    assert [line.split()[0] for line in lines] == sorted(
        (line.split()[0] for line in lines), key=["error", "warning", "note", "ok"].index
    )


TINY = [
    word
    for setting in (
        "model.width=16",
        "model.decoder_width=16",
        "model.decoder_depth=1",
        "train.epochs=2",
        "train.batch=20",
        "train.samples=5",
    )
    for word in ("--set", setting)
]


@pytest.fixture(scope="module")
def trained(fork, tmp_path_factory):
    """A run of two epochs, and what its training printed and said."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    done = subprocess.run(
        [sys.executable, "-m", "trajflow", "train", fork, "--out", path, "--seed", "5", *TINY],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return path, done.stdout, done.stderr


def test_training_talks_on_stderr_and_ends_on_stdout(trained, fork):
    path, out, said = trained
    assert out.splitlines()[0].split() == ["run", str(path)]
    assert f"trajflow evaluate {path} {fork}" in out
    assert "weights on cpu, 4 steps of 2 epochs" in said
    assert [line.split()[:2] for line in said.splitlines() if line.startswith("epoch ")] == [
        ["epoch", "1.0"],
        ["epoch", "2.0"],
    ]
    assert tomllib.loads((path / "config.toml").read_text())["train"]["seed"] == 5


def test_a_finished_run_is_resumed_to_its_end_at_once(trajflow, trained, fork):
    code, out, said = trajflow("train", fork, "--out", trained[0], "--resume", "--json")
    assert code == 0
    assert json.loads(out)["steps"] == 4
    assert "from step 4" in said


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ([], "exists"),
        (["--resume", "--seed", "1"], "keeps its settings"),
        (["--resume", "--set", "train.epochs=3"], "keeps its settings"),
    ],
)
def test_a_run_is_never_overwritten_nor_bent(trajflow, trained, fork, words, hint):
    code, _, said = trajflow("train", fork, "--out", trained[0], *words)
    assert code == 2
    assert hint in said


def test_other_tracks_cannot_resume_a_run(trajflow, trained, tmp_path):
    other = tmp_path / "other.zarr"
    sizes = ["--set", "train=40", "--set", "val=12", "--set", "test=9"]
    trajflow("data", "make", "fork", "-o", other, "--seed", "4", *sizes)
    code, _, said = trajflow("train", other, "--out", trained[0], "--resume")
    assert code == 2
    assert "does not hold the tracks" in said


def test_a_misspelt_setting_gets_a_suggestion(trajflow, fork, tmp_path):
    words = ("train", fork, "--out", tmp_path / "run")
    assert "did you mean 'train.epochs'" in trajflow(*words, "--set", "train.epoch=3")[2]
    assert "did you mean 'transformer'" in trajflow(*words, "--encoder", "transfromer")[2]
    assert "did you mean 'meanflow'" in trajflow(*words, "--preset", "menflow")[2]
    assert not (tmp_path / "run").exists()


def test_runs_without_a_name_get_one_that_is_free(tmp_path):
    from trajflow.cli.training import free_path

    assert free_path(tmp_path / "a") == tmp_path / "a"
    (tmp_path / "a").mkdir()
    (tmp_path / "a-2").mkdir()
    assert free_path(tmp_path / "a") == tmp_path / "a-3"


def test_an_interrupted_training_saves_and_goes_on(fork, tmp_path):
    path = tmp_path / "run"
    words = [sys.executable, "-m", "trajflow", "train", fork, "--out", path, *TINY]
    words += ["--set", "train.epochs=100000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        while "epoch" not in (job.stderr.readline() or "epoch"):
            pass
        job.send_signal(signal.SIGINT)
        out, said = job.communicate(timeout=60)
    assert job.returncode == 130
    assert "stopping after this step" in said
    assert f"trajflow train {fork} --out {path} --resume" in out
    assert (path / "resume.pt").is_file()


def test_forecasts_are_written(trajflow, trained, fork, tmp_path):
    words = ("predict", trained[0], fork, "--samples", "3", "--seed", "1")
    code, out, _ = trajflow(*words, "-o", tmp_path / "a.csv")
    assert (code, out) == (0, f"{tmp_path / 'a.csv'}\n")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "scene,agent,sample,step,time,x,y"
    assert len(lines) == 1 + 61 * 3 * 12
    trajflow(*words, "-o", tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text().splitlines() == lines
    assert trajflow(*words, "-o", tmp_path / "a.csv")[0] == 2


def test_a_table_is_forecast_without_a_store(trajflow, trained, tmp_path):
    table = tmp_path / "walk.csv"
    rows = [f"a,{0.4 * step:.1f},{0.5 * step},0" for step in range(9)]
    table.write_text("\n".join(["agent,time,x,y", *rows]) + "\n")
    out = tmp_path / "out.parquet"
    code, _, said = trajflow("predict", trained[0], table, "-o", out)
    assert (code, said) == (0, "")
    assert pd.read_parquet(out).step.max() == 8 + 12
    table.write_text("\n".join(["agent,time,x,y", *rows, "a,3.6,1e6,0"]) + "\n")
    _, _, said = trajflow("predict", trained[0], table, "-o", tmp_path / "late.parquet")
    assert said.startswith("warning: rows that were left out: teleport 1")


def test_tracks_of_other_steps_are_refused(trajflow, trained, tmp_path):
    code, _, said = trajflow(
        "predict", trained[0], walk(tmp_path / "walk.csv"), "-o", tmp_path / "a.csv", *COLUMNS
    )
    assert code == 2
    assert "every 0.4 s" in said
    assert "every 0.5 s" in said
    assert not (tmp_path / "a.csv").exists()


def test_forecasts_are_drawn(trajflow, trained, fork, tmp_path):
    path = tmp_path / "forecasts.png"
    code, out, _ = trajflow("plot", trained[0], fork, "-o", path, "--panels", "4")
    assert (code, out) == (0, f"{path}\n")
    assert path.stat().st_size > 10_000
    words = ("plot", trained[0], fork, "-o", path, "--scene")
    assert "did you mean 'test-00003'" in trajflow(*words, "tset-00003")[2]
    assert "part 'test'" in trajflow(*words, "train-00003")[2]


def test_runs_and_floors_stand_side_by_side(trajflow, trained, fork, tmp_path):
    _, out, said = trajflow("compare", trained[0])
    assert "val (in training)" in out.splitlines()[1]
    trajflow("evaluate", trained[0], fork)
    report = tmp_path / "cv.json"
    report.write_text(trajflow("evaluate", "--baseline", "cv", fork, "--json")[1])
    code, out, said = trajflow("compare", trained[0], report)
    assert (code, said) == (0, "")
    names, run, floor = (line.split("  ") for line in out.splitlines())
    assert [run[0], floor[0].strip()] == [str(trained[0]), "cv"]
    assert "minADE" in [name.strip() for name in names]
    rows = json.loads(trajflow("compare", trained[0], report, "--json")[1])["rows"]
    assert [row["windows"] for row in rows] == [9, 9]
    assert rows[1]["mean"] == json.loads(report.read_text())["mean"]


def test_unlike_protocols_are_compared_with_a_warning(trajflow, fork, tmp_path):
    reports = []
    for samples in (5, 6):
        reports.append(tmp_path / f"{samples}.json")
        words = ("evaluate", "--baseline", "cv-sampled", fork, "--samples", samples, "--json")
        reports[-1].write_text(trajflow(*words)[1])
    assert trajflow("compare", reports[0], reports[0])[2] == ""
    assert trajflow("compare", *reports)[2].startswith("warning: these were not all judged")


def test_a_file_that_is_no_report_is_refused(trajflow, tmp_path):
    (tmp_path / "x.json").write_text('{"mean": 3}')
    code, _, said = trajflow("compare", tmp_path / "x.json")
    assert code == 2
    assert "is not a report" in said


def test_tables_align_words_left_and_numbers_right():
    text = table(["scene", "n", "ade"], [["eth", 364, 0.53], ["東京", 7, float("nan")]])
    assert text.splitlines() == ["scene    n   ade", "eth    364  0.53", "東京     7     -"]


def test_tables_pass_no_control_characters():
    assert "\x1b" not in table(["a\x1b"], [["b\x1b"]]) + pairs({"c": "\x1b"})


def test_an_empty_table_is_its_header():
    assert table(["a", "b"], []) == "a  b"


def test_json_has_no_numbers_that_json_has_not(capsys):
    import numpy as np

    say_json({"a": float("nan"), "b": np.arange(2), "c": {"d": np.float64(0.5)}, "e": (True, None)})
    assert json.loads(capsys.readouterr().out) == {
        "a": None,
        "b": [0, 1],
        "c": {"d": 0.5},
        "e": [True, None],
    }


@pytest.mark.parametrize(
    ("stream", "no_color", "painted"),
    [(Terminal, "", True), (Terminal, "1", False), (io.StringIO, "", False)],
)
def test_colour_is_for_terminals_that_want_it(monkeypatch, stream, no_color, painted):
    monkeypatch.setenv("NO_COLOR", no_color)
    assert (paint("x", "31", stream()) == "\x1b[31mx\x1b[0m") is painted


def test_progress_moves_on_one_line_of_a_terminal(monkeypatch):
    listen()
    stream, moments = Terminal(), iter([0.0, 10.0, 10.01, 20.0])
    with Progress("step", 4, stream=stream, clock=lambda: next(moments)) as progress:
        for done in (1, 2, 3):
            progress.update(done)
    shown = stream.getvalue()
    assert "\n" not in shown
    assert shown.split("\r\x1b[K") == [
        "",
        "step 1/4  25 %  30 s left",
        "step 3/4  75 %  7 s left",
        "",
    ]


def test_progress_is_a_line_now_and_then_in_a_log():
    listen()
    stream, moments = io.StringIO(), iter([0.0, 1.0, 16.0, 17.0])
    with Progress("step", 40, start=10, stream=stream, clock=lambda: next(moments)) as progress:
        for done in (11, 12, 13):
            progress.update(done, "loss 1")
    assert stream.getvalue() == "step 12/40  30 %  3:44 left  loss 1\n"


def test_quiet_is_quiet(capsys):
    listen(logging.WARNING)
    stream = Terminal()
    with Progress("step", 4, stream=stream, clock=iter([0.0, 99.0]).__next__) as progress:
        progress.update(1)
    logging.getLogger("trajflow").info("on the way")
    logging.getLogger("trajflow").warning("look out")
    assert stream.getvalue() == ""
    assert capsys.readouterr().err == "warning: look out\n"


def test_our_warnings_are_one_line(capsys):
    listen()
    warnings.showwarning(TrajflowWarning("two\nlines"), TrajflowWarning, "f.py", 1)
    warnings.showwarning(UserWarning("of others"), UserWarning, "f.py", 1)
    assert capsys.readouterr().err == "warning: two; lines\n"


def test_durations_read_as_people_say_them():
    assert [span(s) for s in (0.4, 59.6, 61, 3600, 90061)] == [
        "0 s",
        "1:00",
        "1:01",
        "1:00:00",
        "25:01:01",
    ]


def test_the_first_interrupt_asks_and_the_second_leaves():
    from trajflow.cli.stopping import asking

    asked = []
    before = signal.getsignal(signal.SIGINT)
    with asking(lambda: asked.append(True)):
        signal.raise_signal(signal.SIGINT)
        assert asked == [True]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert asked == [True]
