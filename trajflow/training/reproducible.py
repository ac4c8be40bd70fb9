"""Sets threads, precision and random stream of torch for a computation, and restores them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")


@contextmanager
def reproducible(threads: int, device: torch.device) -> Iterator[None]:
    """Inside, torch computes with `threads` threads and in full single precision.

    Afterwards threads, precision and the global random stream are restored, also after an error.

    Args:
        threads: CPU threads; another number may change the last bits of a result.
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
    """Seed the global random streams of the CPU, and of the device if it is a GPU.

    `torch.manual_seed` would also seed all other GPUs, which belong to the caller.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def each_reproducible(events: Iterator[T], threads: int, device: torch.device) -> Iterator[T]:
    """Yield the events, each computed inside `reproducible`; the caller's code runs outside."""
    while True:
        with reproducible(threads, device):
            try:
                event = next(events)
            except StopIteration:
                return
        yield event
