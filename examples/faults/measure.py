"""Run a command, measure its time and memory, and check how it refused its input."""

import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Result:
    """How a command ended.

    Attributes:
        code: Exit code; negative if a signal ended the command.
        wall, cpu: Elapsed seconds, and CPU seconds.
        memory: Peak resident bytes of the command and its child processes together.
        stdout, stderr: What it printed.
        timed_out: Whether it was killed because it took too long.
    """

    code: int
    wall: float
    cpu: float
    memory: int
    stdout: str
    stderr: str
    timed_out: bool = False

    @property
    def errors(self) -> list[str]:
        """The lines of stderr that start with "error: "."""
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]

    @property
    def refused(self) -> bool:
        """Whether the command ended as bad input should end it: exit code 2 and one error line."""
        return self.code == 2 and len(self.errors) == 1 and "Traceback" not in self.stderr


def run_command(
    arguments: Sequence[object], *, timeout: float = 120.0, cwd: Path | None = None
) -> Result:
    """Run `trajflow ARGUMENTS` in a process of its own; kill it after `timeout` seconds."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        start = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "trajflow", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
        )
        peak, timed_out = 0, False
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            peak = max(peak, _peak_memory(process.pid))
            if time.monotonic() - start > timeout:
                process.kill()
                timed_out = True
            time.sleep(POLL_SECONDS)
        process.returncode = os.waitstatus_to_exitcode(status)
        return Result(
            code=process.returncode,
            wall=time.monotonic() - start,
            cpu=usage.ru_utime + usage.ru_stime,
            memory=peak,
            stdout=_text(stdout),
            stderr=_text(stderr),
            timed_out=timed_out,
        )


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "backslashreplace")


def _peak_memory(process: int) -> int:
    """Peak resident bytes of a process and all its descendants, summed."""
    folder = Path(f"/proc/{process}")
    try:
        lines = (folder / "status").read_text().splitlines()
        peak = next(line for line in lines if "VmHWM" in line)
        children = (folder / f"task/{process}/children").read_text().split()
    except (OSError, StopIteration):
        return 0
    return 1024 * int(peak.split()[1]) + sum(_peak_memory(int(child)) for child in children)


def process_usage() -> tuple[float, int, int]:
    """Resident memory in MB, open files and Python objects of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    files = len(os.listdir("/proc/self/fd"))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, files, len(gc.get_objects())
