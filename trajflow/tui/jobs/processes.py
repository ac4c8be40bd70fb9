"""Trainings as processes of their own: they outlive the application, which finds them again.

Each writes a log beside its run, RUN.log. A line of it says which process it is, so that another
window can stop it.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trajflow.errors import RunError
from trajflow.tui.jobs.files import open_plain

MARK = b'{"trajflow job": '
END = 1 << 16
"""Bytes from the end of a log in which its last words are looked for."""


@dataclass(frozen=True)
class Job:
    """A training that runs now, as a process of its own.

    Attributes:
        run: The run folder.
        pid: Number of the process.
        command: Its words.
    """

    run: Path
    pid: int
    command: tuple[str, ...]

    def stop(self) -> None:
        """Ask it to save and end, as Ctrl-C does."""
        with suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signal.SIGINT)


def log_of(run: Path) -> Path:
    """Where the words of a training go that the application has started."""
    return run.with_name(f"{run.name}.log")


def start(run: Path, arguments: Sequence[str]) -> Job:
    """Start `trajflow train ARGUMENTS --out RUN`, detached from this terminal.

    Raises:
        RunError: A training of this run goes on, or its log cannot be written.
    """
    if job_of(run) is not None:
        raise RunError(f"a training of {run} goes on; stop it first")
    run = run.absolute()
    words = [sys.executable, "-m", "trajflow", "train", *arguments, "--out", str(run)]
    try:
        run.parent.mkdir(parents=True, exist_ok=True)
        with log_of(run).open("ab") as log:
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
        raise RunError(f"a training cannot be started: {error}") from None
    return Job(run, child.pid, tuple(words))


def job_of(run: Path) -> Job | None:
    """The training of a run that the application has started, here or earlier, if it goes on."""
    job = last_job(run)
    return job if job and _alive(job) else None


def last_job(run: Path) -> Job | None:
    """The last training of a run that the application has started, whether or not it goes on."""
    lines = [line for line in _end(log_of(run)).splitlines() if line.startswith(MARK)]
    try:
        told = json.loads(lines[-1])["trajflow job"]
        return Job(run, int(told["pid"]), tuple(map(str, told["command"])))
    except (IndexError, ValueError, KeyError, TypeError):
        return None


def last_words(run: Path, lines: int = 12) -> list[str]:
    """The last lines of a run's log since its last start, without the marks of jobs."""
    text = _end(log_of(run)).rpartition(MARK)[2].splitlines()[1:]
    words = [line.decode(errors="replace").split("\r")[-1].strip() for line in text]
    return [line for line in words if line][-lines:]


def _alive(job: Job) -> bool:
    """Whether its process is there and is the same; numbers are used again."""
    return _command(job.pid).endswith(" ".join(job.command[1:]))


def _command(pid: int) -> str:
    """The words of a process; none if it is gone."""
    if Path("/proc/self/cmdline").exists():
        with suppress(OSError):
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
            return raw.decode(errors="replace").rstrip("\0").replace("\0", " ")
        return ""
    asked = ["ps", "-ww", "-p", str(pid), "-o", "args="]
    with suppress(OSError):
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        return done.stdout.strip()
    return ""


def _end(path: Path) -> bytes:
    try:
        with open_plain(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - END))
            return file.read(END)
    except OSError:
        return b""
