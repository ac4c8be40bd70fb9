"""Start the processes of `trajflow train --processes N`, pass signals on, and see them end."""

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer

from trajflow.cli.console import log
from trajflow.errors import ConfigError, TrajflowError

RENDEZVOUS = "TRAJFLOW_RENDEZVOUS"
"""Variable that says where the processes meet; `training.distributed` reads it."""
LAUNCHER = "TRAJFLOW_LAUNCHER"
"""Variable with the file descriptor that closes when the launcher ends."""
GRACE = 10.0
"""Seconds that the others have to end after one has died."""
PEER_ENDED = 75
"""Exit code of a process that ended because another one had."""
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ProcessDied(TrajflowError):
    """One of the processes of a training died; the exit code is what a shell would say of it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def is_launched() -> bool:
    """Whether torchrun or `launch` has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def check_processes(processes: int, batch_size: int, device: str) -> None:
    """Refuse a number of processes that cannot train.

    Raises:
        ConfigError: It is more than a batch has targets, or the device is a single one.
    """
    if processes > batch_size:
        raise ConfigError(
            f"--processes {processes} is more than the {batch_size} target agents of a batch; "
            "start fewer, or set a larger --batch-size"
        )
    if processes > 1 and device not in ("auto", "cpu", "cuda"):
        raise ConfigError(
            f"--processes {processes} cannot share --device {device}; use --device cuda, which "
            "gives each a GPU of its own, or --device cpu"
        )


def launch(words: Sequence[str], processes: int) -> int:
    """Run a command of trajflow in several processes at once.

    The first signal to stop goes to all of them, which save and end; so does the second, which ends
    them at once. They also end when this process does, in whatever way.

    Args:
        words: The command, without the program's name.
        processes: How many.

    Returns:
        The exit code of the first process.

    Raises:
        ProcessDied: One of them died, and the others with it.
    """
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory(prefix="trajflow-") as place:
        common = os.environ | {
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            RENDEZVOUS: (Path(place) / "meet").as_uri(),
            LAUNCHER: str(reading),
        }
        # They talk to each other on this machine only.
        common.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
        children: list[subprocess.Popen[bytes]] = []
        before = {number: signal.getsignal(number) for number in FORWARDED}
        passed_on: set[int] = set()

        def forward(number: int, frame: FrameType | None) -> None:
            passed_on.add(number)
            for child in children:
                if child.poll() is None:
                    child.send_signal(number)

        for number, handler in before.items():
            if (
                number != signal.SIGHUP or handler != signal.SIG_IGN
            ):  # a shell ignores Ctrl-C with &
                signal.signal(number, forward)
        try:
            for rank in range(processes):
                children.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "trajflow", *words],
                        env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                        stdin=subprocess.DEVNULL,
                        pass_fds=[reading],
                        start_new_session=True,  # a terminal's Ctrl-C comes once, from here
                    )
                )
            return _ended(children, passed_on)
        finally:
            for child in children:
                child.kill()
                child.wait()
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reading)
            os.close(writing)


def _ended(children: Sequence["subprocess.Popen[bytes]"], passed_on: set[int]) -> int:
    """Wait for all to end; those that outlive a dead one for long are killed.

    Args:
        children: The processes, by their numbers.
        passed_on: Signals that were sent to all of them, so that dying by them is no failure.

    Raises:
        ProcessDied: One died.
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
    # A process whose connection breaks may abort, so an abort comes after other deaths.
    for rank, code in sorted(codes.items(), key=lambda one: one[1] == -signal.SIGABRT):
        if -code in passed_on:
            return 128 - code
        if code < 0:
            name = signal.Signals(-code).name
            raise ProcessDied(_advice(rank, f"was killed by {name}"), 128 - code)
    said = codes.get(0, 0)
    if said not in (0, PEER_ENDED):
        return said
    for rank, code in codes.items():
        if code not in (0, PEER_ENDED):
            raise ProcessDied(_advice(rank, f"ended with exit code {code}"), code)
    return max(codes.values())


def _advice(rank: int, what: str) -> str:
    return (
        f"the process of rank {rank} {what}, and the others ended with it; go on from the last "
        "checkpoint by --resume"
    )


@contextmanager
def joined_processes(device: str) -> Iterator[str]:
    """Inside, this process trains with the others that were started with it, if there are any.

    Results, progress and errors that all of them have are the first one's to print.

    Yields:
        The device of this process.

    Raises:
        TrajflowError: This process has failed, or, if it is the first one, another has.
    """
    from trajflow.training.distributed import ProcessEnded, joined

    rank = int(os.environ.get("RANK", "0")) if is_launched() else 0
    if LAUNCHER in os.environ:
        _end_with_launcher()
    if rank:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        log.setLevel(logging.ERROR)
    inside = False
    try:
        with joined(device) as own:
            inside = True
            yield own
    except ProcessEnded as error:
        if rank or LAUNCHER in os.environ:
            raise typer.Exit(error.exit_code) from None
        raise
    except TrajflowError as error:
        if not rank:
            raise
        if not inside:  # the first process says the same
            raise typer.Exit(error.exit_code) from None
        raise ProcessDied(f"in process {rank}: {error}", error.exit_code) from None


def _end_with_launcher() -> None:
    """Stop this process, as Ctrl-C would, when the one that launched it is gone."""

    def watch(descriptor: int) -> None:
        os.read(descriptor, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, args=(int(os.environ[LAUNCHER]),), daemon=True).start()
