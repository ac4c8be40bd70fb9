"""Training in several processes: each learns from its part of every batch.

All processes read the tracks and hold the same weights. The first one alone writes the run folder;
the others hear from it what it read there, measured or decided.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trajflow.errors import ConfigError, TrajflowError

T = TypeVar("T")
RENDEZVOUS = "TRAJFLOW_RENDEZVOUS"
"""Variable that says where the processes of `trajflow train --processes` meet."""
PATIENCE = timedelta(days=30)
"""How long a process waits for the others: one that has died breaks its connections, which the
others see at once; one that still works, as in a long import, is waited for."""


class ProcessEnded(TrajflowError):
    """Another process of this training has ended, so this one cannot go on."""

    exit_code = 75


@dataclass(frozen=True)
class _Group:
    rank: int = 0
    world: int = 1


_group = _Group()


def rank() -> int:
    """Number of this process among those that train together, from 0."""
    return _group.rank


def world() -> int:
    """How many processes train together."""
    return _group.world


def first() -> bool:
    """Whether this process writes the run folder."""
    return _group.rank == 0


@contextmanager
def joined(device: str = "auto") -> Iterator[str]:
    """Inside, this process trains with the others that torchrun has started, if it has.

    Args:
        device: "auto", "cpu" or "cuda"; each process takes a GPU of its own.

    Yields:
        The device of this process.

    Raises:
        ConfigError: There is no such device, or not one for each process.

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
    device = _own_device(device, *local)
    dist.init_process_group(
        "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl",
        init_method=os.environ.get(RENDEZVOUS, "env://"),
        rank=int(os.environ["RANK"]),
        world_size=world,
        timeout=PATIENCE,
    )
    _group = _Group(dist.get_rank(), world)
    try:
        yield device
    finally:
        leave()


def leave() -> None:
    """Train no more with the others; what follows, this process does alone."""
    global _group
    if _group.world > 1:
        _group = _Group()
        dist.destroy_process_group()


def _own_device(device: str, local: int, processes: int) -> str:
    """The device of the process of this number on this machine."""
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
    torch.cuda.set_device(local)
    return f"cuda:{local}"


@contextmanager
def _together() -> Iterator[None]:
    """Inside, a broken connection means that another process has ended."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessEnded(
            "another process of this training has ended; go on from the last checkpoint by --resume"
        ) from error


def from_first(make: Callable[[], T]) -> T:
    """What the first process makes; the others wait for it.

    Raises:
        ProcessEnded: In the other processes, if the first one raises an error.
    """
    if world() == 1:
        return make()
    box: list[Any] = [False, None]
    try:
        if first():
            box = [True, make()]
    finally:
        with _together():
            dist.broadcast_object_list(box, device=torch.device("cpu"))
    if not box[0]:
        raise ProcessEnded("the first process of this training has ended")
    made: T = box[1]
    return made


def first_then_all(make: Callable[[], T]) -> T:
    """What each process makes, the others only after the first one has.

    So what is wrong is said once, and what the first one leaves behind is there for the others.
    """
    made: list[T] = []
    from_first(lambda: made.append(make()))
    return made[0] if made else make()


def any_of(*flags: bool) -> list[bool]:
    """For each flag, whether any process has it set; waits for all of them."""
    if world() == 1:
        return list(flags)
    values = torch.tensor(flags, dtype=torch.int32)
    with _together():
        dist.all_reduce(values, dist.ReduceOp.MAX)
    return [bool(value) for value in values]


def wait() -> None:
    """Wait until all processes have come here."""
    any_of(False)


def gather(values: list[T]) -> list[T]:
    """The values of all processes in the first one, in the order of their numbers."""
    if world() == 1:
        return values
    lists: list[list[T]] | None = [[] for _ in range(world())] if first() else None
    with _together():
        dist.gather_object(values, lists)
    return [value for one in lists or [] for value in one]


def share_weights(model: nn.Module) -> None:
    """Give all processes the weights and buffers of the first one."""
    if world() > 1:
        with _together():
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)


def sum_gradients(parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
    """Sum gradients and loss over the processes; a process without any counts as zero.

    A gradient that is None in all processes stays None.

    Args:
        parameters: Those of the model, of any shape.
        loss: The loss of this process, a scalar [].

    Returns:
        The sum of the losses, a scalar [].
    """
    if world() == 1:
        return loss
    given = [float(p.grad is not None) for p in parameters]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    sums = torch.cat([loss.reshape(1), loss.new_tensor(given), *(g.flatten() for g in gradients)])
    with _together():
        dist.all_reduce(sums)
    counts = sums[1 : len(given) + 1].tolist()
    pieces = torch.split(sums[len(given) + 1 :], [p.numel() for p in parameters])
    for p, count, piece in zip(parameters, counts, pieces, strict=True):
        p.grad = piece.view_as(p) if count else None
    return sums[0]
