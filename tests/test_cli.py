"""The command line as a person and as a shell meet it."""

import subprocess
import sys
from pathlib import Path

import pytest

from trajflow.cli import main
from trajflow.errors import DataProblem


def test_without_arguments_the_help_is_shown(trajflow):
    code, out, said = trajflow()
    assert code == 2
    assert "Usage: trajflow" in out + said
    assert trajflow("--help")[0] == 0


def test_every_command_has_help(trajflow):
    names = ["train", "evaluate", "fit", "compare", "predict", "plot", "doctor"]
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


@pytest.mark.parametrize(
    ("old", "new"), [("calibrate", "calibration"), ("fit-surprise", "ood"), ("fit-set", "samples")]
)
def test_a_renamed_command_is_refused_with_its_new_name(trajflow, old, new):
    line = f"error: `trajflow {old}` is now `trajflow fit RUN DATA {new}`\n"
    assert trajflow(old, "run", "data.zarr", "--json") == (2, "", line)
    assert old not in trajflow("--help")[1]


@pytest.mark.parametrize("words", [[], ["ethucy", "data.zarr", "--stage", "refresh", "-o", "r"]])
def test_the_benchmark_command_names_the_scripts(trajflow, words):
    code, out, said = trajflow("benchmark", *words)
    assert (code, out, said.count("\n")) == (2, "", 1)
    for name in ("pedestrians.py", "drone.py"):
        assert f"python examples/benchmarks/{name} DATA" in said
        assert (Path(__file__).parents[1] / "examples" / "benchmarks" / name).is_file()
    assert "benchmark" not in trajflow("--help")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["oood"], "did you mean 'ood'"),
        (["ood", "--count", "6"], "--count is for samples"),
        (["samples", "--check", "test"], "--check is for calibration"),
        (["--set", "samples.epochs=1"], "--set is for samples, not for calibration and ood"),
    ],
)
def test_fit_takes_its_parts_and_their_options_only(trajflow, words, said):
    code, _, complaint = trajflow("fit", "run", "data.zarr", *words)
    assert code == 2
    assert said in complaint
