"""Starts the processes of `trajflow train --processes N`, forwards signals, and waits for them.

It does not import torch, so that a launcher starts at once and stays small.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from trajflow.errors import ConfigError, TrajflowError

RENDEZVOUS = "TRAJFLOW_RENDEZVOUS"
"""Variable with the address where the processes of `trajflow train --processes` connect."""
LAUNCHER = "TRAJFLOW_LAUNCHER"
"""Variable with the file descriptor that closes when the launcher ends."""
GRACE = 10.0
"""Seconds that the others get to end after one has died."""
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ProcessEnded(TrajflowError):
    """Another process of this training has ended, so this one cannot continue."""

    exit_code = 75


class ProcessDied(TrajflowError):
    """One of the processes of a training died; has the exit code that a shell would report."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def is_launched() -> bool:
    """Whether torchrun or `launch` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def check_processes(processes: int, batch_size: int, device: str) -> None:
    """Check the number of processes.

    Raises:
        ConfigError: A batch has fewer targets, or the device cannot be shared.
    """
    if processes > batch_size:
        raise ConfigError(
            f"--processes {processes} is more than the {batch_size} target agents of a batch; "
            "start fewer, or set a larger --batch-size"
        )
    if processes > 1 and device not in ("auto", "cpu", "cuda"):
        raise ConfigError(
            f"--processes {processes} cannot share --device {device}; use --device cuda, with one "
            "GPU for each, or --device cpu"
        )


def launch(words: Sequence[str], processes: int) -> int:
    """Run a command of trajflow in several processes.

    Signals are forwarded to all of them: they save and end on the first, and end at once on the
    second. They also end when this process ends or is killed.

    Returns:
        The exit code of rank 0.

    Raises:
        ProcessDied: A process died.
    """
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory(prefix="trajflow-") as folder:
        common = os.environ | {
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            RENDEZVOUS: (Path(folder) / "rendezvous").as_uri(),
            LAUNCHER: str(reading),
        }
        # They communicate on this machine only.
        common.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
        children: list[subprocess.Popen[bytes]] = []
        before = {number: signal.getsignal(number) for number in FORWARDED}
        forwarded: set[int] = set()

        def forward(number: int, frame: FrameType | None) -> None:
            forwarded.add(number)
            for child in children:
                if child.poll() is None:
                    child.send_signal(number)

        for number, handler in before.items():
            # A shell sets SIGINT to be ignored in a job with &, where it must still stop training;
            # nohup does so with SIGHUP, and means it.
            if number != signal.SIGHUP or handler != signal.SIG_IGN:
                signal.signal(number, forward)
        try:
            for rank in range(processes):
                children.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "trajflow", *words],
                        env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                        stdin=subprocess.DEVNULL,
                        pass_fds=[reading],
                        start_new_session=True,  # so that Ctrl-C arrives once, forwarded from here
                    )
                )
            return _wait(children, forwarded)
        finally:
            for child in children:
                child.kill()
                child.wait()
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reading)
            os.close(writing)


def _wait(children: Sequence["subprocess.Popen[bytes]"], forwarded: set[int]) -> int:
    """Wait for all processes; kill those that run for long after one has died.

    Args:
        children: The processes, by rank.
        forwarded: Signals that were sent to all of them; to die by these is not a failure.

    Raises:
        ProcessDied: A process died.
    """
    died: float | None = None
    killed: set[int] = set()
    while any(child.poll() is None for child in children):
        if died is None and any(child.returncode for child in children):
            died = time.monotonic()
        if died is not None and time.monotonic() - died > GRACE and not killed:
            killed = {rank for rank, child in enumerate(children) if child.returncode is None}
            for rank in killed:
                children[rank].kill()
        time.sleep(0.05)
    codes = {rank: child.returncode for rank, child in enumerate(children) if rank not in killed}
    # A process may abort because its connection broke, so other causes are reported first.
    for rank, code in sorted(codes.items(), key=lambda item: item[1] == -signal.SIGABRT):
        if -code in forwarded:
            return 128 - code
        if code < 0:
            name = signal.Signals(-code).name
            raise ProcessDied(_advice(rank, f"was killed by {name}"), 128 - code)
    main = codes.get(0, 0)
    if main not in (0, ProcessEnded.exit_code):
        return main
    for rank, code in codes.items():
        if code not in (0, ProcessEnded.exit_code):
            raise ProcessDied(_advice(rank, f"ended with exit code {code}"), code)
    return max(codes.values())


def _advice(rank: int, what: str) -> str:
    return (
        f"the process of rank {rank} {what}, which ended the training; continue from the last "
        "checkpoint with --resume"
    )
