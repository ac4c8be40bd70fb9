"""What a call must take at least here: its matrix products alone, and its bytes once."""

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from trajflow.model import TrajectoryModel

Shape = tuple[int, int, int, int]
"""Of a product: how many, and rows, inner numbers and columns of each."""
REPEATS = 15


@dataclass(frozen=True)
class Floor:
    """The least cost of a call.

    Attributes:
        flops: Floating-point operations of its matrix products.
        seconds: What these take here one by one, each at the best of this machine's kernels.
        bytes: Weights of the network, which are read once.
        bandwidth: Bytes per second that a copy of as many bytes reads and writes.
    """

    flops: int
    seconds: float
    bytes: int
    bandwidth: float

    @property
    def least(self) -> float:
        """Seconds that the call takes at least: products, or bytes if these take longer."""
        return max(self.seconds, self.bytes / self.bandwidth)

    def to_dict(self) -> dict[str, float]:
        """As JSON values."""
        return {
            "mflop": self.flops / 1e6,
            "gflop_per_s": self.flops / self.seconds / 1e9,
            "copy_gb_per_s": self.bandwidth / 1e9,
            "floor_ms": 1e3 * self.least,
        }


def floor_of(model: TrajectoryModel, call: Callable[[], object]) -> Floor:
    """The floor of a call of a model."""
    shapes = products(call)
    weights = [*model.parameters(), *model.buffers()]
    device = weights[0].device
    size = sum(one.numel() * one.element_size() for one in weights)
    return Floor(
        sum(count * flops(shape) for shape, count in shapes.items()),
        sum(count * product_seconds(shape, device) for shape, count in shapes.items()),
        size,
        bandwidth(size, device),
    )


def flops(shape: Shape) -> int:
    """Floating-point operations of a product."""
    return 2 * math.prod(shape)


def products(call: Callable[[], object]) -> Counter[Shape]:
    """The matrix products that a call makes, by shape."""
    seen = _Products()
    with seen, torch.no_grad():
        call()
    return seen.shapes


class _Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the shape of every matrix product."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shapes: Counter[Shape] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        name, given = func.overloadpacket.__name__, kwargs or {}
        if name in ("mm", "bmm"):
            self._note(*args[:2])
        elif name in ("addmm", "baddbmm"):
            self._note(*args[1:3])
        else:
            with self:
                made = func.decompose(*args, **given)
            if made is not NotImplemented:
                return made
        return func(*args, **given)

    def _note(self, left: Tensor, right: Tensor) -> None:
        count = left.shape[0] if left.dim() == 3 else 1
        self.shapes[(count, left.shape[-2], left.shape[-1], right.shape[-1])] += 1


def product_seconds(shape: Shape, device: torch.device) -> float:
    """Seconds of one product of that shape, the least of some, by the better of two kernels."""
    count, rows, inner, columns = shape
    left = torch.ones(count, rows, inner, device=device)
    right = torch.ones(count, inner, columns, device=device)
    if count == 1:
        left, right = left[0], right[0]
    out = torch.empty(*left.shape[:-1], columns, device=device)
    before = torch.get_float32_matmul_precision()
    try:
        return min(_least(left, right, out, kernel) for kernel in ("highest", "medium"))
    finally:
        torch.set_float32_matmul_precision(before)


def _least(left: Tensor, right: Tensor, out: Tensor, precision: str) -> float:
    torch.set_float32_matmul_precision(precision)
    return _quickest(lambda: torch.matmul(left, right, out=out), left.device)


@lru_cache
def bandwidth(size: int, device: torch.device) -> float:
    """Bytes per second that a copy of `size` bytes reads and writes."""
    source = torch.ones(max(1, size // 4), device=device)
    target = torch.empty_like(source)
    return 2 * size / _quickest(lambda: target.copy_(source), device)


def _quickest(call: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return min(times)
