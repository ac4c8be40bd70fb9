"""Attention over the seen steps, read out at a token that is always there."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from trajflow.errors import ConfigError
from trajflow.nn.encoders import Encoder, register_encoder


@register_encoder("transformer")
class TransformerEncoder(Encoder):
    """Pre-norm transformer with one learned token beside the steps.

    The learned token gathers the context; it also keeps an agent that was never seen well
    defined. Steps are numbered backwards from the present, so a shorter past means the same.

    Source: Vaswani et al., 2017, Attention Is All You Need; Xiong et al., 2020, On Layer
    Normalization in the Transformer Architecture.

    Args:
        channels: How many features a step has.
        width: Length H of a context, a multiple of heads.
        depth: Blocks.
        heads: Attention heads.
        steps: Longest past there is an embedding for.
        dropout: Share of values dropped in each branch while training.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        depth: int = 2,
        heads: int = 4,
        steps: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(width)
        if depth < 1 or heads < 1 or steps < 1 or width % heads:
            raise ValueError(f"sizes start at 1 and width {width} must be a multiple of heads")
        self.embed = nn.Linear(channels, width)
        self.step = nn.Parameter(0.02 * torch.randn(steps, width))
        self.summary = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.ModuleList(_AttentionBlock(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, past: Tensor, seen: Tensor) -> Tensor:
        """The contexts of N agents, [N, H], from past [N, T, ...] and seen [N, T]."""
        rows, steps = seen.shape
        if steps > len(self.step):
            raise ConfigError(
                f"past has {steps} steps, the transformer knows {len(self.step)}; "
                f"set its option steps to at least {steps}"
            )
        tokens = self.embed(past.where(seen[..., None], 0)) + self.step[:steps].flip(0)
        tokens = torch.cat((self.summary.expand(rows, 1, -1), tokens), 1)
        visible = torch.cat((seen.new_ones(rows, 1), seen), 1)[:, None, None]  # [N, 1, 1, 1 + T]
        for block in self.blocks[:-1]:
            tokens = block(tokens, visible, steps + 1)
        tokens = self.blocks[-1](tokens, visible, 1)  # only the summary is read
        context: Tensor = self.norm(tokens[:, 0])
        return context


class _AttentionBlock(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.memory = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.merge = nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, visible: Tensor, targets: int) -> Tensor:
        """The first tokens after looking at all that are visible, [N, T, H]."""
        normed = self.norm1(tokens)
        query = self.query(normed[:, :targets]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        memory = self.memory(normed).unflatten(-1, (2, self.heads, -1))
        key, value = memory.permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=visible)
        tokens = tokens[:, :targets] + self.drop(self.merge(mixed.transpose(1, 2).flatten(2)))
        out: Tensor = tokens + self.drop(self.feed(self.norm2(tokens)))
        return out
