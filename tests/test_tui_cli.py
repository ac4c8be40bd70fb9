"""`trajflow tui` as a command: what it refuses, and that nothing heavy is imported for it."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_imports import loaded_by

HEAVY = {"torch", "zarr", "pandas", "sklearn", "matplotlib", "scipy", "pyarrow"}
LIVE = """
import asyncio
from pathlib import Path
from trajflow.tui.app import TrajflowApp

async def main():
    app = TrajflowApp(Path({place!r}), warm_up=False)
    async with app.run_test() as pilot:
        for _ in range(100):
            await pilot.pause(0.05)
            if app.screen.library.runs:
                break
        await pilot.press("j", "w", "question_mark", "escape", "escape", "d", "escape")
        assert app.screen.library.runs

asyncio.run(main())
"""


def test_without_a_terminal_it_says_so(trajflow):
    code, out, said = trajflow("tui")
    assert (code, out) == (2, "")
    assert "needs a terminal" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "no folder, run or store at nowhere"),
        ([".", "--theme", "drak"], "did you mean 'dark'"),
    ],
)
def test_wrong_words_are_refused_before_the_screen_is_taken(words, told, tmp_path):
    code, raw = on_a_terminal([sys.executable, "-m", "trajflow", "tui", *words], tmp_path)
    assert told in raw
    assert code == 2
    assert "\x1b[?1049h" not in raw


def test_the_process_of_the_screens_imports_nothing_heavy(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    loaded = loaded_by(LIVE.format(place=str(tmp_path / "empty")))
    assert "textual" in loaded
    assert not loaded & HEAVY


def test_the_first_picture_needs_no_numpy():
    assert not loaded_by("import trajflow.tui.app") & {*HEAVY, "numpy", "pydantic"}


def test_the_first_picture_takes_a_second_of_the_processor(tmp_path):
    words = [sys.executable, "-m", "trajflow", "tui", str(tmp_path)]
    assert any(first_picture(words, tmp_path) < 1.0 for _ in range(3))


def first_picture(words, cache):
    """Seconds of the processor until letters are on the screen."""
    pid, handle = spawn(words, cache)
    raw = b""
    while b"looking for" not in raw:
        raw += os.read(handle, 65536)
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(handle)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def on_a_terminal(words, cache, seconds=20.0):
    """Exit code of a command on a terminal of its own, and what it wrote."""
    pid, handle = spawn(words, cache)
    raw, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([handle], [], [], 0.1)[0]:
            try:
                raw += os.read(handle, 65536)
            except OSError:
                break
    _, status = os.waitpid(pid, 0)
    os.close(handle)
    return os.waitstatus_to_exitcode(status), raw.decode(errors="replace")


def spawn(words, cache):
    pid, handle = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", XDG_CACHE_HOME=str(cache))
        os.execv(words[0], words)
    return pid, handle


if sys.platform != "linux":
    pytest.skip("terminals of other systems are made otherwise", allow_module_level=True)


def test_it_ends_with_its_terminal_also_without_a_signal(tmp_path):
    """One that leads no session on its terminal is not told; it must not go on for ever."""
    handle, terminal = pty.openpty()
    words = [sys.executable, "-m", "trajflow", "tui", str(tmp_path)]
    places = {"TERM": "xterm-256color", "XDG_CACHE_HOME": str(tmp_path)}
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
    running = subprocess.Popen(words, env=os.environ | places, start_new_session=True, **streams)
    os.close(terminal)
    try:
        assert select.select([handle], [], [], 30)[0]
        time.sleep(1)
        os.close(handle)
        assert running.wait(10) == 129
    finally:
        running.kill()
        running.wait()


def test_it_can_be_served_to_a_browser(tmp_path):
    words = [sys.executable, "-m", "trajflow", "tui", str(tmp_path)]
    driver = {"TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver"}
    places = {"XDG_CACHE_HOME": str(tmp_path), "COLUMNS": "90", "ROWS": "30"}
    served = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | driver | places
    )
    try:
        assert served.stdout.read(13) == b"__GANGLION__\n"
    finally:
        served.kill()
        served.communicate()
