"""The worker process: what waits, what is replaced, what goes first, and how it ends."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import ClassVar

import pytest
from textual.app import App
from tui_support import piloted, until

from trajflow.errors import RunError
from trajflow.tui.messages import Complain
from trajflow.tui.worker import Worker
from trajflow.tui.worker_desk import Desk
from trajflow.tui.worker_messages import Failed
from trajflow.tui.worker_requests import OpenRun, Rank, Request, ShowWindow

HERE = Path()


@dataclass(frozen=True)
class Say(Request):
    """Gives back a word."""

    word: str

    def answer(self, state):
        return self.word


@dataclass(frozen=True)
class Newest(Say):
    """A newer one replaces it."""

    newest: ClassVar[bool] = True


@dataclass(frozen=True)
class Long(Request):
    """Says numbers, and lets something happen before each."""

    count: int
    happens: object = None

    quick: ClassVar[bool] = False

    def answer(self, state):
        for k in range(self.count):
            if self.happens is not None:
                self.happens(k)
            yield k


@dataclass(frozen=True)
class Broken(Request):
    """Fails, as expected or not."""

    expected: bool

    def answer(self, state):
        raise RunError("no such run; make one") if self.expected else KeyError("lost")


def told(desk_of, count):
    """What a desk says until `count` requests have ended."""
    ours, theirs = Pipe()
    desk = Desk(theirs, leave=lambda code: None)
    desk_of(desk)
    threading.Thread(target=desk.work, args=(None,), daemon=True).start()
    replies, ended = [], 0
    while ended < count:
        assert ours.poll(10), replies
        replies.append(ours.recv())
        ended += replies[-1].kind in ("finished", "failed")
    return [(reply.kind, reply.number, reply.value) for reply in replies]


def test_requests_are_answered_in_their_order():
    def asked(desk):
        for number, word in enumerate("abc"):
            desk.put(number, Say(word))

    found = told(asked, 3)
    assert [value for kind, _, value in found if kind == "answer"] == ["a", "b", "c"]


def test_the_newest_replaces_those_of_its_kind_that_wait():
    def asked(desk):
        for number, one in enumerate((Newest("a"), Say("b"), Newest("c"), Newest("d"))):
            desk.put(number, one)

    found = told(asked, 4)
    assert [value for kind, _, value in found if kind == "answer"] == ["b", "d"]
    assert [number for kind, number, _ in found if kind == "finished"] == [0, 2, 1, 3]


def test_windows_replace_windows_and_rankings_can_wait():
    assert ShowWindow.newest
    assert Rank.newest
    assert not Rank.quick
    assert not OpenRun.newest


def test_a_long_one_is_interrupted_by_quick_ones_only():
    def asked(desk):
        def between(k):
            if k == 1:
                desk.put(1, Say("quick"))
                desk.put(2, Long(1))

        desk.put(0, Long(3, between))

    found = [(number, value) for kind, number, value in told(asked, 3) if kind == "answer"]
    assert found == [(0, 0), (0, 1), (1, "quick"), (0, 2), (2, 0)]


def test_a_long_one_can_be_cancelled_while_it_runs_or_waits():
    def asked(desk):
        desk.put(0, Long(9, lambda k: desk.put(0, None) if k == 2 else None))
        desk.put(1, Long(9))
        desk.put(1, None)

    found = told(asked, 2)
    assert [(number, value) for kind, number, value in found if kind == "answer"] == [
        (0, 0),
        (0, 1),
    ]


def test_failures_are_told_and_the_work_goes_on():
    def asked(desk):
        for number, one in enumerate((Broken(True), Broken(False), Say("on"))):
            desk.put(number, one)

    found = told(asked, 3)
    assert ("failed", 0, "no such run; make one") in found
    assert ("failed", 1, "KeyError: 'lost'") in found
    assert ("answer", 2, "on") in found


def test_a_closed_pipe_ends_the_process():
    ours, theirs = Pipe()
    left = []
    ours.close()
    Desk(theirs, leave=left.append).read()
    assert left == [0]


class Hearing(App):
    """Keeps what it hears of a worker."""

    def __init__(self):
        super().__init__()
        self.heard = []
        self.worker = Worker(self)

    def on_mount(self):
        self.worker.start()

    def on_unmount(self):
        self.worker.close()

    def hear(self, message):
        self.heard.append(message)

    on_answered = on_finished = on_failed = on_worker_died = on_worker_ready = on_complain = hear


def kinds(app):
    return [type(message).__name__ for message in app.heard]


def test_a_process_that_dies_is_told_and_started_again_and_answers():
    async def play(pilot):
        app = pilot.app
        await until(pilot, lambda: app.worker.pid)
        first = app.worker.pid
        number = app.worker.ask(OpenRun(HERE, HERE))
        os.kill(first, signal.SIGKILL)
        await until(pilot, lambda: "WorkerDied" in kinds(app))
        assert any(isinstance(m, Failed) and m.number == number and m.died for m in app.heard)
        assert any(isinstance(m, Complain) and "started again" in m.text for m in app.heard)
        await until(pilot, lambda: app.worker.pid not in (None, first))
        number = app.worker.ask(OpenRun(HERE, HERE))
        answers = lambda: [m for m in app.heard if isinstance(m, Failed) and m.number == number]  # noqa: E731
        await until(pilot, answers, 60)
        assert not answers()[0].died
        assert "not a store" in answers()[0].text

    piloted(Hearing(), play)


def test_asking_never_waits():
    async def play(pilot):
        begin = time.perf_counter()
        for _ in range(200):
            pilot.app.worker.ask(OpenRun(HERE, HERE))
        took.append(time.perf_counter() - begin)

    took = []
    piloted(Hearing(), play)
    assert took[0] < 0.5


def test_after_too_many_deaths_asking_fails_at_once():
    async def play(pilot):
        app = pilot.app
        for _ in range(Worker.DEATHS):
            await until(pilot, lambda: app.worker.pid not in (None, *seen))
            seen.append(app.worker.pid)
            os.kill(seen[-1], signal.SIGKILL)
        await until(pilot, lambda: kinds(app).count("WorkerDied") == Worker.DEATHS)
        app.worker.ask(OpenRun(HERE, HERE))
        await until(pilot, lambda: "Failed" in kinds(app))
        assert "restart the application" in app.heard[-1].text

    seen = []
    piloted(Hearing(), play)


def test_the_process_ends_with_the_application():
    async def play(pilot):
        await until(pilot, lambda: pilot.app.worker.pid)
        pids.append(pilot.app.worker.pid)

    pids = []
    piloted(Hearing(), play)
    assert gone(pids[0])


def gone(pid, seconds=20.0):
    """Whether a process ends in some time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_the_process_ends_when_the_application_is_killed(tmp_path):
    script = tmp_path / "app.py"
    script.write_text(
        textwrap.dedent(
            """
            import time
            from trajflow.tui.worker import Worker

            class Nobody:
                is_running = False

            if __name__ == "__main__":
                worker = Worker(Nobody())
                worker.start()
                while worker.pid is None:
                    time.sleep(0.01)
                print(worker.pid, flush=True)
                time.sleep(60)
            """
        )
    )
    app = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    pid = int(app.stdout.readline())
    app.kill()
    app.wait()
    assert gone(pid)


def test_the_screen_process_never_imports_torch():
    code = (
        "import sys, trajflow.tui.worker, trajflow.tui.screens.forecast;"
        "sys.exit('torch' in sys.modules or 'zarr' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
