"""Values with their slopes along a direction, carried through the decoder's layers together.

Forward mode by hand: a layer's weights are read once for both, and where nobody asks for the
gradient of the slopes nothing of them is kept for the way back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Dual:
    """A value and its slope, both [*].

    Attributes:
        value: The value.
        slope: Its derivative along the direction.
        still: Whether the slope is a constant to the backward pass.
    """

    value: Tensor
    slope: Tensor
    still: bool = False

    def to(self, value: Tensor, slope: Callable[[], Tensor]) -> Dual:
        """A dual of this kind: the slope is made without a graph where it is a constant."""
        if not self.still:
            return Dual(value, slope())
        with torch.no_grad():
            return Dual(value, slope(), still=True)

    def __add__(self, other: Dual | Tensor) -> Dual:
        """The sum with another dual or with a constant."""
        if isinstance(other, Tensor):
            return Dual(self.value + other, self.slope, self.still)
        return self.to(self.value + other.value, lambda: self.slope + other.slope)

    def __mul__(self, other: Dual) -> Dual:
        """The product."""
        return self.to(
            self.value * other.value,
            lambda: torch.addcmul(self.slope * other.value, self.value, other.slope),
        )

    def unsqueezed(self) -> Dual:
        """The same with an axis of one number at the end."""
        return Dual(self.value.unsqueeze(-1), self.slope.unsqueeze(-1), self.still)

    def __sub__(self, other: Dual) -> Dual:
        """The difference."""
        return self.to(self.value - other.value, lambda: self.slope - other.slope)

    def chunk(self, parts: int) -> list[Dual]:
        """Equal parts of the last axis."""
        pairs = zip(self.value.chunk(parts, -1), self.slope.chunk(parts, -1), strict=True)
        return [Dual(value, slope, self.still) for value, slope in pairs]


def joined(parts: Sequence[Dual]) -> Dual:
    """Duals side by side on the last axis."""
    values, slopes = ([getattr(p, name) for p in parts] for name in ("value", "slope"))
    return parts[0].to(torch.cat(values, -1), lambda: torch.cat(slopes, -1))


def waves(x: Dual, frequency: Tensor) -> Dual:
    """Every number [*, N] times every frequency [K], [*, N K]."""

    def each(part: Tensor) -> Tensor:
        return (part.unsqueeze(-1) * frequency).flatten(-2)

    return x.to(each(x.value), lambda: each(x.slope))


def linear(layer: nn.Module, x: Dual) -> Dual:
    """An `nn.Linear`; value and slope are one product where both are differentiated."""
    assert isinstance(layer, nn.Linear)
    if x.still or x.value.shape != x.slope.shape:
        return x.to(layer(x.value), lambda: nn.functional.linear(x.slope, layer.weight))
    value, slope = nn.functional.linear(torch.stack([x.value, x.slope]), layer.weight)
    return Dual(value if layer.bias is None else value + layer.bias, slope)


def silu(x: Dual) -> Dual:
    """The sigmoid linear unit, x sigmoid(x)."""
    if x.still:
        return x.to(
            nn.functional.silu(x.value), lambda: torch.ops.aten.silu_backward(x.slope, x.value)
        )
    gate = x.value.sigmoid()
    value = x.value * gate
    return Dual(value, x.slope * torch.addcmul(gate, value, 1 - gate))


def rms_norm(layer: nn.RMSNorm, x: Dual) -> Dual:
    """Tokens over the root of their mean square; the layer has no weights of its own."""
    eps = torch.finfo(x.value.dtype).eps if layer.eps is None else layer.eps
    scale = (x.value.square().mean(-1, keepdim=True) + eps).rsqrt()
    value = x.value * scale

    def slope() -> Tensor:
        lean = (value * x.slope).mean(-1, keepdim=True)
        return scale * torch.addcmul(x.slope, value, lean, value=-1)

    return x.to(value, slope)


def sine(x: Dual) -> Dual:
    """The sine."""
    return x.to(x.value.sin(), lambda: x.slope * x.value.cos())


def cosine(x: Dual) -> Dual:
    """The cosine."""
    return x.to(x.value.cos(), lambda: -x.slope * x.value.sin())
