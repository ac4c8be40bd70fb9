"""Runs trainings as detached processes, which outlive the application that starts them.

Each writes a log beside its run, RUN.log. A line of the log names the process, so that another
application can find and stop it.
"""

import json
import os
import select
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trajflow.errors import RunError

MARK = b'{"trajflow job": '
TAIL = 1 << 16
"""Most bytes that are read from the end of a log."""
START_SECONDS = 2.0
"""Longest wait for the start of a process."""
HANGUP = 129
"""Exit code of a process whose terminal hung up."""


@dataclass(frozen=True)
class Job:
    """A training in a process of its own.

    Attributes:
        run: The run folder.
        pid: Id of the process.
        command: Its command line.
    """

    run: Path
    pid: int
    command: tuple[str, ...]

    def stop(self) -> None:
        """Ask the training to save and end, as Ctrl-C does."""
        with suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signal.SIGINT)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; a pipe without a writer would block the application.

    Raises:
        OSError: It is missing, not readable, or a pipe, a device or a folder.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{path.name} is not a regular file")
    return os.fdopen(handle, "rb")


def log_path(run: Path) -> Path:
    """The log of the trainings of a run that an application started."""
    return run.with_name(f"{run.name}.log")


def start_training(run: Path, arguments: Sequence[str]) -> Job:
    """Start `trajflow train ARGUMENTS --out RUN`, detached from this terminal.

    Raises:
        RunError: The run is being trained, or its log cannot be written.
    """
    if running_job(run) is not None:
        raise RunError(f"{run} is being trained; stop that training first")
    run = run.absolute()
    words = [sys.executable, "-m", "trajflow", "train", *arguments, "--out", str(run)]
    try:
        run.parent.mkdir(parents=True, exist_ok=True)
        with log_path(run).open("ab") as log:
            child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
            about = json.dumps({"pid": child.pid, "command": words})
            log.write(b"\n" + MARK + about.encode() + b"}\n")
    except OSError as error:
        raise RunError(f"the training cannot be started: {error}") from None
    job = Job(run, child.pid, tuple(words))
    # Linux shows no command line until exec is over, and a job without one counts as dead.
    deadline = time.monotonic() + START_SECONDS
    while not _alive(job) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    return job


def running_job(run: Path) -> Job | None:
    """The training of a run that an application started, if it still runs."""
    job = last_job(run)
    return job if job and _alive(job) else None


def last_job(run: Path) -> Job | None:
    """The last training of a run that an application started, running or not."""
    lines = [line for line in _tail(log_path(run)).splitlines() if line.startswith(MARK)]
    try:
        job = json.loads(lines[-1])["trajflow job"]
        return Job(run, int(job["pid"]), tuple(map(str, job["command"])))
    except (IndexError, ValueError, KeyError, TypeError):
        return None


def last_words(run: Path, lines: int = 12) -> list[str]:
    """The last lines of a run's log since its last start."""
    text = _tail(log_path(run)).rpartition(MARK)[2].splitlines()[1:]
    words = [line.decode(errors="replace").split("\r")[-1].strip() for line in text]
    return [line for line in words if line][-lines:]


def end_with_terminal(terminal: int) -> None:
    """End this process when the terminal behind a file descriptor is gone.

    A process that does not lead its session gets no signal. It would wait forever to write, and
    read keys from the dead terminal in a busy loop.
    """
    if hasattr(select, "poll"):
        threading.Thread(target=_wait_for_hangup, args=(terminal,), daemon=True).start()


def _wait_for_hangup(terminal: int) -> None:
    poll = select.poll()
    poll.register(terminal, 0)
    if any(event & select.POLLHUP for _, event in poll.poll()):
        os._exit(HANGUP)


def _alive(job: Job) -> bool:
    """Whether its process exists; another one may have its id by now."""
    return _command(job.pid).endswith(" ".join(job.command[1:]))


def _command(pid: int) -> str:
    """The command line of a process; empty if it has ended."""
    if Path("/proc/self/cmdline").exists():
        with suppress(OSError):
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
            return raw.decode(errors="replace").rstrip("\0").replace("\0", " ")
        return ""
    command = ["ps", "-ww", "-p", str(pid), "-o", "args="]
    with suppress(OSError):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return ""


def _tail(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            return file.read(TAIL)
    except OSError:
        return b""
