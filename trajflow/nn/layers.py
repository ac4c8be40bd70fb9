"""Layers of the decoder: all have a forward derivative, which fused attention has not."""

import math

import torch
from torch import Tensor, nn

from trajflow.nn.jvp import Dual, cosine, joined, linear, rms_norm, silu, sine, waves


class TimeFeatures(nn.Module):
    """The pair (t, t - r) as slow waves, [*] -> [*, 10].

    The fastest wave makes one turn over [0, 1]: the slope in t enters the training target, and
    fast waves make it large and the training unstable.
    """

    size = 10

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequency", math.pi * torch.tensor([1.0, 2.0]), persistent=False)

    def forward(self, r: Tensor, t: Tensor) -> Tensor:
        """Features of each pair of times."""
        pair = torch.stack([t, t - r], -1)
        angle = (pair.unsqueeze(-1) * self.get_buffer("frequency").to(pair)).flatten(-2)
        return torch.cat([pair, angle.sin(), angle.cos()], -1)

    def jvp(self, r: Dual, t: Dual) -> Dual:
        """Features of times that move."""
        pair = joined([t.unsqueezed(), (t - r).unsqueezed()])
        angle = waves(pair, self.get_buffer("frequency").to(pair.primal))
        return joined([pair, sine(angle), cosine(angle)])


class ModulatedBlock(nn.Module):
    """A residual two-layer network whose scale, shift and gate are given (adaLN).

    Source: Peebles, Xie, Scalable Diffusion Models with Transformers, 2023, section 3.2.
    """

    def __init__(self, width: int, expand: int = 2) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, elementwise_affine=False)
        self.up = nn.Linear(width, expand * width)
        self.down = nn.Linear(expand * width, width)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """Tokens [*, H] and modulation [*, 3 H] -> [*, H]."""
        scale, shift, gate = modulation.chunk(3, -1)
        inner = torch.addcmul(shift, self.norm(x), 1 + scale)
        return torch.addcmul(x, gate, self.down(nn.functional.silu(self.up(inner))))

    def jvp(self, x: Dual, modulation: Dual) -> Dual:
        """Tokens [*, H] that move, under a modulation [*, 3 H] that does."""
        scale, shift, gate = modulation.chunk(3)
        inner = rms_norm(self.norm, x) * (scale + torch.ones_like(scale.primal[..., :1])) + shift
        return x + gate * linear(self.down, silu(linear(self.up, inner)))


class AgentMixing(nn.Module):
    """Attention among the agents of a scene, written out so that it can be differentiated forward.

    A learned null agent stands beside them, so a scene of masked agents is well defined.
    """

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.RMSNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.null = nn.Parameter(torch.zeros(width))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Tokens [*, A, H] and present [B, A] (broadcast over the leading axes) -> [*, A, H]."""
        null = self.null.expand(*x.shape[:-2], 1, -1)
        q, k, v = (
            self._split(p) for p in self.qkv(self.norm(torch.cat([x, null], -2))).chunk(3, -1)
        )
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
        allowed = torch.cat([present, torch.ones_like(present[..., :1])], -1)
        weights = scores.masked_fill(~allowed[..., None, None, :], -1e9).softmax(-1)
        mixed = (weights @ v).transpose(-2, -3).flatten(-2)
        update: Tensor = self.out(mixed)[..., :-1, :]
        return x + update

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], self.heads, -1).transpose(-2, -3)


def linear_of(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A layer of given weights [N, H] and bias [N], not trained; it draws no random numbers."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
    return layer
