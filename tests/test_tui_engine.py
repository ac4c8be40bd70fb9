"""The engine: what waits, what is dropped, what goes between, and how its process ends."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from trajflow.errors import RunError
from trajflow.tui.engine import _SESSION, MAX_DEATHS, Engine, EngineDied, TaskFailed
from trajflow.tui.tasks import open_run

HERE = Path()


def say(session, word):
    return word


def pid_of(session):
    return os.getpid()


def sleep(session, seconds):
    time.sleep(seconds)


def numbers(session, count):
    yield from range(count)


def write(session):
    os.write(1, b"written by a task")
    os.write(2, b"written by a task")
    return "silent"


def threads(session):
    return os.environ["OMP_NUM_THREADS"]


def fail(session, expected):
    raise RunError("no such run; make one") if expected else KeyError("lost")


class Unpicklable(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one, other):
        super().__init__(f"{one} and {other}")


def fail_oddly(session):
    raise Unpicklable(1, 2)


def in_thread(play):
    """Play with an engine whose tasks run in a thread of this process."""
    return played(play, lambda: Engine(executor=lambda: ThreadPoolExecutor(1)))


def played(play, make=Engine):
    async def main():
        engine = make()
        try:
            return await play(engine)
        finally:
            engine.close()

    return asyncio.run(main())


def test_tasks_are_answered_in_their_order():
    async def play(engine):
        order = []

        async def ask(word):
            order.append(await engine.call(say, word))

        await asyncio.gather(*map(ask, "abc"))
        return order

    assert in_thread(play) == ["a", "b", "c"]


def test_what_waits_is_dropped_when_nobody_awaits_it():
    """Keys held down ask for many windows while one is computed; only the last is made."""
    done = []

    def noted(session, word):
        time.sleep(0.05)
        done.append(word)
        return word

    async def play(engine):
        asked = []
        for word in "abcdefgh":
            for task in asked:
                task.cancel()
            asked.append(asyncio.ensure_future(engine.call(noted, word)))
            await asyncio.sleep(0.001)
        return await asked[-1]

    assert in_thread(play) == "h"
    assert done == ["a", "h"]


def test_short_tasks_are_answered_between_the_values_of_a_long_one():
    async def play(engine):
        order = []

        async def ask():
            order.append(await engine.call(say, "short"))

        short = None
        async for number in engine.stream(numbers, 4):
            order.append(number)
            short = short or asyncio.ensure_future(ask())
            await asyncio.sleep(0)
        await short
        return order

    assert in_thread(play) == [0, "short", 1, 2, 3]


def test_a_stream_that_is_left_is_forgotten():
    closed = []

    def endless(session):
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    async def play(engine):
        async for _ in engine.stream(endless):
            break
        await asyncio.sleep(0.05)
        return await engine.call(say, "on")

    assert in_thread(play) == "on"
    assert closed


def test_failures_are_told_and_the_work_goes_on():
    async def play(engine):
        with pytest.raises(TaskFailed, match=r"^no such run; make one$"):
            await engine.call(fail, True)
        with pytest.raises(TaskFailed, match="KeyError: 'lost'"):
            await engine.call(fail, False)
        return await engine.call(say, "on")

    assert in_thread(play) == "on"


def test_a_task_runs_silently_in_a_process_of_its_own(capfd):
    async def play(engine):
        assert engine.pid is None
        with pytest.raises(TaskFailed, match="1 and 2"):
            await engine.call(fail_oddly)
        with pytest.raises(TaskFailed, match="not a run folder"):
            await engine.call(open_run, (HERE, HERE, "test"))
        assert await engine.call(write) == "silent"
        assert await engine.call(threads) == "1"
        assert await engine.call(pid_of) == engine.pid != os.getpid()
        return [number async for number in engine.stream(numbers, 3)]

    assert played(play) == [0, 1, 2]
    assert "written by a task" not in "".join(capfd.readouterr())


def no_session():
    _SESSION.append(None)


def without_torch():
    """An engine whose process has no session: its tasks need none, and torch takes seconds."""
    context = multiprocessing.get_context("spawn")
    return Engine(executor=lambda: ProcessPoolExecutor(1, context, no_session))


def test_a_process_that_dies_is_told_and_started_again():
    async def play(engine):
        first = await engine.call(pid_of)
        lost = asyncio.ensure_future(engine.call(sleep, 60))
        waiting = asyncio.ensure_future(engine.call(say, "waited"))
        await asyncio.sleep(0.1)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(EngineDied, match="it is started again"):
            await lost
        assert await waiting == "waited"
        assert engine.pid not in (None, first)
        os.kill(engine.pid, signal.SIGKILL)
        assert gone(engine.pid)
        await asyncio.sleep(0.1)
        return await engine.call(say, "nothing was lost")

    assert played(play, without_torch) == "nothing was lost"


def test_after_too_many_deaths_a_task_fails_at_once():
    async def play(engine):
        for _ in range(MAX_DEATHS):
            with pytest.raises(EngineDied):
                await engine.call(die)
        with pytest.raises(TaskFailed, match="restart"):
            await engine.call(say, "x")

    played(play, without_torch)


def die(session):
    os._exit(3)


def test_asking_never_blocks():
    async def play(engine):
        began = time.thread_time()
        asked = [asyncio.ensure_future(engine.call(say, "x")) for _ in range(200)]
        await asyncio.sleep(0)
        took = time.thread_time() - began
        for task in asked:
            task.cancel()
        return took

    assert played(play) < 0.5


def test_the_process_ends_with_the_application():
    async def play(engine):
        return await engine.call(pid_of)

    assert gone(played(play, without_torch))


def test_a_working_folder_that_is_gone_is_told_and_the_next_task_runs(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    async def play(engine):
        (tmp_path / "work").rmdir()
        with pytest.raises(TaskFailed, match="the model process cannot be started"):
            await engine.call(say, "hello")
        os.chdir(tmp_path)
        return await engine.call(say, "hello")

    assert played(play) == "hello"


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
            import asyncio
            from trajflow.tui.engine import Engine
            from trajflow.tui.tasks import warm_up

            async def main():
                engine = Engine()
                await engine.call(warm_up)
                print(engine.pid, flush=True)
                await asyncio.sleep(60)

            if __name__ == "__main__":
                asyncio.run(main())
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
        "import sys, trajflow.tui.engine, trajflow.tui.screens.forecast, trajflow.tui.screens.ood;"
        "sys.exit('torch' in sys.modules or 'zarr' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
