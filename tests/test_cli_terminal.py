"""What a terminal and a log are shown: tables, progress, colours, warnings."""

import io
import json
import logging
import signal
import warnings

import pytest

from trajflow.cli.console import ProgressBar, listen, paint, say, say_json, span, stop_on_signal
from trajflow.cli.tables import pairs, table
from trajflow.errors import TrajflowWarning


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")


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
    with ProgressBar("step", 4, stream=stream, clock=lambda: next(moments)) as progress:
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
    with ProgressBar("step", 40, start=10, stream=stream, clock=lambda: next(moments)) as progress:
        for done in (11, 12, 13):
            progress.update(done, "loss 1")
    assert stream.getvalue() == "step 12/40  30 %  3:44 left  loss 1\n"


def test_quiet_is_quiet(capsys):
    listen(logging.WARNING)
    stream = Terminal()
    with ProgressBar("step", 4, stream=stream, clock=iter([0.0, 99.0]).__next__) as progress:
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
    asked = []
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signal(lambda: asked.append(True)):
        signal.raise_signal(signal.SIGINT)
        assert asked == [True]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert asked == [True]


def test_what_a_moving_line_notes_cannot_be_obeyed():
    stream = Terminal()
    now = iter(range(0, 99, 9))
    progress = ProgressBar("trials", 2, stream=stream, clock=lambda: float(next(now)))
    progress.update(1, "fold\x1b]52;c;x\x07\u202e")
    assert stream.getvalue().count("\x1b") == stream.getvalue().count("\x1b[K") == 1
    assert "\\x1b]52;c;x\\x07\\u202e" in stream.getvalue()


def test_results_and_json_cannot_be_obeyed(capsys):
    say("a\x1b]0;x\x07\nb\x9b")
    say_json({"a\x7f": "\x1b\x9b\u202e\ud800"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    told = json.loads("{" + out.partition("{")[2])
    assert told == {"a\x7f": "\x1b\x9b\u202e\ud800"}
