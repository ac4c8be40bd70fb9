"""Dilated convolutions that look back only, read out at the present step."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from trajflow.nn.encoders import Encoder, register_encoder


@register_encoder("tcn")
class TCNEncoder(Encoder):
    """Residual causal convolutions; block n looks back (kernel - 1) 2^n steps further.

    Before the agent appeared every block reads zeros, which is what stands before the window
    too: the steps before it do not matter, not even their number. Three blocks of kernel 3
    reach 15 steps back; what is older is not read.

    Source: Bai, Kolter and Koltun, 2018, An Empirical Evaluation of Generic Convolutional and
    Recurrent Networks for Sequence Modeling.

    Args:
        channels: How many features a step has.
        width: Length H of a context.
        depth: Blocks.
        kernel: Steps a block looks at.
        dropout: Share of values dropped in each branch while training.
    """

    def __init__(
        self, channels: int, width: int, depth: int = 3, kernel: int = 3, dropout: float = 0.0
    ) -> None:
        super().__init__(width)
        if depth < 1 or kernel < 1:
            raise ValueError("depth and kernel start at 1")
        self.embed = nn.Linear(channels + 1, width)
        self.blocks = nn.ModuleList(
            _CausalBlock(width, kernel, 2**n, dropout) for n in range(depth)
        )
        reaches = [(kernel - 1) * 2**n for n in range(depth)]
        self.needed = [1 + sum(reaches[n + 1 :]) for n in range(depth)]  # steps read later
        self.norm = nn.LayerNorm(width)

    def forward(self, past: Tensor, seen: Tensor) -> Tensor:
        """The contexts of N agents, [N, H], from past [N, T, ...] and seen [N, T]."""
        steps = torch.cat((past.where(seen[..., None], 0), seen[..., None].to(past.dtype)), -1)
        started = (seen.int().cumsum(1) > 0)[..., None]
        state = self.embed(steps)
        for block, needed in zip(self.blocks, self.needed, strict=True):
            state = block(state, started[:, -state.shape[1] :], needed)
        context: Tensor = self.norm(state[:, -1])
        return context


class _CausalBlock(nn.Module):
    def __init__(self, width: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.reach = (kernel - 1) * dilation
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, kernel, dilation=dilation)
        self.drop = nn.Dropout(dropout)

    def forward(self, state: Tensor, started: Tensor, needed: int) -> Tensor:
        """The state of the last steps, [N, T, H], at most as many as are needed."""
        branch = silu(self.norm(state)).where(started, 0).transpose(1, 2)
        branch = pad(branch, (self.reach, 0))[..., -(self.reach + needed) :]
        out: Tensor = state[:, -needed:] + self.drop(self.conv(branch).transpose(1, 2))
        return out
