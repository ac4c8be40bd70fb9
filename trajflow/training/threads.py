"""How many threads to compute with: as many as really help, measured where it runs.

On a busy machine two threads that wait for each other can be a hundred times slower than one.
"""

import time

import torch

ROUNDS = 12


def faster_threads(most: int) -> int:
    """1 or `most`, whichever does a small share of a training step's work sooner now."""
    if most < 2:
        return 1
    before = torch.get_num_threads()
    try:
        return min((1, most), key=_seconds)
    finally:
        torch.set_num_threads(before)


def _seconds(threads: int) -> float:
    torch.set_num_threads(threads)
    x, weight = torch.ones(1024, 128), torch.ones(128, 256)
    _work(x, weight)
    began = time.perf_counter()
    for _ in range(ROUNDS):
        _work(x, weight)
    return time.perf_counter() - began


def _work(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.silu(x @ weight) @ weight.T
