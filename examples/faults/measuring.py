"""Run a command and say how long it took, how much memory its processes had, and what it said."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TRAJFLOW = (sys.executable, "-m", "trajflow")
TICK = 0.01


@dataclass(frozen=True)
class Measured:
    """How a command ended.

    Attributes:
        code: Exit code; negative if a signal ended it.
        wall, cpu: Seconds on the clock, and seconds of processors.
        memory: Largest resident bytes of the command and what it started, together.
        out, said: What it wrote to stdout and stderr.
        late: Whether it was killed because its time was up.
    """

    code: int
    wall: float
    cpu: float
    memory: int
    out: str
    said: str
    late: bool = False


def measured(
    words: Sequence[object],
    *,
    env: Mapping[str, str] | None = None,
    seconds: float = 120.0,
    cwd: Path | None = None,
) -> Measured:
    """Run `trajflow WORDS` to its end, or until its time is up.

    Args:
        words: What follows `trajflow`.
        env: Variables of the environment beside our own.
        seconds: Time on the clock that it may take.
        cwd: Folder to run it in.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        began = time.monotonic()
        child = subprocess.Popen(
            [*TRAJFLOW, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=said,
            cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", **(env or {})},
        )
        peak, late = 0, False
        while True:
            ended, status, usage = os.wait4(child.pid, os.WNOHANG)
            if ended:
                break
            peak = max(peak, _resident(child.pid))
            if time.monotonic() - began > seconds:
                child.kill()
                late = True
            time.sleep(TICK)
        child.returncode = os.waitstatus_to_exitcode(status)
        return Measured(
            code=child.returncode,
            wall=time.monotonic() - began,
            cpu=usage.ru_utime + usage.ru_stime,
            memory=peak,
            out=_text(out),
            said=_text(said),
            late=late,
        )


def _text(file: object) -> str:
    file.seek(0)  # type: ignore[attr-defined]
    return file.read().decode("utf-8", "backslashreplace")  # type: ignore[attr-defined]


def _resident(process: int) -> int:
    """The most resident bytes so far of a process and all that it started, summed."""
    try:
        place = Path(f"/proc/{process}")
        most = next(line for line in (place / "status").read_text().splitlines() if "VmHWM" in line)
        children = (place / f"task/{process}/children").read_text().split()
    except (OSError, StopIteration):
        return 0
    return 1024 * int(most.split()[1]) + sum(_resident(int(child)) for child in children)
