"""A call on tensors of fixed shapes as a CUDA graph: one launch in place of hundreds."""

from collections.abc import Callable

import torch
from torch import Tensor

WARM = 3
"""Calls before a capture, in which libraries choose their kernels."""


class Captured:
    """A call on tensors of fixed shapes as a CUDA graph."""

    def __init__(self, call: Callable[[Tensor, Tensor], Tensor], *given: Tensor) -> None:
        """Capture the call; later ones take tensors [*] of the same shapes.

        Raises:
            RuntimeError: It does something a graph cannot hold.
        """
        self._given = [one.clone() for one in given]
        side = torch.cuda.Stream(given[0].device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(given[0].device))
        with torch.cuda.stream(side):
            for _ in range(WARM):
                call(*self._given)
        torch.cuda.current_stream(given[0].device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._found = call(*self._given)

    def __call__(self, *given: Tensor) -> Tensor:
        """What the call makes of tensors of any shape it was captured with; gone at the next."""
        for own, one in zip(self._given, given, strict=True):
            own.copy_(one)
        self._graph.replay()
        return self._found
