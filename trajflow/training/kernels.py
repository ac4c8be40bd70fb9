"""What computes a training on a processor: threads and matrix kernels, measured where it runs.

On a busy machine two threads that wait for each other can be a hundred times slower than one, and
which kernel multiplies matrices sooner depends on the processor. torch's "medium" may also mean
numbers of half precision, so a kernel must first show that it computes in single precision.
"""

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

ROWS = (1021, 514, 263, 1490, 97, 770)
"""Rows of the products that are timed, fewer each time: some kernels prepare for each new size, and
the sizes of ragged batches are ever new."""
USUAL, OTHER = PRODUCTS = ("highest", "medium")
"""Names of the matrix kernels, as torch has them."""
LARGEST_ERROR = 1e-6
"""Largest error of a kernel over the largest number of the exact product."""
WORTH = 1.3
"""How many times as fast another kernel must be: it changes the bits, which noise must not do."""
ROUNDS = 5
"""Turns that kernels take; each counts by its quickest."""
_timed = itertools.count()


@dataclass(frozen=True)
class Kernels:
    """What computes.

    Attributes:
        threads: Threads of the processor.
        products: Name of the matrix kernel.
        others: What was not taken, and how many times as long it takes; infinite for a kernel
            that is not exact enough.
    """

    threads: int
    products: str
    others: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def now(cls) -> "Kernels":
        """What torch computes with."""
        return cls(torch.get_num_threads(), torch.get_float32_matmul_precision())

    def use(self) -> None:
        """Let torch compute so."""
        torch.set_num_threads(self.threads)
        torch.set_float32_matmul_precision(self.products)


def fastest(most: int, products: str | None = None, given: int | None = None) -> Kernels:
    """What does a small share of a training step's work soonest now.

    Args:
        most: Threads that are tried beside one.
        products: The matrix kernel, where it is settled; None: it is measured too.
        given: Threads that were asked for: nothing is measured, so that equal seeds give equal
            bits.
    """
    if given is not None:
        return Kernels(given, products or USUAL)
    before = Kernels.now()
    try:
        known = products or USUAL
        times = {count: _seconds(count, known) for count in sorted({1, most})}
        threads = min(times, key=times.__getitem__)
        others = {
            f"{count} thread{'s' * (count > 1)}": spent / times[threads]
            for count, spent in times.items()
            if count != threads
        }
        if products is None:
            known, told = _products(threads)
            others |= told
        return Kernels(threads, known, others)
    finally:
        before.use()


def _products(threads: int) -> tuple[str, dict[str, float]]:
    """The kernel to take, and how the other one does beside it."""
    if error_of(OTHER) > LARGEST_ERROR:
        return USUAL, {OTHER: float("inf")}
    # Processor time: other work on the machine must not decide, since it would change the bits.
    spent = time.process_time
    turns = [[_seconds(threads, name, spent) for name in PRODUCTS] for _ in range(ROUNDS)]
    usual, other = map(min, zip(*turns, strict=True))
    slower = other / usual
    return (OTHER, {USUAL: 1 / slower}) if slower * WORTH < 1 else (USUAL, {OTHER: slower})


def error_of(products: str) -> float:
    """Largest error of a kernel over the largest number of the exact product."""
    torch.set_float32_matmul_precision(products)
    chance = torch.Generator().manual_seed(0)
    left, right = (torch.randn(129, 129, generator=chance) for _ in range(2))
    exact = left.double() @ right.double()
    return float(((left @ right).double() - exact).abs().max() / exact.abs().max())


def _seconds(threads: int, products: str, clock: Callable[[], float] = time.perf_counter) -> float:
    Kernels(threads, products).use()
    weight = torch.ones(128, 256)
    fewer = next(_timed) % min(ROWS)
    inputs = [torch.ones(rows - fewer, 128) for rows in ROWS]
    _work(inputs[0], weight)
    began = clock()
    for x in inputs:
        _work(x, weight)
    return clock() - began


def _work(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.silu(x @ weight) @ weight.T
