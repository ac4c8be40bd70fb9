"""The whole application in a real terminal: tmux presses the keys and reads the screen."""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from trajflow.jobs import running_job
from trajflow.tui.demo import unpack_demo

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]


class Terminal:
    """A tmux server of its own with one window."""

    def __init__(self, socket, size=(120, 36)):
        self.socket = socket
        width, height = map(str, size)
        self.tmux("-f", os.devnull, "new-session", "-d", "-x", width, "-y", height, "sh")

    def tmux(self, *words):
        command = ["tmux", "-S", str(self.socket), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def press(self, *keys):
        for key in keys:
            self.tmux("send-keys", key)
            time.sleep(0.05)

    def type(self, words):
        self.tmux("send-keys", "-l", words)

    @property
    def text(self):
        return self.tmux("capture-pane", "-p")

    def until(self, pattern, seconds=120.0):
        """Wait for a pattern on the screen; what it matched."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < end, f"no {pattern!r} in\n{self.text}"
            time.sleep(0.1)
        return found

    def change(self, press, what, seconds=120.0):
        """Press a key and wait until a pattern matches something else than before."""
        before = self.until(what, seconds).group()
        self.press(press)
        end = time.monotonic() + seconds
        while (found := re.search(what, self.text)) is None or found.group() == before:
            assert time.monotonic() < end, f"{press} left {before!r} in\n{self.text}"
            time.sleep(0.1)
        return found.group()

    def close(self):
        subprocess.run(["tmux", "-S", str(self.socket), "kill-server"], check=False)


@pytest.fixture
def terminal(tmp_path):
    one = Terminal(tmp_path / "socket")
    yield one
    one.close()


def test_open_browse_edit_judge_train_and_stop(tmp_path, terminal):
    work = shutil.copytree(unpack_demo(tmp_path / "cache"), tmp_path / "work")
    terminal.type(f"TERM=tmux-256color {sys.executable} -m trajflow tui {work}; echo left=$?\n")
    terminal.until("1 run, 1 store")

    terminal.press("Enter")
    terminal.until(r"window 1 of \d+")
    terminal.change("n", r"window \d+ of")
    terminal.change("r", r"seed \d+")

    terminal.press("e")
    terminal.until("edit")
    terminal.press("Up", "Up")
    terminal.until("edit")
    terminal.press("e")

    terminal.press("u")
    terminal.until("highest OOD score: 1 of")
    terminal.press("q")
    terminal.until("1 run, 1 store")

    terminal.press("o")
    terminal.until("corruption")
    terminal.press("e")
    terminal.until(r"(?i)half[ _-]speed|glitch|noise", 300)
    terminal.press("j", "j", "Enter")
    time.sleep(2.0)
    assert "Traceback" not in terminal.text
    terminal.press("q")
    terminal.until("1 run, 1 store")

    terminal.press("n")
    terminal.until("run folder")
    terminal.until(r"about \d", 300)
    terminal.press("Enter")
    if "Start it" in terminal.until(r"Start it|step [1-9]\d* of", 180).group():
        terminal.press("y")
    terminal.until(r"step [1-9]\d* of", 180)
    run = work / "runs" / "crowd-gru-mmf"
    assert running_job(run) is not None
    terminal.press("s")
    terminal.until("stopped", 180)
    assert running_job(run) is None
    terminal.press("q", "q", "q")
    terminal.until("left=0", 20)
    assert not (work / "runs" / "crowd-gru-mmf").joinpath("weights.safetensors.partial").exists()


@pytest.mark.parametrize("colours", ["xterm", "xterm-256color", "xterm-mono"])
def test_it_is_legible_in_few_colours_and_without_colorterm(tmp_path, terminal, colours):
    (tmp_path / "empty").mkdir()
    command = f"{sys.executable} -m trajflow tui {tmp_path / 'empty'}"
    terminal.type(f"env -u COLORTERM XDG_CACHE_HOME={tmp_path} TERM={colours} {command}\n")
    terminal.until("demo on generated")
    terminal.until(r"energy score 0\.\d+")
    terminal.press("t", "?")
    terminal.until("Cursor up")
    terminal.press("}", "}")
    terminal.until("Dark or light")
    terminal.press("q", "q")
