"""Forward-mode derivatives (dual numbers) of the decoder's layers, written by hand.

For y = f(x) a dual number carries (y, dy) with dy = f'(x) dx. Compared with `torch.func.jvp`, the
weights of a layer are read once for both, and tangents that need no gradient store nothing for the
backward pass.

Source: Griewank and Walther, Evaluating Derivatives, 2008, chapter 3 (tangent recursion).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Dual:
    """A value and its derivative along a direction, both [*].

    Attributes:
        primal: The value.
        tangent: Its derivative.
        create_graph: Whether the tangent can be backpropagated through; else it is a constant.

    Example:
        >>> import torch
        >>> from trajflow.nn.jvp import Dual
        >>> x = Dual(torch.tensor(3.0), torch.tensor(1.0))
        >>> (x * x).tangent
        tensor(6.)
    """

    primal: Tensor
    tangent: Tensor
    create_graph: bool = True

    def to(self, primal: Tensor, tangent: Callable[[], Tensor]) -> Dual:
        """A dual with the same `create_graph`; a constant tangent is computed without a graph."""
        if self.create_graph:
            return Dual(primal, tangent())
        with torch.no_grad():
            return Dual(primal, tangent(), create_graph=False)

    def __add__(self, other: Dual | Tensor) -> Dual:
        """The sum with another dual or with a constant."""
        if isinstance(other, Tensor):
            return Dual(self.primal + other, self.tangent, self.create_graph)
        return self.to(self.primal + other.primal, lambda: self.tangent + other.tangent)

    def __mul__(self, other: Dual) -> Dual:
        """The product."""
        return self.to(
            self.primal * other.primal,
            lambda: torch.addcmul(self.tangent * other.primal, self.primal, other.tangent),
        )

    def unsqueeze(self) -> Dual:
        """The same with a trailing axis of size one."""
        return Dual(self.primal.unsqueeze(-1), self.tangent.unsqueeze(-1), self.create_graph)

    def __sub__(self, other: Dual) -> Dual:
        """The difference."""
        return self.to(self.primal - other.primal, lambda: self.tangent - other.tangent)

    def chunk(self, parts: int) -> list[Dual]:
        """Equal parts of the last axis."""
        pairs = zip(self.primal.chunk(parts, -1), self.tangent.chunk(parts, -1), strict=True)
        return [Dual(primal, tangent, self.create_graph) for primal, tangent in pairs]


def concat(parts: Sequence[Dual]) -> Dual:
    """Concatenation along the last axis."""
    primals, tangents = ([getattr(p, name) for p in parts] for name in ("primal", "tangent"))
    return parts[0].to(torch.cat(primals, -1), lambda: torch.cat(tangents, -1))


def phases(x: Dual, frequency: Tensor) -> Dual:
    """Products of all numbers [*, N] and frequencies [K], [*, N K]."""

    def multiply(part: Tensor) -> Tensor:
        return (part.unsqueeze(-1) * frequency).flatten(-2)

    return x.to(multiply(x.primal), lambda: multiply(x.tangent))


def linear(layer: nn.Module, x: Dual) -> Dual:
    """Linear layer: y = W x + b, dy = W dx; one product if both are differentiated."""
    assert isinstance(layer, nn.Linear)
    if not x.create_graph or x.primal.shape != x.tangent.shape:
        return x.to(layer(x.primal), lambda: nn.functional.linear(x.tangent, layer.weight))
    primal, tangent = nn.functional.linear(torch.stack([x.primal, x.tangent]), layer.weight)
    return Dual(primal if layer.bias is None else primal + layer.bias, tangent)


def silu(x: Dual) -> Dual:
    """SiLU: y = x s with the sigmoid s of x; dy = s (1 + x (1 - s)) dx."""
    if not x.create_graph:
        return x.to(
            nn.functional.silu(x.primal), lambda: torch.ops.aten.silu_backward(x.tangent, x.primal)
        )
    gate = x.primal.sigmoid()
    primal = x.primal * gate
    return Dual(primal, x.tangent * torch.addcmul(gate, primal, 1 - gate))


def rms_norm(layer: nn.RMSNorm, x: Dual) -> Dual:
    """RMS norm without weights: y = x / rms(x); dy = (dx - y mean(y dx)) / rms(x)."""
    eps = torch.finfo(x.primal.dtype).eps if layer.eps is None else layer.eps
    scale = (x.primal.square().mean(-1, keepdim=True) + eps).rsqrt()
    primal = x.primal * scale

    def tangent() -> Tensor:
        parallel = (primal * x.tangent).mean(-1, keepdim=True)
        return scale * torch.addcmul(x.tangent, primal, parallel, value=-1)

    return x.to(primal, tangent)


def sine(x: Dual) -> Dual:
    """The sine."""
    return x.to(x.primal.sin(), lambda: x.tangent * x.primal.cos())


def cosine(x: Dual) -> Dual:
    """The cosine."""
    return x.to(x.primal.cos(), lambda: -x.tangent * x.primal.sin())
