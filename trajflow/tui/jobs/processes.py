"""Trainings as processes of their own: they outlive the application, which finds them again.

Each writes a log beside its run, RUN.log. Its first line and one line for every resume say which
process it is, so that another window can stop it.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trajflow.errors import RunError

MARK = b'{"trajflow job": '
END = 1 << 16
"""Bytes from the end of a log in which its last words are looked for."""


@dataclass(frozen=True)
class Job:
    """A training that runs now, as a process of its own.

    Attributes:
        run: The run folder.
        pid: Number of the process.
    """

    run: Path
    pid: int

    def stop(self) -> None:
        """Ask it to save and end, as Ctrl-C does."""
        with suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signal.SIGINT)


_children: dict[int, subprocess.Popen[bytes]] = {}


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
            about = json.dumps({"pid": child.pid, "command": shlex.join(words)})
            log.write(b"\n" + MARK + about.encode() + b"}\n")
    except OSError as error:
        raise RunError(f"a training cannot be started: {error}") from None
    _children[child.pid] = child
    return Job(run, child.pid)


def job_of(run: Path) -> Job | None:
    """The training of a run that the application has started, here or earlier, if it goes on."""
    lines = [line for line in _end(log_of(run)).splitlines() if line.startswith(MARK)]
    if not lines:
        return None
    try:
        pid = int(json.loads(lines[-1])["trajflow job"]["pid"])
    except (ValueError, KeyError, TypeError):
        return None
    return Job(run, pid) if _alive(pid, run) else None


def ended(job: Job) -> int | None:
    """Exit code of a job that this process has started; None while it runs or if unknown."""
    child = _children.get(job.pid)
    return child.poll() if child else None


def last_words(run: Path, lines: int = 8) -> list[str]:
    """The last lines of a run's log, without the marks of jobs."""
    text = [line for line in _end(log_of(run)).splitlines() if not line.startswith(MARK)]
    words = [line.decode(errors="replace").split("\r")[-1].strip() for line in text]
    return [line for line in words if line][-lines:]


def _alive(pid: int, run: Path) -> bool:
    """Whether a process is there and is a training of this run; numbers are used again."""
    child = _children.get(pid)
    if child is not None:
        return child.poll() is None
    words = _command(pid)
    return "trajflow" in words and "train" in words and run.name in words


def _command(pid: int) -> str:
    proc = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self/cmdline").exists():
        with suppress(OSError):
            return proc.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    asked = ["ps", "-p", str(pid), "-o", "args="]
    with suppress(OSError):
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return ""


def _end(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - END))
            return file.read(END)
    except OSError:
        return b""
