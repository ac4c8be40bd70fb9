"""Data-parallel training in several processes, each on its part of every batch.

All processes read the tracks and hold the same weights. Rank 0, the main process, alone writes the
run folder, and broadcasts what it read there, measured or decided.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trajflow.errors import ConfigError, TrajflowError
from trajflow.training.launch import LAUNCHER, RENDEZVOUS, ProcessDied, ProcessEnded, is_launched

log = logging.getLogger("trajflow")
T = TypeVar("T")
TIMEOUT = timedelta(days=30)
"""How long a process waits for another. It is long because a dead process breaks its connections,
which the others notice at once, while a live one may be busy for hours, as in a long import."""


@dataclass(frozen=True)
class _Group:
    rank: int = 0
    world: int = 1


_group = _Group()


def rank() -> int:
    """Rank of this process, from 0."""
    return _group.rank


def world_size() -> int:
    """Number of processes that train together."""
    return _group.world


def is_main() -> bool:
    """Whether this process has rank 0, which writes the run folder."""
    return _group.rank == 0


@contextmanager
def joined(device: str = "auto") -> Iterator[str]:
    """Inside, this process trains with the others that torchrun has started, if any.

    Args:
        device: "auto", "cpu" or "cuda"; each process uses its own GPU.

    Yields:
        The device of this process.

    Raises:
        ConfigError: There is no such device, or there are fewer GPUs than processes.

    Example:
        A script that `torchrun --nproc-per-node 4` runs:

        >>> from trajflow.training.distributed import joined
        >>> with joined("cpu") as device:
        ...     print(device)
        cpu
    """
    global _group
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world == 1:
        yield device
        return
    local = int(os.environ["LOCAL_RANK"]), int(os.environ.get("LOCAL_WORLD_SIZE", world))
    device = _local_device(device, *local)
    dist.init_process_group(
        "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl",
        init_method=os.environ.get(RENDEZVOUS, "env://"),
        rank=int(os.environ["RANK"]),
        world_size=world,
        timeout=TIMEOUT,
    )
    _group = _Group(dist.get_rank(), world)
    try:
        yield device
    finally:
        leave()


@contextmanager
def joined_processes(device: str) -> Iterator[str]:
    """Inside, this process trains with the others that were started with it, if any.

    Only rank 0 prints results, progress, and errors that all processes have.

    Yields:
        The device of this process.

    Raises:
        TrajflowError: This process failed or, on rank 0, another one did.
    """
    rank = int(os.environ.get("RANK", "0")) if is_launched() else 0
    if LAUNCHER in os.environ:
        _end_with_launcher()
    if rank:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        log.setLevel(logging.ERROR)
    inside = False
    try:
        with joined(device) as local_device:
            inside = True
            yield local_device
    except ProcessEnded as error:
        if rank or LAUNCHER in os.environ:
            raise SystemExit(error.exit_code) from None
        raise
    except TrajflowError as error:
        if not rank:
            raise
        if not inside:  # rank 0 reports the same
            raise SystemExit(error.exit_code) from None
        raise ProcessDied(f"in process {rank}: {error}", error.exit_code) from None


def _end_with_launcher() -> None:
    """Stop this process, as Ctrl-C would, when its launcher has ended."""

    def watch(descriptor: int) -> None:
        os.read(descriptor, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, args=(int(os.environ[LAUNCHER]),), daemon=True).start()


def leave() -> None:
    """Leave the process group; from here on this process works alone."""
    global _group
    if _group.world > 1:
        _group = _Group()
        dist.destroy_process_group()


def _local_device(device: str, local_rank: int, processes: int) -> str:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return device
    if device != "cuda":
        raise ConfigError(
            f"{processes} processes cannot share the device {device!r}; use --device cuda, which "
            "gives each a GPU of its own, or --device cpu"
        )
    if (gpus := torch.cuda.device_count()) < processes:
        raise ConfigError(
            f"{processes} processes need a GPU each, and torch finds {gpus} here; start fewer, or "
            "use --device cpu"
        )
    torch.cuda.set_device(local_rank)
    return f"cuda:{local_rank}"


@contextmanager
def _collective() -> Iterator[None]:
    """Raise `ProcessEnded` when a connection to another process breaks."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessEnded(
            "another process of this training has ended; continue from the last checkpoint by "
            "--resume"
        ) from error


def from_main(make: Callable[[], T]) -> T:
    """Call `make` in the main process and broadcast its result to the others.

    Raises:
        ProcessEnded: In the other processes, if `make` raises an error.
    """
    if world_size() == 1:
        return make()
    box: list[Any] = [False, None]
    try:
        if is_main():
            box = [True, make()]
    finally:
        with _collective():
            dist.broadcast_object_list(box, device=torch.device("cpu"))
    if not box[0]:
        raise ProcessEnded("the main process of this training has ended")
    made: T = box[1]
    return made


def main_first(make: Callable[[], T]) -> T:
    """Call `make` in every process, in the others only after it succeeded in the main one.

    So an error is reported once, and files that the main process writes exist for the others.
    """
    made: list[T] = []
    from_main(lambda: made.append(make()))
    return made[0] if made else make()


def any_of(*flags: bool) -> list[bool]:
    """For each flag, whether it is set in any process; waits for all of them."""
    if world_size() == 1:
        return list(flags)
    values = torch.tensor(flags, dtype=torch.int32)
    with _collective():
        dist.all_reduce(values, dist.ReduceOp.MAX)
    return [bool(value) for value in values]


def barrier() -> None:
    """Wait until all processes have called this."""
    any_of(False)


def gather(values: list[T]) -> list[T]:
    """In the main process, the values of all processes by rank; in the others, an empty list."""
    if world_size() == 1:
        return values
    lists: list[list[T]] | None = [[] for _ in range(world_size())] if is_main() else None
    with _collective():
        dist.gather_object(values, lists)
    return [value for part in lists or [] for value in part]


def broadcast_weights(model: nn.Module) -> None:
    """Copy the weights and buffers of the main process to all others."""
    if world_size() > 1:
        with _collective():
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)


def sum_gradients(parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
    """Sum gradients and loss over the processes; a missing gradient counts as zero.

    A gradient that is None in all processes stays None.

    Args:
        parameters: All parameters of the model, of any shape.
        loss: The loss of this process, a scalar [].

    Returns:
        The sum of the losses, a scalar [].
    """
    if world_size() == 1:
        return loss
    present = [float(p.grad is not None) for p in parameters]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    sums = torch.cat([loss.reshape(1), loss.new_tensor(present), *(g.flatten() for g in gradients)])
    with _collective():
        dist.all_reduce(sums)
    counts = sums[1 : len(present) + 1].tolist()
    pieces = torch.split(sums[len(present) + 1 :], [p.numel() for p in parameters])
    for p, count, piece in zip(parameters, counts, pieces, strict=True):
        p.grad = piece.view_as(p) if count else None
    return sums[0]
