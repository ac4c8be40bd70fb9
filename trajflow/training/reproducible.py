"""The state of torch that results depend on, set for a computation and put back after it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")


@contextmanager
def reproducible(threads: int, device: torch.device) -> Iterator[None]:
    """Inside, torch computes with so many threads and in single precision.

    Afterwards threads, precision and the global random stream are the caller's again, also after
    an error.

    Args:
        threads: Threads of the processor; another number may change the last bits.
        device: Where to compute.
    """
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.set_float32_matmul_precision(before[1])


def reseed(seed: int, device: torch.device) -> None:
    """Seed the global random stream of the processor, and of the device if it is a GPU.

    `torch.manual_seed` would also seed all other GPUs, which are none of our business.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def each_reproducible(events: Iterator[T], threads: int, device: torch.device) -> Iterator[T]:
    """The events, each computed inside `reproducible`; between two of them the caller computes."""
    while True:
        with reproducible(threads, device):
            try:
                event = next(events)
            except StopIteration:
                return
        yield event
