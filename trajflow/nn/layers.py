"""Layers of the decoder. All support forward-mode derivatives, which fused attention does not."""

import math

import torch
from torch import Tensor, nn

from trajflow.nn.jvp import Dual, concat, cosine, linear, phases, rms_norm, silu, sine


class TimeFeatures(nn.Module):
    """Slow Fourier features of the pair (t, t - r), [*] -> [*, 10].

    The highest frequency makes one turn over [0, 1]: du/dt enters the training target, and high
    frequencies make it large and the training unstable.

    Source: Geng et al., Mean Flows for One-step Generative Modeling, 2025, table 1c (the pair).
    """

    size = 10

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequency", math.pi * torch.tensor([1.0, 2.0]), persistent=False)

    def forward(self, r: Tensor, t: Tensor) -> Tensor:
        """Features of times r and t [*], [*, 10]."""
        pair = torch.stack([t, t - r], -1)
        angle = (pair.unsqueeze(-1) * self.get_buffer("frequency").to(pair)).flatten(-2)
        return torch.cat([pair, angle.sin(), angle.cos()], -1)

    def jvp(self, r: Dual, t: Dual) -> Dual:
        """Features and their derivative."""
        pair = concat([t.unsqueeze(), (t - r).unsqueeze()])
        angle = phases(pair, self.get_buffer("frequency").to(pair.primal))
        return concat([pair, sine(angle), cosine(angle)])


class ModulatedBlock(nn.Module):
    """A residual two-layer network with scale, shift and gate from its conditions (adaLN).

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
        """The output and its derivative, for tokens [*, H] and modulation [*, 3 H]."""
        scale, shift, gate = modulation.chunk(3)
        inner = rms_norm(self.norm, x) * (scale + torch.ones_like(scale.primal[..., :1])) + shift
        return x + gate * linear(self.down, silu(linear(self.up, inner)))


class AgentMixing(nn.Module):
    """Self-attention among the agents of a scene, without fused kernels, for `torch.func.jvp`.

    Agents also attend to a learned null token, so that a scene of masked agents is well defined.

    Source: Vaswani et al., Attention Is All You Need, 2017, eq. 1.
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
    """A frozen linear layer of weights [N, H] and bias [N]; it draws no random numbers."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
    return layer
