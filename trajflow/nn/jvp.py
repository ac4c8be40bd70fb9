"""Values with their tangents along a direction, carried through the decoder's layers together.

Forward mode by hand: a layer's weights are read once for both, and where nobody asks for the
gradient of the tangents nothing of them is kept for the way back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Dual:
    """A primal and its tangent, both [*].

    Attributes:
        primal: The primal.
        tangent: Its derivative along the direction.
        create_graph: Whether the backward pass goes through the tangent; else it is a constant.
    """

    primal: Tensor
    tangent: Tensor
    create_graph: bool = True

    def to(self, primal: Tensor, tangent: Callable[[], Tensor]) -> Dual:
        """A dual of this kind: the tangent is made without a graph where it is a constant."""
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

    def unsqueezed(self) -> Dual:
        """The same with an axis of one number at the end."""
        return Dual(self.primal.unsqueeze(-1), self.tangent.unsqueeze(-1), self.create_graph)

    def __sub__(self, other: Dual) -> Dual:
        """The difference."""
        return self.to(self.primal - other.primal, lambda: self.tangent - other.tangent)

    def chunk(self, parts: int) -> list[Dual]:
        """Equal parts of the last axis."""
        pairs = zip(self.primal.chunk(parts, -1), self.tangent.chunk(parts, -1), strict=True)
        return [Dual(primal, tangent, self.create_graph) for primal, tangent in pairs]


def joined(parts: Sequence[Dual]) -> Dual:
    """Duals side by side on the last axis."""
    primals, tangents = ([getattr(p, name) for p in parts] for name in ("primal", "tangent"))
    return parts[0].to(torch.cat(primals, -1), lambda: torch.cat(tangents, -1))


def waves(x: Dual, frequency: Tensor) -> Dual:
    """Every number [*, N] times every frequency [K], [*, N K]."""

    def each(part: Tensor) -> Tensor:
        return (part.unsqueeze(-1) * frequency).flatten(-2)

    return x.to(each(x.primal), lambda: each(x.tangent))


def linear(layer: nn.Module, x: Dual) -> Dual:
    """An `nn.Linear`; primal and tangent are one product where both are differentiated."""
    assert isinstance(layer, nn.Linear)
    if not x.create_graph or x.primal.shape != x.tangent.shape:
        return x.to(layer(x.primal), lambda: nn.functional.linear(x.tangent, layer.weight))
    primal, tangent = nn.functional.linear(torch.stack([x.primal, x.tangent]), layer.weight)
    return Dual(primal if layer.bias is None else primal + layer.bias, tangent)


def silu(x: Dual) -> Dual:
    """The sigmoid linear unit, x sigmoid(x)."""
    if not x.create_graph:
        return x.to(
            nn.functional.silu(x.primal), lambda: torch.ops.aten.silu_backward(x.tangent, x.primal)
        )
    gate = x.primal.sigmoid()
    primal = x.primal * gate
    return Dual(primal, x.tangent * torch.addcmul(gate, primal, 1 - gate))


def rms_norm(layer: nn.RMSNorm, x: Dual) -> Dual:
    """Tokens over the root of their mean square; the layer has no weights of its own."""
    eps = torch.finfo(x.primal.dtype).eps if layer.eps is None else layer.eps
    scale = (x.primal.square().mean(-1, keepdim=True) + eps).rsqrt()
    primal = x.primal * scale

    def tangent() -> Tensor:
        lean = (primal * x.tangent).mean(-1, keepdim=True)
        return scale * torch.addcmul(x.tangent, primal, lean, value=-1)

    return x.to(primal, tangent)


def sine(x: Dual) -> Dual:
    """The sine."""
    return x.to(x.primal.sin(), lambda: x.tangent * x.primal.cos())


def cosine(x: Dual) -> Dual:
    """The cosine."""
    return x.to(x.primal.cos(), lambda: -x.tangent * x.primal.sin())
